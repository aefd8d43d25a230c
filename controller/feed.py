"""``controller feed``: point a package controller, ours or AWS's, at a mirror (``domain.md`` 5.9 to 5.11)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import BundlectlError, ConfigError, ContentError, VerificationError
from bundles.aws_keys import aws_key
from bundles.canonical import canonical_bytes
from bundles.package_bundle import BundleName
from controller.api import ClusterError, path_of
from controller.configuration import MIRROR_SECRET, PULL_SECRET
from controller.credentials import keys_of, mirror_secret, pull_secret_of, shared_credentials, with_held
from controller.lease import DURATION
from controller.manifests import NAME, cluster_objects, remote_objects
from controller.observing import LOCATION
from controller.packages_cluster import package_path
from controller.packages_state import packages_of
from controller.reconcile import FINALIZER
from controller.values import API_VERSION, HOME_NAMESPACE, Package, PackageBundle, bundle_object, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundlectl.operations.packages import FoundBundle, PackagePlace
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait
    from mirror.remote import Credential

__all__ = [
    "FedObject",
    "Feed",
    "WhichController",
    "create_bundle",
    "feed",
    "feed_objects",
    "found_controllers",
    "own_cluster",
]

WhichController = Literal["bundlectl", "aws"]

_DEPLOYMENTS: Final[dict[WhichController, str]] = {"bundlectl": NAME, "aws": "eks-anywhere-packages"}
_KEY_VARIABLE: Final = "EKSA_PUBLIC_KEY"
_LEAVING: Final = 20.0
"""Seconds for which a pod that leaves may still be asked, over connections that are kept: it has the key before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What a cluster's packages are to come from.

    ``registry`` is ``HOST[:PORT]``. ``credential`` is what pulls from it, ``authorities`` are PEM certificates:
    None and nothing leave what the cluster has for this registry. ``skip_verify`` says that the certificate is not
    checked; left out it is checked again.
    ``public_key`` is the base64 DER of who signs bundles; empty leaves the controller the one that it has.
    ``management`` is the cluster that the controller runs in, empty where it is this one, or is looked up.
    """

    cluster: str
    registry: str
    place: PackagePlace
    bundle: FoundBundle
    credential: Credential | None = field(default=None, repr=False)
    authorities: str = ""
    skip_verify: bool = False
    public_key: str = ""
    allow_rollback: bool = False
    management: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the controller runs in the cluster that is fed."""
        return self.management in ("", self.cluster)


@dataclass(frozen=True, slots=True)
class FedObject:
    """An object, and what became of it."""

    kind: str
    name: str
    namespace: str
    outcome: Literal["created", "changed", "unchanged"]

    def to_json(self) -> dict[str, Any]:
        """Render as the command shows it."""
        return {"kind": self.kind, "name": self.name, "namespace": self.namespace or None, "outcome": self.outcome}


def feed_objects(
    wanted: Feed, which: WhichController = "bundlectl", *, held: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The objects, in the order in which they are applied.

    Another registry counts last, so that a bundle that is refused leaves the cluster where it was. With AWS's
    controller it comes first: whenever that starts, it writes anew what it pulls with. How another cluster than that
    of the controller reaches its mirror is kept in its own namespace alone.

    Args:
        wanted: what is to be.
        which: the controller.
        held: ``registry-mirror-cred`` as the cluster has it; of other clusters and registries it stays as it is.
    """
    namespace = namespace_of(wanted.cluster)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME_NAMESPACE}}
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    shared = shared_credentials(wanted, held or {})
    places = (HOME_NAMESPACE, namespace) if wanted.is_own else (namespace,)
    reached = [mirror_secret(wanted, place) for place in places]
    pulled = pull_secret_of(wanted, shared, namespace)
    bundle = bundle_object(wanted.bundle.raw, origin=wanted.bundle.name)
    return [
        *(remote_objects(wanted.cluster) if which == "bundlectl" and not wanted.is_own else ()),
        space,
        *(cluster_objects(wanted.cluster) if which == "bundlectl" else [own]),
        *((shared, bundle, *reached, pulled) if which == "bundlectl" else (*reached, shared, pulled, bundle)),
        {
            "apiVersion": API_VERSION,
            "kind": "PackageBundleController",
            "metadata": {"name": wanted.cluster, "namespace": HOME_NAMESPACE},
            "spec": {
                "activeBundle": wanted.bundle.name,
                "defaultRegistry": wanted.place.charts,
                "defaultImageRegistry": wanted.place.images,
            },
        },
    ]


def feed(
    access: ClusterAccess, wanted: Feed, *, wait: Wait, which: WhichController | None = None
) -> tuple[WhichController, list[FedObject]]:
    """Bring a cluster to where its packages come from ``wanted``; nothing changes where that is so already.

    Args:
        access: the cluster that the controller runs in.
        wanted: what is to be.
        wait: for a controller that starts, perhaps because the key of bundles is another.
        which: the controller; None looks which one is there.

    Raises:
        ConfigError: neither or both of them are there, or it does not start again.
        VerificationError: the bundle is older than the active one.
        ContentError: the bundle is for another Kubernetes than the cluster runs, the cluster's admission refuses
            something, or it has another bundle of that name.
        ClusterError: the API server does not answer, or refuses.
    """
    which = which or _found_controller(access)
    _refuse_older(access, wanted)
    wanted = replace(wanted, management=wanted.management or own_cluster(access, which))
    _refuse_other(access, wanted)
    held = access.get(path_of("v1", "secrets", namespace=HOME_NAMESPACE, name=PULL_SECRET))
    wanted = with_held(wanted, _mirror_held(access, wanted))
    objects = feed_objects(wanted, which, held=held)
    if which == "aws" and wanted.is_own:
        shared = shared_credentials(wanted, held or {})
        objects += [pull_secret_of(wanted, shared, name) for name in _targets(access, wanted)]
    done: list[FedObject] = []
    refusals = 0.0
    for item in objects:
        if item["kind"] == "Secret":
            done.append(_apply_secret(access, item, wanted.cluster))
        elif item["kind"] == "PackageBundle":
            # It is admitted by a controller that runs, by the key that this has.
            keyed = _set_key(access, which, wanted.public_key, wait)
            refusals = _LEAVING if any(each.outcome == "changed" for each in keyed) else 0.0
            done += [*keyed, _admitted(partial(create_bundle, access, item), wait, refusals)]
        elif item["kind"] == "PackageBundleController" and refusals:
            done.append(_admitted(partial(_apply, access, item), replace(wait, seconds=refusals), refusals))
        else:
            done.append(_apply(access, item))
    if which == "aws" and "bundlectl" not in found_controllers(access):
        if _leads_somewhere(access, wait):
            wait.tell(f"{NAME} still renews its Lease, from wherever it runs: end it, or Packages stay its own")
        else:
            done += _let_go(access, wanted, wait)
    return which, done


def found_controllers(access: ClusterAccess) -> list[WhichController]:
    """Whose controllers are in a cluster.

    Raises:
        ClusterError: the API server does not answer, or refuses.
    """
    return [which for which, name in _DEPLOYMENTS.items() if access.get(_deployment_path(name)) is not None]


def _leads_somewhere(access: ClusterAccess, wait: Wait) -> bool:
    """Whether our controller runs where no Deployment says so: on a host, or under another name."""

    def held() -> tuple[str, str]:
        lease = access.get(path_of("coordination.k8s.io/v1", "leases", namespace=HOME_NAMESPACE, name=NAME)) or {}
        version = str((lease.get("metadata") or {}).get("resourceVersion", ""))
        return str((lease.get("spec") or {}).get("holderIdentity") or ""), version

    seen = held()
    # Not by the time that is written in it: the clocks of two machines disagree. Who was killed renews it no more.
    return bool(seen[0]) and replace(wait, seconds=DURATION).until(lambda: held() != seen) and bool(held()[0])


def _let_go(access: ClusterAccess, wanted: Feed, wait: Wait) -> list[FedObject]:
    """Take our finalizer from Packages that are AWS's now: nobody else would, when they are deleted."""
    done = []
    for namespace in (namespace_of(wanted.cluster), *((HOME_NAMESPACE,) if wanted.is_own else ())):
        for item in access.items(package_path("Package", namespace=namespace)):
            metadata = Package.from_json(item).metadata
            if FINALIZER not in metadata.finalizers:
                continue
            # As it is now: AWS's controller writes its status meanwhile, of one after the other.
            metadata = Package.from_json(access.get(package_path("Package", metadata.name, namespace)) or item).metadata
            if metadata.deleting:
                # Once it is gone, nobody knows of its release.
                wait.tell(
                    f"Package {metadata.key} is being deleted, and only the controller that had it would uninstall it"
                )
                continue
            kept = [name for name in metadata.finalizers if name != FINALIZER]
            changes = {
                "resourceVersion": metadata.resource_version,
                "finalizers": kept,
                "annotations": {LOCATION: None},
            }
            access.merge(package_path("Package", metadata.name, namespace), {"metadata": changes})
            done.append(FedObject("Package", metadata.name, namespace, "changed"))
    return done


def _found_controller(access: ClusterAccess) -> WhichController:
    found = found_controllers(access)
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{'both package controllers are' if found else 'no package controller is'} in this cluster",
        artifact=HOME_NAMESPACE,
        hint="say which one is meant: --controller bundlectl or aws; ours is installed with "
        "bundlectl controller manifests | kubectl apply --server-side -f -",
    )


def _mirror_held(access: ClusterAccess, wanted: Feed) -> dict[str, Any] | None:
    """``registry-mirror-secret`` as the controller finds it: a workload cluster may have its own."""
    places = (HOME_NAMESPACE,) if wanted.is_own else (namespace_of(wanted.cluster), HOME_NAMESPACE)
    found = (access.get(path_of("v1", "secrets", namespace=place, name=MIRROR_SECRET)) for place in places)
    return next(filter(None, found), None)


def own_cluster(access: ClusterAccess, which: WhichController) -> str:
    """The name of the cluster that a controller runs in; empty where it is not there, or does not say.

    Raises:
        ClusterError: the API server does not answer, or refuses.
    """
    found = access.get(_deployment_path(_DEPLOYMENTS[which])) or {}
    containers = (((found.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers") or [{}]
    named = (item.get("value") for item in containers[0].get("env") or () if item.get("name") == "CLUSTER_NAME")
    return str(next(named, "") or "")


def _targets(access: ClusterAccess, wanted: Feed) -> list[str]:
    """Namespaces that packages go to: without AWS's keys nobody else puts the pull secret there (E33).

    Not those that have one anyway, of which the controller's has more in it.
    """
    namespaces = {package.spec.target_namespace for package in packages_of(access, wanted.cluster)}
    namespaces -= {"", HOME_NAMESPACE, namespace_of(wanted.cluster)}
    return [name for name in sorted(namespaces) if access.get(path_of("v1", "namespaces", name=name)) is not None]


def _deployment_path(name: str) -> str:
    return path_of("apps/v1", "deployments", namespace=HOME_NAMESPACE, name=name)


def _refuse_older(access: ClusterAccess, wanted: Feed) -> None:
    found = access.get(package_path("PackageBundleController", wanted.cluster)) or {}
    active = BundleName.read(str((found.get("spec") or {}).get("activeBundle", "")))
    name = BundleName.read(wanted.bundle.name)
    if active is None or name is None or wanted.allow_rollback:
        return
    if name.channel == active.channel and name.age < active.age:
        raise VerificationError(
            f"is older than {active.text}, which is active",
            artifact=name.text,
            hint="packages would go back; if that is meant, say --allow-rollback",
        )


def _refuse_other(access: ClusterAccess, wanted: Feed) -> None:
    """Refuse what admission would, which is asked last: by then the Secrets are of another registry."""
    name = BundleName.read(wanted.bundle.name)
    if name is None or wanted.management != wanted.cluster:
        return
    version = access.kube_version()
    if name.kube_version != version:
        raise ContentError(
            f"is for Kubernetes {name.kube_version}, and {wanted.cluster} runs {version}",
            artifact=name.text,
            hint=f"name one for it: --kube-version {version}",
        )


def _apply(access: ClusterAccess, item: dict[str, Any]) -> FedObject:
    return _apply_over(access.find(item), access, item)


def _apply_over(before: dict[str, Any] | None, access: ClusterAccess, item: dict[str, Any]) -> FedObject:
    after = access.apply(item)
    if before is None:
        return _told(item, "created")
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    return _told(item, "unchanged" if same else "changed")


def create_bundle(access: ClusterAccess, item: dict[str, Any]) -> FedObject:
    """Create a bundle where the cluster has none of its name.

    A name is given to one bundle only: whoever activated it would get another (``domain.md`` E43).

    Raises:
        ContentError: the cluster has another bundle of that name, or its admission refuses this one.
        ClusterError: the API server does not answer, or refuses.
    """
    held = access.find(item)
    if held is None:
        try:
            access.create(item)
        except ContentError:
            held = access.find(item)
            if held is None:
                raise
            # The controller was faster, which takes the newest out of the mirror by itself.
        else:
            return _told(item, "created")
    one, other = (PackageBundle.from_json(found).document for found in (held, item))
    signed = [canonical_bytes(found.root, "PackageBundle", origin=found.origin) for found in (one, other)]
    if signed[0] != signed[1]:
        raise ContentError(
            "another bundle of that name is in the cluster",
            artifact=item["metadata"]["name"],
            hint="a name is given once: build the bundle again with another --name, or delete the cluster's",
        )
    return _told(item, "unchanged")


def _apply_secret(access: ClusterAccess, item: dict[str, Any], cluster: str) -> FedObject:
    """Apply a Secret. Its type cannot be changed, and AWS's chart makes some of its own type."""
    held = access.find(item)
    if held is None:
        return _apply_over(held, access, item)
    # To apply takes away what one has written oneself alone, and AWS's goes by a file's being there.
    beyond = [key for key in keys_of(cluster) if key in (held.get("data") or {}) and key not in item["data"]]
    if beyond:
        path = path_of("v1", "secrets", namespace=item["metadata"]["namespace"], name=item["metadata"]["name"])
        access.merge(path, {"data": dict.fromkeys(beyond)})
    told = _apply_over(held, access, {**item, "type": held.get("type", item["type"])})
    return _told(item, "changed") if beyond else told


def _set_key(access: ClusterAccess, which: WhichController, key: str, wait: Wait) -> list[FedObject]:
    """Give a controller the key of bundles, if one is known, and wait until it runs with it."""
    name = _DEPLOYMENTS[which]
    held = access.get(_deployment_path(name))
    # Without one ours goes by the key of what AWS publishes; AWS's goes by another, which signed none of it.
    published = aws_key("PackageBundle")
    implied = published.key.base64() if which == "bundlectl" and published else ""
    value = "" if key == implied else key
    if held is None:
        wait.tell(f"{name} is not in the cluster yet" + (f": start it with {_KEY_VARIABLE}={value}" if value else ""))
        return []
    container = held["spec"]["template"]["spec"]["containers"][0]
    variable = {"name": _KEY_VARIABLE, "value": value}
    item = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": HOME_NAMESPACE},
        "spec": {"template": {"spec": {"containers": [{"name": container["name"], "env": [variable]}]}}},
    }
    environment = {found["name"]: found.get("value") for found in container.get("env") or ()}
    same = not key or (environment.get(_KEY_VARIABLE) or implied) == key
    done = [] if not key else [_told(item, "unchanged") if same else _apply(access, item)]
    if not same:
        wait.tell(f"{name} starts again with the key that the bundle is signed with")
    if not wait.until(lambda: _runs(access.get(_deployment_path(name)) or {})):
        raise ConfigError(
            f"{name} does not run after {wait.seconds:g} s, and only then is a bundle admitted",
            artifact=HOME_NAMESPACE,
            hint="look with kubectl describe pods; then the same command again goes on",
        )
    return done


def _admitted(call: Callable[[], FedObject], wait: Wait, refusals: float = 0.0) -> FedObject:
    """Call until the API server reaches the admission of a controller that has just started.

    Args:
        call: what is to be admitted.
        wait: for that.
        refusals: seconds for which one may come from a pod that leaves.
    """
    done: list[FedObject] = []
    failed: list[BundlectlError] = []
    refused_until = time.monotonic() + refusals

    def attempt() -> bool:
        try:
            done.append(call())
        except ClusterError as error:
            if not error.retryable:
                raise
            failed.append(error)
        except ContentError as error:
            if time.monotonic() >= refused_until:
                raise
            failed.append(error)
        return bool(done)

    if not wait.until(attempt):
        raise failed[-1]
    return done[0]


def _runs(deployment: dict[str, Any]) -> bool:
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= deployment.get("metadata", {}).get("generation", 0)
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0), status.get("replicas", 0))
    return bool(seen and all(count == wanted for count in counts))


def _told(item: Mapping[str, Any], outcome: Literal["created", "changed", "unchanged"]) -> FedObject:
    metadata = item["metadata"]
    return FedObject(item["kind"], metadata["name"], metadata.get("namespace", ""), outcome)
