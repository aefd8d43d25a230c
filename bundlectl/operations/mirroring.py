"""``mirror``: bring everything that sources name into a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundlectl.errors import UsageError
from bundlectl.events import PhaseStarted
from bundlectl.operations.locking import Locked, lock_sources
from bundlectl.operations.rooting import Rooting
from bundles.plan import Naming, TargetPlan
from mirror.copying import CopyReport, Estimate, copy, estimate

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import TrustLevel
    from mirror.copying import Failure
    from mirror.remote import RemoteRepository

__all__ = ["MirrorPlan", "mirror", "plan"]


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


def mirror(request: SourceRequest, *, session: Session, target: Naming | None = None) -> CopyReport:
    """Bring everything that the sources name into a registry; what is there already is left alone.

    Args:
        request: what to mirror; a store among the sources is read instead of upstream.
        session: connections.
        target: registry, prefix and map rules; what a Collection among the sources names when None.

    Raises:
        UsageError: there is no target, or two artifacts would get one name at it.
        RegistryError, TransportError: the target refuses everything, or cannot be reached.
        ContentError, VerificationError, TransportError: from reading the sources.
        InterruptError: cancelled; the same call resumes.
    """
    locked = lock_sources(request, session=session)
    naming = _target(target, locked)
    planned = TargetPlan.of(locked.lock, naming)
    registry = session.target(naming.registry)
    with Rooting(locked, session) as rooting:
        roots = rooting.roots(planned, lambda repository, _: registry.repository(repository))
        session.listener(PhaseStarted("mirroring", len(roots)))
        source, sent = session.requests() - registry.requests, registry.requests
        report = copy(
            roots,
            jobs=session.jobs,
            listener=session.listener,
            cancel=session.cancelled,
            concluded=locked.failed,
            persistence=session.persistence,
        )
    report.requests_target = registry.requests - sent
    report.requests_source = session.requests() - registry.requests - source
    report.weakened = list(locked.lock.weakened)
    report.excluded = len(locked.lock.excluded)
    if report.exit_code == 4 and not report.artifacts_done + report.artifacts_skipped:  # noqa: PLR2004 -- cli.md
        # Nothing went through: if it is the target that cannot be reached or lets nobody in, say that.
        registry.ping()
    return report


def plan(request: SourceRequest, *, session: Session, target: Naming | None = None) -> MirrorPlan:
    """Work out what ``mirror`` would do, and change nothing.

    Raises:
        The same as ``mirror``.
    """
    locked: Locked = lock_sources(request, session=session)
    naming = _target(target, locked)
    planned = TargetPlan.of(locked.lock, naming)
    registry = session.target(naming.registry)

    def open_target(repository: str, trust: TrustLevel) -> RemoteRepository:
        del trust
        return registry.repository(repository)

    with Rooting(locked, session) as rooting:
        roots = rooting.roots(planned, open_target)
        result = estimate(roots, jobs=session.jobs, cancel=session.cancelled, persistence=session.persistence)
    return MirrorPlan(planned, result, locked.failed, locked.lock.weakened)


def _target(target: Naming | None, locked: Locked) -> Naming:
    found = target or locked.target
    if found is None:
        raise UsageError(
            "no target given", hint="name the registry with --to HOST[:PORT][/PREFIX], or in a Collection's spec.target"
        )
    return found
