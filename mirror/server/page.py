"""The page at ``/``: what is here, who vouched for it, and how to use it.

One view for the whole, one for a repository (``?repository=NAME``); long lists are searched
(``?q=``) and paged (``?after=``), so that ten thousand tags cost what a hundred do. Plain HTML
without scripts: whoever names artifacts could otherwise act in the reader's browser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from mirror.markup import Element, element, size_text, table
from mirror.oci.reference import attached_to
from mirror.server.contents import read_contents
from mirror.server.describing import Allowance
from mirror.server.look import POLICY, render
from mirror.server.message import RefusedError, Request, Response
from mirror.server.paths import repository_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.layout.refs import Ref
    from mirror.server.describing import CollectionView, Command, SignatureView
    from mirror.server.paths import Route
    from mirror.server.service import Service

__all__ = ["get_page"]

_REPOSITORIES_MAX: Final = 100
_TAGS_MAX: Final = 50
_TAGS_SHOWN: Final = 3
_PACKAGES_MAX: Final = 500
_QUERY_MAX: Final = 200
_HOST: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_FALLBACK: Final = re.compile(r"sha256-[0-9a-f]{64}")
_TRUST: Final = {
    "signed": "its digest is inside a verified signature, or its own signature met the policy, when it was fetched",
    "declared": "a release document names it; no signature covers its digest",
    "resolved": "first learned from a tag or a URL",
    "pushed": "somebody pushed it to this registry",
    "off": "verification was switched off",
}


def get_page(service: Service, request: Request, route: Route) -> Response:
    """Render the page.

    Raises:
        RefusedError: 404, there is no such repository.
    """
    del route
    name = request.parameter("repository")
    body = _repository(service, request, repository_name(name)) if name is not None else _overview(service, request)
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    return Response(200, headers, body)


# The whole


def _overview(service: Service, request: Request) -> bytes:
    host, url = _host(request), _url(request)
    names = service.names.all()
    description = service.description
    collections = description.collections() if description else ()
    return render(
        f"bundlectl on {host}",
        element("h1", f"bundlectl on {host}"),
        element("p", "An OCI registry over a store of EKS Anywhere artifacts."),
        _facts(service, len(names), collections),
        _commands(description.commands(url) if description else ()),
        *_collections(collections, host),
        *_repositories(service, request, names),
        element("h2", "What the trust levels mean"),
        element("ul", *(element("li", _trust(level), f" {meaning}") for level, meaning in _TRUST.items())),
        element(
            "p",
            element("a", "metrics", href="/metrics"),
            " · ",
            element("a", "catalogue", href="/v2/_catalog"),
            class_="quiet",
        ),
    )


def _facts(service: Service, repositories: int, collections: Sequence[CollectionView]) -> Element:
    facts = [
        (f"{len(collections):,}", "collection" if len(collections) == 1 else "collections"),
        (f"{repositories:,}", "repository" if repositories == 1 else "repositories"),
    ]
    if service.description:
        facts.append((size_text(service.description.stored_bytes()), "stored"))
    return element("ul", *(element("li", element("b", value), f" {what}") for value, what in facts), class_="facts")


def _commands(commands: Sequence[Command]) -> Element | None:
    if not commands:
        return None
    shown = [
        element("details", element("summary", command.title), element("pre", command.text)) for command in commands
    ]
    return element("section", element("h2", "Use it"), *shown)


def _collections(collections: Sequence[CollectionView], host: str) -> list[Element]:
    if not collections:
        return []
    releases = [
        [
            element("b", view.name),
            element("div", view.problem) if view.problem else _documents(view),
            element("div", *(element("div", source) for source in view.sources)),
            f"{view.images:,} images, {view.charts:,} charts, {view.files:,} files",
            size_text(view.size),
            view.signed_by or element("span", "nobody", class_="quiet"),
        ]
        for view in collections
    ]
    found = [
        element("h2", "Releases"),
        table(("Collection", "Documents", "From", "Content", "#Size", "Lock signed by, as it says itself"), releases),
    ]
    packages = [package for view in collections for package in view.packages]
    if packages:
        rows = [
            [
                element("a", package.name, href=_link(package.repository)),
                element("code", package.tag),
                element("code", f"helm pull oci://{host}/{package.repository} --version {package.tag}"),
            ]
            for package in packages[:_PACKAGES_MAX]
        ]
        found += [element("h2", "Packages and charts"), table(("Chart", "Version", "Pull"), rows)]
        if len(packages) > _PACKAGES_MAX:
            found.append(element("p", f"and {len(packages) - _PACKAGES_MAX:,} more", class_="quiet"))
    return found


def _documents(view: CollectionView) -> Element:
    lines = [
        element(
            "div",
            _trust(document.trust),
            f" {document.kind} {document.name}",
            element("span", f", verified by {document.verified_by}", class_="quiet") if document.verified_by else None,
        )
        for document in view.documents
    ]
    return element("div", *lines)


def _repositories(service: Service, request: Request, names: Sequence[str]) -> list[Element]:
    wanted = (request.parameter("q") or "")[:_QUERY_MAX]
    after = (request.parameter("after") or "")[: _QUERY_MAX * 2]
    matching = [name for name in names if wanted.lower() in name] if wanted else names
    following = [name for name in matching if name > after] if after else matching
    rows: list[list[Element | str]] = []
    for name in following[:_REPOSITORIES_MAX]:
        tags = [ref.tag or str(ref.descriptor.digest) for ref in _refs(service, request, name)]
        shown: list[Element | str] = []
        for tag in tags[:_TAGS_SHOWN]:
            shown += [element("code", tag), " "]
        rows.append(
            [
                element("a", element("code", name), href=_link(name)),
                f"{len(tags):,}",
                element("span", *shown, "…" if len(tags) > _TAGS_SHOWN else None),
            ]
        )
    found = [element("h2", f"{len(matching):,} repositories" if names else "Repositories")]
    if not names:
        return [*found, element("p", "The store is empty.")]
    found += [_search(wanted, "part of a name"), table(("Repository", "#Tags", "Such as"), rows)]
    if len(following) > len(rows):
        query = {"after": following[len(rows) - 1], **({"q": wanted} if wanted else {})}
        found.append(element("p", element("a", "more repositories", href=f"/?{urlencode(query)}")))
    return found


def _search(wanted: str, what: str, **kept: str) -> Element:
    return element(
        "form",
        *(element("input", type="hidden", name=name, value=value) for name, value in kept.items()),
        element("input", type="search", name="q", value=wanted, placeholder=what, maxlength=str(_QUERY_MAX)),
        " ",
        element("button", "Search"),
        method="get",
        action="/",
    )


# One repository


def _repository(service: Service, request: Request, name: str) -> bytes:
    refs = _refs(service, request, name)
    if not refs:
        raise RefusedError(404, "NAME_UNKNOWN", f"there is no repository {name}", detail={"name": name})
    host = _host(request)
    wanted = (request.parameter("q") or "")[:_QUERY_MAX]
    after = (request.parameter("after") or "")[:_QUERY_MAX]
    matching = [ref for ref in refs if wanted in (ref.tag or "")] if wanted else refs
    following = [ref for ref in matching if _order(ref) > after] if after else matching
    page = following[:_TAGS_MAX]
    allowance = Allowance()
    found = [_tag_row(service, name, ref, host, allowance) for ref in page]
    more = None
    if len(following) > len(page):
        query = {"repository": name, "after": _order(page[-1]), **({"q": wanted} if wanted else {})}
        more = element("p", element("a", "more tags", href=f"/?{urlencode(query)}"))
    return render(
        f"{name} on {host}",
        element("p", element("a", f"bundlectl on {host}", href="/")),
        element("h1", element("code", name)),
        element("p", f"{len(matching):,} tags"),
        _search(wanted, "part of a tag", repository=name),
        table(("Tag", "Kind", "#Size here", "Platforms", "Trust", "Attached, as it says itself"), found),
        more,
    )


def _tag_row(service: Service, name: str, ref: Ref, host: str, allowance: Allowance) -> list[Element | str]:
    contents = read_contents(service.store, ref.repository, ref.descriptor, allowance)
    digest = ref.descriptor.digest
    reference = f"{host}/{name}:{ref.tag}" if ref.tag else f"{host}/{name}@{digest}"
    if contents.kind == "chart" and ref.tag:
        command = f"helm install {name.rpartition('/')[2]} oci://{host}/{name} --version {ref.tag}"
    else:
        command = f"crictl pull {reference}"
    platforms = [
        element("div", platform if here else element("span", f"{platform} (not here)", class_="quiet"))
        for platform, here in contents.platforms
    ]
    attached: Sequence[SignatureView] = ()
    if service.description:
        attached = service.description.signatures(ref.repository, digest, allowance)
    return [
        element(
            "details",
            element("summary", element("code", ref.tag or "by digest")),
            element("code", str(digest)),
            element("pre", command) if contents.kind in ("image", "chart") else None,
        ),
        contents.kind if contents.whole else element("span", f"{contents.kind}, damaged"),
        size_text(contents.size),
        element("div", *platforms),
        _trust(ref.trust),
        element("div", *(_attached(view) for view in attached)),
    ]


def _attached(view: SignatureView) -> Element:
    text = f"{view.kind} by {view.signer}" if view.signer else view.kind
    return element("div", _trust(view.trust) if view.trust else None, f" {text}")


def _refs(service: Service, request: Request, name: str) -> list[Ref]:
    """The refs behind a name, without the tags that belong to another manifest: they are shown with it."""
    found: dict[str, Ref] = {}
    for candidate in service.names.readable(name, request):
        for ref in service.store.repository(candidate).refs():
            if ref.tag and (attached_to(ref.tag) or _FALLBACK.fullmatch(ref.tag)):
                continue
            found.setdefault(_order(ref), ref)
    return [found[key] for key in sorted(found)]


def _order(ref: Ref) -> str:
    return ref.tag or f"@{ref.descriptor.digest}"


def _trust(level: str) -> Element:
    return element("span", level, class_=f"trust {level if level in _TRUST else ''}", title=_TRUST.get(level, ""))


def _link(repository: str) -> str:
    return f"/?{urlencode({'repository': repository})}"


def _host(request: Request) -> str:
    """What the browser calls us; shown, and pasted into commands, only where it can be a host."""
    host = request.header("Host")
    return host if _HOST.fullmatch(host) else "HOST:PORT"


def _url(request: Request) -> str:
    scheme = "https" if request.environ.get("wsgi.url_scheme") == "https" else "http"
    return f"{scheme}://{_host(request)}"
