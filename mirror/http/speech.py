"""Whether a loopback port speaks HTTPS or HTTP."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from mirror.http.addresses import Origin

__all__ = ["spoken_scheme"]

_PROBE_SECONDS: Final = 2.0


def spoken_scheme(https: Origin, http: Origin) -> Literal["http", "https"] | None:
    """Ask a loopback port whether it speaks TLS; None when nothing listens there.

    Only the handshake is tried, without checking the certificate: a bad certificate must be an
    error later, not a reason to fall back to HTTP. An alert (a refused handshake) is TLS too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((https.host, https.port), _PROBE_SECONDS) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=https.host):
                    return "https"
            except ssl.SSLError as error:
                return "https" if "ALERT" in (error.reason or "") else "http"
            except OSError:
                return "http"
    except OSError:
        pass
    if http.port == https.port:
        return None
    try:
        socket.create_connection((http.host, http.port), _PROBE_SECONDS).close()
    except OSError:
        return None
    return "http"
