"""``bundlectl controller feed``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_target
from bundlectl.cli.controller_manifests import public_key
from bundlectl.cli.controller_objects import show_objects
from bundlectl.cli.options import (
    Cluster,
    DocumentFormatOptions,
    Kubeconfig,
    TargetOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.packages_sources import KubeVersion, Registry, open_cluster, run_packages, waiting
from bundlectl.cli.render import table
from bundlectl.cli.result import show
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.plan import Naming
    from controller.feed import Feed, WhichController

__all__ = ["register_feed"]


class _Controller(StrEnum):
    """Whose controller."""

    BUNDLECTL = "bundlectl"
    AWS = "aws"


_BundleVersion = Annotated[
    str,
    option(
        "--bundle-version",
        metavar="NAME",
        show_default=False,
        help="The bundle to activate; the newest if none.",
    ),
]
_Which = Annotated[
    _Controller | None,
    option(
        "--controller",
        show_default=False,
        help="Whose controller it is; looked up in the cluster if not said.",
        case_sensitive=False,
    ),
]
_Management = Annotated[
    str,
    option(
        "--management-cluster",
        metavar="NAME",
        show_default=False,
        help="The cluster that the controller runs in, where it is another; looked up if not said.",
    ),
]
_DryRun = Annotated[bool, option("--dry-run", help="Only print the objects, for a cluster that has none of them yet.")]
_WithSecrets = Annotated[bool, option("--with-secrets", help="With --dry-run: print passwords, too.")]
_Timeout = Annotated[
    int,
    option("--timeout", metavar="SECONDS", min=1, max=86400, help="How long a controller may take to restart."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the options ask for."""

    cluster: str
    management: str
    wanted: str
    dry_run: bool
    kubeconfig: Path | None
    which: "WhichController | None"
    seconds: int


def register_feed(noun: typer.Typer) -> None:
    """Add the command."""

    @command(
        noun,
        "feed",
        path="controller",
        examples=(
            "bundlectl controller feed --registry harbor.example.com/eks --cluster site --kube-version 1.33 --dry-run",
            "bundlectl controller feed --registry harbor.example.com/eks --cluster site --verify site.key.pub",
        ),
    )
    def feed(
        invocation: Invocation,
        *,
        registry: Registry = "",
        cluster: Cluster,
        management_cluster: _Management = "",
        kube_version: KubeVersion = "",
        bundle_version: _BundleVersion = "",
        controller: _Which = None,
        dry_run: _DryRun = False,
        with_secrets: _WithSecrets = False,
        timeout: _Timeout = 120,
        kubeconfig: Kubeconfig = None,
        target: TargetOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: DocumentFormatOptions,
    ) -> int:
        """Point a package controller, this one or AWS's, at a mirror, and activate a bundle of it.

        Writes the PackageBundleController, the mirror's credentials (--username with --password-stdin) and
        authority (--ca-file), the bundle, and the key that it is signed with (--verify KEY). What is as it should
        be stays untouched. Objects go to the cluster of the kubeconfig.
        """
        if registry and target.to:
            raise UsageError("--registry and --to name the registry twice", hint="give one of them")
        naming = build_target(TargetOptions(to=registry or target.to, map=target.map))
        if naming is None:
            raise UsageError("no registry given", hint="name the mirror: --registry HOST[:PORT][/PREFIX]")
        if with_secrets and not dry_run:
            raise UsageError("--with-secrets is for --dry-run: nothing is printed of what is applied")
        if kube_version and bundle_version:
            raise UsageError("--kube-version and --bundle-version both choose a bundle", hint="give one of them")
        asked = _Asked(
            cluster=cluster,
            management=management_cluster,
            wanted=bundle_version or kube_version,
            dry_run=dry_run,
            kubeconfig=kubeconfig,
            which=controller.value if controller else None,
            seconds=timeout,
        )
        done = run_packages(
            invocation, transport, trust, naming.registry, lambda *run: _feed(invocation, asked, naming, *run)
        )
        if isinstance(done, list):
            from controller.credentials import hide_secrets  # noqa: PLC0415 -- not for --help

            show_objects(invocation, form, done if with_secrets else hide_secrets(done))
        else:
            show(invocation, form, done, _render)
        return 0


def _feed(
    invocation: Invocation, asked: _Asked, naming: "Naming", request: "SourceRequest", session: "Session"
) -> dict[str, Any] | list[dict[str, Any]]:
    """The objects of a dry run, or else what became of them."""
    from controller.feed import feed, feed_objects  # noqa: PLC0415 -- not for --help

    if asked.dry_run:
        if not asked.wanted:
            raise UsageError(
                "no cluster is asked in a dry run",
                hint="say which bundle: --kube-version 1.33 or --bundle-version NAME",
            )
        wanted = _wanted(asked, naming, asked.wanted, request, session)
        if key := public_key(request.belief):
            invocation.console.note(
                f"the controller needs EKSA_PUBLIC_KEY={key} in its Deployment, which is not among these"
            )
        return feed_objects(wanted, asked.which or "bundlectl")
    with open_cluster(invocation, asked.kubeconfig) as access:
        wanted = _wanted(asked, naming, asked.wanted or access.kube_version(), request, session)
        which, done = feed(access, wanted, wait=waiting(invocation, session, asked.seconds), which=asked.which)
    return {
        "cluster": asked.cluster,
        "controller": which,
        "registry": wanted.place.charts,
        "bundle": wanted.bundle.name,
        "objects": [item.to_json() for item in done],
    }


def _wanted(asked: _Asked, naming: "Naming", bundle: str, request: "SourceRequest", session: "Session") -> "Feed":
    from bundlectl.operations.configuring import site_registry  # noqa: PLC0415 -- not for --help
    from bundlectl.operations.package_objects import cluster_name  # noqa: PLC0415 -- not for --help
    from bundlectl.operations.packages import bundles_in_registry, check_digests  # noqa: PLC0415 -- not for --help
    from bundles.signatures import keys_for  # noqa: PLC0415 -- not for --help
    from controller.feed import Feed  # noqa: PLC0415 -- not for --help

    (found,) = bundles_in_registry(request, naming, wanted=bundle, session=session)
    if found.place is None:
        raise UsageError("the bundle lies in no registry")
    check_digests(found.trust, name=found.name)
    site = site_registry(naming, session)
    is_checked = request.belief.mode != "off"
    (key,) = keys_for("PackageBundle", request.belief, origin=found.name) if is_checked else (None,)
    return Feed(
        cluster=cluster_name(asked.cluster),
        management=cluster_name(asked.management) if asked.management else "",
        registry=naming.registry,
        place=found.place,
        bundle=found,
        credential=session.connection.explicit.get(naming.registry),
        authorities=site.authorities,
        skip_verify=site.skip_verify,
        public_key=key.key.base64() if key else "",
        allow_rollback=request.allow_rollback,
    )


def _render(document: Mapping[str, Any]) -> str:
    rows = [
        (item["outcome"], item["kind"], f"{item['namespace']}/{item['name']}" if item["namespace"] else item["name"])
        for item in document["objects"]
    ]
    changed = sum(row[0] != "unchanged" for row in rows)
    last = f"{document['cluster']} gets its packages from {document['registry']}, bundle {document['bundle']}"
    return "\n".join([*table(rows), f"{last}; {changed} of {len(rows)} objects changed"])
