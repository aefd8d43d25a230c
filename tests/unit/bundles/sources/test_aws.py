from __future__ import annotations

import base64
import io
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.server import ThreadedMotoServer
from urllib3.exceptions import ProtocolError

from bundlectl.errors import BundlectlError, ConfigError, ContentError, MissingError, TransportError, UsageError
from bundles.sources import ecr, read_source
from bundles.sources.ecr import EcrCredentials
from bundles.sources.s3 import _bounded, aws_errors, read_s3

from .documents import eksd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.sources.context import SourceContext

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """The AWS API, spoken by moto on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Credentials and endpoint as users set them; gives an S3 client."""
    for name, value in {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3")
    client.create_bucket(Bucket="releases")
    yield client
    client.close()


def test_a_document_is_read_from_s3(aws: Any, context: SourceContext) -> None:
    aws.put_object(Bucket="releases", Key="a b/eksd.yaml", Body=eksd())

    loaded = read_source("s3://releases/a b/eksd.yaml", context)

    assert loaded.name == "kubernetes-1-33-eks-12"
    assert loaded.documents[0].url == "s3://releases/a b/eksd.yaml"


def test_a_collection_in_s3_names_its_neighbours(aws: Any, context: SourceContext) -> None:
    collection = (
        b"apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nmetadata: {name: x}\nspec: {sources: [../e.yaml]}\n"
    )
    aws.put_object(Bucket="releases", Key="dir/site.yaml", Body=collection)
    aws.put_object(Bucket="releases", Key="e.yaml", Body=eksd())

    loaded = read_source("s3://releases/dir/site.yaml", context)

    assert loaded.documents[0].url == "s3://releases/e.yaml"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("url", ["s3://releases/none.yaml", "s3://no-such-bucket/x"])
def test_an_object_that_is_not_there_is_missing(url: str) -> None:
    with pytest.raises(MissingError):
        read_s3(url)


def test_an_object_beyond_the_limit_is_refused(aws: Any) -> None:
    aws.put_object(Bucket="releases", Key="big", Body=b"x" * 101)

    assert len(read_s3("s3://releases/big", limit=101)) == 101
    with pytest.raises(ContentError, match="larger than 100"):
        read_s3("s3://releases/big", limit=100)


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://B_/x", "https://x/y"])
def test_what_is_no_s3_url_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError):
        read_s3(url)


@pytest.mark.usefixtures("aws")
def test_an_endpoint_that_does_not_answer_is_a_transport_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(TransportError) as caught:
        read_s3("s3://releases/x")

    assert caught.value.retryable


@pytest.mark.usefixtures("aws")
def test_no_mode_of_the_environment_makes_the_sdk_ask_the_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as metadata:
        metadata.settimeout(0)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{metadata.getsockname()[1]}")
        monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
        with pytest.raises(MissingError):
            read_s3("s3://releases/none.yaml")
        assert EcrCredentials()(HOST) is not None
        with pytest.raises(BlockingIOError):
            metadata.accept()


@pytest.mark.usefixtures("aws")
def test_an_answer_of_another_shape_is_a_transport_error() -> None:
    for error in (AttributeError("get"), KeyError("Error"), TypeError("None"), ResponseParserError("not XML")):
        with pytest.raises(TransportError, match="not AWS"), aws_errors("s3://x/y"):
            raise error


@pytest.mark.usefixtures("aws")
def test_without_credentials_the_error_says_how_to_give_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    for ask in (lambda: read_s3("s3://releases/x"), lambda: EcrCredentials()(HOST)):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(ConfigError) as caught:
        read_s3("s3://releases/x")

    assert caught.value.hint == "pip install 'bundlectl[aws]'"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDenied", TransportError),
        ("ExpiredToken", ConfigError),
        ("SlowDown", TransportError),
        ("NoSuchKey", MissingError),
        ("Strange", TransportError),
    ],
)
@pytest.mark.usefixtures("aws")
def test_refusals_of_aws_are_errors_of_ours(code: str, error: type[BundlectlError]) -> None:
    with pytest.raises(error) as caught, aws_errors("s3://x/y"):
        raise ClientError({"Error": {"Code": code, "Message": "because"}}, "GetObject")

    assert caught.value.artifact == "s3://x/y"


@pytest.mark.usefixtures("aws")
def test_a_token_for_ecr_is_asked_of_aws() -> None:
    credential = EcrCredentials()(HOST)

    assert credential is not None
    assert credential.username == "AWS"
    assert credential.password
    assert credential.password not in repr(credential)


@pytest.mark.parametrize(
    "host",
    ["public.ecr.aws", "r.example", f"{HOST}.evil.example", "x" + HOST, f"{HOST}:443", "12.dkr.ecr.x.amazonaws.com"],
)
def test_other_hosts_get_no_token(host: str) -> None:
    assert EcrCredentials()(host) is None


class FakeEcr:
    """Answers like ECR, counting."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bool]] = []

    def client(self, service: str, *, region_name: str, config: Any) -> FakeEcr:
        assert service == "ecr"
        self.asked.append((region_name, config.use_fips_endpoint))
        return self

    def get_authorization_token(self) -> dict[str, Any]:
        return self.answer

    def close(self) -> None: ...


def answer(token: str, expires: datetime) -> dict[str, Any]:
    encoded = base64.b64encode(token.encode()).decode()
    return {"authorizationData": [{"authorizationToken": encoded, "expiresAt": expires}]}


def test_a_token_is_kept_until_shortly_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    fake = FakeEcr(answer("AWS:secret:with:colons", now + timedelta(hours=12)))
    monkeypatch.setattr(ecr, "aws_session", lambda _: fake)
    clock = [now]
    provider = EcrCredentials(now=lambda: clock[0])

    for host in (HOST, "999999999999.dkr.ecr.eu-west-1.amazonaws.com", "1" * 12 + ".dkr-ecr.eu-west-1.on.aws"):
        found = provider(host)
        assert found is not None
        assert found.password == "secret:with:colons"
    assert fake.asked == [("eu-west-1", False)]

    clock[0] = now + timedelta(hours=11, minutes=46)
    provider(HOST)
    provider("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com")
    provider("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn")
    assert fake.asked[1:] == [("eu-west-1", False), ("us-gov-west-1", True), ("cn-north-1", False)]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"authorizationData": []},
        {"authorizationData": [{"authorizationToken": "!!", "expiresAt": datetime(2026, 1, 1, tzinfo=UTC)}]},
        answer("no colon", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_unusable_answer_of_ecr_is_told_without_showing_it(
    broken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecr, "aws_session", lambda _: FakeEcr(broken))

    with pytest.raises(ConfigError, match="without a usable"):
        EcrCredentials()(HOST)


def test_a_connection_that_breaks_in_the_body_is_a_transport_error() -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            del size
            raise ProtocolError("Connection broken")

    with pytest.raises(TransportError), aws_errors("s3://x/y"):
        _bounded(Breaking(), 10, "s3://x/y")
