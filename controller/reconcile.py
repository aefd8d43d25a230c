"""What to do about one Package: a pure function of what is known (``docs/concepts/controller.md``, "Reconcile")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.facts import (
    AddOwner,
    CreateDependency,
    Decision,
    Dismiss,
    Enlist,
    Fault,
    Install,
    LookUp,
    MarkReady,
    Rollback,
    Uninstall,
    Unknown,
)
from controller.status import MESSAGE_LIMIT, said, with_condition
from controller.values import is_namespace

if TYPE_CHECKING:
    from controller.facts import Observed, Refusal, Wanted
    from controller.releases import Release
    from controller.values import PackageSource, PackageStatus

__all__ = ["FINALIZER", "decide"]

FINALIZER: Final = "bundlectl.dev/release"
_FOREIGN_PATIENCE: Final = 300.0
"""Seconds that a helm which is not ours gets to end what it began."""
_SHOWN: Final = 5
_SOON: Final = 0.3
_LATER: Final = 5.0
_SLOWEST: Final = 30.0
_SAFETY: Final = 60.0
"""Seconds after which is looked again at what somebody else should have changed."""


def decide(observed: Observed) -> Decision:
    """Say what the status is, what is done next, and when to look again.

    At most one action; carried out, the Package is observed anew. A step that failed is told and backed off from.
    """
    decision = _going(observed) if observed.package.metadata.deleting else _staying(observed)
    if observed.trouble is None:
        return _once_more(observed, decision)
    generation = observed.package.metadata.generation
    status = replace(
        decision.status,
        state=decision.status.state or "initializing",
        detail=observed.trouble.message[:MESSAGE_LIMIT],
        observed_generation=generation,
    )
    ready = status.condition("Ready")
    # What was ready stays so, unless something else is asked for now.
    if status.state != "installed" or ready is None or ready.observed_generation != generation:
        status = with_condition(status, "Ready", "False", observed.trouble.reason, observed.trouble.message)
    return Decision(status=status, retry=True)


def _once_more(observed: Observed, decision: Decision) -> Decision:
    """Where a step that failed is tried again, why it failed stays told until it is done."""
    before, action = observed.package.status, decision.action
    ready = before.condition("Ready")
    if action is None or ready is None or ready.reason != f"{type(action).__name__}Failed":
        return decision
    return replace(decision, status=_unless_said(observed, decision.status))


def _going(observed: Observed) -> Decision:
    """A Package that was deleted: the release goes first."""
    metadata, status = observed.package.metadata, observed.package.status
    if FINALIZER not in metadata.finalizers:
        return Decision(status=status)
    if not observed.location:
        return Decision(status=status, action=Dismiss())
    leaving = said(observed, "uninstalling")
    leaving = with_condition(leaving, "Ready", "False", "Uninstalling", "the Package was deleted")
    leaving = _unless_said(observed, leaving)
    release = observed.release
    if isinstance(release, Unknown):
        return Decision(status=leaving, action=LookUp("release"))
    if release is None or observed.owner or not _is_its_own(observed, release):
        return Decision(status=status, action=Dismiss())
    return Decision(status=leaving, action=Uninstall())


def _is_its_own(observed: Observed, release: Release) -> bool:
    """Whether the Package installed it, or held what one of its name left that was deleted without it."""
    package = observed.package
    return release.owner == package.metadata.uid or bool(release.owner and package.status.current_version)


def _staying(observed: Observed) -> Decision:
    if observed.refusal is not None:
        return _refused(observed, observed.refusal)
    wanted = observed.wanted
    if wanted is None:
        raise ValueError("neither wanted nor refused")
    if FINALIZER not in observed.package.metadata.finalizers or not observed.location:
        return _enlist(observed, wanted)
    release = observed.release
    if isinstance(release, Unknown):
        return Decision(status=observed.package.status, action=LookUp("release"))
    if observed.owner:
        fault = Fault("NameTaken", f"the release of this name in {observed.location} belongs to {observed.owner}")
        return _faulty(observed, fault, again_after=_SAFETY)
    return _bring(observed, wanted) if release is None else _with_release(observed, wanted, release)


def _with_release(observed: Observed, wanted: Wanted, release: Release) -> Decision:
    if release.pending:
        return _pending(observed, release)
    if release.holds(wanted.fingerprint):
        return _held(observed, wanted, release)
    if release.was_rolled_back(wanted.fingerprint):
        return _left(observed, wanted)
    good = release.last_good
    if release.last.status == "failed" and release.last.fingerprint == wanted.fingerprint and good is not None:
        status = said(observed, "updating", observed.package.status.detail)
        return Decision(status=status, action=Rollback(good.number))
    return _bring(observed, wanted)


def _refused(observed: Observed, refusal: Refusal) -> Decision:
    """Nothing is done, and nothing of what is installed changes, before something else does."""
    status = said(observed, refusal.state or observed.package.status.state, refusal.message)
    if not refusal.verified:
        status = with_condition(status, "Verified", "False", refusal.reason, refusal.message)
    status = with_condition(status, "Ready", "False", refusal.reason, refusal.message)
    status = with_condition(status, "Progressing", "False", refusal.reason)
    # What cannot be watched may be what changes: the version of a cluster, a Secret of another place.
    return Decision(status=status, again_after=observed.drift_interval)


def _enlist(observed: Observed, wanted: Wanted) -> Decision:
    status = observed.package.status
    if observed.location or wanted.namespace:
        return Decision(status=status, action=Enlist(observed.location or wanted.namespace))
    chart = observed.chart
    if isinstance(chart, Unknown):
        return Decision(status=status, action=LookUp("chart"))
    if isinstance(chart, Fault):
        return _faulty(observed, chart, verified=False)
    if not is_namespace(chart.default_namespace):
        return _faulty(observed, Fault("Namespace", f"the chart wants the namespace {chart.default_namespace[:100]!r}"))
    return Decision(status=status, action=Enlist(chart.default_namespace))


def _pending(observed: Observed, release: Release) -> Decision:
    """Helm did not end. Whoever writes holds the Lease, so a helm of ours that began this is not there any more."""
    if not release.owner:
        told = "somebody else's helm is at this release, or was cut short: helm rollback or helm uninstall ends that"
        return _faulty(observed, Fault("Waiting", told), again_after=_SAFETY)
    if not _is_left_behind(release) and observed.stale_for < _FOREIGN_PATIENCE:
        fault = Fault("Waiting", "a helm that somebody else started is at this release")
        return _faulty(observed, fault, again_after=_LATER)
    status = said(observed, _word(observed), "an operation that was cut short is undone")
    good = release.last_good
    if good is None or release.last.status == "uninstalling":
        return Decision(status=status, action=Uninstall())
    return Decision(status=status, action=Rollback(good.number))


def _is_left_behind(release: Release) -> bool:
    """Whether a helm of ours began what is pending: each names itself anew, others hand on what was there before.

    A rollback has the labels of where it goes back to, whoever makes it.
    """
    holder = release.last.holder
    handed_on = holder in {one.holder for one in release.revisions[:-1]}
    return bool(holder) and (release.last.status == "pending-rollback" or not handed_on)


def _held(observed: Observed, wanted: Wanted, release: Release) -> Decision:
    """What is wanted is what is deployed."""
    readiness = observed.readiness
    if isinstance(readiness, Unknown):
        return Decision(status=observed.package.status, action=LookUp("readiness"))
    if not readiness.ready:
        decision = _unready(observed, wanted, release, readiness.waiting_for)
    elif not release.last.ready:
        decision = Decision(status=observed.package.status, action=MarkReady(release.last.number))
    else:
        status = with_condition(
            _installed(observed, wanted), "Ready", "True", "Installed", f"{wanted.source.version} is ready"
        )
        decision = Decision(status=status, again_after=observed.drift_interval)
    return decision if decision.action else _kept(observed, release, decision)


def _kept(observed: Observed, release: Release, decision: Decision) -> Decision:
    """Keep what is deployed as it was: pull secrets, dependencies, and objects that somebody changed or deleted."""
    status = decision.status
    before = observed.package.status
    # What could not be looked after the last time stays told until it is known to be gone.
    looking = replace(status, detail=before.detail if before.state == status.state else "")
    if not observed.prepared:
        return Decision(status=looking, action=LookUp("place"))
    absent = [item.package for item in observed.dependencies if not item.name]
    if absent and release.last.ready and not observed.cycle:
        return Decision(status=looking, action=CreateDependency(absent[0]))
    if isinstance(observed.drift, Unknown):
        # A repair is a new revision: one that never got ready would have its time begin anew each time.
        due = observed.drift_due and release.last.ready
        return Decision(status=looking, action=LookUp("drift")) if due else decision
    if not observed.drift:
        return decision
    told = f"{', '.join(observed.drift[:_SHOWN])} changed, and is put right"
    status = with_condition(status, "Progressing", "True", "Drifted", told)
    # Not the chart anew: what it makes up each time (passwords, certificates) would be others, and jobs ran already.
    return Decision(status=status, action=Rollback(release.last.number))


def _unready(observed: Observed, wanted: Wanted, release: Release, waiting_for: str) -> Decision:
    if release.last.ready:
        # It was ready once: what is wrong now would be wrong with an earlier revision, too.
        status = replace(_installed(observed, wanted), detail=waiting_for)
        status = with_condition(status, "Ready", "False", "NotReady", waiting_for)
        return Decision(status=status, again_after=max(_LATER, _rarely(observed)))
    good = release.last_good
    version = wanted.source.version
    if observed.stale_for >= observed.ready_within and good and good.fingerprint != wanted.fingerprint:
        told = f"{version} was not ready within {observed.ready_within:g} s ({waiting_for})"
        return Decision(status=said(observed, "updating", told), action=Rollback(good.number))
    status = said(observed, _word(observed), waiting_for, source=_source(observed, wanted))
    status = _verified(replace(status, target_version=wanted.target_version))
    status = with_condition(status, "Ready", "False", "Waiting", waiting_for)
    status = with_condition(status, "Progressing", "True", "Waiting", f"{version} is becoming ready")
    return Decision(status=status, again_after=_SOON if observed.stale_for < _LATER else _rarely(observed))


def _rarely(observed: Observed) -> float:
    """The longer it takes, the less often it is looked at: many may wait for one node that is down."""
    return min(observed.stale_for / 10, _SLOWEST)


def _left(observed: Observed, wanted: Wanted) -> Decision:
    """It was tried and rolled back; it is tried again when Package or bundle change."""
    before = observed.package.status
    begins = f"{wanted.source.version} was rolled back"
    told = before.condition("Ready")
    if told is not None and told.reason == "RolledBack" and told.message.startswith(begins):
        detail = told.message
    else:
        # Any other detail than that of the attempt is about something that came afterwards.
        cause = before.detail if before.state == "updating" else ""
        detail = f"{begins}: {cause or 'it was not ready in time, or helm failed'}"[:MESSAGE_LIMIT]
    status = replace(said(observed, "installed", detail), target_version=wanted.target_version)
    status = with_condition(status, "Ready", "False", "RolledBack", detail)
    status = with_condition(status, "Progressing", "False", "RolledBack")
    if not observed.prepared:
        return Decision(status=replace(status, detail=before.detail), action=LookUp("place"))
    return Decision(status=status, again_after=observed.drift_interval)


def _bring(observed: Observed, wanted: Wanted) -> Decision:
    """Everything that must hold before helm is started, one after the other."""
    waiting = _dependencies(observed, wanted)
    if waiting is not None:
        return waiting
    status = said(observed, _word(observed), source=_source(observed, wanted))
    status = replace(status, target_version=wanted.target_version)
    status = with_condition(status, "Progressing", "True", "Installing", f"towards {wanted.source.version}")
    version = observed.package.status.current_version
    reason, told = "Installing", "nothing is installed yet"
    if version:
        reason, told = "Updating", f"from {version} to {wanted.source.version}"
    status = with_condition(status, "Ready", "False", reason, told)
    looking = _unless_said(observed, status)
    if isinstance(observed.chart, Unknown):
        return Decision(status=looking, action=LookUp("chart"))
    if isinstance(observed.images, Unknown) and not isinstance(observed.chart, Fault):
        return Decision(status=looking, action=LookUp("images"))
    fault = _mirror_fault(observed)
    if fault is not None:
        return _faulty(observed, fault, verified=False, status=status)
    found = status.condition("Verified")
    # Where it was not doubted it is told with the next change, which spares a write.
    status = _verified(status) if found is not None and found.status == "False" else looking
    return Decision(status=status, action=Install() if observed.prepared else LookUp("place"))


def _unless_said(observed: Observed, status: PackageStatus) -> PackageStatus:
    """The status as it is stored, if that says the same: a new attempt does not hide why the last one failed."""
    before = observed.package.status

    def aim(each: PackageStatus) -> tuple[object, ...]:
        return each.state, each.target_version, each.source, each.observed_generation

    return before if aim(before) == aim(status) else status


def _mirror_fault(observed: Observed) -> Fault | None:
    """What is wrong with the chart or the images, if anything."""
    images = observed.images
    if isinstance(observed.chart, Fault):
        return observed.chart
    if isinstance(images, Fault):
        return images
    if isinstance(images, Unknown) or not images:
        return None
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return Fault("ImagesMissing", f"not in the mirror: {', '.join(images[:_SHOWN])}{more}")


def _dependencies(observed: Observed, wanted: Wanted) -> Decision | None:
    """What is done about packages that must be there before; None when all are."""
    word = "installing dependencies"
    if observed.cycle:
        fault = Fault("DependencyCycle", f"packages need each other: {' needs '.join(observed.cycle)}")
        return _faulty(observed, fault, status=said(observed, word), again_after=_SAFETY)
    for item in observed.dependencies:
        if item.taken_by:
            told = f"the package {item.package} is needed, but the Package of this name is of {item.taken_by}"
            return _faulty(observed, Fault("NameTaken", told), status=said(observed, word), again_after=_SAFETY)
    lacking = [item for item in observed.dependencies if item.state != "installed"]
    status = said(observed, word, source=_source(observed, wanted)) if lacking else observed.package.status
    if lacking:
        told = f"Waiting for dependencies: {', '.join(item.package for item in lacking)}"
        status = replace(status, detail=told, target_version=wanted.target_version)
        status = with_condition(status, "Ready", "False", "WaitingForDependencies", told)
    for item in observed.dependencies:
        if not item.name:
            return Decision(status=_unless_said(observed, status), action=CreateDependency(item.package))
        if item.needs_owner:
            return Decision(status=_unless_said(observed, status), action=AddOwner(item.name))
    return Decision(status=status, again_after=_SAFETY) if lacking else None


def _faulty(
    observed: Observed,
    fault: Fault,
    *,
    verified: bool = True,
    status: PackageStatus | None = None,
    again_after: float | None = None,
) -> Decision:
    """Tell what is in the way. It is looked at again, with back-off unless a time is given."""
    status = replace(status or said(observed, _word(observed)), detail=fault.message[:MESSAGE_LIMIT])
    if not verified:
        status = with_condition(status, "Verified", "False", fault.reason, fault.message)
    status = with_condition(status, "Ready", "False", fault.reason, fault.message)
    return Decision(status=status, again_after=again_after, retry=again_after is None)


def _installed(observed: Observed, wanted: Wanted) -> PackageStatus:
    status = replace(
        said(observed, "installed", source=wanted.source),
        current_version=wanted.source.version,
        target_version=wanted.target_version,
        spec=observed.package.spec,
    )
    return with_condition(_verified(status), "Progressing", "False", "Installed")


def _verified(status: PackageStatus) -> PackageStatus:
    return with_condition(status, "Verified", "True", "Verified", "the signature, the chart and the images")


def _word(observed: Observed) -> str:
    return "updating" if observed.package.status.current_version else "installing"


def _source(observed: Observed, wanted: Wanted) -> PackageSource | None:
    """While something older is installed, ``status.source`` is where that came from."""
    return None if observed.package.status.current_version else wanted.source
