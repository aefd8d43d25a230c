"""``bundlectl verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_target, target_host
from bundlectl.cli.options import FormatOptions, TargetOptions, TransportOptions, TrustOptions
from bundlectl.cli.render import render_verification
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from bundlectl.operations.verifying import VerifyReport

__all__ = ["register"]

_REGISTRY = "registry:"
_STORE = "store:"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "verify",
        examples=(
            "bundlectl verify store:/data/store",
            "bundlectl verify registry:harbor.example.com/eks --against bundle.lock.json --deep",
        ),
    )
    def verify(
        invocation: Invocation,
        *,
        target: TargetOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        targets: Annotated[
            tuple[str, ...],
            typer.Argument(
                metavar="TARGET",
                show_default=False,
                help="store:DIR or registry:HOST[/PREFIX]; --to HOST[/PREFIX] names a registry, too.",
            ),
        ] = (),
        against: Annotated[
            str,
            option("--against", metavar="LOCK|STORE", show_default=False, help="What a registry is compared with."),
        ] = "",
        deep: Annotated[bool, option("--deep", help="Read every blob of a registry back and hash it.")] = False,
    ) -> int:
        """Check that everything is there, and that it is what it should be.

        A store is always read and hashed in full. Exit code 3 when anything is different,
        4 when something is only missing.
        """
        named = _targets(targets, target)
        hosts = {name.removeprefix(_REGISTRY).partition("/")[0] for name in named if name.startswith(_REGISTRY)}
        host = next(iter(hosts)) if len(hosts) == 1 else target_host(target)
        connection = build_connection(invocation, transport, trust=trust, target=host)
        reports = run_session(
            invocation,
            connection,
            lambda session: [_verify(name, target, against, deep=deep, session=session) for name in named],
        )
        documents: list[dict[str, Any]] = [report.to_json() for report in reports]
        if len(documents) == 1:
            show(invocation, form, documents[0], render_verification)
        else:
            show(invocation, form, documents, lambda found: "\n".join(render_verification(item) for item in found))
        # 3 (different) beats 4 (missing) beats 0.
        return min((report.exit_code for report in reports if report.exit_code), default=0)


def _targets(targets: tuple[str, ...], options: TargetOptions) -> list[str]:
    named = [*targets, *([f"{_REGISTRY}{options.to}"] if options.to else [])]
    if not named:
        raise UsageError("nothing to verify", hint="name store:DIR, or registry:HOST[/PREFIX] with --against")
    return list(dict.fromkeys(named))


def _verify(name: str, options: TargetOptions, against: str, *, deep: bool, session: "Session") -> "VerifyReport":
    from bundlectl.operations.verifying import verify_registry, verify_store  # noqa: PLC0415 -- not for --help

    if name.startswith(_REGISTRY):
        if not against:
            raise UsageError(
                "there is nothing to compare the registry with", artifact=name, hint="add --against LOCK or STORE"
            )
        target = build_target(TargetOptions(to=name.removeprefix(_REGISTRY), map=options.map))
        if target is None:
            raise UsageError("names no registry", artifact=name, hint="write registry:HOST[:PORT][/PREFIX]")
        return verify_registry(target, against=against, deep=deep, session=session)
    path = Path(name.removeprefix(_STORE))
    if name.startswith(_STORE) or (path / "oci-layout").is_file():
        return verify_store(path, session=session)
    raise UsageError(
        "is neither a store nor a registry", artifact=name, hint="write store:DIR or registry:HOST[/PREFIX]"
    )
