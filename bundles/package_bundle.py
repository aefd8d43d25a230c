"""Bundles of packages: what they are called, which is newer, and how one is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.schema.fields import Struct, struct_fields
from bundles.schema.package_bundle import PackageBundleSpec
from signing.manifest import EXCLUDES_ANNOTATION, encode_excludes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.schema.package_bundle import BundledPackage, PackageBundle, PackageVersion
    from signing.canonical_json import Value

__all__ = [
    "LATEST",
    "BundleName",
    "check_dependencies",
    "find_package",
    "find_version",
    "render_package_bundle",
]

LATEST: Final = "latest"
"""The version that stands for the first one listed."""

_NAME: Final = re.compile(
    r"v([1-9][0-9]{0,2}-[1-9][0-9]{0,3})-([0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{1,18})", re.ASCII
)
_UNSIGNED: Final = (".spec.packages[].source.registry", ".spec.packages[].source.repository")
"""What AWS leaves out of its own signatures (``domain.md`` 2.2), so that a mirror may lie elsewhere."""


@dataclass(frozen=True, slots=True)
class BundleName:
    """The name of a bundle, in one of AWS's two forms: ``v1-33-120``, ``v1-33-2026-06-26-1782500000``.

    ``channel`` is ``1-33``. ``age`` orders the bundles of one channel, the newest is the greatest:
    names were plain numbers first, so one with a date is newer than any of these.
    """

    text: str
    channel: str
    age: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> BundleName | None:
        """Read a name; None when it is of neither form."""
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        numbers = tuple(int(part) for part in match[2].split("-"))
        return cls(text, match[1], (len(numbers), *numbers))

    @property
    def kube_version(self) -> str:
        """The minor version of Kubernetes that it is for, such as ``1.33``."""
        return self.channel.replace("-", ".")


def find_package(bundle: PackageBundle, name: str) -> BundledPackage | None:
    """The first package of this name in a bundle, whatever its case (``domain.md`` 5.2)."""
    wanted = name.lower()
    return next((package for package in bundle.spec.packages if package.name.lower() == wanted), None)


def find_version(package: BundledPackage, wanted: str = "") -> PackageVersion | None:
    """The first version with this name or digest; the first of all for ``latest`` and for none asked for."""
    versions = package.source.versions
    if wanted in ("", LATEST):
        return next(iter(versions), None)
    return next((version for version in versions if wanted in (version.name, version.digest)), None)


def render_package_bundle(
    name: str, packages: tuple[BundledPackage, ...], *, min_controller_version: str = ""
) -> bytes:
    """Write a bundle as AWS publishes it, without a signature: the same bytes for the same arguments.

    Args:
        name: of the bundle.
        packages: in the order in which they are listed to users.
        min_controller_version: left out when empty.
    """
    from signing import canonical_yaml  # noqa: PLC0415 -- 12 ms that readers of bundles save

    return canonical_yaml.render(
        {
            "apiVersion": "packages.eks.amazonaws.com/v1alpha1",
            "kind": "PackageBundle",
            "metadata": {
                "annotations": {EXCLUDES_ANNOTATION: encode_excludes(_UNSIGNED)},
                "name": name,
                "namespace": "eksa-packages",
            },
            "spec": _filled(PackageBundleSpec(packages=packages, min_controller_version=min_controller_version)),
        }
    )


def _filled(model: Struct) -> dict[str, Value]:
    """The fields of a model that are not empty."""
    found: dict[str, Value] = {}
    for name, spec in struct_fields(type(model)).items():
        value = getattr(model, spec.attribute)
        if isinstance(value, Struct):
            value = _filled(value)
        elif isinstance(value, tuple):
            value = [_filled(item) if isinstance(item, Struct) else item for item in value]
        if value:
            found[name] = value
    return found


def check_dependencies(packages: tuple[BundledPackage, ...], *, origin: str) -> None:
    """Refuse a bundle with a package that could never be installed.

    A dependency is installed in its first version, as the package controller does it.

    Args:
        packages: of the bundle.
        origin: for messages.

    Raises:
        ContentError: a package needs one that is not in the bundle, or in the end itself.
    """
    first = {package.name: package.source.versions[0].dependencies for package in packages}
    for package in packages:
        for version in package.source.versions:
            unknown = [name for name in version.dependencies if name not in first]
            if unknown:
                raise ContentError(
                    f"{package.name} {version.name} needs the package {unknown[0][:100]}, which is not in the bundle",
                    artifact=origin,
                    hint="add it, or take it out of the dependencies in the chart's requires.yaml",
                )
    for package in packages:
        for version in package.source.versions:
            way = _way_back(package.name, version, first)
            if way:
                raise ContentError(
                    f"packages need each other: {' needs '.join(way)}",
                    artifact=origin,
                    hint="take one of these dependencies out of a chart's requires.yaml",
                )


def _way_back(name: str, version: PackageVersion, first: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """How a version comes to need its own package; nothing when it does not."""
    waiting: list[tuple[str, tuple[str, ...]]] = [(needed, (name, needed)) for needed in version.dependencies]
    seen: set[str] = set()
    while waiting:
        needed, way = waiting.pop()
        if needed == name:
            return way
        if needed not in seen:
            seen.add(needed)
            waiting.extend((further, (*way, further)) for further in first[needed])
    return ()
