"""``chart:REF`` and ``chart:https://host/path#name@version``: one Helm chart."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bundlectl.errors import ContentError, UsageError
from bundles.artifact import Artifact
from bundles.helm.conversion import chart_tag
from bundles.helm.index import INDEX_LIMIT, find_entry
from bundles.release import Contents
from bundles.sources.context import Loaded, check_url
from bundles.sources.image import reference_artifact
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from bundles.helm.index import IndexEntry
    from bundles.sources.context import SourceContext

__all__ = ["read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Name one chart. Its images are found when the chart itself is read.

    A chart of a classic repository is looked up in its index. The artifact's digest is then
    that of the archive, as the index states it: the digest of its OCI form is known once the
    archive was converted.

    Raises:
        UsageError: neither a REF with tag or digest nor ``URL#NAME@VERSION``.
        MissingError: the repository has no such chart or version.
        ContentError: the index is malformed.
        TransportError: the index cannot be fetched.
    """
    if rest.startswith(("https://", "http://")):
        artifact = _classic(rest, text, context)
    else:
        artifact = reference_artifact("chart", rest.removeprefix("oci://"), text)
    contents = Contents(artifacts=(artifact,), excluded=(), named=())
    return Loaded(source=text, kind="chart", name=artifact.reference, contents=contents)


def _classic(rest: str, text: str, context: SourceContext) -> Artifact:
    url, hash_sign, chart = rest.partition("#")
    name, at_sign, version = chart.rpartition("@")
    if not hash_sign or not at_sign or not name or not version:
        raise UsageError(
            f"{rest[:300]!r} does not say which chart", hint="write chart:https://HOST/PATH#NAME@VERSION, one version"
        )
    base = check_url(url.removesuffix("/index.yaml").rstrip("/"))
    if urlsplit(base).query:
        raise UsageError(
            "the URL of a chart repository has no query", artifact=base, hint="leave out what stands after ?"
        )
    index_url = f"{base}/index.yaml"
    entry = find_entry(context.fetch(index_url, limit=INDEX_LIMIT), name, version, base_url=index_url)
    if entry.digest is None:
        context.warn(f"the repository states no digest of {name} {version}: what it sends is taken", index_url)
    return Artifact(
        type="chart",
        name=name,
        reference=_reference(base, name, version),
        digest=entry.digest,
        found_in=frozenset({text}),
        trust="declared" if entry.digest else "resolved",
        chart_url=_archive_url(entry, index_url),
    )


def _reference(base: str, name: str, version: str) -> str:
    """``host/path/name:version``, the name that the chart gets in a registry."""
    parts = urlsplit(base)
    text = f"{parts.netloc}{parts.path}/{name}:{chart_tag(version)}"
    try:
        return str(Reference.parse(text))
    except UsageError as error:
        raise UsageError(
            f"the chart would be called {text!r}, which is not a reference: {error.message}",
            artifact=base,
            hint="a registry's names are in lower case; mirror the repository under a URL that is",
        ) from error


def _archive_url(entry: IndexEntry, index_url: str) -> str:
    url = next((url for url in entry.urls if not url.startswith("oci://")), None)
    if url is None:
        raise ContentError(
            f"the archive of {entry.name} {entry.version} lies in a registry",
            artifact=index_url,
            hint=f"name it there: chart:{entry.urls[0].removeprefix('oci://')}",
        )
    try:
        return check_url(url)
    except UsageError as error:
        raise ContentError(
            error.message,
            artifact=index_url,
            hint="the repository's index is at fault: tell who keeps it, or name a chart in a registry",
        ) from error
