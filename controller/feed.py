"""``controller feed``: point a package controller, ours or AWS's, at a mirror (``domain.md`` 5.9 to 5.11)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import ConfigError, ContentError, VerificationError
from bundles.canonical import canonical_bytes
from bundles.package_bundle import BundleName
from controller.api import ClusterError, path_of
from controller.configuration import MIRROR_SECRET, PULL_SECRET
from controller.lease import DURATION
from controller.manifests import NAME, cluster_objects, remote_objects
from controller.mirrors import docker_login, read_settings
from controller.observing import LOCATION
from controller.packages_cluster import package_path
from controller.packages_state import packages_of
from controller.reconcile import FINALIZER
from controller.values import API_VERSION, HOME_NAMESPACE, Package, PackageBundle, bundle_object, namespace_of
from mirror.remote import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundlectl.operations.packages import FoundBundle, PackagePlace
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait

__all__ = [
    "FedObject",
    "Feed",
    "WhichController",
    "feed",
    "feed_objects",
    "found_controllers",
    "hide_secrets",
    "pull_secret",
    "with_held",
]

WhichController = Literal["bundlectl", "aws"]

_DEPLOYMENTS: Final[dict[WhichController, str]] = {"bundlectl": NAME, "aws": "eks-anywhere-packages"}
_KEY_VARIABLE: Final = "EKSA_PUBLIC_KEY"
_DOCKER: Final = "kubernetes.io/dockerconfigjson"
_HIDDEN: Final = "KGhpZGRlbik="
"""``(hidden)``, as the data of a Secret is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What a cluster's packages are to come from.

    ``registry`` is ``HOST[:PORT]``. ``credential`` is what pulls from it, ``authorities`` are PEM certificates:
    None and nothing leave what the cluster has for this registry. ``skip_verify`` says that the certificate is not
    checked; left out it is checked again.
    ``public_key`` is the base64 DER of who signs bundles; empty where AWS does. ``management`` is the cluster that the
    controller runs in, empty where it is this one, or is looked up.
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

    How another cluster than that of the controller reaches its mirror is kept in its own namespace alone.

    Args:
        wanted: what is to be.
        which: the controller.
        held: ``registry-mirror-cred`` as the cluster has it; of other clusters and registries it stays as it is.
    """
    namespace = namespace_of(wanted.cluster)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME_NAMESPACE}}
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    credentials = _credentials(wanted, held or {})
    docker = {".dockerconfigjson": credentials["data"][".dockerconfigjson"]}
    places = (HOME_NAMESPACE, namespace) if wanted.is_own else (namespace,)
    return [
        *(remote_objects(wanted.cluster) if which == "bundlectl" and not wanted.is_own else ()),
        space,
        *(cluster_objects(wanted.cluster) if which == "bundlectl" else [own]),
        *(_mirror_secret(wanted, place) for place in places),
        credentials,
        _secret(PULL_SECRET, namespace, docker, _DOCKER),
        bundle_object(wanted.bundle.raw, origin=wanted.bundle.name),
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


def hide_secrets(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same objects, the data of Secrets replaced by a word."""
    return [
        {**item, "data": dict.fromkeys(item["data"], _HIDDEN)} if item["kind"] == "Secret" else item for item in objects
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
        ContentError: the cluster's admission refuses something, or has another bundle of that name.
        ClusterError: the API server does not answer, or refuses.
    """
    which = which or _found_controller(access)
    _refuse_older(access, wanted)
    wanted = replace(wanted, management=wanted.management or _own_cluster(access, which))
    held = access.get(path_of("v1", "secrets", namespace=HOME_NAMESPACE, name=PULL_SECRET))
    place = HOME_NAMESPACE if wanted.is_own else namespace_of(wanted.cluster)
    wanted = with_held(wanted, access.get(path_of("v1", "secrets", namespace=place, name=MIRROR_SECRET)))
    objects = feed_objects(wanted, which, held=held)
    if which == "aws":
        objects += _pull_secrets(access, wanted, objects)
    done = []
    for item in objects:
        if item["kind"] == "PackageBundle":
            # It is admitted by a controller that runs, by the key that this has.
            done += _set_key(access, which, wanted.public_key, wait)
            done.append(_admitted(lambda item=item: _create_bundle(access, item), wait))  # type: ignore[misc]
        else:
            done.append(_apply(access, _of_held_type(access, item)))
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


def with_held(wanted: Feed, secret: Mapping[str, Any] | None) -> Feed:
    """Take the login and the authority that are not given anew from ``registry-mirror-secret``.

    Those of another registry are nothing to this one.
    """
    try:
        held = read_settings(secret or {})
    except ConfigError:
        return wanted  # damaged: it is written anew
    if held.endpoint != wanted.registry:
        return wanted
    credential = wanted.credential
    if credential is None and held.username and held.password:
        credential = Credential(held.username, held.password)
    # As it is written, for the same text again is no change.
    authority = base64.b64decode(((secret or {}).get("data") or {}).get("CACERTCONTENT", "")).decode()
    return replace(wanted, credential=credential, authorities=wanted.authorities or authority)


def _own_cluster(access: ClusterAccess, which: WhichController) -> str:
    """The name of the cluster that a controller runs in; empty where it is not there, or does not say."""
    found = access.get(_deployment_path(_DEPLOYMENTS[which])) or {}
    containers = (((found.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers") or [{}]
    named = (item.get("value") for item in containers[0].get("env") or () if item.get("name") == "CLUSTER_NAME")
    return str(next(named, "") or "")


def _pull_secrets(access: ClusterAccess, wanted: Feed, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pull secret for namespaces that have packages: without AWS's keys nobody else puts it there (E33)."""
    namespaces = {package.spec.target_namespace for package in packages_of(access, wanted.cluster)} - {""}
    there = [name for name in sorted(namespaces) if access.get(path_of("v1", "namespaces", name=name)) is not None]
    own = (PULL_SECRET, namespace_of(wanted.cluster))
    data = next(
        item["data"] for item in objects if (item["metadata"]["name"], item["metadata"].get("namespace")) == own
    )
    return [_secret(PULL_SECRET, name, data, _DOCKER) for name in there]


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


def _apply(access: ClusterAccess, item: dict[str, Any]) -> FedObject:
    before = access.find(item)
    after = access.apply(item)
    if before is None:
        return _told(item, "created")
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    return _told(item, "unchanged" if same else "changed")


def _create_bundle(access: ClusterAccess, item: dict[str, Any]) -> FedObject:
    """A name is given to one bundle only: whoever activated it would get another (``domain.md`` E43)."""
    held = access.find(item)
    if held is None:
        access.create(item)
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


def _of_held_type(access: ClusterAccess, item: dict[str, Any]) -> dict[str, Any]:
    """The type of a Secret cannot be changed; AWS's chart makes some of its own type."""
    if item["kind"] != "Secret":
        return item
    held = access.find(item)
    return {**item, "type": held.get("type", item["type"])} if held else item


def _set_key(access: ClusterAccess, which: WhichController, key: str, wait: Wait) -> list[FedObject]:
    """Give a controller the key of bundles, where that is not AWS's, and wait until it runs with it."""
    name = _DEPLOYMENTS[which]
    held = access.get(_deployment_path(name))
    if held is None:
        wait.tell(f"{name} is not in the cluster yet" + (f": start it with {_KEY_VARIABLE}={key}" if key else ""))
        return []
    container = held["spec"]["template"]["spec"]["containers"][0]
    variable = {"name": _KEY_VARIABLE, "value": key}
    item = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": HOME_NAMESPACE},
        "spec": {"template": {"spec": {"containers": [{"name": container["name"], "env": [variable]}]}}},
    }
    environment = {found["name"]: found.get("value") for found in container.get("env") or ()}
    same = not key or environment.get(_KEY_VARIABLE) == key
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


def _admitted(call: Callable[[], FedObject], wait: Wait) -> FedObject:
    """Call until the API server reaches the admission of a controller that has just started."""
    done: list[FedObject] = []
    failed: list[ClusterError] = []

    def attempt() -> bool:
        try:
            done.append(call())
        except ClusterError as error:
            if not error.retryable:
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


def _credentials(wanted: Feed, held: Mapping[str, Any]) -> dict[str, Any]:
    """``registry-mirror-cred``: what all clusters pull with, and of each what its registry's certificate is held to."""
    data: dict[str, str] = dict(held.get("data") or {})
    authority, insecure = f"{wanted.cluster}_ca.crt", f"{wanted.cluster}_insecure"
    data.pop(authority, None)
    data.pop(insecure, None)
    if wanted.authorities:
        data[authority] = _encoded(wanted.authorities)
    if wanted.skip_verify:
        data[insecure] = _encoded("true")
    auths = {**_auths(data.get(".dockerconfigjson")), **_auths(data.get("config.json"))}
    if wanted.credential is not None:
        auths[wanted.registry] = docker_login(wanted.credential)
    docker = _encoded(json.dumps({"auths": auths}, sort_keys=True))
    return _secret(PULL_SECRET, HOME_NAMESPACE, {**data, ".dockerconfigjson": docker, "config.json": docker}, _DOCKER)


def pull_secret(registry: str, credential: Credential) -> dict[str, Any]:
    """What pods pull images from a registry with, for any namespace."""
    docker = _encoded(json.dumps({"auths": {registry: docker_login(credential)}}))
    return _secret(PULL_SECRET, "", {".dockerconfigjson": docker}, _DOCKER)


def _auths(encoded: str | None) -> dict[str, Any]:
    """The logins in docker's configuration; none where it is damaged."""
    try:
        found = json.loads(base64.b64decode(encoded or "")).get("auths")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _mirror_secret(wanted: Feed, namespace: str) -> dict[str, Any]:
    data = {
        "ENDPOINT": _encoded(wanted.registry),
        "CACERTCONTENT": _encoded(wanted.authorities),
        "INSECURE": _encoded("true" if wanted.skip_verify else "false"),
    }
    if wanted.credential is not None:
        data["USERNAME"] = _encoded(wanted.credential.username)
        data["PASSWORD"] = _encoded(wanted.credential.password)
    return _secret(MIRROR_SECRET, namespace, data, "Opaque")


def _secret(name: str, namespace: str, data: Mapping[str, str], kind: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": dict(data)}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _told(item: Mapping[str, Any], outcome: Literal["created", "changed", "unchanged"]) -> FedObject:
    metadata = item["metadata"]
    return FedObject(item["kind"], metadata["name"], metadata.get("namespace", ""), outcome)
