"""``files``: write files out of a store (or from upstream) into a folder, as a web server or ``eksctl`` reads them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, StoreError, UsageError
from bundlectl.events import ArtifactFinished, BytesMoved, PhaseStarted, TransferPlanned
from bundlectl.operations.file_plans import MANIFEST_NAMES, Content, plan_by_url, plan_eks_anywhere
from bundlectl.operations.file_tree import FileTree
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.rooting import Rooting
from bundles.eks_anywhere_tree import BUNDLES_FILE, DIRECTORY_WORD
from bundles.sources.context import check_url
from mirror.copying import Failure
from mirror.copying.working import Workers, check_cancelled
from mirror.filesystem import BLOCK
from mirror.oci.closing import Closing
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from threading import Event

    from bundlectl.operations.file_plans import FilesPlan, KeptUrl, PlannedFile
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import Excluded
    from mirror.oci.repository import BlobReader

__all__ = ["FilesLayout", "FilesReport", "write_files"]

FilesLayout: TypeAlias = Literal["url", "eks-anywhere"]

_ANY_FILE: Final = ("https://*", "http://*")
_FOLDER: Final = re.compile(r"[A-Za-z0-9._+-]+", re.ASCII)
"""Names that ``eksctl`` reads as part of a path: to Go, ``a:b/c`` would be a malformed URL."""


@dataclass(slots=True, kw_only=True)
class FilesReport:
    """What a run of ``files`` did.

    ``bundles_override`` is what ``eksctl anywhere … --bundles-override`` takes, a path being seen from
    the folder that holds ``directory``; None before all of the tree is there.
    """

    layout: FilesLayout
    directory: str
    bundles_override: str | None = None
    total: int = 0
    written: int = 0
    skipped: int = 0
    bytes_written: int = 0
    bytes_total: int = 0
    rewritten: dict[str, int] = field(default_factory=dict)
    """How many addresses were changed in which document."""
    kept: tuple[KeptUrl, ...] = ()
    failed: list[Failure] = field(default_factory=list)
    excluded: tuple[Excluded, ...] = ()
    weakened: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when everything is there; else 3 if anything was wrong, 4 if only missing."""
        return min((item.exit_code for item in self.failed), default=0)

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "layout": self.layout,
            "directory": self.directory,
            "bundlesOverride": self.bundles_override,
            "files": {
                "total": self.total,
                "written": self.written,
                "skipped": self.skipped,
                "failed": len(self.failed),
            },
            "bytes": {"written": self.bytes_written, "total": self.bytes_total},
            "rewritten": [{"path": path, "urls": count} for path, count in sorted(self.rewritten.items())],
            "kept": [{"document": item.document, "url": item.url} for item in sorted(self.kept)],
            "failed": [item.to_json() for item in sorted(self.failed, key=lambda item: item.reference)],
            "excluded": [
                {"reference": reference, "reason": reason}
                for reference, reason in sorted({(item.reference, item.reason) for item in self.excluded})
            ],
            "weakened": list(self.weakened),
            "seconds": round(self.seconds, 3),
        }


def write_files(
    request: SourceRequest,
    *,
    directory: Path,
    session: Session,
    layout: FilesLayout = "url",
    base_url: str = "",
) -> FilesReport:
    """Write the files of sources into a folder.

    What is there and right is left alone, so that the same call resumes. A document whose addresses
    were changed is written last, once every file that it names is there.

    Args:
        request: the sources, and what of them is wanted. Content is read from the store that a
            source is, else from upstream.
        directory: the folder; made where it is not there.
        session: connections.
        layout: ``url`` for the host and path of each URL, ``eks-anywhere`` for ``domain.md`` 3.1.
        base_url: where the folder will be served; documents then point there, but for what a
            signature covers.

    Raises:
        UsageError: the folder's name or the URL will not do for ``eksctl``; not one release.
        StoreError: the folder cannot be written.
        ContentError, VerificationError, TransportError: from reading the sources.
        InterruptError: cancelled; the same call resumes.
    """
    started = time.monotonic()
    is_tree = layout == "eks-anywhere"
    base = _checked_base(base_url)
    if is_tree and not base:
        _check_folder(directory)
    locked = lock_sources(_narrowed(request, layout), session=session)
    with Rooting(locked, session) as rooting:
        content = Content(locked, rooting, session)
        plan = (
            plan_eks_anywhere(content, request.selection, base=base or directory.absolute().name, local=not base)
            if is_tree
            else plan_by_url(content, base_url=base)
        )
        report = _report(plan, layout, directory)
        report.weakened = locked.lock.weakened
        with FileTree(directory) as tree:
            _write(plan, tree, session, report)
    if is_tree and not report.failed:
        report.bundles_override = f"{base or f'./{directory.absolute().name}'}/{BUNDLES_FILE}"
    report.seconds = time.monotonic() - started
    return report


def _checked_base(base_url: str) -> str:
    """A URL that ``eksctl`` takes for one.

    Raises:
        UsageError: it would not.
    """
    if not base_url:
        return ""
    parts = urlsplit(check_url(base_url))
    if parts.scheme != "https":
        raise UsageError(
            f"--base-url {base_url} is not https", hint="eksctl takes everything but https:// for a path of a file"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"--base-url {base_url} has a query or a fragment", hint="write https://HOST/PATH")
    if DIRECTORY_WORD in base_url:
        raise UsageError(
            f"--base-url {base_url} contains {DIRECTORY_WORD}",
            hint="eksctl takes such an address for the path of a file; serve the folder under another name",
        )
    return base_url.rstrip("/")


def _check_folder(directory: Path) -> None:
    name = directory.absolute().name
    if DIRECTORY_WORD not in name or not _FOLDER.fullmatch(name):
        raise UsageError(
            f"--to names the folder {name!r}, which eksctl would not take for one",
            hint=f"let its name contain {DIRECTORY_WORD}, and otherwise letters, digits and . _ + - alone; "
            "or serve it, and say where with --base-url",
        )


def _narrowed(request: SourceRequest, layout: FilesLayout) -> SourceRequest:
    """The request without what is no file: nothing is asked of registries that is not written.

    In the tree, a file is for one version and one provider; there the selection is made once more.
    """
    asked = request.selection
    if layout == "eks-anywhere":
        selection = replace(asked, include=MANIFEST_NAMES, providers=(), referrers=False)
    else:
        selection = replace(asked, include=asked.include or _ANY_FILE, referrers=False)
    return replace(request, selection=selection)


def _report(plan: FilesPlan, layout: FilesLayout, directory: Path) -> FilesReport:
    planned = (*plan.files.values(), *plan.last.values())
    return FilesReport(
        layout=layout,
        directory=str(directory),
        total=len(planned) + len(plan.failed),
        bytes_total=sum(file.descriptor.size for file in planned),
        rewritten=plan.rewritten,
        kept=tuple(plan.kept),
        failed=list(plan.failed),
        excluded=tuple(plan.excluded),
    )


def _write(plan: FilesPlan, tree: FileTree, session: Session, report: FilesReport) -> None:
    planned = len(plan.files) + len(plan.last)
    session.listener(PhaseStarted("writing", planned))
    session.listener(TransferPlanned(artifacts=planned, bytes=report.bytes_total))
    for failure in plan.failed:
        session.listener(ArtifactFinished(failure.reference, "failed", failure.error))
    for file in plan.last.values():
        if not _is_right(tree, file, session.cancelled):
            # It is of another release or selection, whose files are about to be replaced.
            tree.remove(file.place)
    _write_all(plan.files.values(), tree, session, report)
    if not report.failed:
        _write_all(plan.last.values(), tree, session, report)
        return
    for file in plan.last.values():
        error = MissingError(
            f"{'/'.join(file.place)} is not written before everything that it names is there", artifact=file.url
        )
        report.failed.append(Failure.of(file.url, error, told=error.message))


def _write_all(files: Collection[PlannedFile], tree: FileTree, session: Session, report: FilesReport) -> None:
    with Workers(session.jobs, session.cancelled) as workers:
        outcomes = workers.map(lambda file: _settle(file, tree, session, workers.stopped), files)
    for file, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, Failure):
            report.failed.append(outcome)
        elif outcome:
            report.written += 1
            report.bytes_written += file.descriptor.size
        else:
            report.skipped += 1


def _settle(file: PlannedFile, tree: FileTree, session: Session, stopped: Event) -> bool | Failure:
    """Write a file; False where it is there already."""
    try:
        check_cancelled(stopped)
        if _is_right(tree, file, stopped):
            session.listener(BytesMoved(file.descriptor.size))
            session.listener(ArtifactFinished(file.url, "skipped"))
            return False
        counted = _CountedReader(file.open(stopped), session, stopped)
        with VerifyingReader(counted, file.descriptor) as reader:
            tree.write(file.place, reader)
    except (InterruptError, StoreError):
        raise
    except BundlectlError as error:
        failure = Failure.of(file.url, error, told=f"{file.url}: {error.message}")
        session.listener(ArtifactFinished(file.url, "failed", failure.error))
        return failure
    session.listener(ArtifactFinished(file.url, "done"))
    return True


def _is_right(tree: FileTree, file: PlannedFile, stopped: Event) -> bool:
    """Whether a file is there, and has the bytes that it should have."""
    existing = tree.open(file.place)
    if existing is None:
        return False
    with existing:
        if existing.size != file.descriptor.size:
            return False
        try:
            reader = VerifyingReader(existing, file.descriptor)
            while reader.read(BLOCK):
                check_cancelled(stopped)
        except ContentError:
            return False
    return True


class _CountedReader(Closing):
    """A reader that tells of what is read, and stops when the run is stopped."""

    def __init__(self, reader: BlobReader, session: Session, stopped: Event) -> None:
        self._reader = reader
        self._session = session
        self._stopped = stopped

    def read(self, size: int = -1, /) -> bytes:
        check_cancelled(self._stopped)
        block = self._reader.read(size)
        self._session.listener(BytesMoved(len(block)))
        return block

    def close(self) -> None:
        self._reader.close()
