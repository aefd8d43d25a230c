"""Keys in AWS KMS, named as cosign names them: ``awskms://[ENDPOINT]/ID``, ``alias/NAME`` or an ARN.

An ENDPOINT (``host[:port]``) is asked by HTTPS, as cosign does. On loopback, where test servers often
speak without TLS, a handshake is tried first, and plain HTTP is used where there is none.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bundlectl.errors import KeyProviderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.digest import Digest
    from signing.keys import KeyAccess
    from signing.signature import PublicKey, Signature, Signer

__all__ = ["KmsName", "load_public_key", "open_signer"]

_ID: Final = r"mrk-[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ALIAS: Final = r"alias/[A-Za-z0-9/_-]{1,250}"
_KEY: Final = re.compile(
    r"awskms://(?P<endpoint>(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?)?/"
    rf"(?P<id>{_ID}|{_ALIAS}|arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]{{1,32}}):[0-9]{{12}}:(?:key/(?:{_ID})|{_ALIAS}))"
)
_PROBE_SECONDS: Final = 2.0
_LOCAL_CREDENTIALS: Final = frozenset({"env", "shared-credentials-file", "config-file", "boto-config"})
"""Ways of botocore to find credentials that ask no host."""

_STALE: Final = frozenset(
    {"ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException"}
    | {"MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "RequestExpired"}
    | {"UnrecognizedClientException"}
)
_UNFIT: Final = frozenset({"InvalidKeyUsageException", "UnsupportedOperationException"})
_RESTING: Final = frozenset({"DisabledException", "KMSInvalidStateException"})
_BUSY: Final = frozenset(
    {"DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException", "LimitExceededException"}
    | {"ThrottlingException", "ServiceUnavailable", "InternalFailure", "500", "502", "503", "504"}
)


@dataclass(frozen=True, slots=True)
class KmsName:
    """An ``awskms:`` KEY in its parts. ``region`` is that of an ARN, which wins over any setting."""

    key: str
    endpoint: str
    id: str
    region: str | None

    @classmethod
    def parse(cls, key: str) -> KmsName:
        """Read a KEY.

        Raises:
            UsageError: not of this form.
        """
        match = _KEY.fullmatch(key)
        if match is None or not _is_address(match["endpoint"] or ""):
            raise UsageError(
                f"{key[:300]!r} is not how a key in AWS KMS is named",
                hint="write awskms:///alias/NAME, awskms:///KEY-ID or awskms:///ARN; "
                "with an endpoint awskms://HOST[:PORT]/alias/NAME",
            )
        return cls(key, match["endpoint"] or "", match["id"], match["region"])


def _is_address(endpoint: str) -> bool:
    try:
        urlsplit(f"//{endpoint}").port  # noqa: B018 -- raises on a port that is too large
    except ValueError:
        return False
    return True


def open_signer(key: str, access: KeyAccess) -> Signer:
    """Ask KMS for the key, which must sign with ECDSA on P-256.

    Raises:
        UsageError: not an ``awskms:`` KEY.
        KeyProviderError: boto3, region, credentials or permissions are missing, KMS cannot be reached,
            or the key is another or cannot be used.
    """
    return _KmsSigner(KmsName.parse(key), access)


def load_public_key(key: str, access: KeyAccess) -> PublicKey:
    """Ask KMS for the public key.

    Raises:
        UsageError: not an ``awskms:`` KEY.
        KeyProviderError: as ``open_signer``, but the key may be of any kind that verifies.
    """
    name = KmsName.parse(key)
    client = _client(name, access)
    try:
        return _public_key(client, name)[0]
    finally:
        client.close()


class _KmsSigner:
    def __init__(self, name: KmsName, access: KeyAccess) -> None:
        self._name = name
        self._client = _client(name, access)
        weakref.finalize(self, self._client.close)
        # Signed with the key that was found, even if the alias is pointed elsewhere meanwhile.
        self._public, self._id = _public_key(self._client, name)

    @property
    def public_key(self) -> PublicKey:
        return self._public

    def sign_digest(self, digest: Digest) -> Signature:
        from signing.signature import Signature  # noqa: PLC0415 -- imports cryptography

        with _kms_errors(self._name.key):
            answer = self._client.sign(
                KeyId=self._id,
                Message=bytes.fromhex(digest.encoded),
                MessageType="DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        return Signature(bytes(answer.get("Signature") or b""), self._public)


def _public_key(client: Any, name: KmsName) -> tuple[PublicKey, str]:  # noqa: ANN401 -- boto3's client
    from signing.signature import PublicKey  # noqa: PLC0415 -- imports cryptography

    with _kms_errors(name.key):
        answer = client.get_public_key(KeyId=name.id)
    if answer.get("KeyUsage") != "SIGN_VERIFY":
        raise _unfit(name.key)
    try:
        return PublicKey.from_der(bytes(answer.get("PublicKey") or b"")), str(answer.get("KeyId") or name.id)
    except KeyProviderError as error:
        error.artifact = name.key
        raise


def _client(name: KmsName, access: KeyAccess) -> Any:  # noqa: ANN401 -- boto3 is optional
    try:
        import boto3  # noqa: PLC0415 -- an optional extra, half a second to import
        import botocore.session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise KeyProviderError(
            "keys in AWS KMS need the AWS SDK, which is not installed",
            artifact=name.key,
            hint="pip install 'bundlectl[aws]'",
        ) from None
    with _kms_errors(name.key):
        core = botocore.session.Session()
        if access.offline:
            credentials = core.get_component("credential_provider")
            for method in [provider.METHOD for provider in credentials.providers]:
                if method not in _LOCAL_CREDENTIALS:
                    credentials.remove(method)
        loopback = _is_loopback(urlsplit(f"//{name.endpoint}").hostname)
        # Any other mode of the environment's may ask the metadata service where this is, even offline.
        options: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 30, "defaults_mode": "legacy"}
        options["retries"] = {"mode": "standard", "max_attempts": 2 if loopback else 4}
        if loopback:
            options["proxies"] = {}
        client = boto3.Session(botocore_session=core).client(
            "kms", region_name=name.region, endpoint_url=_endpoint_url(name.endpoint), config=Config(**options)
        )
    host = urlsplit(client.meta.endpoint_url).hostname
    if access.offline and not _is_loopback(host):
        client.close()
        raise KeyProviderError(
            f"offline: {host} is not asked", artifact=name.key, hint="leave out --offline, or use a key that is here"
        )
    return client


def _endpoint_url(endpoint: str) -> str | None:
    if not endpoint:
        return None
    parts = urlsplit(f"//{endpoint}")
    if _is_loopback(parts.hostname) and not _speaks_tls(parts.hostname or "", parts.port or 443):
        return f"http://{endpoint}"
    return f"https://{endpoint}"


def _speaks_tls(host: str, port: int) -> bool:
    """Try a handshake. The certificate is not checked here but by boto3: a bad one is an error, not plain HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _PROBE_SECONDS) as plain:
            try:
                context.wrap_socket(plain, server_hostname=host).close()
            except ssl.SSLError as error:
                return "ALERT" in (error.reason or "")
            except OSError:
                return False
    except OSError:
        pass  # nobody listens: boto3 will say so
    return True


def _is_loopback(host: str | None) -> bool:
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _kms_errors(key: str) -> Iterator[None]:
    """Turn what boto3 raises into errors of bundlectl.

    Causes are cut off: AWS's answer to a wrong signature quotes the request with its session token.
    """
    from botocore import exceptions as boto  # noqa: PLC0415 -- with boto3
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 -- with boto3
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- with boto3

    try:
        yield
    except boto.ClientError as error:
        raise _refused(error.response, key) from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError):
        raise KeyProviderError(
            "there are no AWS credentials to use the key with",
            artifact=key,
            hint="log in with the AWS CLI and set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from None
    except boto.NoRegionError:
        raise KeyProviderError(
            "it is not said in which AWS region the key is",
            artifact=key,
            hint="set AWS_DEFAULT_REGION, or name the key by its ARN",
        ) from None
    except (boto.HTTPClientError, boto.ConnectionError, HTTPError, OSError) as error:
        raise KeyProviderError(
            f"AWS KMS cannot be reached: {str(error)[:300]}",
            artifact=key,
            hint="check the network, the proxy, the region, and the endpoint in the key's name",
            retryable=True,
        ) from None
    except (boto.BotoCoreError, ValueError) as error:
        raise KeyProviderError(
            f"the AWS SDK cannot be used: {str(error)[:300]}", artifact=key, hint="check the AWS configuration"
        ) from None
    except (ResponseParserError, AttributeError, LookupError, TypeError):
        # What the SDK trips over where an answer is of another shape than it expects.
        raise KeyProviderError(
            "what answered is not AWS KMS",
            artifact=key,
            hint="check the endpoint in the key's name, and AWS_ENDPOINT_URL",
        ) from None


def _refused(response: Any, key: str) -> KeyProviderError:  # noqa: ANN401 -- boto3's answer
    fault = response.get("Error", {})
    code, message = str(fault.get("Code", "")), str(fault.get("Message", ""))[:300]
    if code in _STALE:
        return KeyProviderError(
            f"AWS does not accept the credentials ({code})",
            artifact=key,
            hint="log in again, or check AWS_PROFILE and AWS_ACCESS_KEY_ID",
        )
    if code == "NotFoundException":
        return KeyProviderError(
            "there is no such key", artifact=key, hint="check its name, AWS_DEFAULT_REGION and the account"
        )
    if code == "AccessDeniedException":
        return KeyProviderError(
            f"AWS refused: {message or code}",
            artifact=key,
            hint="the key's policy must allow kms:GetPublicKey, and for signing kms:Sign",
        )
    if code in _RESTING:
        return KeyProviderError(
            f"the key cannot be used: {message or code}",
            artifact=key,
            hint="it is disabled, or waits to be deleted; enable it in KMS",
        )
    if code in _UNFIT:
        return _unfit(key)
    busy = code in _BUSY
    return KeyProviderError(
        f"AWS KMS answered {code}: {message}",
        artifact=key,
        retryable=busy,
        hint="try again" if busy else "check the key in KMS, its region, and the endpoint in its name",
    )


def _unfit(key: str) -> KeyProviderError:
    return KeyProviderError(
        "the key is not for signing",
        artifact=key,
        hint="a key of the spec ECC_NIST_P256 and the usage SIGN_VERIFY is needed",
    )
