"""``bundlectl controller manifests``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli import packages_wanted as wanted
from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.controller_objects import show_objects
from bundlectl.cli.options import DocumentFormatOptions, TransportOptions, TrustOptions
from bundlectl.cli.packages_sources import BundlePlace, KubeVersion, Registry, find_bundles, installing, run_packages
from bundlectl.cli.writing import write_result
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.belief import Belief

__all__ = ["public_key", "register_manifests"]


_Image = Annotated[
    str,
    option("--image", metavar="REF", show_default=False, help="The image of the controller, in the mirror."),
]
_Clusters = Annotated[
    tuple[str, ...],
    option("--cluster", metavar="NAME", help="Whose packages it installs, the one it runs in first; repeatable."),
]
_Replicas = Annotated[
    int, option("--replicas", metavar="N", min=0, max=9, help="How many may take over from each other.")
]
_Chart = Annotated[
    str, option("--chart", metavar="FILE", show_default=False, help="Write the same as a Helm chart instead.")
]
_For = Annotated[
    str,
    option(
        "--for",
        envvar="BUNDLECTL_CONTROLLER_MANIFESTS_FOR",
        metavar="PACKAGE",
        show_default=False,
        help="Print the rights that installing this package takes, and their binding, instead.",
    ),
]


def register_manifests(noun: typer.Typer) -> None:
    """Add the command."""

    @command(
        noun,
        "manifests",
        path="controller",
        examples=(
            "bundlectl controller manifests --image harbor.example.com/eks/bundlectl:1.0 --cluster site",
            "bundlectl controller manifests --for harbor --cluster site --registry harbor.example.com/eks",
            "bundlectl controller manifests --chart bundlectl-controller.tgz",
        ),
    )
    def manifests(
        invocation: Invocation,
        *,
        image: _Image = "",
        cluster: _Clusters = (),
        replicas: _Replicas = 1,
        chart: _Chart = "",
        for_: _For = "",
        registry: Registry = "",
        kube_version: KubeVersion = "",
        package_name: wanted.ObjectName = "",
        package_version: wanted.PackageVersion = "",
        target_namespace: wanted.TargetNamespace = "",
        set: wanted.SetValues = (),  # noqa: A002 -- named like its flag
        values: wanted.ValuesFile = None,
        helm: wanted.Helm = None,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Print what a cluster needs to run the package controller, for kubectl apply --server-side.

        With --for: charts are installed in the name of an account that may do next to nothing. What one chart
        needs is told from the objects that it renders to, with the same values; an operator applies it.
        """
        if chart:
            if image or cluster or for_:
                raise UsageError(
                    "--chart goes alone: image, cluster and key are values of the chart",
                    hint="helm install … --set image=REF --set clusterName=NAME --set publicKey=BASE64",
                )
            from controller.packaging import pack_chart  # noqa: PLC0415 -- not for --help

            write_result(invocation.console, chart, pack_chart())
            return 0
        if not cluster:
            raise UsageError("no cluster named", hint="say whose packages are installed: --cluster NAME")
        if for_:
            if len(cluster) != 1 or not registry:
                raise UsageError("--for needs one --cluster, and the --registry that has the package")
            asked = wanted.WantedPackage(
                package=for_,
                name=package_name or for_.lower(),
                version=package_version,
                namespace=target_namespace,
                values=wanted.read_values(set, values),
            )
            place = BundlePlace(registry=registry, wanted=kube_version)
            objects = run_packages(
                invocation,
                transport,
                trust,
                registry,
                lambda *run: _rights(invocation, asked, cluster[0], place, helm, run),
            )
        else:
            objects = _installation(invocation, trust, image, cluster, replicas)
        show_objects(invocation, form, objects)
        return 0


def _installation(
    invocation: Invocation, trust: TrustOptions, image: str, clusters: tuple[str, ...], replicas: int
) -> list[dict[str, Any]]:
    if not image:
        raise UsageError("no image named", hint="mirror the image of bundlectl, and name it: --image HOST/PATH:TAG")
    from bundlectl.cli.believing import build_trust  # noqa: PLC0415 -- not for --help
    from bundlectl.operations.package_objects import cluster_name  # noqa: PLC0415 -- not for --help
    from controller.manifests import Installation, installation  # noqa: PLC0415 -- not for --help
    from mirror.oci.reference import Reference  # noqa: PLC0415 -- not for --help

    Reference.parse(image)
    belief = build_trust(invocation, trust).belief
    if belief.mode == "off":
        raise UsageError(
            "no controller installs what nobody signed",
            hint="--verify KEY says whose signature bundles need; else AWS's",
        )
    key = public_key(belief)
    names = tuple(cluster_name(name) for name in clusters)
    return installation(Installation(image=image, clusters=names, replicas=replicas, public_key=key))


def public_key(belief: "Belief") -> str:
    """The key that bundles are signed with, base64 of its DER; empty where that is AWS's."""
    named = belief.key or belief.package_key
    return named.key.base64() if named else ""


def _rights(
    invocation: Invocation,
    asked: wanted.WantedPackage,
    cluster: str,
    place: BundlePlace,
    helm: Path | None,
    run: "tuple[SourceRequest, Session]",
) -> list[dict[str, Any]]:
    from bundlectl.operations.package_objects import package_namespace  # noqa: PLC0415 -- not for --help
    from bundlectl.operations.packages import choose_version  # noqa: PLC0415 -- not for --help
    from controller.bindings import far_reaching, installer_rights, render_objects  # noqa: PLC0415 -- not for --help
    from controller.charts import default_namespace  # noqa: PLC0415 -- not for --help
    from controller.configuration import values_for  # noqa: PLC0415 -- not for --help

    request, session = run
    bundle = wanted.only(find_bundles(invocation, place, request, session).bundles)
    package, version = choose_version(bundle.bundle, asked.package, asked.version)
    asked.generate(bundle, cluster)  # holds names and values to their rules
    found = bundle.place
    if found is None:
        raise UsageError("charts are read out of a registry", hint="name one with --registry")
    with installing(invocation, helm, session) as (program, fetcher):
        chart = fetcher.fetch(f"{found.charts}/{package.source.repository}", version.digest)
        namespace = asked.namespace or default_namespace(chart)
        objects = render_objects(
            chart,
            program.program,
            values_for(asked.values, image_registry=found.images, pull_secret=True),
            release=asked.name,
            namespace=namespace,
            kube_version=bundle.kube_version,
        )
    rights = installer_rights(asked.name, objects, namespace=package_namespace(cluster), target_namespace=namespace)
    for line in far_reaching(rights, target_namespace=namespace):
        invocation.console.note(f"goes far, think about it before you apply it: {line}")
    return rights
