"""``packages upgrade``: another bundle for a cluster, and before that what it would change."""

from __future__ import annotations

import difflib
import hashlib
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import yaml

from bundlectl.errors import ConfigError, ContentError, MissingError, UsageError, VerificationError
from bundlectl.operations.packages import bundles_in_registry, check_digests, hold_to_policies
from bundles.package_bundle import BundleName
from bundles.plan import Naming
from controller.api import ClusterError, path_of
from controller.charts import default_namespace
from controller.configuration import PULL_SECRET, aws_values_for, check_config, read_config, values_for
from controller.feed import create_bundle, found_controllers, own_cluster
from controller.helm import HelmError, HelmTarget
from controller.objects import read_objects
from controller.observing import LOCATION
from controller.packages_cluster import package_path
from controller.packages_state import controller_object, held_bundle, packages_of
from controller.values import HOME_NAMESPACE, PackageBundle, bundle_object, find_package, find_version, is_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.schema.package_bundle import PackageVersion
    from controller.charts import ChartFetcher
    from controller.feed import WhichController
    from controller.helm import Helm
    from controller.packages_cluster import ClusterAccess
    from controller.values import Package, PackageBundleController

__all__ = ["PackageChange", "Upgrade", "activate", "diff_manifests", "plan_upgrade", "preview", "preview_all"]

_CONTEXT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """What a bundle means for a Package. ``version`` is None where the bundle has it no more."""

    package: Package
    version: PackageVersion | None
    repository: str

    def to_json(self, diff: str | None = None) -> dict[str, Any]:
        """Render as ``packages upgrade`` shows it; ``diff`` is that of the manifests, where it was asked for."""
        return {
            "name": self.package.metadata.name,
            "package": self.package.spec.package_name,
            "from": self.package.status.current_version or None,
            "to": self.version.name if self.version else None,
            "diff": diff,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A bundle for a cluster, with what it means for each of its Packages.

    ``document`` is the bundle as it is to be created, None where the cluster has it.
    """

    controller: PackageBundleController
    bundle: PackageBundle
    document: dict[str, Any] | None
    changes: tuple[PackageChange, ...]


def plan_upgrade(
    access: ClusterAccess, cluster: str, name: str, *, request: SourceRequest, session: Session
) -> Upgrade:
    """Find a bundle, in the cluster or else in the registry that the cluster is fed from, and see what it means.

    Args:
        access: the cluster that has the PackageBundleController.
        cluster: whose packages.
        name: of the bundle; nothing for the newest in the registry.
        request: its ``belief`` holds; ``allow_rollback`` lets the bundle be older than the active one.
        session: to reach the registry.

    Raises:
        UsageError: not the name of a bundle, or of a cluster.
        ConfigError: the cluster has no PackageBundleController, or that no registry.
        VerificationError: it is not signed as it must be, or is older than the active one.
        ContentError: it is malformed.
        MissingError: it is nowhere.
        ClusterError, TransportError, RegistryError: cluster or registry do not answer, or refuse.
    """
    pointing = controller_object(access, cluster)
    active = BundleName.read(pointing.active_bundle)
    if name and BundleName.read(name) is None:
        raise UsageError(
            f"{name[:100]!r} is not the name of a bundle", hint="a name is v1-33-120, or v1-33-2026-06-26-1782500000"
        )
    document = None
    held = held_bundle(access, name, belief=request.belief, listener=session.listener) if name else None
    if held is not None:
        bundle, _ = held
        hold_to_policies(request, bundle.document.raw, name=name, session=session)
    else:
        wanted = name or (active.kube_version if active else access.kube_version())
        (found,) = bundles_in_registry(request, _mirror_of(pointing), wanted=wanted, session=session)
        check_digests(found.trust, name=found.name)
        document = bundle_object(found.raw, origin=found.name)
        bundle = PackageBundle.from_json(document)
    _refuse_older(bundle, pointing, allow_rollback=request.allow_rollback)
    there = [package for package in packages_of(access, cluster) if not package.metadata.deleting]
    changes = tuple(_change(package, bundle) for package in there)
    return Upgrade(controller=pointing, bundle=bundle, document=document, changes=changes)


def _mirror_of(pointing: PackageBundleController) -> Naming:
    try:
        return Naming.parse(pointing.default_registry)
    except UsageError as error:
        raise ConfigError(
            f"its PackageBundleController has the defaultRegistry {pointing.default_registry[:100]!r}, which is none",
            artifact=pointing.metadata.name,
            hint="say it: bundlectl controller feed --registry HOST[/PREFIX] --cluster NAME",
        ) from error


def _refuse_older(bundle: PackageBundle, pointing: PackageBundleController, *, allow_rollback: bool) -> None:
    active = BundleName.read(pointing.active_bundle)
    # Whether the version of Kubernetes is the cluster's is for its admission to say: it may be another cluster's.
    if bundle.name is None or active is None or bundle.name.channel != active.channel:
        return
    if bundle.name.age < active.age and not allow_rollback:
        raise VerificationError(
            f"is older than {active.text}, which is active",
            artifact=bundle.name.text,
            hint="packages would go back; if that is meant, say --allow-rollback",
        )


def _change(package: Package, bundle: PackageBundle) -> PackageChange:
    found = find_package(bundle.model, package.spec.package_name)
    version = find_version(found, package.spec.package_version) if found else None
    return PackageChange(package=package, version=version, repository=found.source.repository if found else "")


def activate(access: ClusterAccess, upgrade: Upgrade) -> bool:
    """Create the bundle where the cluster has it not, and make it the active one; whether it was not before.

    Raises:
        ContentError: the cluster's admission refuses it, in its own words; or somebody else activated another bundle
            since the upgrade was planned, or brought another of this name.
        ClusterError: the API server does not answer, or refuses.
    """
    name, before = upgrade.bundle.metadata.name, upgrade.controller.active_bundle
    if upgrade.document is not None:
        create_bundle(access, upgrade.document)
    if before == name:
        return False
    cluster = upgrade.controller.metadata.name
    path = package_path("PackageBundleController", cluster)
    if not before:
        access.merge(path, {"spec": {"activeBundle": name}})
        return True
    place = "/spec/activeBundle"
    steps = [{"op": "test", "path": place, "value": before}, {"op": "replace", "path": place, "value": name}]
    try:
        access.patch(path, steps)
    except ContentError:
        now = controller_object(access, cluster).active_bundle
        if now == before:
            raise
        raise ContentError(
            f"somebody else activated {now or 'no bundle'} meanwhile, and not {before} is active any more",
            artifact=cluster,
            hint="the same command again goes by that",
        ) from None
    return True


def preview_all(upgrade: Upgrade, *, fetcher: ChartFetcher, helm: Helm, access: ClusterAccess) -> list[dict[str, Any]]:
    """What an upgrade changes in each package, as ``packages upgrade --dry-run`` shows it; nothing is changed.

    Args:
        upgrade: the plan.
        fetcher: fetches charts, by their signed digests.
        helm: renders them.
        access: the cluster that the controller runs in; packages may be in one that it manages.

    Raises:
        BundlectlError: as `preview`, or the packages' cluster cannot be reached.
    """
    if not upgrade.changes:
        return []
    controllers = _controllers(access)
    pointing = upgrade.controller
    with _installed_in(access, pointing.metadata.name, controllers) as there:
        how = partial(preview, fetcher=fetcher, helm=helm, access=there, awss=controllers == ["aws"])
        return [change.to_json(how(change, pointing) if change.version else None) for change in upgrade.changes]


def preview(
    change: PackageChange,
    pointing: PackageBundleController,
    *,
    fetcher: ChartFetcher,
    helm: Helm,
    access: ClusterAccess,
    awss: bool = False,
) -> str:
    """The difference that a new version makes to what is applied, as a unified diff; empty where it makes none.

    What Secrets hold is shown as hashes.

    Args:
        change: with a version.
        pointing: says where charts and images are.
        fetcher: fetches the chart, by its signed digest.
        helm: renders it.
        access: the cluster that the package is in.
        awss: whether AWS's controller would do it, and no other.

    Raises:
        MissingError, ContentError: the chart is not in the registry, or is not the one that was signed; the
            configuration is not what its schema allows; no namespace can be called as it says.
        HelmError: the chart does not render.
        TransportError, RegistryError: the registry does not answer, or refuses.
    """
    if change.version is None:
        raise MissingError("is not in the bundle", artifact=change.package.spec.package_name)
    name = change.package.metadata.name
    config = read_config(change.package.spec.config, origin=name)
    check_config(config, change.version.schema, origin=name)
    chart = fetcher.fetch(f"{pointing.default_registry}/{change.repository}", change.version.digest)
    # Where it was put once it stays, whatever a newer chart says.
    there = change.package.metadata.annotation(LOCATION)
    wanted = (there if is_namespace(there) else "") or change.package.spec.target_namespace or default_namespace(chart)
    if not is_namespace(wanted):
        raise ContentError(f"a namespace cannot be called {wanted[:100]!r}", artifact=name)
    place, before = wanted, ""
    # AWS's controller keeps all its records in one namespace.
    for namespace in dict.fromkeys((wanted, HOME_NAMESPACE)):
        found = _installed(access, helm, namespace, name)
        if found is not None:
            place, before = namespace, found
            break
    images = pointing.default_image_registry
    if awss:
        values = aws_values_for(config, image_registry=images)
    else:
        secret = access.get(path_of("v1", "secrets", namespace=wanted, name=PULL_SECRET)) is not None
        values = values_for(config, image_registry=images, pull_secret=secret)
    target = HelmTarget(kubeconfig=access.kubeconfig, namespace=place)
    return diff_manifests(before, helm.render(target, name, chart, values))


def _installed(access: ClusterAccess, helm: Helm, namespace: str, name: str) -> str | None:
    """The manifest of a release; None where there is none. Whether there is one is asked without a process."""
    try:
        if access.release(namespace, name) is None:
            return None
    except ContentError:
        pass  # of what we cannot read helm may know more, or what was before
    try:
        return helm.manifest(HelmTarget(kubeconfig=access.kubeconfig, namespace=namespace), name)
    except HelmError as error:
        if error.missing:
            return None
        raise


@contextmanager
def _installed_in(access: ClusterAccess, cluster: str, controllers: list[WhichController]) -> Iterator[ClusterAccess]:
    """The cluster that the packages of ``cluster`` are in: another one than the controller's, where that manages it."""
    own = {own_cluster(access, which) for which in controllers} - {""}
    with ExitStack() as stack:
        found = access
        if cluster not in own:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bundlectl-cluster-")))
            try:
                found = stack.enter_context(access.workload(cluster, folder))
            except (MissingError, ClusterError) as error:
                # Nothing says that it is another, and who may not see a controller may not see kubeconfigs either.
                if own or not (isinstance(error, MissingError) or error.forbidden):
                    raise
        yield found


def _controllers(access: ClusterAccess) -> list[WhichController]:
    """Whose controllers are there; an operator may be allowed to upgrade, and not to see that."""
    try:
        return found_controllers(access)
    except ClusterError as error:
        if error.forbidden:
            return []
        raise


def diff_manifests(before: str, after: str) -> str:
    """Compare what two revisions apply, object by object, whatever their order.

    Hashes of what Secrets hold are others each time: nobody can try passwords against them.
    """
    salt = secrets.token_bytes(16)
    old, new = _objects(before, salt), _objects(after, salt)
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        one, other, name = old.get(key, ""), new.get(key, ""), "/".join(filter(None, key[:-1]))
        lines += difflib.unified_diff(
            one.splitlines(), other.splitlines(), f"a/{name}", f"b/{name}", lineterm="", n=_CONTEXT
        )
    return "\n".join(lines)


def _objects(manifest: str, salt: bytes) -> dict[tuple[str, str, str, str], str]:
    """The objects of a manifest by kind, namespace, name and group; two groups may have kinds of one name."""
    found = {}
    for item in read_objects(manifest, origin="the manifest"):
        metadata = item["metadata"]
        group = str(item.get("apiVersion", "")).rpartition("/")[0]
        key = str(item["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]), group
        found[key] = yaml.safe_dump(_without_secrets(item, salt), sort_keys=True, width=10_000)
    return found


def _without_secrets(item: dict[str, Any], salt: bytes) -> dict[str, Any]:
    if item.get("kind") != "Secret":
        return item
    hidden = {
        part: {name: _hidden(value, salt) for name, value in item[part].items()}
        for part in ("data", "stringData")
        if isinstance(item.get(part), dict)
    }
    return {**item, **hidden}


def _hidden(value: object, salt: bytes) -> str:
    return f"(hash {hashlib.sha256(salt + str(value).encode()).hexdigest()[:12]})"
