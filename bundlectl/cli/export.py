"""``bundlectl export``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request, parse_size
from bundlectl.cli.environment import current_time
from bundlectl.cli.keying import KeyOptions, open_signing_key
from bundlectl.cli.options import (
    Follow,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SinceKey,
    SourceOptions,
    Sources,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render_archive import render_export
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundles.inventory import Inventory
    from mirror.oci.digest import Digest
    from signing.identity import TrustAnchors

__all__ = ["register"]

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")

Folder = Annotated[
    Path, option("--to", metavar="DIR", show_default=False, help="The archive's own folder; made when absent.")
]
SplitSize = Annotated[
    str, option("--split-size", metavar="SIZE", help="What each volume stays below, such as 700MB or 4GiB.")
]
Since = Annotated[
    tuple[Path, ...],
    option(
        "--since",
        metavar="INVENTORY",
        help="Leave out what this inventory says that the site has; repeatable.",
    ),
]
Parity = Annotated[
    int, option("--parity", metavar="N", min=0, help="Write N parity volumes: as many volumes may be lost or damaged.")
]
Volumes = Annotated[
    str,
    option(
        "--volumes",
        metavar="LIST",
        show_default=False,
        help="Write only these volumes, such as 4-7 or 3: for the next medium, or again after a loss.",
    ),
]
WithTool = Annotated[
    str,
    option(
        "--with-tool",
        metavar="[=DIR]",
        show_default=False,
        help="Put bundlectl itself beside the volumes: what `make dist` made, or this installation came from.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "export",
        examples=(
            "bundlectl export store:/data/store#v0.24.1 --to /media/usb/eks-a --key transfer.key",
            "bundlectl export eks-a:v0.24.1 --to /data/out --since site.inventory.json --dry-run",
            "bundlectl export bundle.lock.json --to /data/out --split-size 25GB --parity 2 --key transfer.key",
        ),
    )
    def export(
        invocation: Invocation,
        *,
        sources: Sources,
        to: Folder,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        key: KeyOptions,
        transport: TransportOptions,
        form: FormatOptions,
        split_size: SplitSize = "4GiB",
        since: Since = (),
        since_key: SinceKey = "",
        parity: Parity = 0,
        volumes: Volumes = "",
        with_tool: WithTool = "",
        name: Annotated[
            str,
            option(
                "--name", metavar="NAME", show_default=False, help="Of the archive; otherwise the first document's."
            ),
        ] = "",
        dry_run: Annotated[
            bool, option("--dry-run", help="Tell what would be written, to the byte; write nothing.")
        ] = False,
        follow: Follow = None,
    ) -> int:
        """Write everything that sources name into an archive that can be carried across the gap.

        Volumes are plain tars, each with its own checksums; inventory and signature come first.
        Any volume can be written alone, and a run that was cut goes on where it stopped. What does
        not fit into DIR is left for another medium, with the command that writes it.
        """
        signer = open_signing_key(invocation, key, trust, trust)
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.cli.believing import since_anchors  # noqa: PLC0415 -- not for --help
        from bundlectl.operations import exporting  # noqa: PLC0415 -- not for --help

        anchors = since_anchors(invocation, since_key, trust, given=bool(since))
        settings = exporting.ExportSettings(
            issued=current_time(invocation.start.environment),
            name=name or None,
            split_size=parse_size(split_size, "--split-size"),
            since=tuple(_inventory(invocation, path, anchors) for path in since),
            parity=parity,
            volumes=_numbers(volumes),
            tool=_tool(with_tool),
            signer=signer,
        )
        carry = exporting.plan_export if dry_run else exporting.export
        report = run_session(
            invocation, connection, lambda session: carry(request, folder=to, settings=settings, session=session)
        )
        show(invocation, form, report.to_json(), render_export)
        return report.exit_code


def _numbers(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        match = _RANGE.fullmatch(part.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]):
            raise UsageError(f"--volumes {text!r} is no list of volumes", hint="write numbers and ranges, as in 3,5-7")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def _inventory(invocation: Invocation, path: Path, anchors: "TrustAnchors | None") -> "tuple[Inventory, Digest]":
    from bundlectl.operations.taking_stock import load_inventory  # noqa: PLC0415 -- not for --help

    inventory, proof, digest = load_inventory(path, anchors)
    if proof is None:
        told = (
            "whoever carried it here could have made it claim what the site lacks; name who signed it with --since-key"
        )
        invocation.console.note(f"{path}: nobody vouches for it: {told}")
    invocation.console.detail(f"{path}: {len(inventory.blobs):,} blobs that {inventory.name} has")
    return inventory, digest


def _tool(wanted: str) -> dict[str, Path]:
    if not wanted:
        return {}
    from bundlectl.operations.tooling import find_tool  # noqa: PLC0415 -- not for --help

    return {f"tool/{item.name}": item.path for item in find_tool(None if wanted == "auto" else Path(wanted))}
