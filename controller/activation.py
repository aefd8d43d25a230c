"""Bundles and PackageBundleControllers: what may be used, is used, and what newer there is (``domain.md`` 5.3, 5.4)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import BundlectlError, ContentError
from bundles.package_bundle import BundleName
from bundles.sources.packages import pull_package_bundle
from controller.api import ClusterError
from controller.facts import Fault
from controller.packages import Outcome
from controller.status import dated, merge_patch, set_condition
from controller.trust import UpgradeNeeded
from controller.values import (
    HOME_NAMESPACE,
    Condition,
    Metadata,
    PackageBundleController,
    bundle_object,
)
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api
    from controller.events import Events
    from controller.metrics import Metrics
    from controller.observing import Observer
    from controller.trust import JudgedBundle
    from controller.watching import Objects

__all__ = ["BundleReconciler", "ControllerReconciler"]

_SHORTEST: Final = 10.0
_LONGEST_FAILING: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes the status of objects of one kind where it changes, and tells of it."""

    api: Api
    objects: Objects
    kind: str
    events: Events
    metrics: Metrics

    def write(self, document: dict[str, Any], status: dict[str, Any], condition: Condition) -> None:
        """Write ``status`` with one condition.

        Raises:
            ClusterError: refused, or no answer.
        """
        metadata = Metadata.from_json(document)
        before = document.get("status") or {}
        conditions = [Condition.from_json(item) for item in before.get("conditions") or ()]
        condition = replace(condition, observed_generation=metadata.generation)
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        after = {
            **status,
            "observedGeneration": metadata.generation,
            "conditions": [item.to_json() for item in dated(set_condition(conditions, condition), now)],
        }
        changes = merge_patch({name: before[name] for name in after if name in before}, after)
        if changes is None:
            return
        try:
            self.objects.put(self.api.patch(self.objects.path(metadata.key, "status"), {"status": changes}))
        except ClusterError as error:
            if not error.missing:
                raise
            return
        self.metrics.count("writes_total", kind=self.kind)
        known = next((item for item in conditions if item.type == condition.type), None)
        if known is None or (known.status, known.reason) != (condition.status, condition.reason):
            level: Literal["Normal", "Warning"] = "Normal" if condition.status == "True" else "Warning"
            self.events.tell(self.kind, metadata, level, condition.reason, condition.message)
            self.metrics.count("events_total", reason=condition.reason)


class BundleReconciler:
    """Says of each bundle whether it may be used."""

    def __init__(self, api: Api, observer: Observer, events: Events, metrics: Metrics) -> None:
        self._observer = observer
        self._writer = _Writer(api=api, objects=observer.bundles, kind="PackageBundle", events=events, metrics=metrics)

    def reconcile(self, key: str) -> Outcome:
        """Judge a bundle, and write its state.

        Raises:
            ClusterError: the status could not be written.
        """
        document = self._observer.bundles.get(key)
        if document is None or document["metadata"].get("deletionTimestamp"):
            return Outcome()
        if document["metadata"].get("namespace") != HOME_NAMESPACE:
            told = f"bundles are taken from the namespace {HOME_NAMESPACE} alone"
            self._write(document, "ignored", Condition(type="Verified", status="False", reason="Ignored", message=told))
            return Outcome()
        fault = self._observer.judge.judge_stored(document).fault
        self._write(document, _state(fault), _verified(fault))
        return Outcome()

    def _write(self, document: dict[str, Any], state: str, condition: Condition) -> None:
        self._writer.write(document, {"state": state}, condition)


def _state(fault: Fault | None) -> str:
    if fault is None:
        return "available"
    return "controller upgrade required" if isinstance(fault, UpgradeNeeded) else "invalid"


def _verified(fault: Fault | None) -> Condition:
    if fault is None:
        return Condition(type="Verified", status="True", reason="Verified", message="its signature holds")
    holds = "True" if isinstance(fault, UpgradeNeeded) else "False"
    return Condition(type="Verified", status=holds, reason=fault.reason, message=fault.message)


class ControllerReconciler:
    """Keeps bundles in the cluster that a PackageBundleController names, and says whether a newer one is there.

    Args:
        api: of the own cluster.
        observer: objects and connections.
        events: tells people.
        metrics: counts.
        auto_activate: set the newest bundle active where none is.
        may_write: whether this replica leads at this moment.
    """

    def __init__(
        self,
        api: Api,
        observer: Observer,
        events: Events,
        metrics: Metrics,
        *,
        auto_activate: bool,
        may_write: Callable[[], bool],
    ) -> None:
        self._api = api
        self._observer = observer
        self._auto_activate = auto_activate
        self._may_write = may_write
        self._writer = _Writer(
            api=api, objects=observer.controllers, kind="PackageBundleController", events=events, metrics=metrics
        )

    def reconcile(self, key: str) -> Outcome:
        """Do what one of them asks for.

        Raises:
            ClusterError: something could not be written.
        """
        document = self._observer.controllers.get(key)
        if document is None or document["metadata"].get("deletionTimestamp") or not self._may_write():
            return Outcome()
        controller = PackageBundleController.from_json(document)
        if controller.metadata.namespace != HOME_NAMESPACE:
            told = f"they are taken from the namespace {HOME_NAMESPACE} alone"
            self._write(
                document, "ignored", "", Condition(type="Ready", status="False", reason="Ignored", message=told)
            )
            return Outcome()
        found: BundleName | BundlectlError
        try:
            found = self._newest(controller)
        except BundlectlError as error:
            found = error
        if not self._may_write():
            return Outcome()  # a mirror may take longer to answer than the lead lasts
        if isinstance(found, BundlectlError):
            told = str(found)
            ready = Condition(type="Ready", status="False", reason="Disconnected", message=told)
            self._write(document, "disconnected", told, ready)
            settled = False
        else:
            settled = self._judge(document, controller, found)
        shortly = min(controller.upgrade_check_short_interval, _LONGEST_FAILING)
        return Outcome(again_after=max(_SHORTEST, controller.upgrade_check_interval if settled else shortly))

    def _newest(self, controller: PackageBundleController) -> BundleName:
        """Have the active and the newest bundle in the cluster; the name of the newest."""
        version = self._observer.clusters.get(controller.metadata.name).version
        channel = version.replace(".", "-")
        active = controller.active_bundle
        # First what is used: it does not depend on what was pushed since.
        if active and self._observer.bundles.get(f"{HOME_NAMESPACE}/{active}") is None:
            self._pull(controller, active)
        newest = self._pull(controller, f"v{channel}-latest")
        if newest.channel != channel:
            raise ContentError(f"v{channel}-latest is {newest.text}", artifact=controller.bundles, hint="push it again")
        return newest

    def _judge(self, document: dict[str, Any], controller: PackageBundleController, newest: BundleName) -> bool:
        """Write what is active, and what newer there is; whether nothing is amiss."""
        active = BundleName.read(controller.active_bundle)
        if not controller.active_bundle:
            if self._auto_activate:
                body = {
                    "metadata": {"resourceVersion": controller.metadata.resource_version},
                    "spec": {"activeBundle": newest.text},
                }
                path = self._observer.controllers.path(controller.metadata.key)
                # The watch tells of it, and this comes again.
                self._api.patch(path, body)
                return True
            told = f"no activeBundle set; {newest.text} is available"
            ready = Condition(type="Ready", status="False", reason="NoActiveBundle", message=told)
            self._write(document, "active", told, ready)
            return True
        if active is None or active.channel != newest.channel:
            told = f"the active bundle {controller.active_bundle} is not for Kubernetes {newest.kube_version}"
            ready = Condition(type="Ready", status="False", reason="OtherKubernetes", message=told)
            self._write(document, "active", told, ready)
            return False
        stored = self._observer.bundles.get(f"{HOME_NAMESPACE}/{active.text}")
        missing = Fault("BundleMissing", f"the active bundle {active.text} is not in the cluster")
        fault = self._observer.judge.judge_stored(stored).fault if stored else missing
        if fault is not None:
            ready = Condition(type="Ready", status="False", reason=fault.reason, message=fault.message)
            self._write(document, "active", fault.message, ready)
            return False
        ready = Condition(type="Ready", status="True", reason="Active", message=f"{active.text} is active")
        if newest.age > active.age:
            self._write(document, "upgrade available", f"{newest.text} available", ready)
        else:
            self._write(document, "active", "", ready)
        return True

    def _pull(self, controller: PackageBundleController, tag: str) -> BundleName:
        """Read a bundle out of the registry, check it, and put it into the cluster if it is not there.

        Raises:
            BundlectlError: there is none, it cannot be read, or its signature does not hold.
        """
        place = f"{controller.bundles}:{tag}"
        Reference.parse(place)
        repository = self._observer.mirrors.get(controller.metadata.name).session.repository(controller.bundles)
        raw = pull_package_bundle(repository, repository.resolve(tag), place)
        body = bundle_object(raw, origin=place)
        judged = self._observer.judge.judge(body)
        if judged.fault is not None or judged.name is None:
            raise ContentError(judged.fault.message if judged.fault else "it has no name", artifact=place)
        if not tag.endswith("-latest") and judged.name.text != tag:
            raise ContentError(f"is the bundle {judged.name.text}", artifact=place, hint="the tag was moved")
        key = f"{HOME_NAMESPACE}/{judged.name.text}"
        stored = self._observer.bundles.get(key)
        if stored is None:
            try:
                self._observer.bundles.put(self._api.create(self._observer.bundles.path(key).rpartition("/")[0], body))
            except ClusterError as error:
                if not error.conflict:
                    raise
        elif _is_another(self._observer.judge.judge_stored(stored), judged):
            raise ContentError(
                f"{judged.name.text} in the registry is not {judged.name.text} in the cluster",
                artifact=place,
                hint="the name of a bundle stands for one content for ever: build it under a new name",
            )
        return judged.name

    def _write(self, document: dict[str, Any], state: str, detail: str, condition: Condition) -> None:
        self._writer.write(document, {"state": state, "detail": detail}, condition)


def _is_another(stored: JudgedBundle, pulled: JudgedBundle) -> bool:
    """Whether two good bundles differ, as far as their definition knows them: the API server drops all else."""
    return stored.model is not None and pulled.model is not None and stored.model.spec != pulled.model.spec
