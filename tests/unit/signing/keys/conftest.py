"""One sample key of every provider: the fixture is named like the module, with ``_sample`` behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from signing.keys import KeyAccess
from signing.keys.keyfile import parse_pem
from signing.signature import PublicKey
from tests.interop.kms import kms_server
from tests.interop.softhsm import PIN, SoftHsm, make_softhsm

from .samples import (
    COSIGN_KEY,
    COSIGN_PASSWORD,
    COSIGN_PUBLIC,
    Sample,
    Secret,
    new_key,
    private_pem,
    public_of,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec


@pytest.fixture
def private() -> ec.EllipticCurvePrivateKey:
    return new_key()


@pytest.fixture
def pem_sample(tmp_path: Path, private: ec.EllipticCurvePrivateKey) -> Sample:
    return Sample(write(tmp_path / "site.key", private_pem(private)), public_of(private))


@pytest.fixture
def cosign_key_sample(tmp_path: Path) -> Sample:
    secret = Secret(COSIGN_PASSWORD)
    path = write(tmp_path / "cosign.key", COSIGN_KEY)
    return Sample(path, PublicKey.from_der(parse_pem(COSIGN_PUBLIC.encode())[1]), KeyAccess(secret=secret), secret)


@pytest.fixture
def base64_sample(private: ec.EllipticCurvePrivateKey) -> Sample:
    public = public_of(private)
    return Sample(f"base64:{public.base64()}", public, signs=False)


@dataclass(frozen=True)
class Kms:
    """Amazon's KMS, played by moto."""

    host: str
    client: Any

    def key(self, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY", alias: str = "") -> str:
        made: str = self.client.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
        if alias:
            self.client.create_alias(AliasName=f"alias/{alias}", TargetKeyId=made)
        return made


@pytest.fixture(scope="session")
def kms_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with kms_server(tmp_path_factory.mktemp("kms")) as variables:
        yield variables


@pytest.fixture
def kms(kms_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kms]:
    """KMS, and the credentials for it in the environment; the user's own are out of sight."""
    url = kms_variables["AWS_ENDPOINT_URL"]
    for name, value in kms_variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("kms", endpoint_url=url)
    yield Kms(url.removeprefix("http://"), client)
    client.close()


@pytest.fixture
def awskms_sample(kms: Kms) -> Sample:
    made = kms.key()
    public = PublicKey.from_der(kms.client.get_public_key(KeyId=made)["PublicKey"])
    return Sample(f"awskms://{kms.host}/{made}", public, KeyAccess(offline=True))


TOKENS = ("release", "mistaken", "twins", "bare", "unused", "empty")
"""Made before the module is first asked: it does not see tokens that another process adds later."""


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    found = make_softhsm(tmp_path_factory.mktemp("softhsm"))
    if found is None:
        pytest.skip("SoftHSM2 is not on this machine: make interop-tools")
    for label in TOKENS:
        found.token(label)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.variables.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="session")
def token_key(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> PublicKey:
    """The key in the token ``release``, of the label ``lock & seal`` and the id 01ff."""
    key = new_key()
    path = tmp_path_factory.mktemp("token") / "token.key"
    write(path, private_pem(key))
    softhsm.pair("release", path, label="lock & seal", own_id="01ff")
    return public_of(key)


@pytest.fixture
def pkcs11_sample(softhsm: SoftHsm, token_key: PublicKey) -> Sample:
    secret = Secret(PIN)
    access = KeyAccess(secret=secret, pkcs11_module=softhsm.module)
    return Sample("pkcs11:token=release;object=lock%20%26%20seal;id=%01%ff", token_key, access, secret)
