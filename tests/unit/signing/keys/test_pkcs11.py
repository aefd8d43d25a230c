"""Keys in a token: SoftHSM2, in this process."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from bundlectl.errors import KeyProviderError
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, load_public_key, open_signer, pkcs11
from tests.interop.softhsm import PIN, SoftHsm

from .samples import DER, PLAIN, Secret, certificate, new_key, private_pem, public_of, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from signing.signature import PublicKey

WRITE = """
import sys, pkcs11
from pkcs11 import Attribute as A, ObjectClass as C, KeyType as K
module, token, pin, certificate, params, value, point = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
    session.create_object({A.CLASS: C.PRIVATE_KEY, A.KEY_TYPE: K.EC, A.TOKEN: True, A.PRIVATE: True, A.SIGN: True,
        A.LABEL: 'certified', A.ID: b'\\x07', A.EC_PARAMS: bytes.fromhex(params), A.VALUE: bytes.fromhex(value)})
    if certificate:
        session.create_object({A.CLASS: C.CERTIFICATE, A.CERTIFICATE_TYPE: 0, A.TOKEN: True, A.PRIVATE: False,
            A.LABEL: 'other name', A.ID: b'\\x07', A.SUBJECT: b'', A.VALUE: bytes.fromhex(certificate)})
"""
P256 = bytes.fromhex("06082a8648ce3d030107")


def write_pair_without_public(softhsm: SoftHsm, token: str, *, certified: bool) -> PublicKey:
    """A private key, with a certificate or with nothing, written by another process."""
    key = new_key()
    value = key.private_numbers().private_value.to_bytes(32)
    written = certificate(key, DER).hex() if certified else ""
    arguments = [softhsm.module, token, PIN, written, P256.hex(), value.hex(), ""]
    subprocess.run([sys.executable, "-c", WRITE, *map(str, arguments)], env=softhsm.util.variables(), check=True)
    return public_of(key)


@pytest.fixture
def access(softhsm: SoftHsm) -> Callable[..., KeyAccess]:
    def make(pin: str = PIN) -> KeyAccess:
        return KeyAccess(secret=Secret(pin), pkcs11_module=softhsm.module)

    return make


def asked(access: KeyAccess) -> int:
    assert isinstance(access.secret, Secret)
    return len(access.secret.asked)


def test_a_public_key_is_read_without_a_pin(softhsm: SoftHsm, token_key: PublicKey) -> None:
    nothing = KeyAccess(pkcs11_module=softhsm.module)
    for uri in ("pkcs11:token=release;id=%01%FF", "pkcs11:token=release;object=lock%20%26%20seal;type=public"):
        assert load_public_key(uri, nothing).key == token_key


def test_one_wrong_pin_is_the_only_attempt_of_the_process(access: Callable[..., KeyAccess]) -> None:
    first, second = access("wrong-pin-1"), access(PIN)
    with pytest.raises(KeyProviderError, match="did not accept the PIN") as raised:
        open_signer("pkcs11:token=mistaken", first)
    assert "wrong-pin-1" not in "".join(traceback.format_exception(raised.value)) + str(raised.value.hint)
    for use in (open_signer, load_public_key):
        with pytest.raises(KeyProviderError, match="did not accept the PIN"):
            use("pkcs11:token=mistaken;object=other", second)
    assert (asked(first), asked(second)) == (1, 0)


def test_a_pin_that_could_not_be_had_was_no_attempt(softhsm: SoftHsm, access: Callable[..., KeyAccess]) -> None:
    with pytest.raises(KeyProviderError, match="there is no pin"):
        open_signer("pkcs11:token=unused;object=absent", KeyAccess(pkcs11_module=softhsm.module))
    with pytest.raises(KeyProviderError, match="no such key"):
        open_signer("pkcs11:token=unused;object=absent", access())


@pytest.mark.parametrize("pin", ["", "\n", "12\x0034"])
def test_an_empty_or_impossible_pin_is_refused_before_any_login(softhsm: SoftHsm, pin: str) -> None:
    access = KeyAccess(secret=Secret(pin), pkcs11_module=softhsm.module)
    before = dict(pkcs11._LOGINS)
    for _ in range(2):
        with pytest.raises(KeyProviderError, match="no login was tried") as raised:
            open_signer("pkcs11:token=empty", access)
        assert "BUNDLECTL_PKCS11_PIN" in (raised.value.hint or "")
    assert before == pkcs11._LOGINS
    assert asked(access) == 2


def test_a_pin_file_is_used_where_it_is_private(softhsm: SoftHsm, token_key: PublicKey, tmp_path: Path) -> None:
    del token_key  # written into the token
    # Another process: in this one the login was made already.
    code = """
import sys
from pathlib import Path
from bundlectl.errors import KeyProviderError
from signing.keys import KeyAccess, open_signer
try:
    print(open_signer(sys.argv[2], KeyAccess(pkcs11_module=Path(sys.argv[1]))))
except KeyProviderError as error:
    print(error)
"""
    path = write(tmp_path / "pin", f"{PIN}\n", 0o644)

    def attempt() -> str:
        command = [sys.executable, "-c", code, str(softhsm.module), f"pkcs11:token=release?pin-source=file:{path}"]
        variables = {**softhsm.util.variables(), "PYTHONPATH": ":".join(sys.path)}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    assert "others than its owner have rights" in attempt()
    (tmp_path / "pin").chmod(0o600)
    assert attempt().startswith("<signer sha256:")
    write(tmp_path / "pin", "x" * 2000)
    assert "larger than 1024 bytes" in attempt()


def test_several_objects_that_match_are_listed(
    softhsm: SoftHsm, access: Callable[..., KeyAccess], tmp_path: Path
) -> None:
    for own_id in ("aa01", "aa02"):
        write(tmp_path / "key", private_pem(new_key()))
        softhsm.pair("twins", tmp_path / "key", label="twin", own_id=own_id)
    for use in (open_signer, load_public_key):
        with pytest.raises(KeyProviderError, match=r"2 objects match: object=twin id=aa0[12]; object=twin id=aa0[12]"):
            use("pkcs11:token=twins;object=twin", access())
    first, second = (load_public_key(f"pkcs11:token=twins;id=%aa%{n}", access()).key for n in ("01", "02"))
    assert first != second
    signer = open_signer("pkcs11:token=twins;id=%aa%02", access())
    assert signer.public_key == second


def test_the_public_key_is_taken_from_a_certificate_of_the_same_id_where_there_is_no_other(
    softhsm: SoftHsm, access: Callable[..., KeyAccess]
) -> None:
    public = write_pair_without_public(softhsm, "bare", certified=True)
    signer = open_signer("pkcs11:token=bare;object=certified", access())
    assert public.verifies(b"text", signer.sign_digest(Digest.of(b"text")).value)
    assert load_public_key("pkcs11:token=bare;type=cert", KeyAccess(pkcs11_module=softhsm.module)).key == public
    assert load_public_key("pkcs11:token=bare;object=certified", access()).key == public


def test_a_private_key_alone_is_not_enough(softhsm: SoftHsm, access: Callable[..., KeyAccess]) -> None:
    write_pair_without_public(softhsm, "unused", certified=False)
    with pytest.raises(KeyProviderError, match="neither the public key nor a certificate"):
        open_signer("pkcs11:token=unused;object=certified", access())


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("pkcs11:token=absent", "no token matches"),
        ("pkcs11:token=release;serial=0", "no token matches"),
        ("pkcs11:token=release;slot-id=999", "no token matches"),
        ("pkcs11:manufacturer=Nobody", "no token matches"),
        ("pkcs11:object=x", "6 tokens match: token="),
        ("pkcs11:token=release;object=absent", "no such key"),
        ("pkcs11:token=release;type=data", "cannot sign|no key pair"),
    ],
)
def test_what_is_not_found_says_so(
    token_key: PublicKey, access: Callable[..., KeyAccess], uri: str, match: str
) -> None:
    del token_key
    for use in (open_signer, load_public_key):
        with pytest.raises(KeyProviderError, match=match) as raised:
            use(uri, access())
        assert raised.value.artifact == uri
        assert raised.value.hint


def test_the_fields_of_the_token_select_it(token_key: PublicKey, access: Callable[..., KeyAccess]) -> None:
    uri = "pkcs11:token=release;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;object=lock%20%26%20seal"
    assert load_public_key(uri, access()).key == token_key


def test_other_kinds_of_keys_verify_and_do_not_sign(
    softhsm: SoftHsm, access: Callable[..., KeyAccess], tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

    kinds = {
        "b1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "b2": ec.generate_private_key(ec.SECP384R1()),
        "b3": ec.generate_private_key(ec.SECP521R1()),
    }
    for own_id, key in kinds.items():
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, PLAIN)
        write(tmp_path / "key", pem)
        softhsm.pair("twins", tmp_path / "key", label="kind", own_id=own_id)
        uri = f"pkcs11:token=twins;id=%{own_id}"
        assert load_public_key(uri, access()).key == public_of(key)
        with pytest.raises(KeyProviderError, match="P-256"):
            open_signer(uri, access())


def test_without_a_module_it_says_how_to_name_one() -> None:
    with pytest.raises(KeyProviderError, match="which PKCS#11 module") as raised:
        load_public_key("pkcs11:token=release", KeyAccess())
    assert "--pkcs11-module" in (raised.value.hint or "")


def test_a_file_that_is_no_module_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "module.so", "not a library")
    for path in (tmp_path / "module.so", tmp_path / "absent.so"):
        with pytest.raises(KeyProviderError, match="token or its module failed"):
            load_public_key("pkcs11:token=release", KeyAccess(pkcs11_module=path))


def test_without_python_pkcs11_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyProviderError, match="not installed") as raised:
        load_public_key("pkcs11:token=release", KeyAccess())
    assert raised.value.hint == "pip install 'bundlectl[pkcs11]'"


@pytest.mark.parametrize(
    ("value", "point"),
    [
        ("04" + "11" * 64, "04" + "11" * 64),
        ("0441" + "04" + "11" * 64, "04" + "11" * 64),
        ("0421" + "02" + "11" * 32, "02" + "11" * 32),
        ("04" + "41" + "00" * 63, "04" + "41" + "00" * 63),
        ("", ""),
        ("04", "04"),
        ("0444" + "04" + "11" * 64, "0444" + "04" + "11" * 64),
    ],
)
def test_a_point_is_taken_out_of_its_octet_string_where_it_is_in_one(value: str, point: str) -> None:
    assert pkcs11._point(bytes.fromhex(value), 256).hex() == point


@pytest.mark.parametrize("bits", [384, 521])
def test_points_of_longer_curves_are_in_octet_strings_of_their_length(bits: int) -> None:
    length = 2 * ((bits + 7) // 8) + 1
    point = b"\x04" + b"\x11" * (length - 1)
    head = bytes([4, length]) if length < 128 else bytes([4, 0x81, length])
    assert pkcs11._point(head + point, bits) == point
    assert pkcs11._point(point, bits) == point
