"""HTTP for registries and files: pools, TLS, proxies, redirects, retries. urllib3 stays inside.

Only the settings are imported at once; the client, and urllib3 with it, on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.http.transport import HostTransport, Transport

if TYPE_CHECKING:
    from mirror.http.client import HttpClient
    from mirror.http.response import Response

__all__ = ["HostTransport", "HttpClient", "Response", "Transport"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562: whatever the module holds
    if name == "HttpClient":
        from mirror.http.client import HttpClient  # noqa: PLC0415 -- urllib3 only where it is used

        return HttpClient
    if name == "Response":
        from mirror.http.response import Response  # noqa: PLC0415 -- likewise

        return Response
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
