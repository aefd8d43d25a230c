"""``bundlectl packages install|upgrade|delete``."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli import packages_wanted as wanted
from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.options import (
    Cluster,
    DocumentFormat,
    DocumentFormatOptions,
    Kubeconfig,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.packages_render import render_installed, render_upgrade
from bundlectl.cli.packages_sources import (
    BundlePlace,
    KubeVersion,
    find_bundles,
    installing,
    open_cluster,
    run_packages,
    waiting,
)
from bundlectl.cli.result import show
from bundlectl.errors import InterruptError, MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from controller.packages_cluster import ClusterAccess
    from controller.packages_upgrade import Upgrade

__all__ = ["register_changes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How a change is made: where, with which helm, and how long it is waited for (0: not)."""

    invocation: Invocation
    kubeconfig: Path | None
    helm: Path | None = None
    seconds: int = 0


def register_changes(noun: typer.Typer) -> None:
    """Add the commands."""
    _register_install(noun)
    _register_upgrade(noun)
    _register_delete(noun)


def _register_install(noun: typer.Typer) -> None:
    @command(
        noun,
        "install",
        path="packages",
        examples=(
            "bundlectl packages install harbor --package-name my-harbor --cluster site --wait",
            "bundlectl packages install harbor --from harbor.example.com/eks --target-namespace harbor --wait",
        ),
    )
    def install(
        invocation: Invocation,
        *,
        package: wanted.Package,
        cluster: Cluster = "",
        from_: Annotated[
            str,
            option(
                "--from",
                envvar="BUNDLECTL_PACKAGES_INSTALL_FROM",
                metavar="HOST[:PORT][/PREFIX]",
                show_default=False,
                help="Install from this mirror with helm right away, without a controller.",
            ),
        ] = "",
        package_name: wanted.ObjectName = "",
        package_version: wanted.PackageVersion = "",
        target_namespace: wanted.TargetNamespace = "",
        create_namespace: Annotated[
            bool, option("--create-namespace", help="With --from: make the target namespace if it is not there.")
        ] = False,
        set: wanted.SetValues = (),  # noqa: A002 -- named like its flag
        values: wanted.ValuesFile = None,
        kube_version: KubeVersion = "",
        helm: wanted.Helm = None,
        kubeconfig: Kubeconfig = None,
        wait: wanted.Wait = False,
        timeout: wanted.Timeout = 300,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Ask a cluster's package controller for a package; or, with --from, install it with helm right away.

        Both check the same: the signature of the bundle, the chart's digest, that its images are in the
        mirror, and its values. Said again with other values, the package is changed. With --from, what others
        need is installed first, and an upgrade that fails is rolled back.
        """
        _refuse_both(cluster, from_)
        if cluster and (create_namespace or helm):
            raise UsageError("--create-namespace and --helm are for --from: here the controller installs it")
        asked = wanted.WantedPackage(
            package=package,
            name=package_name or package.lower(),
            version=package_version,
            namespace=target_namespace,
            values=wanted.read_values(set, values),
        )
        how = _How(invocation=invocation, kubeconfig=kubeconfig, helm=helm, seconds=timeout if wait else 0)
        work = (
            partial(_install_from, how, asked, from_, kube_version, create_namespace)
            if from_
            else partial(_ask, how, asked, cluster, kube_version)
        )
        with _helm_stopped() if from_ else nullcontext():
            document = run_packages(invocation, transport, trust, from_, work)
        show(invocation, form, document, render_installed)
        return 0


@contextmanager
def _helm_stopped() -> "Iterator[None]":
    """Say what Ctrl-C leaves: helm is no copy of files that nobody sees before it is whole."""
    try:
        yield
    except InterruptError as error:
        error.hint = "helm was stopped where it was; the same command again goes on from there"
        raise


def _refuse_both(cluster: str, mirror: str) -> None:
    if bool(cluster) == bool(mirror):
        raise UsageError(
            "--cluster and --from are two ways" if cluster else "nothing says who installs it",
            hint="--cluster NAME for its package controller, or --from HOST[/PREFIX] for helm right away",
        )


def _ask(
    how: _How,
    asked: wanted.WantedPackage,
    cluster: str,
    kube_version: str,
    request: "SourceRequest",
    session: "Session",
) -> dict[str, Any]:
    """Write the Package, for a controller to act upon."""
    from controller.packages_state import ask_for  # noqa: PLC0415 -- not for --help
    from controller.packages_waiting import wait_until_installed  # noqa: PLC0415 -- not for --help

    place = BundlePlace(cluster=cluster, kubeconfig=how.kubeconfig, wanted=kube_version)
    bundle = wanted.only(find_bundles(how.invocation, place, request, session).bundles)
    document, version = asked.generate(bundle, cluster)
    with open_cluster(how.invocation, how.kubeconfig) as access:
        ask_for(access, document)
        if how.seconds:
            waited = waiting(how.invocation, session, how.seconds)
            wait_until_installed(access, cluster, {asked.name: version}, waited)
    outcome = "installed" if how.seconds else "asked for"
    return {"packages": [{"name": asked.name, "package": asked.package, "version": version.name, "outcome": outcome}]}


def _install_from(
    how: _How,
    asked: wanted.WantedPackage,
    mirror: str,
    kube_version: str,
    create_namespace: bool,
    request: "SourceRequest",
    session: "Session",
) -> dict[str, Any]:
    """Check everything as a controller does, then let helm install it."""
    from controller.credentials import pull_secret  # noqa: PLC0415 -- not for --help
    from controller.local import LocalRequest, install_locally, prepare  # noqa: PLC0415 -- not for --help

    host = mirror.partition("/")[0]
    credential = session.connection.explicit.get(host)
    local = LocalRequest(
        package=asked.package,
        release=asked.name,
        version=asked.version,
        namespace=asked.namespace,
        create_namespace=create_namespace,
        values=asked.values,
        credential=credential,
        allow_rollback=request.allow_rollback,
    )
    with (
        open_cluster(how.invocation, how.kubeconfig) as access,
        installing(how.invocation, how.helm, session) as (helm, fetcher),
    ):
        place = BundlePlace(registry=mirror, wanted=kube_version or access.kube_version())
        bundle = wanted.only(find_bundles(how.invocation, place, request, session).bundles)
        releases = prepare(local, bundle, session=session, fetcher=fetcher, access=access)
        done = install_locally(
            releases,
            helm=helm,
            access=access,
            wait=waiting(how.invocation, session, how.seconds) if how.seconds else None,
            pull_secret=partial(pull_secret, host, credential) if credential else None,
        )
    return {"packages": done}


def _register_upgrade(noun: typer.Typer) -> None:
    @command(
        noun,
        "upgrade",
        path="packages",
        examples=(
            "bundlectl packages upgrade --cluster site --bundle-version v1-33-121 --dry-run",
            "bundlectl packages upgrade --cluster site --bundle-version v1-33-121 --wait",
        ),
    )
    def upgrade(
        invocation: Invocation,
        *,
        cluster: Cluster,
        bundle_version: Annotated[
            str,
            option(
                "--bundle-version",
                metavar="NAME",
                show_default=False,
                help="The bundle; the newest in the mirror if none.",
            ),
        ] = "",
        dry_run: Annotated[
            bool, option("--dry-run", help="Only show what would change in each package's manifests.")
        ] = False,
        helm: wanted.Helm = None,
        kubeconfig: Kubeconfig = None,
        wait: wanted.Wait = False,
        timeout: wanted.Timeout = 600,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Activate another bundle: all packages of a cluster become what it has of them.

        The bundle is taken out of the cluster, or else out of the mirror that the cluster is fed from, and
        its signature checked. It must be newer than the active one, unless --allow-rollback is given.
        Exit code 4 when it lacks a package, or a version, that a Package asks for: that one stays as it is.
        """
        how = _How(invocation=invocation, kubeconfig=kubeconfig, helm=helm, seconds=timeout if wait else 0)
        work = partial(_upgrade, how, cluster, bundle_version, dry_run)
        document = run_packages(invocation, transport, trust, "", work)
        if form.output is DocumentFormat.TEXT:
            for package in document["packages"]:
                if package["diff"]:
                    invocation.console.text(f"# {package['name']}\n{package['diff']}\n")
        show(invocation, form, document, render_upgrade)
        return _told_lacking(invocation, document)


def _told_lacking(invocation: Invocation, document: dict[str, Any]) -> int:
    """Say for which Packages the bundle has nothing; the exit code."""
    lacking = [item["name"] for item in document["packages"] if item["to"] is None]
    if not lacking:
        return 0
    invocation.console.warning(
        f"{document['bundle']} has nothing for {', '.join(lacking)}: what runs stays, and nobody looks after it. "
        "Delete it, ask for a version that there is, or activate a bundle that has it"
    )
    return MissingError.exit_code


def _upgrade(
    how: _How, cluster: str, name: str, dry_run: bool, request: "SourceRequest", session: "Session"
) -> dict[str, Any]:
    from controller.packages_upgrade import activate, plan_upgrade  # noqa: PLC0415 -- not for --help
    from controller.packages_waiting import wait_until_installed  # noqa: PLC0415 -- not for --help

    with open_cluster(how.invocation, how.kubeconfig) as access:
        planned = plan_upgrade(access, cluster, name, request=request, session=session)
        document: dict[str, Any] = {
            "cluster": cluster,
            "bundle": planned.bundle.metadata.name,
            "before": planned.controller.active_bundle or None,
            "outcome": "planned",
            "packages": [change.to_json() for change in planned.changes],
        }
        if dry_run:
            return {**document, "packages": _previews(how, planned, access, session)}
        document["outcome"] = "activated" if activate(access, planned) else "unchanged"
        if how.seconds:
            versions = {change.package.metadata.name: change.version for change in planned.changes if change.version}
            wait_until_installed(access, cluster, versions, waiting(how.invocation, session, how.seconds))
    return document


def _previews(how: _How, planned: "Upgrade", access: "ClusterAccess", session: "Session") -> list[dict[str, Any]]:
    from controller.packages_upgrade import preview_all  # noqa: PLC0415 -- not for --help

    with installing(how.invocation, how.helm, session) as (helm, fetcher):
        return preview_all(planned, fetcher=fetcher, helm=helm, access=access)


def _register_delete(noun: typer.Typer) -> None:
    @command(
        noun,
        "delete",
        path="packages",
        examples=(
            "bundlectl packages delete my-harbor --cluster site --wait",
            "bundlectl packages delete harbor --local --target-namespace harbor",
        ),
    )
    def delete(
        invocation: Invocation,
        *,
        names: Annotated[
            list[str], typer.Argument(metavar="NAME...", show_default=False, help="Packages, as they are called there.")
        ],
        cluster: Cluster = "",
        local: Annotated[bool, option("--local", help="What install --from installed, in --target-namespace.")] = False,
        target_namespace: wanted.TargetNamespace = "",
        helm: wanted.Helm = None,
        kubeconfig: Kubeconfig = None,
        wait: wanted.Wait = False,
        timeout: wanted.Timeout = 300,
        form: DocumentFormatOptions,
    ) -> int:
        """Delete packages of a cluster, and with them what their charts installed.

        Exit code 4 when there is none of a name.
        """
        if bool(cluster) == local or (local and not target_namespace):
            raise UsageError(
                "--cluster and --local are two ways" if cluster and local else "nothing says whose packages are meant",
                hint="--cluster NAME, or --local with --target-namespace NAMESPACE",
            )
        how = _How(invocation=invocation, kubeconfig=kubeconfig, helm=helm, seconds=timeout if wait else 0)
        work = partial(_delete, how, tuple(names), cluster, target_namespace)
        with _helm_stopped() if local else nullcontext():
            found = run_packages(invocation, TransportOptions(), TrustOptions(), "", work)
        told = "deleted" if wait or local else "being deleted"
        outcomes = [{"name": name, "outcome": told if was else "was not there"} for name, was in found.items()]
        show(invocation, form, {"packages": outcomes}, render_installed)
        return 0 if all(found.values()) else MissingError.exit_code


def _delete(
    how: _How, names: tuple[str, ...], cluster: str, namespace: str, _: "SourceRequest", session: "Session"
) -> dict[str, bool]:
    with open_cluster(how.invocation, how.kubeconfig) as access:
        if not cluster:
            from controller.local import uninstall_locally  # noqa: PLC0415 -- not for --help

            with installing(how.invocation, how.helm, session) as (helm, _fetcher):
                return uninstall_locally(names, namespace, helm=helm, access=access)
        from controller.packages_state import delete_packages  # noqa: PLC0415 -- not for --help
        from controller.packages_waiting import wait_until_gone  # noqa: PLC0415 -- not for --help

        found = delete_packages(access, cluster, names)
        if how.seconds:
            there = [name for name, was in found.items() if was]
            wait_until_gone(access, cluster, there, waiting(how.invocation, session, how.seconds))
        return found
