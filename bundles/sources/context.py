"""What readers of sources are given, and what they give back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bundlectl.errors import BundlectlError, RegistryError, TransportError, UsageError
from bundlectl.events import Listener, Notice, ignore
from bundles.belief import Belief
from bundles.origins import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundles.archive import CarriedArchive
    from bundles.collection import Collection
    from bundles.lock import Lock
    from bundles.lock_signature import SignedLock
    from bundles.release import Contents
    from bundles.verify import VerifiedDocument
    from mirror.http import HttpClient
    from mirror.oci.digest import Digest
    from mirror.remote import RemoteRegistry, RemoteRepository

__all__ = ["DOCUMENT_LIMIT", "RELEASE_URL", "Loaded", "SourceContext", "SourceDocument", "no_contents"]

RELEASE_URL: Final = "https://anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"
"""The index of all EKS-A releases (``domain.md`` 1.2)."""

DOCUMENT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a release document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """How sources are read.

    Attributes:
        connect: gives the client that fetches URLs, when the first is fetched.
        registry: opens a registry by host; origins are applied by it.
        repository: opens ``host/path`` with origins applied; made of ``registry`` when absent.
        origins: ``--origin``, FROM to TO.
        belief: how documents are believed.
        follow: whether documents that a document names are read too.
        no_follow: ``--no-follow`` was said: ``eks-a:`` then stays with the release index.
        release_url: the index of EKS-A releases.
        package_registry: where package bundles and charts are, instead of AWS's.
        package_image_registry: where the images of packages are, instead of AWS's.
        listener: told of warnings.
        offline: whether ``--offline`` forbids everything but loopback (and a target).
        within: the Collections that are being read, outermost first.
        archives: those that are open already, by how they are written as a SOURCE.
    """

    connect: Callable[[], HttpClient]
    registry: Callable[[str], RemoteRegistry]
    repository: Callable[[str], RemoteRepository] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    belief: Belief = field(default_factory=Belief)
    follow: bool = True
    no_follow: bool = False
    release_url: str = RELEASE_URL
    package_registry: str | None = None
    package_image_registry: str | None = None
    listener: Listener = ignore
    offline: bool = False
    within: tuple[str, ...] = ()
    archives: Mapping[str, CarriedArchive] = field(default_factory=dict)

    def fetch_url(self, url: str) -> str:
        """The URL to ask for what is called ``url`` (``--origin``)."""
        return rewrite(url, self.origins)

    def fetch(self, url: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
        """Fetch a small file, whatever its content type.

        Raises:
            UsageError: neither ``https`` nor ``http``, or with a password in it.
            MissingError: 404 or 410.
            TransportError: no answer, or a refusal: nothing can be planned without the document.
            ContentError: larger than ``limit``.
        """
        check_url(url)
        try:
            return self.connect().fetch(self.fetch_url(url), limit=limit)
        except RegistryError as error:
            raise TransportError(
                error.message, artifact=error.artifact or url, hint=error.hint, retryable=error.retryable
            ) from error
        except BundlectlError as error:
            error.artifact = error.artifact or url
            raise

    def open_repository(self, name: str) -> RemoteRepository:
        """Open the repository ``host/path`` where ``--origin`` says it is."""
        if self.repository is not None:
            return self.repository(name)
        host, _, path = name.partition("/")
        return self.registry(host).repository(path)

    def warn(self, message: str, artifact: str | None = None) -> None:
        """Tell the user something they should read."""
        self.listener(Notice("warning", message, artifact))

    def inside(self, collection: str) -> SourceContext:
        """The context for the sources of a Collection."""
        return replace(self, within=(*self.within, collection))


def check_url(url: str) -> str:
    """Return ``url`` if it is one that bundlectl fetches.

    Raises:
        UsageError: another scheme, no host, or a password, which would end up in locks and reports.
    """
    try:
        parts = urlsplit(url)
        secret = parts.username is not None or parts.password is not None
        host = parts.hostname
        parts.port  # noqa: B018 -- raises on a port that is no number
    except ValueError as error:
        # Not shown: what stands before an @ could be a password.
        shown = "the text" if "@" in url else repr(url[:300])
        raise UsageError(f"{shown} is not a URL", hint="write https://HOST/PATH") from error
    if secret:
        raise UsageError(
            "a URL must not carry a user or password",
            artifact=f"{parts.scheme}://{host}{parts.path}",
            hint="it would be recorded in locks and reports",
        )
    if parts.scheme not in {"https", "http"} or not host or any(c.isspace() for c in url):
        raise UsageError(f"{url[:300]!r} is not a URL that bundlectl fetches", hint="write https://HOST/PATH")
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDocument:
    """A release document, believed as far as ``verified`` says, and where it came from.

    Attributes:
        verified: the document, its model and its trust.
        kind: ``Release``, ``Bundles``, ``EksDistroRelease`` or ``PackageBundle``.
        name: ``metadata.name``, or what stands in for it where AWS wrote none.
        url: its URL or path; ``registry/repository`` for a package bundle out of a registry.
        oci_digest: of the manifest that carries it in a registry.
        tags: those of a package bundle in a registry: its name, and ``v1-33-latest`` where it is that.
    """

    verified: VerifiedDocument
    kind: str
    name: str
    url: str
    oci_digest: Digest | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a SOURCE came to.

    A source that is pinned already (a lock, a store) gives its ``lock`` and no contents;
    ``store`` is then the path of the store that has the content, empty for a bare lock.
    A Collection gives the contents of all its sources; pinned ones among them are in ``parts``.

    Attributes:
        source: as the user wrote it.
        kind: the kind of the document, else the form (``image``, ``chart``, ``file``, ``registry``).
        name: what it calls itself.
        number: of a release, or None.
        documents: in the order they were read.
        contents: what they name.
        lock: what is pinned already.
        signed: the lock's bytes with its signature, where it has one.
        store: where its content lies: the path of a store, or the source itself where that is an archive.
        archive: the archive, when the source is one.
        collection: the Collection, when the source is one.
        parts: the sources of a Collection.
    """

    source: str
    kind: str
    name: str
    number: int | str | None = None
    documents: tuple[SourceDocument, ...] = ()
    contents: Contents
    lock: Lock | None = None
    signed: SignedLock | None = None
    store: str = ""
    archive: CarriedArchive | None = None
    collection: Collection | None = None
    parts: tuple[Loaded, ...] = ()


def no_contents() -> Contents:
    """Nothing named."""
    from bundles.release import Contents  # noqa: PLC0415 -- the schema is only needed where documents are read

    return Contents(artifacts=(), excluded=(), named=())
