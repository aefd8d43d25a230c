"""``releases``: what EKS-A releases there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError
from bundlectl.events import Notice, PhaseStarted
from bundlectl.operations.request import RELEASE_URL, SourceRequest
from bundles.document import parse_document
from bundles.release_index import latest_release
from bundles.schema import parse_model
from bundles.schema.bundles import Bundles
from bundles.schema.eksa_release import EksaRelease, EksaReleaseEntry
from bundles.sources.document import read_document
from mirror.copying.working import Workers

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from bundles.sources.context import SourceContext

__all__ = ["ReleaseRow", "releases"]


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One release. ``kube_versions`` is empty when its Bundles manifest cannot be read."""

    version: str
    date: str
    number: int
    kube_versions: tuple[str, ...]
    latest: bool

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "version": self.version,
            "date": self.date,
            "number": self.number,
            "kubeVersions": list(self.kube_versions),
            "latest": self.latest,
        }


def releases(url: str = RELEASE_URL, *, session: Session) -> list[ReleaseRow]:
    """List the releases of an index, newest first.

    Args:
        url: of the index, or a path.
        session: connections.

    Raises:
        ContentError: not a release index.
        TransportError, MissingError: it cannot be fetched.
    """
    context = session.context(SourceRequest(sources=(url,)), follow=False)
    model = parse_model(parse_document(read_document(url, context), origin=url))
    if not isinstance(model, EksaRelease):
        raise ContentError("is not an index of EKS-A releases", artifact=url)
    try:
        latest = latest_release(model).version
    except MissingError:
        latest = ""
    entries = sorted(model.spec.releases, key=lambda entry: entry.number, reverse=True)
    session.listener(PhaseStarted("reading", len(entries)))
    with Workers(session.jobs, session.cancelled) as workers:
        versions = workers.map(lambda entry: _kube_versions(entry, context), entries)
    return [
        ReleaseRow(entry.version, entry.date, entry.number, found, entry.version == latest)
        for entry, found in zip(entries, versions, strict=True)
    ]


def _kube_versions(entry: EksaReleaseEntry, context: SourceContext) -> tuple[str, ...]:
    url = entry.bundle_manifest_url
    if not url.startswith(("https://", "http://")):
        return ()
    try:
        model = parse_model(parse_document(context.fetch(url), origin=url))
    except InterruptError:
        raise
    except BundlectlError as error:
        context.listener(Notice("warning", f"its Kubernetes versions are not known: {error}", entry.version))
        return ()
    if not isinstance(model, Bundles):
        return ()
    return tuple(bundle.kube_version for bundle in model.spec.versions_bundles)
