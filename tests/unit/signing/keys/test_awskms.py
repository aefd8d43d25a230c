"""Keys in AWS KMS: moto where it does what AWS does, made-up answers where it does not."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import threading
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bundlectl.errors import KeyProviderError, UsageError
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, awskms, load_public_key, open_signer
from signing.signature import PublicKey
from tests.interop.programs import free_port

from .samples import certificate, new_key, private_pem, public_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Kms

NOTHING = KeyAccess()
ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


@contextmanager
def answering(status: int, answer: object, certificate_file: str = "") -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer to everything; yields its host and the Authorization headers it got."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_PUT()

        def do_PUT(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- of the base class
            pass

    class Server(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # probes for TLS

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate_file)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


configured = pytest.mark.usefixtures("kms")
"""Credentials and a region in the environment."""


@pytest.mark.parametrize(
    ("key", "endpoint", "name", "region"),
    [
        (f"awskms:///{ID}", "", ID, None),
        ("awskms:///alias/site/release_1", "", "alias/site/release_1", None),
        ("awskms:///mrk-1234abcd12ab34cd56ef1234567890ab", "", "mrk-1234abcd12ab34cd56ef1234567890ab", None),
        (
            f"awskms:///arn:aws:kms:eu-west-1:111122223333:key/{ID}",
            "",
            f"arn:aws:kms:eu-west-1:111122223333:key/{ID}",
            "eu-west-1",
        ),
        (
            "awskms://localhost:4566/arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x",
            "localhost:4566",
            "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x",
            "us-gov-west-1",
        ),
        ("awskms://[::1]:4566/alias/x", "[::1]:4566", "alias/x", None),
    ],
)
def test_the_forms_of_cosign_are_read(key: str, endpoint: str, name: str, region: str | None) -> None:
    assert awskms.KmsName.parse(key) == awskms.KmsName(key, endpoint, name, region)


@pytest.mark.parametrize(
    "key",
    [
        "awskms:",
        "awskms://",
        "awskms:///",
        "awskms:///name",
        "awskms://alias/x",
        "awskms:///alias/",
        "awskms:///alias/x y",
        "awskms://user:pw@host/alias/x",
        "awskms://host:port/alias/x",
        "awskms://host:99999/alias/x",
        "awskms://[:::]/alias/x",
        "awskms:///arn:aws:s3:eu-west-1:111122223333:key/x",
        f"awskms:///arn:aws:kms:eu-west-1:1:key/{ID}",
        f"awskms:///{ID}\n",
    ],
)
def test_anything_else_is_wrong_usage(key: str) -> None:
    with pytest.raises(UsageError):
        load_public_key(key, NOTHING)


def test_a_key_is_found_by_its_alias_and_by_its_arn(kms: Kms) -> None:
    made = kms.key(alias="release")
    public = PublicKey.from_der(kms.client.get_public_key(KeyId=made)["PublicKey"])
    for name in ("alias/release", f"arn:aws:kms:us-east-1:123456789012:key/{made}"):
        signature = open_signer(f"awskms://{kms.host}/{name}", NOTHING).sign_digest(Digest.of(b"text"))
        assert public.verifies(b"text", signature.value)


def test_no_proxy_stands_between_here_and_loopback(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kms.key()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    load_public_key(f"awskms://{kms.host}/{made}", NOTHING)


def test_the_endpoint_of_the_aws_configuration_counts_where_the_key_names_none(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kms.key()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{kms.host}")
    load_public_key(f"awskms:///{made}", KeyAccess(offline=True))


@configured
def test_the_region_of_an_arn_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with answering(400, {"__type": "NotFoundException"}) as (host, seen):
        with pytest.raises(KeyProviderError, match="no such key"):
            load_public_key(f"awskms://{host}/arn:aws:kms:eu-central-1:111122223333:key/{ID}", NOTHING)
        with pytest.raises(KeyProviderError, match="no such key"):
            load_public_key(f"awskms://{host}/{ID}", NOTHING)
    assert "/eu-central-1/kms/" in seen[0]
    assert "/us-east-1/kms/" in seen[1]


def test_other_kinds_of_keys_verify_and_do_not_sign(kms: Kms) -> None:
    key = f"awskms://{kms.host}/{kms.key('RSA_2048')}"
    assert load_public_key(key, NOTHING).key.algorithm == "rsa"
    with pytest.raises(KeyProviderError, match="P-256, this one is rsa"):
        open_signer(key, NOTHING)
    with pytest.raises(KeyProviderError, match="not used here"):
        load_public_key(f"awskms://{kms.host}/{kms.key('ECC_SECG_P256K1')}", NOTHING)


@configured
def test_a_key_for_encryption_is_not_for_signing() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    answer = {"KeyUsage": "ENCRYPT_DECRYPT", "PublicKey": base64.b64encode(public_of(key).der).decode(), "KeyId": ID}
    with answering(200, answer) as (host, _), pytest.raises(KeyProviderError, match="not for signing"):
        load_public_key(f"awskms://{host}/{ID}", NOTHING)


@configured
@pytest.mark.parametrize(
    ("code", "match", "hint"),
    [
        ("DisabledException", "cannot be used", "disabled"),
        ("KMSInvalidStateException", "cannot be used", "deleted"),
        ("AccessDeniedException", "AWS refused", "kms:GetPublicKey"),
        ("UnsupportedOperationException", "not for signing", "ECC_NIST_P256"),
        ("NotFoundException", "no such key", "AWS_DEFAULT_REGION"),
        ("ExpiredTokenException", "credentials", "log in again"),
        ("ThrottlingException", "answered ThrottlingException", "try again"),
        ("SomethingNewException", "answered SomethingNewException", "check the key"),
    ],
)
def test_what_aws_refuses_says_what_to_do(code: str, match: str, hint: str) -> None:
    with answering(400, {"__type": code, "message": "no"}) as (host, _):
        with pytest.raises(KeyProviderError, match=match) as raised:
            open_signer(f"awskms://{host}/{ID}", NOTHING)
        assert hint in (raised.value.hint or "")
        assert raised.value.artifact == f"awskms://{host}/{ID}"


@configured
def test_what_aws_quotes_of_a_request_is_not_told() -> None:
    answer = {"__type": "InvalidSignatureException", "message": "the canonical string was x-amz-security-token:FwoGZX"}
    with answering(400, answer) as (host, _), pytest.raises(KeyProviderError) as raised:
        load_public_key(f"awskms://{host}/{ID}", NOTHING)
    assert "FwoGZX" not in "".join(traceback.format_exception(raised.value))


@configured
def test_answers_that_are_no_key_are_an_error() -> None:
    with (
        answering(200, {"KeyUsage": "SIGN_VERIFY"}) as (host, _),
        pytest.raises(KeyProviderError, match="not a public"),
    ):
        load_public_key(f"awskms://{host}/{ID}", NOTHING)


@configured
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "answer",
    [
        [],
        None,
        5,
        "text",
        {},
        {"PublicKey": 5, "KeyUsage": "SIGN_VERIFY"},
        {"PublicKey": [], "KeyUsage": "SIGN_VERIFY"},
        {"PublicKey": "AAAA", "KeyUsage": {}},
        {"__type": 5},
        {"__type": ["x"], "message": {}},
    ],
)
def test_an_answer_of_any_shape_is_a_key_or_an_error_with_a_hint(answer: object, status: int) -> None:
    with answering(status, answer) as (host, _), pytest.raises(KeyProviderError) as raised:
        open_signer(f"awskms://{host}/{ID}", NOTHING)
    assert raised.value.artifact == f"awskms://{host}/{ID}"
    assert raised.value.hint


@configured
def test_no_mode_of_the_environment_makes_the_sdk_ask_the_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {}) as (host, seen):
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{host}")
        monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
        with pytest.raises(KeyProviderError, match="offline: kms"):
            open_signer("awskms:///alias/release", KeyAccess(offline=True))
    assert seen == []


@configured
def test_an_endpoint_where_nobody_listens_cannot_be_reached() -> None:
    with pytest.raises(KeyProviderError, match="cannot be reached") as raised:
        load_public_key(f"awskms://127.0.0.1:{free_port()}/{ID}", NOTHING)
    assert raised.value.retryable


@configured
def test_a_loopback_endpoint_with_tls_has_its_certificate_checked(tmp_path: Path) -> None:
    key = new_key()
    path = write(tmp_path / "server.pem", private_pem(key) + certificate(key))
    with answering(200, {}, path) as (host, seen), pytest.raises(KeyProviderError, match="certificate verify failed"):
        load_public_key(f"awskms://{host}/{ID}", NOTHING)
    assert seen == []


def test_missing_region_and_credentials_are_named(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(KeyProviderError, match="in which AWS region"):
        load_public_key("awskms:///alias/release", NOTHING)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(KeyProviderError, match="no AWS credentials"):
        load_public_key(f"awskms://{kms.host}/alias/release", NOTHING)
    monkeypatch.setenv("AWS_PROFILE", "nobody's")
    with pytest.raises(KeyProviderError, match="AWS SDK cannot be used"):
        load_public_key(f"awskms://{kms.host}/alias/release", NOTHING)


@configured
def test_offline_asks_no_host_but_loopback() -> None:
    for key in ("awskms:///alias/release", "awskms://kms.example.com/alias/release"):
        with pytest.raises(KeyProviderError, match="offline: kms"):
            open_signer(key, KeyAccess(offline=True))


def test_offline_asks_no_host_for_credentials_either(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {}) as (host, seen):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{host}/credentials")
        with pytest.raises(KeyProviderError, match="no AWS credentials"):
            load_public_key(f"awskms://{kms.host}/alias/release", KeyAccess(offline=True))
    assert seen == []


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(KeyProviderError, match="not installed") as raised:
        load_public_key("awskms:///alias/release", NOTHING)
    assert raised.value.hint == "pip install 'bundlectl[aws]'"
