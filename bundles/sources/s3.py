"""Documents in S3, and in what speaks its protocol."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ConfigError, ContentError, MissingError, TransportError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["aws_config", "aws_errors", "aws_session", "read_s3"]

_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)
_LIMIT: Final = 16 * 1024 * 1024
_BLOCK: Final = 1024 * 1024
_GONE: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404", "NotFound"})
_DENIED: Final = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccessDeniedException"})
_STALE: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
    | {"UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId", "RequestExpired"}
)
_BUSY: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError", "503"})


def read_s3(url: str, *, limit: int = _LIMIT) -> bytes:
    """Read an object. Credentials, region and endpoint are boto3's own affair.

    Args:
        url: ``s3://bucket/key``.
        limit: bytes.

    Raises:
        UsageError: not such a URL.
        ConfigError: boto3 is missing, or finds no credentials.
        MissingError: no such object or bucket.
        TransportError: refused, or the connection failed.
        ContentError: larger than ``limit``.
    """
    match = _URL.fullmatch(url)
    if not match:
        raise UsageError(f"{url[:300]!r} is not an S3 URL", hint="write s3://BUCKET/KEY")
    session = aws_session(url)
    with aws_errors(url):
        client = session.client("s3", config=aws_config())
        try:
            answer = client.get_object(Bucket=match[1], Key=match[2])
            with answer["Body"] as body:
                return _bounded(body, limit, url)
        finally:
            client.close()


def _bounded(body: Any, limit: int, url: str) -> bytes:  # noqa: ANN401 -- botocore's StreamingBody
    found = bytearray()
    while block := body.read(_BLOCK):
        found += block
        if len(found) > limit:
            raise ContentError(f"larger than {limit} bytes", artifact=url, hint="a release document is far smaller")
    return bytes(found)


def aws_session(artifact: str) -> Any:  # noqa: ANN401 -- boto3 is optional and only here and in ecr.py
    """A boto3 session.

    Raises:
        ConfigError: boto3 is not installed, or the AWS configuration is broken.
    """
    try:
        import boto3  # noqa: PLC0415 -- an optional extra, half a second to import
    except ImportError as error:
        raise ConfigError(
            "needs the AWS SDK, which is not installed", artifact=artifact, hint="pip install 'bundlectl[aws]'"
        ) from error
    with aws_errors(artifact):
        return boto3.Session()


def aws_config(**more: Any) -> Any:  # noqa: ANN401
    """The settings of a client of boto3, and those that only this one has."""
    from botocore.config import Config  # noqa: PLC0415 -- with boto3

    options: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
    options["retries"] = {"mode": "standard", "max_attempts": 4}
    # Any other mode of the environment's may ask the metadata service where this is.
    options["defaults_mode"] = "legacy"
    return Config(**options, **more)


@contextmanager
def aws_errors(artifact: str) -> Iterator[None]:
    """Turn what boto3 raises into errors of bundlectl."""
    from botocore import exceptions as boto  # noqa: PLC0415 -- with boto3
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 -- with boto3
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- with boto3

    try:
        yield
    except boto.ClientError as error:
        raise _refused(error.response, artifact) from error
    except (boto.HTTPClientError, boto.ConnectionError, HTTPError, OSError) as error:
        raise TransportError(
            f"AWS cannot be reached: {str(error)[:300]}",
            artifact=artifact,
            hint="check the network, the proxy and AWS_ENDPOINT_URL",
            retryable=True,
        ) from error
    except (boto.BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"the AWS SDK cannot be used: {str(error)[:300]}",
            artifact=artifact,
            hint="set AWS_REGION, and credentials with AWS_PROFILE or AWS_ACCESS_KEY_ID",
        ) from error
    except (ResponseParserError, AttributeError, LookupError, TypeError) as error:
        # What the SDK trips over where an answer is of another shape than it expects.
        raise TransportError("what answered is not AWS", artifact=artifact, hint="check AWS_ENDPOINT_URL") from error


def _refused(response: Any, artifact: str) -> BundlectlError:  # noqa: ANN401
    fault = response.get("Error", {})
    code, message = str(fault.get("Code", "")), str(fault.get("Message", ""))[:300]
    if code in _GONE:
        return MissingError(f"it is not there ({code})", artifact=artifact, hint="check bucket and key")
    if code in _STALE:
        return ConfigError(
            f"AWS does not accept the credentials: {message or code}",
            artifact=artifact,
            hint="log in again, or check AWS_PROFILE and AWS_ACCESS_KEY_ID",
        )
    if code in _DENIED:
        return TransportError(
            f"AWS refused: {message or code}", artifact=artifact, hint="check the permissions of the AWS credentials"
        )
    return TransportError(
        f"AWS answered {code}: {message}",
        artifact=artifact,
        retryable=code in _BUSY,
        hint="try again; check AWS_ENDPOINT_URL and AWS_REGION",
    )
