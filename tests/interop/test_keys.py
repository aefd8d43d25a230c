"""Keys of others open here, and ours open elsewhere: cosign, openssl, SoftHSM2, KMS."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from mirror.oci.digest import Digest
from signing.keys.keyfile import parse_pem
from signing.signature import PublicKey
from tests.interop.kms import kms_server
from tests.interop.programs import ROOT, Program, bundlectl, provided
from tests.interop.softhsm import PIN, SoftHsm, make_softhsm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop

PASSWORD = "a pass phrase"
MESSAGE = b"the bytes of a document"
SIGN = """
import sys
from pathlib import Path
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, open_signer
key, module, pin, message = sys.argv[1:]
access = KeyAccess(secret=lambda kind, key: pin.encode(), pkcs11_module=Path(module) if module else None)
print(open_signer(key, access).sign_digest(Digest.of(message.encode())).value.hex())
"""


@pytest.fixture(params=["cosign2", "cosign3"])
def cosign(request: pytest.FixtureRequest, home: Path) -> Program:
    return Program(provided(request.param), home, (), {"COSIGN_PASSWORD": PASSWORD})


@pytest.fixture
def with_password(home: Path) -> Program:
    return replace(bundlectl(home), environment={"COSIGN_PASSWORD": PASSWORD})


@pytest.fixture
def openssl(home: Path) -> Program:
    return Program(provided("openssl"), home)


@pytest.fixture
def softhsm(tmp_path: Path) -> SoftHsm:
    provided("softhsm2-util")
    found = make_softhsm(tmp_path / "softhsm")
    assert found, "softhsm2-util is here, its module is not"
    return found


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[dict[str, str]]:
    with kms_server(tmp_path / "kms") as variables:
        yield variables


def sign(key: str, *, home: Path, module: Path | str = "", pin: str = "", variables: dict[str, str]) -> bytes:
    """Sign the message in a process of its own: a module is loaded and a login made once a process."""
    program = Program(Path(sys.executable), home, ("-c", SIGN), {**variables, "PYTHONPATH": str(ROOT)})
    return bytes.fromhex(program.run(key, str(module), pin, MESSAGE.decode()))


def test_a_key_that_cosign_made_opens_here(cosign: Program, with_password: Program, home: Path) -> None:
    cosign.run("generate-key-pair", "--output-key-prefix", "theirs")
    assert with_password.run("keys", "show", home / "theirs.key") == (home / "theirs.pub").read_text()
    assert with_password.run("keys", "show", home / "theirs.pub") == (home / "theirs.pub").read_text()


def test_a_key_that_was_made_here_opens_in_cosign(cosign: Program, with_password: Program, home: Path) -> None:
    with_password.run("keys", "generate", home / "ours.key", "--cosign")
    assert cosign.run("public-key", "--key", home / "ours.key") == (home / "ours.key.pub").read_text()


def test_an_openssl_key_becomes_a_cosign_key_as_the_hint_says(
    cosign: Program, with_password: Program, openssl: Program, home: Path
) -> None:
    openssl.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "plain.key")
    openssl.run("pkcs8", "-topk8", "-in", "plain.key", "-passout", "pass:x", "-out", "encrypted.key")
    (home / "encrypted.key").chmod(0o600)
    refused = with_password.attempt("keys", "show", home / "encrypted.key")
    assert refused.returncode == 1
    assert "`openssl pkey`" in refused.stderr
    openssl.run("pkey", "-in", "encrypted.key", "-passin", "pass:x", "-out", "again.key")
    cosign.run("import-key-pair", "--key", "again.key", "--output-key-prefix", "imported", "--yes")
    expected = openssl.run("pkey", "-in", "plain.key", "-pubout")
    assert with_password.run("keys", "show", home / "imported.key") == expected


def test_openssl_reads_what_is_made_here_and_checks_what_is_signed(ours: Program, openssl: Program, home: Path) -> None:
    ours.run("keys", "generate", "ours.key")
    assert openssl.run("pkey", "-in", "ours.key", "-pubout") == (home / "ours.key.pub").read_text()
    (home / "signature").write_bytes(sign(str(home / "ours.key"), home=home, variables={}))
    (home / "message").write_bytes(MESSAGE)
    said = openssl.run("dgst", "-sha256", "-verify", "ours.key.pub", "-signature", "signature", "message")
    assert "Verified OK" in said


def test_a_key_in_a_token_signs_and_is_shown_without_a_pin(
    softhsm: SoftHsm, ours: Program, openssl: Program, home: Path
) -> None:
    softhsm.token("release")
    openssl.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "plain.key")
    softhsm.pair("release", home / "plain.key", label="lock", own_id="a1")
    pem = openssl.run("pkey", "-in", "plain.key", "-pubout")
    with_token = replace(ours, environment=softhsm.variables)
    uri = "pkcs11:token=release;object=lock;id=%A1"
    assert with_token.run("keys", "show", uri, "--pkcs11-module", softhsm.module) == pem
    key = PublicKey.from_der(parse_pem(pem.encode())[1])
    signature = sign(uri, home=home, module=softhsm.module, pin=PIN, variables=softhsm.variables)
    assert key.verifies_digest(Digest.of(MESSAGE), signature)


def test_a_private_key_in_a_token_is_reached_with_the_pin_of_the_environment_and_a_wrong_one_costs_one_try(
    softhsm: SoftHsm, ours: Program, openssl: Program, home: Path
) -> None:
    softhsm.token("release")
    openssl.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "plain.key")
    softhsm.pair("release", home / "plain.key", label="lock", own_id="a1")
    command = ("--debug", "keys", "show", "pkcs11:token=release;object=absent", "--pkcs11-module", softhsm.module)

    def attempt(pin: str) -> str:
        environment = {**softhsm.variables, "BUNDLECTL_PKCS11_PIN": pin}
        outcome = replace(ours, environment=environment).attempt(*command)
        assert outcome.returncode == 1
        assert pin not in outcome.stderr + outcome.stdout
        return outcome.stderr

    assert "no such key" in attempt(PIN)
    assert "did not accept the PIN" in attempt("wr0ng-pin")
    assert "no such key" in attempt(PIN)


def test_a_key_in_kms_signs_by_plain_http_on_loopback(amazon: dict[str, str], ours: Program, home: Path) -> None:
    client: Any = boto3.client(
        "kms",
        endpoint_url=amazon["AWS_ENDPOINT_URL"],
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
        region_name="us-east-1",
    )
    made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    client.create_alias(AliasName="alias/release", TargetKeyId=made)
    public = PublicKey.from_der(client.get_public_key(KeyId=made)["PublicKey"])
    client.close()
    uri = f"awskms://{amazon['AWS_ENDPOINT_URL'].removeprefix('http://')}/alias/release"
    variables = {name: value for name, value in amazon.items() if name != "AWS_ENDPOINT_URL"}
    shown = replace(ours, environment=variables).document("keys", "show", uri, "-o", "json")
    assert (shown["source"], shown["fingerprint"]) == (uri, public.fingerprint)
    assert public.verifies(MESSAGE, sign(uri, home=home, variables=variables))
