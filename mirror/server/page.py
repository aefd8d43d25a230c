"""The page at ``/``: what is here and how to pull it, in one document without external resources."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from mirror.oci.digest import Digest
from mirror.server.message import Request, Response

if TYPE_CHECKING:
    from mirror.server.paths import Route
    from mirror.server.service import Service

__all__ = ["get_page"]

_NAMES_MAX: Final = 1000
_TAGS_MAX: Final = 20
_HOST: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}"
    "code,pre{font-family:ui-monospace,monospace}pre{overflow:auto;padding:.6rem;background:#8882}"
    ":root{color-scheme:light dark}"
)


def get_page(service: Service, request: Request, route: Route) -> Response:
    """Render the page."""
    del route
    host = request.header("Host")
    if not _HOST.fullmatch(host):
        host = "HOST:PORT"
    names = service.names.all()
    example = next(
        (f"{name}:{tags[0]}" for name in names[:_TAGS_MAX] if (tags := _tags(service, request, name))), "NAME:TAG"
    )
    commands = (
        f"docker pull {host}/{example}\n"
        f"skopeo copy docker://{host}/{example} oci:DIRECTORY\n"
        f"helm pull oci://{host}/CHART --version VERSION"
    )
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>bundlectl on {escape(host)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>bundlectl on {escape(host)}</h1>",
        "<p>An OCI registry over a store of EKS Anywhere artifacts.</p>",
        "<h2>Pull</h2>",
        f"<pre>{escape(commands)}</pre>",
        _collections(service),
        _repositories(service, request, names),
        '<p><a href="/metrics">metrics</a> · <a href="/v2/_catalog">catalogue</a></p></body></html>\n',
    ]
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", _POLICY)]
    return Response(200, headers, "".join(parts).encode())


def _tags(service: Service, request: Request, name: str) -> list[str]:
    tags: set[str] = set()
    for candidate in service.names.readable(name, request):
        tags.update(service.store.repository(candidate).tags())
    return sorted(tags)


def _collections(service: Service) -> str:
    collections = service.store.collections()
    if not collections:
        return ""
    rows = []
    for name, lock in sorted(collections.items()):
        told = service.describe_collection(name, lock) if service.describe_collection else f"lock {Digest.of(lock)}"
        rows.append(f"<tr><td>{escape(name)}</td><td>{escape(told)}</td></tr>")
    return f"<h2>Collections</h2><table><tr><th>Name</th><th>Content</th></tr>{''.join(rows)}</table>"


def _repositories(service: Service, request: Request, names: list[str]) -> str:
    if not names:
        return "<h2>Repositories</h2><p>The store is empty.</p>"
    rows = []
    for name in names[:_NAMES_MAX]:
        tags = _tags(service, request, name)
        shown = ", ".join(f"<code>{escape(tag)}</code>" for tag in tags[:_TAGS_MAX])
        more = f" and {len(tags) - _TAGS_MAX} more" if len(tags) > _TAGS_MAX else ""
        rows.append(f"<tr><td><code>{escape(name)}</code></td><td>{shown}{more}</td></tr>")
    rest = f"<p>and {len(names) - _NAMES_MAX} more repositories</p>" if len(names) > _NAMES_MAX else ""
    table = f"<table><tr><th>Repository</th><th>Tags</th></tr>{''.join(rows)}</table>"
    return f"<h2>{len(names)} repositories</h2>{table}{rest}"
