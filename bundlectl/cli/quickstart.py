"""``bundlectl quickstart``: the whole journey on loopback, with samples."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.journey import Journey
from bundlectl.cli.options import Format, FormatOptions
from bundlectl.errors import StoreError, UsageError

__all__ = ["register"]

_SCALE: Final = 1e-4
"""Of the real sizes: images of hundreds of megabytes shrink to tens of kilobytes."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "quickstart", examples=("bundlectl quickstart", "bundlectl quickstart --dir /tmp/journey"))
    def quickstart(
        invocation: Invocation,
        *,
        form: FormatOptions,
        dir: Annotated[  # noqa: A002 -- the name of the flag
            Path | None,
            option("--dir", metavar="DIR", show_default=False, help="Work here and keep what was made; must be empty."),
        ] = None,
    ) -> int:
        """Take the whole journey on loopback, with samples, in a few seconds.

        Look at a release, lock it and sign the lock, download it, mirror it into a registry, mirror
        it again, verify it, list the packages in it. Each step shows the command that does the same. Nothing
        outside this machine is contacted, and nothing is left behind unless --dir says where.
        """
        journey = Journey(invocation.console, text=form.output is Format.TEXT)
        with _folder(dir) as folder:
            journey.go(folder, _sample_upstream)
        following = _next_commands(dir)
        if form.output is Format.JSON:
            invocation.console.document({"steps": journey.steps, "seconds": journey.seconds(), "next": following})
        else:
            lines = "\n".join(f"  {line}" for line in following)
            invocation.console.text(f"\nThat was all of it, in {journey.seconds():.1f} s. Next:\n{lines}")
        return 0


@contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    if directory is None:
        with TemporaryDirectory(prefix="bundlectl-quickstart-") as made:
            yield Path(made)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupied = any(directory.iterdir())
    except OSError as error:
        raise StoreError(f"cannot be used: {error.strerror}", artifact=str(directory)) from error
    if occupied:
        raise UsageError("is not empty", artifact=str(directory), hint="name a new folder with --dir")
    yield directory


def _next_commands(directory: Path | None) -> list[str]:
    real = [
        "bundlectl releases",
        "bundlectl keys generate site.key",
        "bundlectl lock eks-a:latest --kube-version 1.33 --key site.key --out bundle.lock.json",
        "bundlectl download bundle.lock.json --store /data/store --verify site.key.pub",
        "bundlectl mirror store:/data/store --to registry.example.com/eks --verify site.key.pub --dry-run",
    ]
    if directory is None:
        return real
    return [
        f"bundlectl store list {directory / 'store'}",
        f"bundlectl packages list --store {directory / 'store'}",
        f"bundlectl serve --store {directory / 'registry'}",
        *real,
    ]


def _sample_upstream(opened: ExitStack) -> tuple[dict[str, str], str]:
    from registry_fixtures.samples import sample_documents  # noqa: PLC0415 -- for the quickstart alone
    from registry_fixtures.upstream import Upstream  # noqa: PLC0415 -- for the quickstart alone

    upstream = opened.enter_context(Upstream.synthesise(sample_documents(), scale=_SCALE))
    served = opened.enter_context(upstream.serve())
    counts = f"{len(upstream.images)} images, {len(upstream.charts)} charts, {len(upstream.files)} files"
    return served.origin_map, f"{counts}; the steps below reach it by --origin"
