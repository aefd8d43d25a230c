"""``bundlectl package-bundle build|push``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request, build_target, target_host, wanted_visibility
from bundlectl.cli.keying import KeyOptions, Pkcs11Options, open_signing_key
from bundlectl.cli.options import (
    ChartOptions,
    FillOptions,
    Format,
    FormatOptions,
    OfflineOptions,
    SelectionOptions,
    SourceOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result
from bundlectl.errors import BundlectlError, UsageError

__all__ = ["register"]

_LIMIT: Final = 16 * 1024 * 1024
_Registry = Annotated[
    str,
    option(
        "--registry",
        metavar="HOST[:PORT][/PREFIX]",
        show_default=False,
        help="Where the charts are, whatever registries INPUT names.",
    ),
]
_ImageRegistry = Annotated[
    str,
    option(
        "--image-registry",
        metavar="HOST[:PORT][/PREFIX]",
        show_default=False,
        help="Where their images are, if not with the charts.",
    ),
]
_Name = Annotated[
    str, option("--name", metavar="NAME", show_default=False, help="What the bundle is called, instead of in INPUT.")
]


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="Make bundles of curated packages: what a package controller may install.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="package-bundle")
    _register_build(noun)
    _register_push(noun)


def _register_build(noun: typer.Typer) -> None:
    @command(
        noun,
        "build",
        path="package-bundle",
        examples=(
            "bundlectl package-bundle build packages.yaml --registry localhost:5000 --key site.key --out bundle.yaml",
            "bundlectl package-bundle build packages.yaml --registry localhost:5000 --name v1-33-1002",
        ),
    )
    def build(
        invocation: Invocation,
        *,
        packages: Annotated[
            Path,
            typer.Argument(metavar="INPUT", show_default=False, help="Which charts, in the format of AWS's generator."),
        ],
        registry: _Registry = "",
        image_registry: _ImageRegistry = "",
        name: _Name = "",
        out: Annotated[str, option("--out", metavar="FILE", help="Where to write it; - is standard output.")] = "-",
        charts: ChartOptions,
        key: KeyOptions,
        pkcs11: Pkcs11Options,
        offline: OfflineOptions,
        transport: TransportOptions,
        form: FormatOptions,
    ) -> int:
        """Build a bundle: for each version its chart and images by digest, the schema of its values, what it needs.

        Everything is looked up in the registry, and must be there. The same input and registry give
        the same bytes; with --key it is signed as AWS signs its bundles, and checked before it is
        written.
        """
        if out == "-" and form.output is Format.JSON:
            raise UsageError(
                "the bundle itself goes to standard output, and --output json would, too", hint="add --out FILE"
            )
        signer = open_signing_key(invocation, key, pkcs11, offline)
        connection = build_connection(
            invocation, transport, trust=TrustOptions(offline=offline.offline), target=registry.partition("/")[0]
        )
        from bundlectl.operations.bundling import build_package_bundle  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.resolving_packages import BundleRequest  # noqa: PLC0415 -- not for --help

        request = BundleRequest(
            input=packages,
            registry=registry,
            image_registry=image_registry,
            name=name,
            render_charts=charts.render_charts,
        )
        earlier = _earlier(out)
        built = run_session(
            invocation,
            connection,
            lambda session: build_package_bundle(request, session=session, signer=signer, earlier=earlier),
        )
        if not built.unchanged:
            write_result(invocation.console, out, built.text)
        if out != "-":
            show(invocation, form, built.to_json(str(packages), out), _render_built)
        return 0


def _register_push(noun: typer.Typer) -> None:
    @command(
        noun,
        "push",
        path="package-bundle",
        examples=(
            "bundlectl package-bundle push bundle.yaml --to harbor.example.com/eks --verify site.key.pub",
            "bundlectl package-bundle push bundle.yaml --to localhost:5000 --verify site.key.pub --allow-rollback",
        ),
    )
    def push(
        invocation: Invocation,
        *,
        bundle: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The bundle, signed.")],
        target: FillOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
    ) -> int:
        """Push a bundle to where AWS's would lie in a mirror, under its name and then as the latest.

        A name is never given to another bundle, and the latest does not become older without
        --allow-rollback. Without --verify the bundle must be signed by AWS.
        """
        naming = build_target(target)
        if naming is None:
            raise UsageError("no target given", hint="name the registry with --to HOST[:PORT][/PREFIX]")
        request = build_request(
            invocation, (str(bundle),), selection=SelectionOptions(), origin=SourceOptions(), trust=trust
        )
        connection = build_connection(invocation, transport, trust=trust, target=target_host(target))
        created = wanted_visibility(target)
        from bundlectl.operations.pushing_bundles import push_package_bundle  # noqa: PLC0415 -- not for --help

        pushed = run_session(
            invocation,
            connection,
            lambda session: push_package_bundle(
                bundle, request, target=naming, session=session, create_projects=created
            ),
        )
        show(invocation, form, pushed.to_json(), _render_pushed)
        return 0


def _earlier(out: str) -> bytes:
    """The bundle that is in the file that the new one goes to; nothing where there is none."""
    from bundles.sources.local import read_local  # noqa: PLC0415 -- not for --help

    try:
        return read_local(Path(out), limit=_LIMIT) if out != "-" else b""
    except BundlectlError:
        # No bundle of ours. What cannot be written is told when it is.
        return b""


def _render_built(document: Mapping[str, Any]) -> str:
    versions = [(package, version) for package in document["packages"] for version in package["versions"]]
    width = max(len(package["name"]) for package, _ in versions)
    longest = max(len(version["name"]) for _, version in versions)
    lines = [
        f"{document['name']}: {len(document['packages'])} packages in {document['out']}"
        + (", as it was before" if document["unchanged"] else "")
    ]
    lines += [
        f"  {package['name']:<{width}}  {version['name']:<{longest}}  {version['digest']}  "
        f"images: {len(version['images'])}"
        for package, version in versions
    ]
    signed = f"signed by {document['key']['fingerprint']}" if document["key"] else "not signed (bundlectl sign)"
    return "\n".join([*lines, signed])


def _render_pushed(document: Mapping[str, Any]) -> str:
    lines = [f"pushed {document['name']} {document['digest']}"]
    lines += [
        f"  {document['target']}:{item['tag']}{'' if item['written'] else ', as it was before'}"
        for item in document["tags"]
    ]
    if document["verifiedBy"]:
        lines.append(f"  signed by {document['verifiedBy']}")
    return "\n".join(lines)
