"""Which package is wanted, and how: the options that several commands of ``packages`` share, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bundlectl.cli.command import option
from bundlectl.errors import ContentError, UsageError

if TYPE_CHECKING:
    from bundlectl.operations.packages import FoundBundle
    from bundles.schema.package_bundle import PackageVersion as BundledVersion

__all__ = [
    "Helm",
    "ObjectName",
    "Package",
    "PackageVersion",
    "SetValues",
    "TargetNamespace",
    "Timeout",
    "ValuesFile",
    "Wait",
    "WantedPackage",
    "only",
    "read_values",
]

_VALUES_LIMIT: Final = 1024 * 1024

Package = Annotated[
    str, typer.Argument(metavar="PACKAGE", show_default=False, help="The package, as packages list names it.")
]
ObjectName = Annotated[
    str,
    option(
        "--package-name", "-n", metavar="NAME", show_default=False, help="What the Package, or the release, is called."
    ),
]
PackageVersion = Annotated[
    str,
    option(
        "--package-version",
        metavar="VERSION",
        show_default=False,
        help="A version or digest, instead of the first listed.",
    ),
]
TargetNamespace = Annotated[
    str,
    option(
        "--target-namespace",
        metavar="NAMESPACE",
        show_default=False,
        help="Where the chart goes, if not where it says.",
    ),
]
SetValues = Annotated[
    tuple[str, ...],
    option(
        "--set", metavar="KEY=VALUE", help="A value of the chart; a . in KEY nests, JSON is read as such; repeatable."
    ),
]
ValuesFile = Annotated[
    Path | None, option("--values", metavar="FILE", show_default=False, help="Values of the chart, as YAML.")
]
Helm = Annotated[
    Path | None, option("--helm", metavar="FILE", show_default=False, help="The program helm, 3 or 4, if not in PATH.")
]
Wait = Annotated[bool, option("--wait", help="Wait until it is done, and tell how it comes along.")]
Timeout = Annotated[int, option("--timeout", metavar="SECONDS", min=1, max=86400, help="How long to wait.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPackage:
    """A package as the options ask for it; ``name`` is that of the object or release."""

    package: str
    name: str
    version: str = ""
    namespace: str = ""
    values: dict[str, Any] = field(default_factory=dict, repr=False)

    def generate(self, bundle: FoundBundle, cluster: str) -> tuple[dict[str, Any], BundledVersion]:
        """The Package, its values held against their schema; and the version that it gets.

        Raises:
            MissingError: it is not in the bundle.
            ContentError: the values are not what their schema allows.
            UsageError: a name cannot be one.
        """
        from bundlectl.operations.package_objects import generate_package, package_namespace  # noqa: PLC0415
        from bundlectl.operations.packages import choose_version  # noqa: PLC0415 -- not for --help
        from controller.configuration import check_config, read_config  # noqa: PLC0415 -- not for --help

        known, chosen = choose_version(bundle.bundle, self.package, self.version)
        document = generate_package(
            known.name,
            name=self.name,
            namespace=package_namespace(cluster),
            version=self.version,
            target_namespace=self.namespace,
            values=self.values,
        )
        # As a controller will read it.
        values = read_config(document["spec"].get("config", ""), origin=self.name)
        check_config(values, chosen.schema, origin=f"{known.name} {chosen.name}")
        return document, chosen


def only(bundles: tuple[FoundBundle, ...]) -> FoundBundle:
    """The one bundle.

    Raises:
        UsageError: there are several.
    """
    if len(bundles) != 1:
        raise UsageError(
            f"there are {len(bundles)} bundles: {', '.join(bundle.name for bundle in bundles)}",
            hint="say for which Kubernetes: --kube-version 1.33",
        )
    return bundles[0]


def read_values(pairs: tuple[str, ...], path: Path | None) -> dict[str, Any]:
    """The values of ``--values`` and ``--set``.

    Raises:
        UsageError, ContentError, MissingError, ConfigError: they cannot be read, or contradict each other.
    """
    from bundlectl.operations.package_objects import read_values as put_together  # noqa: PLC0415 -- not for --help

    base: dict[str, Any] = {}
    if path is not None:
        from bundles.sources.local import read_local  # noqa: PLC0415 -- not for --help
        from controller.configuration import read_config  # noqa: PLC0415 -- not for --help

        try:
            text = read_local(path, limit=_VALUES_LIMIT).decode()
        except UnicodeDecodeError as error:
            raise ContentError("is not UTF-8", artifact=str(path), hint="save it as UTF-8") from error
        base = read_config(text, origin=str(path))
    return put_together(pairs, base=base)
