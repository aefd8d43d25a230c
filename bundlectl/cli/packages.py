"""``bundlectl packages list|describe|generate``; the commands that change something are in ``packages_changes``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli import packages_wanted as wanted
from bundlectl.cli.command import Invocation, command
from bundlectl.cli.options import (
    Cluster,
    DocumentFormat,
    DocumentFormatOptions,
    Kubeconfig,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.packages_changes import register_changes
from bundlectl.cli.packages_render import heading, render_described, render_listed
from bundlectl.cli.packages_sources import (
    BundlePlace,
    KubeVersion,
    Registry,
    Store,
    find_bundles,
    open_cluster,
    run_packages,
)
from bundlectl.cli.result import show
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundlectl.cli.packages_sources import Found
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="List, describe, generate, install, upgrade and delete curated packages.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="packages")
    for add in (_register_list, _register_describe, _register_generate, register_changes):
        add(noun)


def _register_list(noun: typer.Typer) -> None:
    @command(
        noun,
        "list",
        path="packages",
        examples=(
            "bundlectl packages list --registry harbor.example.com/eks --kube-version 1.33",
            "bundlectl packages list --store /data/store",
            "bundlectl packages list --cluster site -o yaml",
        ),
    )
    def list_(
        invocation: Invocation,
        *,
        registry: Registry = "",
        store: Store = "",
        cluster: Cluster = "",
        kube_version: KubeVersion = "",
        kubeconfig: Kubeconfig = None,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """List the packages that a mirror, a store or a cluster's active bundle offers.

        Of a mirror and a store no cluster is needed. Of a cluster its Packages are listed, too.
        """
        _refuse_two_places(cluster, registry or store)
        place = BundlePlace(registry=registry, store=store, cluster=cluster, kubeconfig=kubeconfig, wanted=kube_version)
        found = run_packages(invocation, transport, trust, registry, lambda *run: find_bundles(invocation, place, *run))
        bundles = [bundle.to_json() for bundle in found.bundles]
        if len(bundles) == 1:
            invocation.console.note(heading(bundles[0]))
        document: dict[str, Any] = {"bundles": bundles, "installed": _rows(found)}
        show(invocation, form, document, render_listed)
        return 0


def _refuse_two_places(cluster: str, elsewhere: str) -> None:
    if cluster and elsewhere:
        raise UsageError("--cluster tells how Packages are, --registry and --store what is offered", hint="give one")


def _rows(found: "Found") -> list[dict[str, Any]] | None:
    if found.packages is None:
        return None
    from controller.packages_state import package_rows  # noqa: PLC0415 -- not for --help

    return package_rows(found.packages)


def _register_describe(noun: typer.Typer) -> None:
    @command(
        noun,
        "describe",
        path="packages",
        examples=(
            "bundlectl packages describe harbor --registry harbor.example.com/eks --kube-version 1.33",
            "bundlectl packages describe --cluster site",
        ),
    )
    def describe(
        invocation: Invocation,
        *,
        names: Annotated[
            list[str] | None,
            typer.Argument(metavar="[NAME]...", show_default=False, help="Which; of a cluster all of them if none."),
        ] = None,
        registry: Registry = "",
        store: Store = "",
        cluster: Cluster = "",
        kube_version: KubeVersion = "",
        kubeconfig: Kubeconfig = None,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Tell all of packages: of a mirror or store what they offer, of a cluster how they are.

        Of a mirror or store: every version with its images, dependencies and values. Of a cluster: state,
        conditions and the last Events of its Packages.
        """
        wanted = tuple(names or ())
        _refuse_two_places(cluster, registry or store)
        if not cluster and not wanted:
            raise UsageError("no package named", hint="name one or several, or a --cluster for all that it has")
        place = BundlePlace(registry=registry, store=store, wanted=kube_version)

        def work(request: "SourceRequest", session: "Session") -> dict[str, Any]:
            if cluster:
                from controller.packages_state import describe_objects  # noqa: PLC0415 -- not for --help

                with open_cluster(invocation, kubeconfig) as access:
                    return {"packages": [], "installed": describe_objects(access, cluster, wanted)}
            from bundlectl.operations.packages import describe_package  # noqa: PLC0415 -- not for --help
            from bundles.package_bundle import find_package  # noqa: PLC0415 -- not for --help

            bundles = find_bundles(invocation, place, request, session).bundles
            # What only some of the bundles have is described as those have it.
            absent = [name for name in wanted if not any(find_package(one.bundle, name) for one in bundles)]
            packages = [
                describe_package(one, name)
                for one in bundles
                for name in wanted
                if name in absent or find_package(one.bundle, name)
            ]
            return {"packages": packages, "installed": []}

        show(invocation, form, run_packages(invocation, transport, trust, registry, work), render_described)
        return 0


def _register_generate(noun: typer.Typer) -> None:
    @command(
        noun,
        "generate",
        path="packages",
        examples=(
            "bundlectl packages generate harbor --cluster site --registry harbor.example.com/eks --kube-version 1.33",
            "bundlectl packages generate hello-eks-anywhere --cluster site --set title=Hello",
        ),
    )
    def generate(
        invocation: Invocation,
        *,
        package: wanted.Package,
        cluster: Cluster,
        registry: Registry = "",
        store: Store = "",
        kube_version: KubeVersion = "",
        kubeconfig: Kubeconfig = None,
        package_name: wanted.ObjectName = "",
        package_version: wanted.PackageVersion = "",
        target_namespace: wanted.TargetNamespace = "",
        set: wanted.SetValues = (),  # noqa: A002 -- named like its flag
        values: wanted.ValuesFile = None,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Print the Package that asks for a package, to be kept in git and applied with kubectl.

        Its values are held against the schema that the bundle has of them. Without --registry and
        --store the active bundle of the cluster is looked in.
        """
        place = BundlePlace(
            registry=registry,
            store=store,
            cluster=cluster,
            kubeconfig=kubeconfig,
            wanted=kube_version,
        )

        asked = wanted.WantedPackage(
            package=package,
            name=package_name or f"generated-{package.lower()}",
            version=package_version,
            namespace=target_namespace,
            values=wanted.read_values(set, values),
        )

        def work(request: "SourceRequest", session: "Session") -> dict[str, Any]:
            bundle = wanted.only(find_bundles(invocation, place, request, session).bundles)
            return asked.generate(bundle, cluster)[0]

        document = run_packages(invocation, transport, trust, registry, work)
        if form.output is DocumentFormat.TEXT:
            form = DocumentFormatOptions(output=DocumentFormat.YAML)
        show(invocation, form, document, lambda _: "")
        return 0
