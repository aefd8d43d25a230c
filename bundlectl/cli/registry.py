"""``bundlectl registry check|config``."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_target, target_host
from bundlectl.cli.options import FormatOptions, TargetOptions, TransportOptions
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from bundlectl.operations.configuring import RegistryConfig
    from bundlectl.operations.session import Session
    from bundles.plan import Naming

__all__ = ["register"]

_LOCK_LIMIT: Final = 64 * 1024 * 1024


class ClusterFormat(StrEnum):
    """What reads the configuration."""

    EKS_A = "eks-a"
    CONTAINERD = "containerd"
    REGISTRIES_YAML = "registries-yaml"


_Registry = Annotated[
    str, typer.Argument(metavar="HOST[:PORT][/PREFIX]", show_default=False, help="The registry, as in mirror --to.")
]


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="Check a registry before it is filled, and tell clusters of it.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="registry")
    _register_check(noun)
    _register_config(noun)


def _register_check(noun: typer.Typer) -> None:
    @command(
        noun,
        "check",
        path="registry",
        examples=(
            "bundlectl registry check harbor.example.com/eks",
            "bundlectl registry check harbor.example.com/eks --read-only -o json",
        ),
    )
    def check(
        invocation: Invocation,
        *,
        registry: _Registry,
        transport: TransportOptions,
        form: FormatOptions,
        read_only: Annotated[bool, option("--read-only", help="Only look: push nothing, so find out less.")] = False,
    ) -> int:
        """Try whether a registry can be filled, and say what to do about whatever stands in the way.

        Looks at name, port, certificate (also as EKS Anywhere does), credentials, and on Harbor at
        project, quota and the rules that harm a mirror; then pushes a small object below
        bundlectl/check, pulls it back, and takes it away again. Exit code 1 when it cannot serve.
        """
        target = TargetOptions(to=registry)
        naming = _naming(target)
        connection = build_connection(invocation, transport, target=target_host(target))
        from bundlectl.operations.checking_registries import check_registry  # noqa: PLC0415 -- not for --help

        result = run_session(
            invocation, connection, lambda session: check_registry(naming, session=session, read_only=read_only)
        )
        show(invocation, form, result.to_json(), _render_check)
        return result.exit_code


def _register_config(noun: typer.Typer) -> None:
    @command(
        noun,
        "config",
        path="registry",
        examples=(
            "bundlectl registry config harbor.example.com/eks --format eks-a",
            "bundlectl registry config harbor.example.com/eks --format containerd --map quay.io=quay",
        ),
    )
    def config(
        invocation: Invocation,
        *,
        registry: Annotated[
            str,
            typer.Argument(metavar="HOST[:PORT][/PREFIX]", show_default=False, help="The registry, in place of --to."),
        ] = "",
        target: TargetOptions,
        transport: TransportOptions,
        form: FormatOptions,
        format: Annotated[  # noqa: A002 -- named like its flag
            ClusterFormat,
            option(
                "--format",
                help="For EKS Anywhere's cluster.yaml, containerd's hosts.toml, or registries.yaml of k3s and RKE2.",
                case_sensitive=False,
            ),
        ] = ClusterFormat.EKS_A,
        lock: Annotated[
            Path | None,
            option("--lock", metavar="FILE", show_default=False, help="Name every registry that this lock draws from."),
        ] = None,
    ) -> int:
        """Print what clusters need to find at a registry what mirror put there.

        Give the same --map as mirror, and --ca-file where the registry's authority is your own.
        """
        if registry and target.to:
            raise UsageError("HOST and --to name the registry twice", hint="give one of them")
        target = TargetOptions(to=registry or target.to, map=target.map)
        naming = _naming(target)
        connection = build_connection(invocation, transport, target=target_host(target))
        upstreams = _registries_of(lock) if lock else frozenset()

        def build(session: "Session") -> "RegistryConfig":
            from bundlectl.operations.configuring import configure_clusters, site_registry  # noqa: PLC0415

            site = site_registry(naming, session)
            return configure_clusters(naming, format.value, site=site, upstreams=upstreams)

        result = run_session(invocation, connection, build)
        for note in result.notes:
            invocation.console.note(note)
        # Not what ``show`` hands over: these are files, and files have lines.
        show(invocation, form, result.to_json(), lambda _: _render_files(result))
        return 0


def _naming(target: TargetOptions) -> "Naming":
    naming = build_target(target)
    if naming is None:
        raise UsageError("no registry given", hint="name it: HOST[:PORT][/PREFIX]")
    return naming


def _registries_of(path: Path) -> frozenset[str]:
    """The registries that a lock has images and charts of."""
    from bundles.lock import Lock  # noqa: PLC0415 -- not for --help

    try:
        with path.open("rb") as file:
            raw = file.read(_LOCK_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", artifact=str(path)) from error
    lock = Lock.from_bytes(raw, origin=str(path))
    return frozenset(item.reference.partition("/")[0] for item in lock.artifacts if item.type != "file")


def _render_files(config: "RegistryConfig") -> str:
    """A single file as it is; several, each below its path."""
    if len(config.files) == 1:
        return config.files[0].content.rstrip("\n")
    return "\n".join(f"# {file.path}\n{file.content}" for file in config.files).rstrip("\n")


def _render_check(document: Mapping[str, Any]) -> str:
    """One line a check, its fix below it."""
    known = " ".join(part for part in (document["product"], document["version"]) if part)
    lines = [f"{document['target']}{f' ({known})' if known else ''}"]
    checks: Sequence[Mapping[str, Any]] = document["checks"]
    width = max((len(check["name"]) for check in checks), default=0)
    for check in checks:
        lines.append(f"{check['outcome']:<8} {check['name']:<{width}}  {check['message']}")
        if check["fix"]:
            lines.append(f"{'':<8} {'':<{width}}  -> {check['fix']}")
    failed = sum(check["outcome"] == "failed" for check in checks)
    warned = sum(check["outcome"] == "warning" for check in checks)
    if failed:
        lines.append(f"cannot be filled: {failed} failed, {warned} to look at")
    else:
        lines.append(f"can be filled{f'; {warned} to look at' if warned else ''}")
    return "\n".join(lines)
