"""What ``files`` writes where, in either layout, and what of the release documents changes for it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from bundlectl.errors import BundlectlError, ContentError, MissingError, UsageError
from bundles.artifact import Excluded
from bundles.document import parse_document
from bundles.eks_anywhere_tree import BUNDLES_FILE, tree_files
from bundles.file_places import check_name, served_at, url_place
from bundles.release import findings
from bundles.rewriting import is_covered, place_of, rewrite
from bundles.selection import Selection
from bundles.tree import MapNode
from mirror.copying import Failure
from mirror.copying.resuming import ResumingReader
from mirror.oci.artifact import wrap_file
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCTET_STREAM
from mirror.oci.number import read_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Event

    from bundlectl.operations.locking import Locked
    from bundlectl.operations.rooting import Rooting
    from bundlectl.operations.session import Session
    from bundles.document import Document
    from bundles.eks_anywhere_tree import TreeFile
    from bundles.lock import LockedArtifact, LockedManifest
    from mirror.oci.repository import BlobReader

__all__ = ["MANIFEST_NAMES", "Content", "FilesPlan", "KeptUrl", "PlannedFile", "plan_by_url", "plan_eks_anywhere"]

Place = tuple[str, ...]

MANIFEST_NAMES: Final = ("http*.yaml", "http*.yml", "http*.json")
"""What eksctl reads: its tree needs neither images nor archives, and no request for any of them."""
_URLS: Final = ("https://", "http://")
_REWRITTEN: Final = frozenset({"EksaRelease", "Bundles", "EksdRelease"})


class PlannedFile(NamedTuple):
    """One file: where it goes, its URL upstream, what its bytes must be, and where they come from."""

    place: Place
    url: str
    descriptor: Descriptor
    open: Callable[[Event], BlobReader]
    """Opens it; the event ends waits."""


class KeptUrl(NamedTuple):
    """An address in a document that was not changed, for the document's signature covers it."""

    document: str
    url: str


@dataclass(slots=True)
class FilesPlan:
    """All files, and what is not among them.

    ``last`` are documents that name others of the files: they are written once all of those are there.
    ``rewritten`` counts the addresses that were changed in each of them, by its place.
    """

    files: dict[Place, PlannedFile] = field(default_factory=dict)
    last: dict[Place, PlannedFile] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)
    excluded: set[Excluded] = field(default_factory=set)
    kept: set[KeptUrl] = field(default_factory=set)
    rewritten: dict[str, int] = field(default_factory=dict)

    def add(self, file: PlannedFile) -> bool:
        """Take a file in, unless another has its place, which is told as a failure."""
        other = self.files.setdefault(file.place, file)
        if other.descriptor.digest == file.descriptor.digest:
            return True
        error = ContentError(
            f"and {other.url} would be one file, and are not the same",
            artifact=file.url,
            hint="leave one out with --exclude, or name one collection: store:DIR#NAME",
        )
        self.failed.append(Failure.of(file.url, error))
        return False

    def change(self, document: Document, place: Place, texts: dict[str, str]) -> None:
        """Have a document written last, with other texts in some places."""
        raw = rewrite(document, texts)
        self.files.pop(place, None)
        self.last[place] = _of_bytes(place, document.origin, raw)
        self.rewritten["/".join(place)] = len(texts)


class Content:
    """What was locked, by URL, and how it is read."""

    def __init__(self, locked: Locked, rooting: Rooting, session: Session) -> None:
        self.locked = locked
        self._rooting = rooting
        self._session = session
        self._files = {item.reference: item for item in locked.lock.artifacts if item.type == "file"}
        self._documents: dict[str, list[LockedManifest]] = {}
        for item in locked.lock.manifests:
            if item.url.startswith(_URLS):
                self._documents.setdefault(item.url, []).append(item)
        self._failed = {item.reference: item for item in locked.failed}

    def urls(self) -> list[str]:
        """The URLs of all files and release documents."""
        return sorted({*self._files, *self._documents})

    def documents(self, *kinds: str) -> list[LockedManifest]:
        """Release documents of these kinds (all where none is named), whether or not they have a URL."""
        return [item for item in self.locked.lock.manifests if not kinds or item.kind in kinds]

    def document(self, url: str) -> LockedManifest | None:
        """The release document of a URL; of several states of a release index, that with the newest release.

        Raises:
            ContentError: there are two of another kind.
            BundlectlError: an index cannot be had.
        """
        found = self._documents.get(url, [])
        if len({item.digest for item in found}) > 1:
            if any(item.kind != "Release" for item in found):
                raise ContentError(
                    "is in the source in two versions", artifact=url, hint="name one collection: store:DIR#NAME"
                )
            found = self._documents[url] = [max(found, key=self._newest)]
        return found[0] if found else None

    def _newest(self, index: LockedManifest) -> tuple[int, str]:
        spec = self.read(index).root.map("spec")
        releases = spec.items("releases") if spec else []
        numbers = (node.text("number") for node in releases if isinstance(node, MapNode))
        newest = max((read_number(text) or 0 for text in numbers), default=0)
        return newest, str(index.digest)

    def read(self, manifest: LockedManifest) -> Document:
        """A release document.

        Raises:
            BundlectlError: it cannot be had, or is not what was locked.
        """
        return parse_document(self._rooting.document(manifest), origin=manifest.url)

    def file(self, url: str, place: Place) -> PlannedFile:
        """The file that has a URL upstream.

        Raises:
            MissingError: the sources have no such file.
            BundlectlError: it is a document, which cannot be had.
        """
        document, artifact = self.document(url), self._files.get(url)
        if document is not None:
            # As it was received, and believed; upstream may have another by now.
            return _of_bytes(place, url, self._rooting.document(document))
        if artifact is not None:
            return self._of_artifact(place, artifact)
        raise MissingError(
            "is not in the source",
            artifact=url,
            hint="download it into the store, or give --kube-version and --provider as they were given there",
        )

    def failure(self, url: str, error: BundlectlError) -> Failure:
        """Why a file cannot be had: what was found when it was to be locked counts."""
        return self._failed.get(url) or Failure.of(url, error, told=f"{url}: {error.message}")

    def _of_artifact(self, place: Place, artifact: LockedArtifact) -> PlannedFile:
        source, persistence = self._rooting.source(artifact), self._session.persistence
        layer = wrap_file(artifact.reference, artifact.digest, artifact.size, sha512=artifact.sha512).layer
        return PlannedFile(
            place,
            artifact.reference,
            layer,
            lambda cancel: ResumingReader(source, layer, 0, persistence=persistence, cancel=cancel),
        )


def _of_bytes(place: Place, url: str, raw: bytes) -> PlannedFile:
    return PlannedFile(place, url, Descriptor(OCTET_STREAM, Digest.of(raw), len(raw)), lambda _: io.BytesIO(raw))


def plan_by_url(content: Content, *, base_url: str = "") -> FilesPlan:
    """Every file under the host and path of its URL.

    Args:
        content: what was locked.
        base_url: where the folder will be served: documents then point there.

    Raises:
        ContentError: a document cannot be edited as it is written.
    """
    plan = FilesPlan(failed=[item for item in content.locked.failed if item.reference.startswith(_URLS)])
    for url in content.urls():
        try:
            plan.add(content.file(url, url_place(url)))
        except BundlectlError as error:
            plan.failed.append(content.failure(url, error))
    _part_from_folders(plan)
    held = set(content.urls())
    plan.excluded.update(
        item for item in content.locked.lock.excluded if item.reference.startswith(_URLS) and item.reference not in held
    )
    plan.excluded.update(
        Excluded(item.url, f"{item.kind} {item.name} has no URL, and stays where it was read")
        for item in content.documents()
        if not item.url.startswith(_URLS)
    )
    if base_url:
        _point_documents(plan, content, base_url)
    return plan


def _part_from_folders(plan: FilesPlan) -> None:
    """A URL may go on where another ends; a file cannot hold files."""
    folders = {place[:length] for place in plan.files for length in range(1, len(place))}
    for place in sorted(folders & plan.files.keys()):
        file = plan.files.pop(place)
        error = ContentError("is the folder of other files, too", artifact=file.url, hint="leave it out with --exclude")
        plan.failed.append(Failure.of(file.url, error))


def _point_documents(plan: FilesPlan, content: Content, base_url: str) -> None:
    served = {file.url: served_at(base_url, place) for place, file in plan.files.items()}
    for place, file in sorted(plan.files.items()):
        manifest = content.document(file.url)
        if manifest is None:
            continue
        document = content.read(manifest)
        texts: dict[str, str] = {}
        for found in findings(document) if document.type in _REWRITTEN else ():
            if found.uri not in served:
                continue
            if is_covered(document, found):
                plan.kept.add(KeptUrl("/".join(place), found.uri))
            else:
                texts[place_of(found)] = served[found.uri]
        if texts:
            plan.change(document, place, texts)


def plan_eks_anywhere(content: Content, selection: Selection, *, base: str, local: bool) -> FilesPlan:
    """The tree that ``eksctl anywhere`` reads, and the Bundles that point into it.

    Args:
        content: what was locked.
        selection: of what the Bundles name.
        base: what comes before each path in the Bundles: the folder's name, or its URL.
        local: whether ``base`` is the folder's name.

    Raises:
        UsageError: there are no Bundles among the sources, or more than one.
        ContentError: they cannot be edited as they are written.
        BundlectlError: they cannot be had.
    """
    bundles = content.read(_only_bundles(content.documents("Bundles")))
    plan = FilesPlan()
    wanted, left = _selected(tree_files(bundles), selection, content)
    plan.excluded.update(left)
    texts: dict[str, str] = {}
    for item in wanted:
        try:
            for name in item.path:
                check_name(name, artifact=item.url)
            if plan.add(content.file(item.url, item.path)):
                texts[item.place] = f"{base}/{'/'.join(item.path)}" if local else served_at(base, item.path)
        except BundlectlError as error:
            plan.failed.append(content.failure(item.url, error))
    for index in content.documents("Release"):
        _add_index(plan, content, index)
    plan.change(bundles, (BUNDLES_FILE,), texts)
    return plan


def _add_index(plan: FilesPlan, content: Content, index: LockedManifest) -> None:
    name = check_name(index.url.rpartition("/")[2], artifact=index.url)
    if name == BUNDLES_FILE:
        raise UsageError(f"{index.url} has the name of the Bundles in this layout", hint="use --layout url")
    current = content.document(index.url) or index
    plan.add(_of_bytes((name,), index.url, content.read(current).raw))


def _only_bundles(manifests: list[LockedManifest]) -> LockedManifest:
    known = {item.digest: item for item in manifests}
    if len(known) == 1:
        return next(iter(known.values()))
    if not known:
        raise UsageError(
            "there are no Bundles among the sources",
            hint="name a release (eks-a:v0.24.1), a Bundles manifest, or a store that was filled from one",
        )
    named = ", ".join(sorted({f"{item.name} ({item.url})" for item in manifests})[:5])
    raise UsageError(
        f"there are {len(known)} Bundles among the sources: {named}",
        hint="the layout holds one release; name its collection: store:DIR#NAME",
    )


def _selected(
    files: Iterable[TreeFile], selection: Selection, content: Content
) -> tuple[list[TreeFile], set[Excluded]]:
    """The files that are wanted, and that a lock does not say were left out when it was made."""
    recorded = content.locked.lock.selection
    made_for = Selection(kube_versions=tuple(recorded["kubeVersions"]), providers=tuple(recorded["providers"]))
    chosen = Selection(
        kube_versions=selection.kube_versions,
        providers=selection.providers,
        include=selection.include,
        exclude=selection.exclude,
    ).within(made_for)
    reasons = {item.reference: item for item in content.locked.lock.excluded}
    held = set(content.urls())
    wanted: list[TreeFile] = []
    excluded: set[Excluded] = set()
    for item in files:
        _, left = chosen.part([item.artifact])
        known = reasons.get(item.url) if item.url not in held and _is_manifest(item.url) else None
        excluded.update(replace(entry, found_in=item.place) for entry in (left or ([known] if known else [])))
        if not left and not known:
            wanted.append(item)
    return wanted, excluded


def _is_manifest(url: str) -> bool:
    """Whether a file was not left out by ``MANIFEST_NAMES`` alone: that is no reason to do without it."""
    return any(fnmatchcase(url, pattern) for pattern in MANIFEST_NAMES)
