"""Decisions about Packages, over everything that can be observed and against a model of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.schema.package_bundle import PackageVersion
from controller.facts import (
    UNKNOWN,
    AddOwner,
    ChartFile,
    CreateDependency,
    Decision,
    Dependency,
    Dismiss,
    Enlist,
    Fault,
    Install,
    LookUp,
    MarkReady,
    Observed,
    Readiness,
    Refusal,
    Rollback,
    Uninstall,
    Wanted,
)
from controller.reconcile import FINALIZER, decide
from controller.releases import DESCRIPTION, Release, Revision
from controller.status import with_condition
from controller.values import Metadata, Package, PackageSource, PackageSpec, PackageStatus

HOLDER = "replica-1"
OTHER = "replica-0"


def wanted(version: str = "1.0.0") -> Wanted:
    return Wanted(
        source=PackageSource(repository="greeter", version=version, digest=f"sha256:{version}"),
        target_version=f"{version} (latest)",
        repository="mirror.example/greeter",
        values={},
        fingerprint=f"fp-{version}",
        namespace="apps",
        version=PackageVersion(name=version, digest=f"sha256:{version}"),
        image_registry="mirror.example",
    )


def package(*, deleting: bool = False, taken: bool = True, status: PackageStatus | None = None) -> Package:
    metadata = Metadata(
        name="greeter",
        namespace="eksa-packages-site",
        uid="uid-1",
        generation=3,
        deleting=deleting,
        finalizers=(FINALIZER,) if taken else (),
    )
    return Package(metadata=metadata, spec=PackageSpec(package_name="greeter"), status=status or PackageStatus())


def release(*revisions: Revision, description: str = DESCRIPTION) -> Release:
    return Release(revisions=revisions, description=description)


def revision(number: int, status: str = "deployed", version: str = "1.0.0", **more: Any) -> Revision:
    return Revision(number=number, status=status, fingerprint=f"fp-{version}", holder=HOLDER, owner="uid-1", **more)


def observed(**more: Any) -> Observed:
    known = {
        "package": package(),
        "holder": HOLDER,
        "wanted": wanted(),
        "location": "apps",
        "release": None,
        "chart": ChartFile("apps"),
        "images": (),
        "prepared": True,
    }
    return Observed(**(known | more))


def test_a_package_that_is_not_taken_up_gets_the_finalizer_before_anything_is_installed() -> None:
    decision = decide(observed(package=package(taken=False), location=""))
    assert decision.action == Enlist("apps")


def test_the_chart_decides_on_the_namespace_where_the_package_does_not() -> None:
    nameless = replace(wanted(), namespace="")
    asked = observed(package=package(taken=False), location="", wanted=nameless, chart=UNKNOWN)
    assert decide(asked).action == LookUp("chart")
    assert decide(replace(asked, chart=ChartFile("greetings"))).action == Enlist("greetings")


def test_a_refusal_leaves_what_is_installed_alone_and_is_looked_at_again_for_a_cluster_changes_unseen() -> None:
    before = PackageStatus(state="installed", current_version="1.0.0")
    decision = decide(observed(package=package(status=before), refusal=Refusal("NoController", "there is none")))
    assert (decision.action, decision.again_after, decision.retry) == (None, 180.0, False)
    assert (decision.status.state, decision.status.detail) == ("installed", "there is none")


@pytest.mark.parametrize(
    ("images", "reason"),
    [(("tools/a@sha256:1",), "ImagesMissing"), (Fault("ImagesNotVerified", "no"), "ImagesNotVerified")],
)
def test_nothing_is_installed_while_an_image_is_not_in_the_mirror(images: Any, reason: str) -> None:
    decision = decide(observed(images=images))
    assert (decision.action, decision.retry) == (None, True)
    condition = decision.status.condition("Verified")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", reason)


def test_a_cycle_creates_nothing() -> None:
    decision = decide(observed(cycle=("a", "b", "a"), dependencies=(Dependency(package="b"),)))
    assert decision.action is None
    assert decision.status.detail == "packages need each other: a needs b needs a"


def test_an_upgrade_that_is_not_ready_in_time_goes_back_to_what_was_ready() -> None:
    upgraded = release(
        revision(4, "superseded", "0.8.0", ready=True), revision(5, "superseded", "0.9.0"), revision(6, "deployed")
    )
    waiting = observed(
        release=upgraded, readiness=Readiness(ready=False, waiting_for="waiting for pods"), ready_within=60.0
    )
    assert decide(replace(waiting, stale_for=59.0)).action is None
    assert decide(replace(waiting, stale_for=60.0)).action == Rollback(4)


def test_a_first_installation_that_is_not_ready_stays() -> None:
    fresh = observed(
        release=release(revision(1)), readiness=Readiness(ready=False, waiting_for="waiting for pods"), stale_for=1e6
    )
    decision = decide(fresh)
    assert (decision.action, decision.status.state) == (None, "installing")
    assert decision.status.detail == "waiting for pods"


def test_what_was_rolled_back_is_not_tried_again_until_something_else_is_wanted() -> None:
    rolled = release(
        revision(1, "superseded", "0.9.0", ready=True),
        revision(2, "superseded", "1.0.0"),
        revision(3, "deployed", "0.9.0", ready=True),
        description="Rollback to 1",
    )
    before = PackageStatus(state="updating", current_version="0.9.0", detail="1.0.0 was not ready within 60 s")
    held = observed(package=package(status=before), release=rolled)
    decision = decide(held)
    assert (decision.action, decision.again_after, decision.retry) == (None, 180.0, False)
    assert decision.status.detail == "1.0.0 was rolled back: 1.0.0 was not ready within 60 s"
    again = decide(replace(held, package=replace(held.package, status=decision.status)))
    assert again.status == decision.status
    assert decide(replace(held, wanted=wanted("1.1.0"))).action == Install()


def test_what_was_cut_short_is_undone_and_tried_again() -> None:
    cut = release(revision(1, "superseded", "0.9.0", ready=True), replace(revision(2, "pending-upgrade"), holder=OTHER))
    assert decide(observed(release=cut)).action == Rollback(1)
    first = release(replace(revision(1, "pending-install"), holder=OTHER))
    assert decide(observed(release=first)).action == Uninstall()
    undone = release(*cut.revisions, revision(3, "deployed", "0.9.0", ready=True), description="Rollback to 1")
    assert decide(observed(release=undone)).action == Install()


def rolled_back() -> Observed:
    rolled = release(
        revision(1, "superseded", "0.9.0", ready=True),
        revision(2, "superseded", "1.0.0"),
        revision(3, "deployed", "0.9.0", ready=True),
        description="Rollback to 1",
    )
    before = PackageStatus(state="updating", current_version="0.9.0", detail="the pods crash")
    return observed(package=package(status=before), release=rolled)


def told(seen: Observed, **more: Any) -> Observed:
    """The same after its status was written."""
    return replace(seen, package=replace(seen.package, status=decide(seen).status), **more)


def test_the_pull_secret_is_kept_up_to_date_for_what_was_rolled_back_too() -> None:
    assert decide(replace(rolled_back(), prepared=False)).action == LookUp("place")


@pytest.mark.parametrize(
    "meanwhile", [{"trouble": Fault("LookUpFailed", "no answer")}, {"refusal": Refusal("NoController", "none")}]
)
def test_why_it_was_rolled_back_is_not_taken_from_what_went_wrong_afterwards(meanwhile: dict[str, Any]) -> None:
    seen = told(replace(told(rolled_back()), **meanwhile), trouble=None, refusal=None)
    detail = decide(seen).status.detail
    assert detail.startswith("1.0.0 was rolled back: ")
    assert "no answer" not in detail
    assert "none" not in detail


def test_a_release_that_was_never_ours_stays_when_its_package_goes() -> None:
    theirs = release(replace(revision(1), owner="", holder=""), description="Install complete")
    leaving = observed(package=package(deleting=True), release=theirs)
    assert decide(leaving).action == Dismiss()
    taken_over = release(*(replace(each, status="superseded") for each in theirs.revisions), revision(2))
    assert decide(replace(leaving, release=taken_over)).action == Uninstall()
    went_back = release(*taken_over.revisions, replace(theirs.last, number=3), description="Rollback to 1")
    assert decide(replace(leaving, release=went_back)).action == Uninstall()


def test_what_a_package_of_the_same_name_left_goes_with_the_one_that_held_it_since() -> None:
    left = release(replace(revision(1, ready=True), owner="uid-of-one-that-is-gone"))
    for state, goes in ((PackageStatus(), Dismiss()), (PackageStatus(current_version="1.0.0"), Uninstall())):
        assert decide(observed(package=package(deleting=True, status=state), release=left)).action == goes


def test_what_was_waited_for_is_not_told_of_what_is_ready() -> None:
    waiting = told(observed(release=release(revision(1)), readiness=Readiness(ready=False, waiting_for="pods")))
    assert waiting.package.status.detail == "pods"
    assert decide(replace(waiting, prepared=False)).status == waiting.package.status
    ready = replace(waiting, release=release(revision(1, ready=True)), readiness=Readiness(ready=True), prepared=False)
    assert (decide(ready).action, decide(ready).status.detail) == (LookUp("place"), "")


def test_what_stands_in_the_way_is_told_once_however_often_it_is_looked_at() -> None:
    absent = told(observed(chart=UNKNOWN, images=UNKNOWN), chart=ChartFile("apps"), images=("a@sha256:1",))
    waiting = told(absent, chart=UNKNOWN, images=UNKNOWN)
    assert waiting.package.status.detail == "not in the mirror: a@sha256:1"
    assert decide(waiting).status == waiting.package.status
    assert decide(replace(waiting, chart=ChartFile("apps"))).status == waiting.package.status
    there = decide(replace(waiting, chart=ChartFile("apps"), images=()))
    assert (there.action, there.status.detail) == (Install(), "")


def test_a_helm_that_keeps_failing_is_told_once() -> None:
    failed = told(told(observed()), trouble=Fault("InstallFailed", "no rights"))
    again = told(failed, trouble=None)
    assert decide(again).action == Install()
    assert told(again).package.status.detail == "no rights"
    assert told(failed).package.status == told(replace(again, trouble=failed.trouble)).package.status


def test_what_cannot_be_uninstalled_is_told_once() -> None:
    leaving = told(observed(package=package(deleting=True), release=UNKNOWN))
    failed = told(replace(leaving, trouble=Fault("LookUpFailed", "no answer")), trouble=None)
    assert failed.package.status.detail == "no answer"
    assert decide(failed).status == failed.package.status


@pytest.mark.parametrize("what", ["place", "drift"])
def test_what_cannot_be_looked_after_is_told_once(what: str) -> None:
    held = observed(
        release=release(revision(1, ready=True)),
        readiness=Readiness(ready=True),
        prepared=what != "place",
        drift_due=True,
        trouble=Fault("LookUpFailed", "forbidden"),
    )
    failed = told(held, trouble=None)
    assert decide(failed).action == LookUp(what)  # type: ignore[arg-type]
    assert decide(failed).status == failed.package.status
    assert decide(replace(failed, prepared=True, drift=())).status.detail == ""


def test_an_upgrade_is_not_ready_before_it_is() -> None:
    before = with_condition(PackageStatus(state="installed", current_version="0.9.0"), "Ready", "True", "Installed")
    decision = decide(observed(package=package(status=before), release=release(revision(1, version="0.9.0"))))
    assert decision.action == Install()
    condition = decision.status.condition("Ready")
    assert condition is not None
    assert (condition.status, condition.reason, condition.observed_generation) == ("False", "Updating", 3)


def test_a_change_that_could_not_be_looked_at_is_not_ready() -> None:
    for generation, expected in ((2, "False"), (3, "True")):
        before = PackageStatus(state="installed", current_version="1.0.0", observed_generation=generation)
        before = with_condition(before, "Ready", "True", "Installed")
        seen = observed(package=package(status=before), release=UNKNOWN, trouble=Fault("LookUpFailed", "no answer"))
        condition = decide(seen).status.condition("Ready")
        assert condition is not None
        assert condition.status == expected


def test_what_is_not_ready_for_long_is_looked_at_less_often() -> None:
    down = Readiness(ready=False, waiting_for="waiting for pods")
    for ready in (True, False):
        seen = observed(release=release(revision(1, ready=ready)), readiness=down)
        waits = [decide(replace(seen, stale_for=seconds)).again_after or 0.0 for seconds in (0.0, 60.0, 3600.0)]
        assert waits == sorted(waits)
        assert waits[-1] == 30.0


def test_a_dependency_that_somebody_deleted_is_created_again_for_what_is_installed() -> None:
    held = observed(
        release=release(revision(1, ready=True)),
        readiness=Readiness(ready=True),
        dependencies=(Dependency(package="base"),),
    )
    decision = decide(held)
    assert (decision.action, decision.status.state) == (CreateDependency("base"), "installed")
    assert decide(replace(held, cycle=("base", "base"))).action is None
    going = (Dependency(package="base", name="base", state="uninstalling"),)
    assert decide(replace(held, dependencies=going)).action is None


def test_repairing_does_not_put_off_a_rollback() -> None:
    waiting = observed(
        release=release(revision(1, "superseded", "0.9.0", ready=True), revision(2)),
        readiness=Readiness(ready=False, waiting_for="waiting for pods"),
        drift_due=True,
    )
    assert decide(waiting).action is None


def test_a_name_that_a_dependency_cannot_have_is_told() -> None:
    decision = decide(observed(dependencies=(Dependency(package="base", name="base", taken_by="other"),)))
    assert (decision.action, decision.retry) == (None, False)
    assert decision.status.detail == "the package base is needed, but the Package of this name is of other"
    leaving = decide(observed(dependencies=(Dependency(package="base", name="base", state="uninstalling"),)))
    assert (leaving.action, leaving.status.detail) == (None, "Waiting for dependencies: base")


def test_a_namespace_that_is_none_is_told_and_not_written() -> None:
    nameless = replace(wanted(), namespace="")
    asked = observed(package=package(taken=False), location="", wanted=nameless, chart=ChartFile("../x"))
    decision = decide(asked)
    assert decision.action is None
    assert "../x" in decision.status.detail


def test_a_helm_of_somebody_else_that_was_handed_our_labels_is_waited_for() -> None:
    handed = release(revision(1, ready=True), revision(2, "pending-upgrade", "1.0.0"))
    assert decide(observed(release=handed, stale_for=10.0)).action is None
    assert decide(observed(release=handed, stale_for=301.0)).action == Rollback(1)
    back = release(revision(1, "superseded", ready=True), revision(2, "failed"), revision(3, "pending-rollback"))
    assert decide(observed(release=back)).action == Rollback(1)


def test_what_drifted_is_put_right_by_applying_the_same_revision_again_and_not_by_rendering_the_chart_anew() -> None:
    drifted = observed(
        release=release(revision(1, "superseded"), revision(2, ready=True)),
        readiness=Readiness(ready=True),
        chart=UNKNOWN,
        drift=("Secret/password",),
        drift_due=True,
    )
    assert decide(drifted).action == Rollback(2)


def test_a_helm_of_somebody_else_is_waited_for() -> None:
    foreign = release(replace(revision(1, "pending-install"), holder=""))
    assert decide(observed(release=foreign, stale_for=10.0)).action is None
    assert decide(observed(release=foreign, stale_for=301.0)).action == Uninstall()


def test_what_somebody_else_upgraded_is_brought_back() -> None:
    theirs = release(revision(1, "superseded", ready=True), revision(2), description="Upgrade complete")
    assert decide(observed(release=theirs)).action == Install()


def test_a_release_of_another_package_is_left_alone() -> None:
    decision = decide(observed(release=release(revision(1)), owner="eksa-packages/greeter"))
    assert decision.action is None
    assert "belongs to eksa-packages/greeter" in decision.status.detail
    leaving = observed(package=package(deleting=True), release=release(revision(1)), owner="eksa-packages/greeter")
    assert decide(leaving).action == Dismiss()


def test_what_somebody_else_left_half_done_is_not_taken_away() -> None:
    theirs = release(
        replace(revision(1, "pending-install"), holder="", owner=""), description="Initial install underway"
    )
    decision = decide(observed(release=theirs, stale_for=1e6))
    assert (decision.action, decision.again_after) == (None, 60.0)
    assert "helm uninstall" in decision.status.detail


revisions = st.builds(
    Revision,
    number=st.integers(1, 5),
    status=st.sampled_from(
        ["deployed", "superseded", "failed", "pending-install", "pending-upgrade", "pending-rollback", "uninstalling"]
    ),
    fingerprint=st.sampled_from(["fp-1.0.0", "fp-0.9.0", ""]),
    holder=st.sampled_from([HOLDER, OTHER, ""]),
    owner=st.sampled_from(["uid-1", "uid-2", ""]),
    ready=st.booleans(),
)
releases = st.builds(
    lambda found, description: Release(
        revisions=tuple(sorted(found, key=lambda each: each.number)), description=description
    ),
    st.lists(revisions, min_size=1, max_size=4, unique_by=lambda each: each.number),
    st.sampled_from([f"{DESCRIPTION}: 1.0.0", "Rollback to 1", "Upgrade complete", ""]),
)
statuses = st.builds(
    PackageStatus,
    state=st.sampled_from(["", "installing", "installed", "updating", "installing dependencies"]),
    current_version=st.sampled_from(["", "0.9.0", "1.0.0"]),
    detail=st.sampled_from(["", "waiting for pods", "1.0.0 was rolled back: it was"]),
)
faults = st.builds(Fault, st.just("Broken"), st.just("it is broken"))
dependencies = st.builds(
    Dependency,
    package=st.just("base"),
    name=st.sampled_from(["", "base"]),
    state=st.sampled_from(["", "installed", "updating"]),
    needs_owner=st.booleans(),
)
everything = st.builds(
    Observed,
    package=st.builds(package, deleting=st.booleans(), taken=st.booleans(), status=statuses),
    holder=st.just(HOLDER),
    refusal=st.none() | st.builds(Refusal, st.just("No"), st.just("no"), st.booleans()),
    wanted=st.builds(wanted),
    location=st.sampled_from(["", "apps"]),
    dependencies=st.lists(dependencies, max_size=2).map(tuple),
    cycle=st.sampled_from([(), ("a", "b", "a")]),
    owner=st.sampled_from(["", "eksa-packages/other"]),
    release=st.just(UNKNOWN) | st.none() | releases,
    chart=st.just(UNKNOWN) | faults | st.just(ChartFile("apps")),
    images=st.just(UNKNOWN) | faults | st.sampled_from([(), ("a@sha256:1",)]),
    prepared=st.booleans(),
    readiness=st.just(UNKNOWN) | st.builds(Readiness, st.booleans(), st.just("waiting for pods")),
    drift=st.just(UNKNOWN) | st.sampled_from([(), ("Deployment/greeter",)]),
    drift_due=st.booleans(),
    stale_for=st.sampled_from([0.0, 10.0, 301.0]),
    trouble=st.none() | faults,
)
STATES = {
    "",
    "initializing",
    "installing",
    "installing dependencies",
    "installed",
    "updating",
    "uninstalling",
    "unknown",
}


@given(everything)
def test_every_status_can_be_stored_and_nothing_in_it_changes_by_itself(seen: Observed) -> None:
    decision = decide(seen)
    assert decision.status == seen.package.status or decision.status.state in STATES
    written = replace(seen, package=replace(seen.package, status=decision.status))
    again = decide(written)
    if decision.action is None:
        # What was just written is not written again.
        assert again == replace(decision, status=again.status)
        assert again.status == decision.status
    assert not (decision.action and decision.retry)


@given(everything)
def test_nothing_is_installed_that_was_not_checked(seen: Observed) -> None:
    if isinstance(decide(seen).action, Install):
        assert seen.refusal is None
        assert seen.trouble is None
        assert isinstance(seen.chart, ChartFile)
        assert not seen.cycle or (isinstance(seen.release, Release) and seen.release.holds("fp-1.0.0"))
        assert FINALIZER in seen.package.metadata.finalizers
        assert seen.prepared
        assert not seen.owner


@given(everything)
def test_what_is_known_is_not_looked_up_again(seen: Observed) -> None:
    action = decide(seen).action
    if isinstance(action, LookUp):
        known = {"release": seen.release, "chart": seen.chart, "images": seen.images, "readiness": seen.readiness}
        assert known.get(action.what, UNKNOWN) is UNKNOWN
        assert action.what != "place" or not seen.prepared
        assert action.what != "drift" or (seen.drift is UNKNOWN and seen.drift_due)


@dataclass
class World:
    """A cluster as far as one Package is concerned: helm's records, and what looking tells of it."""

    seen: Observed
    release: Release | None
    ready: bool
    writes: int = 0
    actions: list[str] = field(default_factory=list)

    def step(self) -> Decision:
        """Decide, and do what was decided as helm and the API server would."""
        decision = decide(self.seen)
        if decision.status != self.seen.package.status:
            self.writes += 1
            self.seen = replace(self.seen, package=replace(self.seen.package, status=decision.status))
        if decision.action is not None:
            self.actions.append(type(decision.action).__name__)
            self.seen = self.act(decision.action)
        return decision

    def act(self, action: Any) -> Observed:  # noqa: PLR0911 -- one a kind
        seen = self.seen
        metadata = seen.package.metadata
        match action:
            case LookUp("release"):
                return replace(seen, release=self.release)
            case LookUp("readiness"):
                return replace(seen, readiness=Readiness(self.ready, "" if self.ready else "waiting for pods"))
            case LookUp("drift"):
                return replace(seen, drift=(), drift_due=False)
            case LookUp("place"):
                return replace(seen, prepared=True)
            case LookUp("chart"):
                return replace(seen, chart=ChartFile("apps"))
            case LookUp("images"):
                return replace(seen, images=())
            case CreateDependency(name) | AddOwner(name):
                made = Dependency(package=name, name=name, state="installing")
                kept = tuple(made if item.package == name else item for item in seen.dependencies)
                return replace(seen, dependencies=kept)
            case Enlist(namespace):
                taken = replace(metadata, finalizers=(*metadata.finalizers, FINALIZER))
                return replace(seen, package=replace(seen.package, metadata=taken), location=namespace)
            case Dismiss():
                return replace(seen, package=replace(seen.package, metadata=replace(metadata, finalizers=())))
        self.change(action)
        return replace(seen, release=UNKNOWN, readiness=UNKNOWN, drift=UNKNOWN)

    def change(self, action: Any) -> None:
        before = self.release.revisions if self.release else ()
        number = before[-1].number + 1 if before else 1
        older = tuple(replace(each, status="superseded") if each.status == "deployed" else each for each in before)
        match action:
            case Install():
                made = Revision(number=number, status="deployed", fingerprint="fp-1.0.0", holder=HOLDER, owner="uid-1")
                self.release = Release(revisions=(*older, made), description=DESCRIPTION)
            case Rollback(to):
                target = next(each for each in before if each.number == to)
                made = replace(target, number=number, status="deployed")
                self.release = Release(revisions=(*older, made), description=f"Rollback to {to}")
            case Uninstall():
                self.release = None
            case MarkReady():
                marked = replace(before[-1], ready=True)
                assert self.release is not None
                self.release = replace(self.release, revisions=(*before[:-1], marked))


@given(everything, releases | st.none(), st.booleans())
def test_whatever_there_is_it_settles_in_few_steps_and_stays_settled(
    start: Observed,
    there: Release | None,
    ready: bool,  # noqa: FBT001 -- made by hypothesis
) -> None:
    calm = replace(
        start,
        trouble=None,
        owner="",
        release=UNKNOWN,
        readiness=UNKNOWN,
        drift=UNKNOWN,
        dependencies=tuple(item for item in start.dependencies if item.state == "installed" and item.name)
        and (Dependency(package="base", name="base", state="installed"),),
        location=start.location if FINALIZER in start.package.metadata.finalizers else "",
    )
    world = World(calm, there if calm.location else None, ready)
    for _ in range(25):
        if world.step().action is None:
            break
    else:
        pytest.fail(f"it does not settle: {world.actions}")
    before = world.writes
    assert world.step().action is None
    assert world.writes == before
    usable = calm.refusal is None and not calm.cycle and not isinstance(calm.chart, Fault)
    if calm.package.metadata.deleting:
        assert not world.seen.package.metadata.finalizers or FINALIZER not in world.seen.package.metadata.finalizers
    elif usable and calm.images in (UNKNOWN, ()) and ready and there is None:
        assert world.seen.package.status.state == "installed"
        assert world.seen.package.status.current_version == "1.0.0"


def passed(world: World, failing: str, lacking: Any) -> None:
    """One pass, in which one kind of step fails, over a cluster in which something may be lacking."""
    fresh = {"trouble": None, "readiness": UNKNOWN, "drift": UNKNOWN, "chart": UNKNOWN, "images": UNKNOWN}
    world.seen = replace(world.seen, release=UNKNOWN, **fresh)
    for _ in range(25):
        decision = decide(world.seen)
        what = getattr(decision.action, "what", type(decision.action).__name__)
        if decision.status != world.seen.package.status:
            world.writes += 1
            world.seen = replace(world.seen, package=replace(world.seen.package, status=decision.status))
        if decision.action is None:
            return
        if what == failing:
            world.seen = replace(world.seen, trouble=Fault(f"{type(decision.action).__name__}Failed", "it failed"))
        else:
            world.seen = world.act(decision.action)
            if what == "images":
                world.seen = replace(world.seen, images=lacking)
    pytest.fail("it does not settle")


STEPS = "release chart images readiness drift place Enlist CreateDependency AddOwner Install Rollback MarkReady"


@given(
    everything,
    releases | st.none(),
    st.booleans(),
    st.sampled_from([*STEPS.split(), "Uninstall", "Dismiss", "nothing"]),
    st.sampled_from([(), ("a@sha256:1",), Fault("ImagesNotVerified", "it is none")]),
)
def test_what_fails_again_and_again_is_written_once(
    start: Observed,
    there: Release | None,
    ready: bool,  # noqa: FBT001 -- made by hypothesis
    failing: str,
    lacking: Any,
) -> None:
    taken = FINALIZER in start.package.metadata.finalizers
    located = replace(start, location=start.location if taken else "")
    world = World(located, there if located.location else None, ready)
    for _ in range(3):
        passed(world, failing, lacking)
    before = world.writes
    passed(world, failing, lacking)
    assert world.writes == before
