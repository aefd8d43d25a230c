"""Whole lives of a Package against a model of helm that fails, and is killed, at any step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.facts import UNKNOWN, Fault, Install, Rollback, Uninstall
from controller.reconcile import FINALIZER, decide
from controller.releases import DESCRIPTION, Release, Revision
from tests.unit.controller.test_reconcile import World, observed, package, wanted

VERSIONS = ("0.9.0", "1.0.0", "1.1.0")
HISTORY = 10
LOOKED_UP = {"release": UNKNOWN, "readiness": UNKNOWN, "drift": UNKNOWN, "chart": UNKNOWN, "images": UNKNOWN}


class _EndedError(Exception):
    """Helm failed, or everything was killed."""


@dataclass
class Life(World):
    """A Package, and a helm that keeps its records as the real one does; ``faults`` are used up one a run."""

    faults: list[str] = field(default_factory=list)

    def change(self, action: Any) -> None:
        if not isinstance(action, Install | Rollback | Uninstall):
            super().change(action)
            return
        fault = self.faults.pop() if self.faults else ""
        before = self.release.revisions if self.release else ()
        if isinstance(action, Uninstall):
            left = [*before[:-1], replace(before[-1], status="uninstalling")] if before else []
            self.keep(left if fault else [], "Deletion in progress")
        else:
            self.write(action, fault, before)
        if fault:
            raise _EndedError(fault)

    def write(self, action: Install | Rollback, fault: str, before: tuple[Revision, ...]) -> None:
        number = before[-1].number + 1 if before else 1
        if isinstance(action, Install):
            aim = self.seen.wanted
            assert aim is not None
            assert not before or not before[-1].status.startswith("pending"), "helm refuses that"
            made = Revision(
                number=number,
                status="pending-upgrade" if before else "pending-install",
                fingerprint=aim.fingerprint,
                holder=f"holder-{number}",
                owner="uid-1",
            )
            description, failed = DESCRIPTION, "Upgrade failed"
        else:
            target = next(each for each in before if each.number == action.revision)
            made = replace(target, number=number, status="pending-rollback")
            description, failed = f"Rollback to {target.number}", "Rollback failed"
        if fault == "fails":
            made = replace(made, status="failed")
            # A rollback that fails has helm call superseded what was there before it.
            if isinstance(action, Rollback):
                before = (*before[:-1], replace(before[-1], status="superseded"))
        elif not fault:
            made = replace(made, status="deployed")
            before = tuple(replace(each, status="superseded") if each.status == "deployed" else each for each in before)
        self.keep([*before, made], failed if fault == "fails" else description)

    def keep(self, revisions: list[Revision], description: str) -> None:
        """Keep what is deployed, and the newest."""
        while len(revisions) > HISTORY:
            del revisions[1 if revisions[0].status == "deployed" else 0]
        self.release = Release(revisions=tuple(revisions), description=description) if revisions else None

    def live(self, **more: Any) -> None:
        """One pass, which ends where helm fails or is killed; whatever the process knew is gone."""
        self.seen = replace(self.seen, trouble=None, **(LOOKED_UP | more))
        for _ in range(25):
            try:
                if self.step().action is None:
                    return
            except _EndedError as error:
                if str(error) == "fails":
                    failed = f"{self.actions[-1]}Failed"
                    self.seen = replace(self.seen, trouble=Fault(failed, "it failed"))
                    self.step()
                return
        raise AssertionError(f"it does not settle: {self.actions}")


faults = st.lists(st.sampled_from(["", "", "fails", "killed"]), max_size=12)
wishes = st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=8)


def lived(wished: list[str], ended: list[str], unready: set[str]) -> Life:
    """A life with changes of what is wanted, and drift, and then two quiet passes after the faults."""
    life = Life(observed(package=package(taken=True)), None, ready=True, faults=list(ended))
    for version in [*wished, *[wished[-1]] * (2 * len(ended) + 2)]:
        life.ready = version not in unready
        life.live(wanted=wanted(version), drift_due=True, stale_for=1e6)
    return life


@given(wishes, faults)
def test_whatever_happened_what_is_wanted_last_is_there_or_why_not_is_told(wished: list[str], ended: list[str]) -> None:
    life = lived(wished, ended, set())
    status, release = life.seen.package.status, life.release
    ready = status.condition("Ready")
    assert release is not None
    assert ready is not None
    assert not release.pending
    if release.holds(f"fp-{wished[-1]}"):
        assert (status.state, status.current_version, ready.status) == ("installed", wished[-1], "True")
    else:
        assert release.was_rolled_back(f"fp-{wished[-1]}")
        assert (ready.reason, status.detail.startswith(f"{wished[-1]} was rolled back")) == ("RolledBack", True)
    writes = life.writes
    life.live(stale_for=1e6)
    assert life.writes == writes


@given(wishes, faults, st.sets(st.sampled_from(VERSIONS)))
def test_a_package_that_is_deleted_at_any_moment_takes_its_release_with_it(
    wished: list[str], ended: list[str], unready: set[str]
) -> None:
    life = lived(wished, [], unready)
    metadata = replace(life.seen.package.metadata, deleting=True)
    life.seen = replace(life.seen, package=replace(life.seen.package, metadata=metadata))
    life.faults = list(ended)
    for _ in range(len(ended) + 1):
        life.live()
    assert life.release is None
    assert FINALIZER not in life.seen.package.metadata.finalizers
    assert decide(life.seen).action is None
