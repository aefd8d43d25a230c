"""``verify``: is everything there, and is it what it should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, RegistryError, UsageError
from bundlectl.events import BytesMoved, PhaseStarted, TransferPlanned
from bundlectl.operations.placing import place_documents
from bundlectl.operations.request import SourceRequest
from bundles.plan import TargetPlan
from bundles.sources.document import LOCK_LIMIT, read_signature
from bundles.sources.following import believe_lock
from bundles.sources.local import read_local
from bundles.sources.store import believe_collection, split_store
from mirror.copying.survey import unlisted
from mirror.copying.working import Workers, check_cancelled
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import OCTET_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bundlectl.operations.session import Session
    from bundles.lock import Lock, LockedArtifact
    from bundles.plan import Naming, PlannedArtifact, PlannedManifest
    from bundles.sources.context import SourceContext
    from mirror.copying.remembered import TargetMemory
    from mirror.oci.digest import Digest
    from mirror.remote import RemoteRegistry, RemoteRepository

__all__ = ["Finding", "VerifyReport", "check_content", "locks_of", "verify_registry", "verify_store"]

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is ``different`` or ``missing``."""

    kind: Literal["different", "missing"]
    reference: str
    message: str
    digest: str = ""


@dataclass(slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what was found. Times are not part of it."""

    target: str
    deep: bool
    artifacts: int = 0
    blobs: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when all is well, 3 when anything is different, 4 when something is only missing."""
        if any(finding.kind == "different" for finding in self.findings):
            return 3
        return 4 if self.findings else 0

    def to_json(self) -> dict[str, Any]:
        """Render as ``cli.md`` says; content is held against digests here, so no key has part in it."""
        first = min(self.findings, default=None)
        return {
            "target": self.target,
            "verified": not self.findings,
            "kind": self.target.partition(":")[0],
            "name": self.target.partition(":")[2],
            "digest": None,
            "key": None,
            "reason": first.message if first else None,
            "uncovered": [],
            "deep": self.deep,
            "checked": {"artifacts": self.artifacts, "blobs": self.blobs, "bytes": self.bytes},
            "different": [_finding(item) for item in sorted(self.findings) if item.kind == "different"],
            "missing": [_finding(item) for item in sorted(self.findings) if item.kind == "missing"],
        }


def _finding(item: Finding) -> dict[str, str]:
    return {"reference": item.reference, "digest": item.digest, "reason": item.message}


def verify_store(path: Path, *, session: Session) -> VerifyReport:
    """Hash every blob of a store, and walk everything that it says it has.

    Raises:
        StoreError: not a store.
    """
    report = VerifyReport(target=f"store:{path}", deep=True)
    with Store.open(path, read_only=True) as store:
        stats = store.stats()
        report.artifacts, report.blobs, report.bytes = stats.refs, stats.blobs, stats.bytes
        session.listener(TransferPlanned(blobs=stats.blobs, bytes=stats.bytes))
        for problem in store.verify(listener=session.listener, cancelled=session.cancelled):
            report.findings.append(Finding(problem.kind, problem.reference, problem.message, str(problem.digest or "")))
        check_cancelled(session.cancelled)
    return report


def locks_of(against: str, context: SourceContext) -> list[Lock]:
    """The locks that ``--against`` names: a lock file, or the collections of a store.

    Args:
        against: the path of a lock, or ``store:DIR[#NAME]``.
        context: says who must have signed them, and hears of those that nobody vouches for.

    Raises:
        VerificationError: one is not signed by those who must have.
        UsageError: neither.
        ContentError: not a lock.
        ConfigError: it cannot be read.
        StoreError: not a store, or a store without the collection.
    """
    is_store = against.startswith("store:")
    path, name = split_store(against.removeprefix("store:")) if is_store else (Path(against), "")
    if not path.is_dir():
        if not path.exists():
            # Not exit 4: that says of the target that something is missing there.
            raise UsageError("there is no such lock or store", artifact=against, hint="--against LOCK or STORE")
        raw = read_local(path, limit=LOCK_LIMIT)
        return [believe_lock(raw, read_signature(against, context), against, context)[0]]
    with Store.open(path, read_only=True) as store:
        kept = store.collections()
        chosen = [key for key in sorted(kept) if name in ("", key)]
        if not chosen:
            raise UsageError(
                f"has no collection {name!r}" if name else "has no collection",
                artifact=against,
                hint=f"it has: {', '.join(sorted(kept)) or 'none'}; `bundlectl download` makes one",
            )
        return [believe_collection(store, key, kept[key], context)[0] for key in chosen]


def verify_registry(
    target: Naming, *, against: str, session: Session, deep: bool = False, request: SourceRequest | None = None
) -> VerifyReport:
    """Check a registry against a lock, or the collections of a store.

    Tags, manifests and their children are always fetched and hashed; blobs are asked for, and
    with ``deep`` read back and hashed, each unique one once a repository.

    Raises:
        UsageError, ContentError, StoreError: ``against`` is no lock.
        VerificationError: ``request`` says who must have signed it, and they did not.
        RegistryError, TransportError: the registry cannot be asked at all.
    """
    locks = locks_of(against, session.context(request or SourceRequest(sources=()), follow=False))
    registry = session.target(target.registry)
    try:
        registry.ping()
    except RegistryError as error:
        # Harbor answers strangers 401 there, and lets them read public projects all the same.
        if error.status not in (401, 403):
            raise
    report = VerifyReport(
        target=f"registry:{'/'.join(part for part in (target.registry, target.prefix) if part)}", deep=deep
    )
    for lock in locks:
        plan = place_documents(TargetPlan.of(lock, target), lock, registry)
        session.listener(PhaseStarted("verifying", len(plan.artifacts)))
        check_content(registry, lock, plan, report, session=session)
    return report


def check_content(
    registry: RemoteRegistry, lock: Lock, plan: TargetPlan, report: VerifyReport, *, session: Session
) -> None:
    """Look whether a registry has what a lock lists. What is not right there, the next ``mirror`` brings.

    Args:
        registry: the target.
        lock: what should be there.
        plan: how it is called there.
        report: gets the findings; says whether blobs are read back.
        session: connections.

    Raises:
        InterruptError: cancelled.
    """
    _Checker(registry, report, session).check(lock, plan)
    with session.memory(registry.host) as memory:
        _doubt(memory, registry, plan, report)


def _doubt(memory: TargetMemory, registry: RemoteRegistry, plan: TargetPlan, report: VerifyReport) -> None:
    """Let the next ``mirror`` bring what was found missing or different, though tags are right."""
    found = {finding.reference for finding in report.findings}
    for item in plan.artifacts:
        if item.artifact.reference in found:
            memory.doubt(f"{registry.host}/{item.repository}", item.tag)
    for document in plan.manifests:
        if document.manifest.url in found:
            for tag in document.tags:
                memory.doubt(f"{registry.host}/{document.repository}", tag)


class _Checker:
    def __init__(self, registry: RemoteRegistry, report: VerifyReport, session: Session) -> None:
        self._registry = registry
        self._report = report
        self._session = session
        self._mutex = Mutex()

    def check(self, lock: Lock, plan: TargetPlan) -> None:
        blobs: dict[tuple[str, Digest], str] = {}
        for planned in plan.artifacts:
            for digest in _blobs(planned.artifact):
                blobs.setdefault((planned.repository, digest), planned.artifact.reference)
        self._report.artifacts += len(plan.artifacts) + len(plan.manifests)
        self._report.blobs += len({digest for _, digest in blobs})
        self._report.bytes += sum(lock.blobs[digest] for _, digest in blobs) if self._report.deep else 0
        self._session.listener(
            TransferPlanned(artifacts=len(plan.artifacts), blobs=len(blobs), bytes=self._report.bytes)
        )
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            for planned in plan.artifacts:
                workers.submit(self._artifact, planned, len(lock.selection["platforms"]) == 1)
            for document in plan.manifests:
                workers.submit(self._document, document)
            for (repository, digest), reference in blobs.items():
                workers.submit(self._blob, repository, Descriptor(OCTET_STREAM, digest, lock.blobs[digest]), reference)
            workers.drain()

    def _artifact(self, planned: PlannedArtifact, one_platform: bool) -> None:  # noqa: FBT001 -- through submit
        repository = self._registry.repository(planned.repository)
        manifests = set(planned.artifact.manifests)
        # A target that refuses sparse indexes has the one platform under the tag of its index.
        instead = manifests - {planned.digest} if one_platform else set()
        found = self._tag(repository, planned.tag, planned.digest, planned.artifact.reference, instead=instead)
        if found in instead:
            manifests.discard(planned.digest)
        for referrer in planned.artifact.referrers:
            manifests.update(referrer.manifests)
            if referrer.tag:
                self._tag(repository, referrer.tag, referrer.digest, planned.artifact.reference)
        for digest in sorted(manifests):
            wanted = Descriptor("", digest, 0)
            self._look(planned.artifact.reference, digest, partial(repository.manifest, wanted))
        self._look(planned.artifact.reference, planned.digest, partial(_hold_listed, repository, planned.artifact))

    def _document(self, planned: PlannedManifest) -> None:
        repository = self._registry.repository(planned.repository)
        manifest = planned.manifest
        for tag in planned.tags:

            def fetch(tag: str = tag) -> None:
                found = repository.manifest(repository.resolve(tag))
                layers = {child.digest for child in found.children()}
                if manifest.digest not in layers:
                    raise ContentError(f"{tag} is another document", artifact=repository.name)

            self._look(manifest.url, manifest.digest, fetch)
        self._blob(planned.repository, Descriptor(OCTET_STREAM, manifest.digest, manifest.size), manifest.url)

    def _tag(
        self,
        repository: RemoteRepository,
        tag: str,
        digest: Digest,
        reference: str,
        *,
        instead: Collection[Digest] = (),
    ) -> Digest | None:
        """Look at a tag; what it points at, if that is right."""
        right: list[Digest] = []

        def resolve() -> None:
            found = repository.resolve(tag).digest
            if found != digest and found not in instead:
                raise ContentError(f"{tag} should be {digest} but is {found}", artifact=repository.name)
            right.append(found)

        self._look(reference, digest, resolve)
        return right[0] if right else None

    def _blob(self, repository_name: str, descriptor: Descriptor, reference: str) -> None:
        repository = self._registry.repository(repository_name)

        def ask() -> None:
            if not repository.has(descriptor):
                raise MissingError(f"has no blob {descriptor.digest}", artifact=repository.name)

        def read() -> None:
            hasher, size = descriptor.digest.hasher(), 0
            with repository.open_blob(descriptor) as reader:
                while block := reader.read(_BLOCK):
                    check_cancelled(self._session.cancelled)
                    hasher.update(block)
                    size += len(block)
            if hasher.hexdigest() != descriptor.digest.encoded or size != descriptor.size:
                raise ContentError(f"the bytes of blob {descriptor.digest} are others", artifact=repository.name)
            self._session.listener(BytesMoved(size))

        self._look(reference, descriptor.digest, read if self._report.deep else ask)

    def _look(self, reference: str, digest: Digest, look: Callable[[], object]) -> None:
        check_cancelled(self._session.cancelled)
        try:
            self._session.persist(look)
        except InterruptError:
            raise
        except BundlectlError as error:
            kind: Literal["different", "missing"] = "different" if error.exit_code == 3 else "missing"  # noqa: PLR2004
            with self._mutex:
                self._report.findings.append(Finding(kind, reference, str(error), str(digest)))


def _hold_listed(repository: RemoteRepository, artifact: LockedArtifact) -> None:
    referrers = {item.digest for item in artifact.referrers if not item.tag}
    subjects = [artifact.root, *artifact.manifests, *(item.digest for item in artifact.referrers)]
    for digest in sorted(unlisted(repository, referrers, subjects))[:1]:
        raise MissingError(
            f"does not list {digest} as a referrer, so nobody finds that signature or attestation",
            artifact=repository.name,
            hint="mirror or import it again",
        )


def _blobs(artifact: LockedArtifact) -> Iterable[Digest]:
    yield from artifact.blobs
    for referrer in artifact.referrers:
        yield from referrer.blobs
