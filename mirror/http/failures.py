"""From what urllib3 raises and servers answer to the errors of bundlectl."""

from __future__ import annotations

import http.client
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from urllib3 import exceptions as wire

from bundlectl.errors import BundlectlError, MissingError, RegistryError, TransportError
from mirror.http.addresses import origin_of, shown
from mirror.http.pace import SlowBodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FOREIGN",
    "RETRYABLE_STATUSES",
    "fell_silent",
    "never_connected",
    "retry_after",
    "status_error",
    "transport_error",
]

FOREIGN: Final = (wire.HTTPError, http.client.HTTPException, OSError)
"""Everything that urllib3 and the sockets below it raise."""

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE: Final = frozenset({404, 410})
_NO_SUCH_NAME: Final = ("Name or service not known", "nodename nor servname", "No address associated")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: ``Retry-After`` as seconds or as an HTTP date."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def status_error(status: int, headers: Mapping[str, str], *, artifact: str) -> BundlectlError:
    """Tell what a plain file server's refusal means."""
    if status in _GONE:
        return MissingError("is not there", artifact=artifact)
    hints = {
        401: "it wants credentials",
        403: "it may be private, or the URL may have expired",
        407: "the proxy wants credentials: put them into HTTPS_PROXY",
        429: "it limits the rate; use fewer --jobs, or try again later",
    }
    return RegistryError(
        f"the server answered {status} {http.client.responses.get(status, '')}".rstrip(),
        status=status,
        retry_after=retry_after(headers),
        artifact=artifact,
        hint=hints.get(status),
        retryable=status in RETRYABLE_STATUSES,
    )


def never_connected(error: BaseException | None) -> bool:
    """Whether there was no connection at all (name, refusal, no route): rarely mended by waiting."""
    return isinstance(error, (wire.NewConnectionError, wire.ConnectTimeoutError, wire.ProxyError))


def fell_silent(error: BaseException | None) -> bool:
    """Whether a connection stood and nothing came over it any more."""
    return error is not None and (isinstance(error, wire.ReadTimeoutError) or isinstance(_root(error), TimeoutError))


def transport_error(error: Exception, url: str) -> TransportError:
    """Tell what went wrong with a connection."""
    artifact = shown(url)
    netloc = origin_of(url).netloc
    cause = _root(error)
    if isinstance(error, wire.ProxyError):
        return _proxy_error(error, artifact)
    if isinstance(cause, ssl.SSLError) or isinstance(error, wire.SSLError):
        return _tls_error(cause, artifact, netloc)
    if never_connected(error):
        return _connect_error(error, cause, artifact, netloc)
    if fell_silent(error):
        what = "sends less than a kibibyte a second" if isinstance(cause, SlowBodyError) else "fell silent"
        return TransportError(f"{netloc} {what}", artifact=artifact, retryable=True)
    if isinstance(error, (wire.LocationParseError, http.client.InvalidURL)):
        return TransportError("is not a URL that can be asked for", artifact=artifact)
    return TransportError(f"the connection to {netloc} broke: {_reason(cause)}", artifact=artifact, retryable=True)


def _connect_error(error: Exception, cause: BaseException, artifact: str, netloc: str) -> TransportError:
    if isinstance(error, wire.NameResolutionError):
        return TransportError(
            f"the name of {netloc} cannot be resolved",
            artifact=artifact,
            hint="check the name, DNS, and whether a proxy is needed (HTTPS_PROXY)",
            retryable=not any(text in str(error) for text in _NO_SUCH_NAME),
        )
    silent = isinstance(error, wire.ConnectTimeoutError) and not isinstance(error, wire.NewConnectionError)
    reason = "it does not answer" if silent else _reason(cause)
    return TransportError(
        f"{netloc} cannot be reached: {reason}",
        artifact=artifact,
        hint="check host, port and firewall, and whether a proxy is needed (HTTPS_PROXY)",
        retryable=True,
    )


def _proxy_error(error: wire.ProxyError, artifact: str) -> TransportError:
    text = str(error.original_error)
    refused = "407" in text
    return TransportError(
        "the proxy refused: it wants credentials" if refused else f"the proxy failed: {_reason(error.original_error)}",
        artifact=artifact,
        hint="check HTTP_PROXY and HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), or list the host in NO_PROXY",
        retryable=not refused and "403" not in text,
    )


def _tls_error(cause: BaseException, artifact: str, netloc: str) -> TransportError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransportError(
            f"the certificate of {netloc} is not trusted: {cause.verify_message or cause.reason}",
            artifact=artifact,
            hint=f"give its authority with --ca-file {netloc}=FILE",
        )
    text = str(cause)
    if any(sign in text for sign in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")):
        return TransportError(
            f"{netloc} does not speak TLS",
            artifact=artifact,
            hint=f"if it is meant to be plain HTTP, say --plain-http {netloc}",
        )
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text or "UNKNOWN_CA" in text:
        return TransportError(
            f"{netloc} refused the TLS handshake: {_reason(cause)}",
            artifact=artifact,
            hint=f"it may want a client certificate: --client-cert {netloc}=FILE",
        )
    return TransportError(f"TLS with {netloc} failed: {_reason(cause)}", artifact=artifact, retryable=True)


def _root(error: BaseException) -> BaseException:
    """The innermost cause, through urllib3's wrappers (``args``, ``reason``) and ``raise from``."""
    for _ in range(8):
        inner = next((item for item in reversed(error.args) if isinstance(item, BaseException)), error.__cause__)
        if inner is None or inner is error:
            return error
        error = inner
    return error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, (http.client.IncompleteRead, wire.IncompleteRead)):
        return "the answer ended too early"
    text = str(error).strip() or type(error).__name__
    return text[:200]
