"""Admission: what of the three kinds is let into the cluster (``domain.md`` 5.8, with its defects put right)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from controller.configuration import check_config, read_config
from controller.facts import Fault
from controller.observing import LOCATION
from controller.values import (
    HOME_NAMESPACE,
    INTERNAL_ANNOTATION,
    Package,
    PackageBundleController,
    cluster_of,
    find_package,
    find_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.metrics import Metrics
    from controller.observing import Active, Observer

__all__ = ["ROUTES", "Admission"]

_PREFIX: Final = "/validate-packages-eks-amazonaws-com-v1alpha1-"
ROUTES: Final = {
    f"{_PREFIX}package": "Package",
    f"{_PREFIX}packagebundle": "PackageBundle",
    f"{_PREFIX}packagebundlecontroller": "PackageBundleController",
}
"""The paths are AWS's, so that its webhook configuration can stay."""
_DENIED, _FAILED = 400, 500


class Admission:
    """Answers AdmissionReviews. Thread-safe.

    Args:
        observer: objects and trust.
        account: the controller's own user, whose ``internal`` annotation counts.
        metrics: counts.
    """

    def __init__(self, observer: Observer, account: str, metrics: Metrics) -> None:
        self._observer = observer
        self._account = account
        self._metrics = metrics
        self._judges: dict[str, Callable[[dict[str, Any], dict[str, Any] | None], str]] = {
            "Package": self._package,
            "PackageBundle": self._bundle,
            "PackageBundleController": self._controller,
        }

    def review(self, kind: str, review: dict[str, Any]) -> dict[str, Any]:
        """Answer a review of ``admission.k8s.io/v1``.

        Args:
            kind: by the path that was asked.
            review: with its ``request``.
        """
        request = _table(review, "request")
        code, why = self._judged(kind, request)
        self._metrics.count("admissions_total", kind=kind, result="refused" if why else "allowed")
        response: dict[str, Any] = {"uid": str(request.get("uid", "")), "allowed": not why}
        if why:
            name = _table(_table(request, "object"), "metadata").get("name", "")
            message = f"{kind} {name} failed validation with error: {why}"
            response["status"] = {"code": code, "status": "Failure", "message": message, "reason": message}
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    def _judged(self, kind: str, request: dict[str, Any]) -> tuple[int, str]:
        document, before = request.get("object"), request.get("oldObject")
        if not isinstance(document, dict) or request.get("operation") not in ("CREATE", "UPDATE"):
            return _DENIED, ""
        metadata = _table(document, "metadata")
        is_own = bool(self._account) and _table(request, "userInfo").get("username") == self._account
        if is_own and _annotation(document, INTERNAL_ANNOTATION) == "true":
            return _DENIED, ""
        if metadata.get("deletionTimestamp"):
            # Nothing of it matters any more, and its finalizers must be droppable.
            return _DENIED, ""
        located = _annotation(before, LOCATION) if isinstance(before, dict) else ""
        if located and not is_own and _annotation(document, LOCATION) != located:
            return _DENIED, f"the annotation {LOCATION} says where the release is: it is the controller's"
        judged = document, before if isinstance(before, dict) else None
        try:
            why = self._judges[kind](*judged)
            if why and kind != "PackageBundle" and self._catches_up(kind, document):
                why = self._judges[kind](*judged)
        except BundlectlError as error:
            told = str(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The API server sends nothing that its definitions do not allow; somebody else did.
            told = f"it is malformed: {type(error).__name__}"
        else:
            return _DENIED, why
        return _FAILED, told

    def _catches_up(self, kind: str, document: dict[str, Any]) -> bool:
        """Whether another controller object or active bundle is known, now that the API server was asked.

        What is applied one after the other is here before the watch tells of it, which may be cut off at the moment.
        """
        bundles, controllers = self._observer.bundles, self._observer.controllers
        is_found, pointing = False, document
        with suppress(BundlectlError):  # then what is known has to do
            if kind == "Package":
                namespace = Package.from_json(document).metadata.namespace
                key = f"{HOME_NAMESPACE}/{cluster_of(namespace, self._observer.clusters.own)}"
                is_found = controllers.refresh(key)
                pointing = controllers.get(key) or {}
            active = f"{HOME_NAMESPACE}/{PackageBundleController.from_json(pointing).active_bundle}"
            if bundles.get(active) is None:
                is_found = bundles.refresh(active) or is_found
        return is_found

    def _bundle(self, document: dict[str, Any], before: dict[str, Any] | None) -> str:
        del before
        fault = self._observer.judge.judge(document).fault
        # What needs a newer controller may be in the cluster, and is not used.
        return fault.message if fault is not None and fault.reason != "UpgradeNeeded" else ""

    def _controller(self, document: dict[str, Any], before: dict[str, Any] | None) -> str:
        controller = PackageBundleController.from_json(document)
        if not controller.active_bundle or controller.metadata.namespace != HOME_NAMESPACE:
            return ""
        if before and PackageBundleController.from_json(before).active_bundle == controller.active_bundle:
            # What is active already may be kept, though its cluster does not answer now.
            return ""
        stored = self._observer.bundles.get(f"{HOME_NAMESPACE}/{controller.active_bundle}")
        if stored is None:
            return f'activeBundle "{controller.active_bundle}" not present on cluster'
        judged = self._observer.judge.judge_stored(stored)
        if judged.fault is not None or judged.name is None:
            return (judged.fault or Fault("", "it has no name")).message
        version = self._observer.clusters.get(controller.metadata.name).version
        if judged.name.kube_version != version:
            return f"kubernetes version {version} does not match {judged.name.text}"
        return ""

    def _package(self, document: dict[str, Any], before: dict[str, Any] | None) -> str:
        package = Package.from_json(document)
        name = package.metadata.name
        cluster = cluster_of(package.metadata.namespace, self._observer.clusters.own)
        if cluster is None:
            return "Packages namespaces must start with: eksa-packages"
        earlier = Package.from_json(before) if before else None
        if earlier is not None and earlier.spec == package.spec:
            return ""
        located = earlier.metadata.annotation(LOCATION) if earlier else ""
        if located and package.spec.target_namespace not in ("", located):
            return f"package {name} targetNamespace is immutable"
        active, refusal = self._observer.find_active(cluster)
        if active is None:
            return f"getting PackageBundle: {refusal.message if refusal else 'there is none'}"
        return self._in_bundle(package, active, is_own=cluster == self._observer.clusters.own)

    def _in_bundle(self, package: Package, active: Active, *, is_own: bool) -> str:
        spec, name = package.spec, package.metadata.name
        bundled = find_package(active.model, spec.package_name)
        if bundled is None:
            return f"package not found in bundle ({active.name}): {spec.package_name}"
        version = find_version(bundled, spec.package_version)
        if version is None:
            return f"package version not found in bundle ({active.name}): {spec.package_name} @ {spec.package_version}"
        if bundled.workloadonly and is_own:
            return f"package {bundled.name} should only be installed on a workload cluster"
        try:
            check_config(read_config(spec.config, origin=name), version.schema, origin=name)
        except BundlectlError as error:
            return error.message
        return ""


def _annotation(document: dict[str, Any], name: str) -> str:
    return str(_table(_table(document, "metadata"), "annotations").get(name, ""))


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
