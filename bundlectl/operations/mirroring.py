"""``mirror``: bring everything that sources name into a registry."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError, TransportError, UsageError
from bundlectl.events import Notice, PhaseStarted
from bundlectl.operations.locking import Locked, lock_sources
from bundlectl.operations.placing import place_documents
from bundlectl.operations.preflight import Visibility, outstanding, prepare_target
from bundlectl.operations.rooting import Rooting
from bundles.plan import Naming, TargetPlan
from mirror.copying import CopyReport, Estimate, TargetKnowledge, copy, estimate
from mirror.copying.knowledge import sample
from mirror.copying.survey import holds
from mirror.copying.working import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundlectl.operations.request import Beside, SourceRequest
    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from mirror.copying import Failure, Root
    from mirror.oci.repository import ReadRepository
    from mirror.remote import RemoteRegistry

__all__ = ["Filling", "MirrorPlan", "fill_registry", "mirror", "plan"]

_LISTING_PAYS: Final = 20
"""Tags from which on a registry that can list many artifacts at once is asked to."""


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """What ``mirror`` would do: where everything goes, and the bytes that would be sent."""

    target: TargetPlan
    estimate: Estimate
    failed: tuple[Failure, ...] = ()
    weakened: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 or 4 when some artifact cannot be resolved."""
        return CopyReport(failed=list(self.failed)).exit_code

    def to_json(self) -> dict[str, Any]:
        """Render for ``--dry-run --output json``."""
        naming = self.target.naming
        registry = naming.registry if isinstance(naming, Naming) else ""
        pending = set(self.estimate.pending)
        return {
            "target": registry,
            "artifacts": [
                {
                    "type": item.artifact.type,
                    "reference": item.artifact.reference,
                    "digest": str(item.digest),
                    "target": f"{registry}/{item.repository}:{item.tag}",
                    "upToDate": item.artifact.reference not in pending,
                }
                for item in self.target.artifacts
            ],
            "manifests": [
                {
                    "kind": item.manifest.kind,
                    "name": item.manifest.name,
                    "digest": str(item.manifest.digest),
                    "targets": [f"{registry}/{item.repository}:{tag}" for tag in item.tags],
                }
                for item in self.target.manifests
            ],
            "totals": {
                "artifacts": self.estimate.artifacts,
                "upToDate": self.estimate.up_to_date,
                "blobs": self.estimate.blobs,
                "bytes": self.estimate.bytes,
            },
            "failed": [item.to_json() for item in self.failed],
            "weakened": list(self.weakened),
        }


def mirror(
    request: SourceRequest,
    *,
    session: Session,
    target: Naming | None = None,
    create_projects: Visibility | None = None,
    trust_recorded: bool = False,
) -> CopyReport:
    """Bring everything that the sources name into a registry; what is there already is left alone.

    Args:
        request: what to mirror; a store among the sources is read instead of upstream.
        session: connections.
        target: registry, prefix and map rules; what a Collection among the sources names when None.
        create_projects: make the projects that are missing (Harbor), as visible as this.
        trust_recorded: what earlier runs confirmed at the target is taken for granted, if a sample of it holds.

    Raises:
        UsageError: there is no target, or two artifacts would get one name at it.
        RegistryError, TransportError: the target refuses everything or cannot be reached; a project of it is
            missing, or has not the room.
        ContentError, VerificationError, TransportError: from reading the sources.
        InterruptError: cancelled; the same call resumes.
    """
    locked = lock_sources(request, session=session)
    filling = Filling(create_projects=create_projects, trust_recorded=trust_recorded)
    return fill_registry(locked, _target(target, locked), filling, session=session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How a registry is filled.

    ``create_projects`` and ``trust_recorded`` as for `mirror`; ``beside`` see ``SourceRequest.beside``. ``ready`` is
    called with the plan once the registry turned out able to take it, before anything is written. ``doubted``: what
    reports call artifacts that are copied though their tags are right.
    """

    create_projects: Visibility | None = None
    trust_recorded: bool = False
    beside: Beside | None = None
    ready: Callable[[TargetPlan], None] | None = None
    doubted: frozenset[str] = frozenset()
    phase: str = "mirroring"


def fill_registry(locked: Locked, naming: Naming, filling: Filling, *, session: Session) -> CopyReport:
    """Bring everything that is locked into a registry. The lock's parts are let go of on the way.

    Raises:
        UsageError, RegistryError, TransportError, InterruptError: see `mirror`.
    """
    registry = session.target(naming.registry)
    with Rooting(locked, session, beside=filling.beside) as rooting, session.memory(naming.registry) as memory:
        source, sent = session.requests() - registry.requests, registry.requests
        knowledge = TargetKnowledge(memory=memory, doubted=filling.doubted)
        planned = _place(locked.lock, naming, registry, knowledge, session)
        roots = rooting.roots(planned, lambda repository, _: registry.repository(repository))
        session.listener(PhaseStarted(filling.phase, len(roots)))
        _learn(knowledge, roots, registry, session, trusting=filling.trust_recorded)
        wanted = outstanding(planned, roots, knowledge)
        prepare_target(registry, planned, locked.lock, wanted, session=session, create_projects=filling.create_projects)
        if filling.ready is not None:
            filling.ready(planned)
        failed, weakened, excluded = locked.failed, list(locked.lock.weakened), len(locked.lock.excluded)
        # What is copied is in the roots: a lock of 50,000 blobs would be a third of the memory of the run.
        del locked, planned, wanted
        report = copy(
            roots,
            jobs=session.jobs,
            listener=session.listener,
            cancel=session.cancelled,
            concluded=failed,
            persistence=session.persistence,
            knowledge=knowledge,
        )
    report.requests_target = registry.requests - sent
    report.requests_source = session.requests() - registry.requests - source
    report.weakened = weakened
    report.excluded = excluded
    if report.exit_code == 4 and not report.artifacts_done + report.artifacts_skipped:  # noqa: PLR2004 -- cli.md
        # Nothing went through: if it is the target that cannot be reached or lets nobody in, say that.
        registry.ping()
    return report


def plan(
    request: SourceRequest,
    *,
    session: Session,
    target: Naming | None = None,
    create_projects: Visibility | None = None,
    trust_recorded: bool = False,
) -> MirrorPlan:
    """Work out what ``mirror`` would do, and change nothing.

    Raises:
        The same as ``mirror``.
    """
    locked: Locked = lock_sources(request, session=session)
    naming = _target(target, locked)
    registry = session.target(naming.registry)
    with Rooting(locked, session) as rooting, session.memory(naming.registry) as memory:
        knowledge = TargetKnowledge(memory=memory)
        planned = _place(locked.lock, naming, registry, knowledge, session)
        roots = rooting.roots(planned, lambda repository, _: registry.repository(repository))
        _learn(knowledge, roots, registry, session, trusting=trust_recorded)
        wanted = outstanding(planned, roots, knowledge)
        prepare_target(
            registry, planned, locked.lock, wanted, session=session, create_projects=create_projects, dry_run=True
        )
        result = estimate(
            roots,
            jobs=session.jobs,
            cancel=session.cancelled,
            persistence=session.persistence,
            knowledge=knowledge,
        )
    return MirrorPlan(planned, result, locked.failed, locked.lock.weakened)


def _place(
    lock: Lock, naming: Naming, registry: RemoteRegistry, knowledge: TargetKnowledge, session: Session
) -> TargetPlan:
    """Name everything, as the product of the target can hold it.

    What that is shows when the first tag is asked for, which has to be asked for anyway.
    """
    planned = TargetPlan.of(lock, naming)
    if planned.artifacts:
        first = planned.artifacts[0]
        with suppress(ContentError, MissingError, RegistryError, TransportError):
            session.persist(lambda: knowledge.look(registry.repository(first.repository), first.tag))
    return place_documents(planned, lock, registry)


def _learn(
    knowledge: TargetKnowledge, roots: Sequence[Root], registry: RemoteRegistry, session: Session, *, trusting: bool
) -> None:
    """Find out what need not be asked of the target artifact by artifact."""
    remembered = [root for root in roots if knowledge.recall(root) is not None] if trusting else []
    if remembered:
        knowledge.trusting = holds(sample(remembered), knowledge, jobs=session.jobs, cancel=session.cancelled)
        if not knowledge.trusting:
            knowledge.mistaken, remembered = True, []
            told = "a sample shows that it is not as recorded; everything is asked for"
            session.listener(Notice("warning", told, registry.host))
    # Roots are equal only to themselves.
    granted = set(map(id, remembered))
    asked = [root for root in roots if id(root) not in granted]
    wanted: Counter[str] = Counter()
    for root in asked:
        wanted[root.target.name] += len(root.tags)
    if wanted.total() >= _LISTING_PAYS:
        # Where it does not list, tag by tag, where it shows what is the matter with the target.
        with suppress(ContentError, RegistryError, TransportError):
            knowledge.listed = registry.list_tags(wanted)
    if registry.profile.has_projects:
        _ask(knowledge, asked, registry, session)


def _ask(knowledge: TargetKnowledge, roots: Sequence[Root], registry: RemoteRegistry, session: Session) -> None:
    """Ask for the tags that no list told, all at once: only what is outstanding needs room, and a place."""
    project_of = registry.profile.project_of
    places: dict[str, list[tuple[ReadRepository, str]]] = {}
    for root in roots:
        of_project = places.setdefault(project_of(root.target.name.partition("/")[2]), [])
        of_project += [(root.target, tag) for tag in root.tags if knowledge.tag(root, tag) is None]

    def look(place: tuple[ReadRepository, str]) -> bool:
        try:
            session.persist(lambda: knowledge.look(*place))
        except (ContentError, MissingError, RegistryError, TransportError):
            return False
        return True

    with Workers(session.jobs, session.cancelled) as workers:
        # What is refused once in a project is refused there always, or it is missing.
        entered = workers.map(look, [of_project[0] for of_project in places.values() if of_project])
        open_places = [of_project[1:] for of_project in places.values() if of_project]
        workers.map(look, [place for there, rest in zip(entered, open_places, strict=True) if there for place in rest])


def _target(target: Naming | None, locked: Locked) -> Naming:
    found = target or locked.target
    if found is None:
        raise UsageError(
            "no target given", hint="name the registry with --to HOST[:PORT][/PREFIX], or in a Collection's spec.target"
        )
    return found
