"""What every provider keeps: the folder is listed, so a new one is tested by existing."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundlectl.errors import BundlectlError, KeyProviderError, UsageError
from mirror.oci.digest import Digest
from signing import keys
from signing.keys import KeyAccess, key_scheme, load_public_key, open_signer, providers

from .samples import Sample, new_key, public_of, write

if TYPE_CHECKING:
    from signing.signature import Signature

MESSAGE = b"the bytes of a document"
SCHEMES = [name for name in providers() if not hasattr(import_module(f"signing.keys.{name}"), "LABELS")]


@pytest.fixture(params=providers())
def sample(request: pytest.FixtureRequest) -> Sample:
    found: Sample = request.getfixturevalue(f"{request.param}_sample")
    return found


def test_the_providers_of_this_release_are_found() -> None:
    assert providers() == ("awskms", "base64", "cosign_key", "pem", "pkcs11")


def test_the_public_key_is_that_of_the_key_and_named_as_the_user_named_it(sample: Sample) -> None:
    named = load_public_key(sample.key, sample.access)
    assert named.key == sample.public
    assert named.source == sample.key


def test_what_is_signed_holds_with_the_public_key(sample: Sample) -> None:
    if not sample.signs:
        with pytest.raises(KeyProviderError, match="cannot sign"):
            open_signer(sample.key, sample.access)
        return
    signer = open_signer(sample.key, sample.access)
    signature = signer.sign_digest(Digest.of(MESSAGE))
    assert signer.public_key == signature.key == sample.public
    assert sample.public.verifies(MESSAGE, signature.value)
    assert not sample.public.verifies(MESSAGE + b"!", signature.value)


def test_only_a_sha256_digest_is_signed(sample: Sample) -> None:
    if not sample.signs:
        return
    with pytest.raises(KeyProviderError, match="sha512") as raised:
        open_signer(sample.key, sample.access).sign_digest(Digest.of(MESSAGE, "sha512"))
    assert raised.value.hint


def test_a_secret_is_asked_for_once_and_shown_nowhere(sample: Sample) -> None:
    if sample.secret is None:
        return
    signer = open_signer(sample.key, sample.access)
    for _ in range(3):
        signer.sign_digest(Digest.of(MESSAGE))
    assert len(sample.secret.asked) <= 1
    assert sample.secret.value not in f"{signer!r} {signer._signer!r} {sample.access!r} {sample.secret.asked}"  # type: ignore[attr-defined]


def test_a_secret_that_cannot_be_had_or_is_wrong_is_not_in_the_error(sample: Sample) -> None:
    if sample.secret is None or sample.key.startswith("pkcs11:"):  # whose one login is tried in test_pkcs11.py
        return
    with pytest.raises(KeyProviderError, match="there is no"):
        open_signer(sample.key, sample.without_secret())
    wrong = "".join(reversed(sample.secret.value))
    with pytest.raises(KeyProviderError) as raised:
        open_signer(sample.key, sample.with_secret(wrong))
    said = "".join(traceback.format_exception(raised.value))
    assert wrong not in f"{said} {raised.value.hint}"


@pytest.mark.parametrize("name", SCHEMES)
@given(rest=st.text(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_whatever_stands_after_the_prefix_is_an_error_of_ours_at_worst(name: str, rest: str) -> None:
    for use in (load_public_key, open_signer):
        with pytest.raises(BundlectlError):
            use(f"{name}:{rest}", KeyAccess(offline=True))


def test_each_pem_label_is_read_by_one_provider() -> None:
    labels = [label for name in providers() for label in getattr(import_module(f"signing.keys.{name}"), "LABELS", ())]
    assert len(labels) == len(set(labels))


def test_importing_a_provider_imports_nothing_heavy() -> None:
    heavy = ["boto3", "botocore", "pkcs11", "nacl", "cryptography"]
    modules = [f"signing.keys.{name}" for name in providers()]
    code = f"""
import importlib, json, sys
for name in {modules!r}: importlib.import_module(name)
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_signature_that_does_not_hold_is_not_handed_out() -> None:
    key, other = new_key(), new_key()

    class Faulty:
        public_key = public_of(key)

        def sign_digest(self, digest: Digest) -> Signature:
            from signing.keys.local import LocalSigner  # noqa: PLC0415

            return LocalSigner(other).sign_digest(digest)

    with pytest.raises(KeyProviderError, match="does not hold"):
        keys._CheckedSigner(Faulty(), "faulty").sign_digest(Digest.of(MESSAGE))


def test_the_key_aws_is_not_one_key() -> None:
    with pytest.raises(UsageError, match="depends on the kind"):
        load_public_key("aws", KeyAccess())
    with pytest.raises(UsageError, match="Amazon"):
        open_signer("aws", KeyAccess())


@pytest.mark.parametrize("key", ["", " ", "a\0b", "gcpkms://projects/p", "hashivault://k", "https://user:pw@host/key"])
def test_what_is_no_key_at_all_is_wrong_usage_and_not_repeated(key: str) -> None:
    for use in (load_public_key, open_signer):
        with pytest.raises(UsageError) as raised:
            use(key, KeyAccess())
        assert "user:pw" not in str(raised.value)


def test_the_case_of_a_scheme_does_not_matter(base64_sample: Sample) -> None:
    _, _, rest = base64_sample.key.partition(":")
    for scheme in ("BASE64", "Base64"):
        assert load_public_key(f"{scheme}:{rest}", KeyAccess()).key == base64_sample.public
    with pytest.raises(KeyProviderError, match="which PKCS#11 module"):
        load_public_key("PKCS11:token=a", KeyAccess())
    with pytest.raises(UsageError, match="AWS KMS"):
        load_public_key("AWSkms:x", KeyAccess())


@pytest.mark.parametrize("scheme", ["PKCS11:", "Pkcs11:", " pkcs11:", "pkcs12:", "pkcs11;", "./pkcs11:"])
def test_a_pin_in_a_key_is_wrong_usage_and_not_repeated_however_the_scheme_is_written(scheme: str) -> None:
    for use in (load_public_key, open_signer):
        with pytest.raises(UsageError, match="pin-value") as raised:
            use(f"{scheme}token=a?pin-value=9876", KeyAccess())
        assert "9876" not in f"{raised.value} {raised.value.hint} {raised.value.__context__}"


def test_a_key_has_a_scheme_or_is_a_path() -> None:
    keys_ = {"base64:x": "base64", "AWSKMS:///alias/x": "awskms", "pkcs11:token=a": "pkcs11", "C:/x": None}
    keys_ |= {"site.pub": None, "./base64:x": None, "keys:prod.pub": None, "pem:x": None, "aws": None}
    assert {key: key_scheme(key) for key in keys_} == keys_


def test_a_path_may_look_like_the_name_of_a_module(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("odd") / "pem:key.pub"
    public = public_of(new_key())
    write(path, public.pem(), 0o644)
    assert load_public_key(str(path), KeyAccess()).key == public
