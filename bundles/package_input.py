"""The input of ``package-bundle build``, in the format of AWS's generator (``domain.md`` section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import UsageError
from bundles.package_bundle import BundleName
from bundles.published import Located, PublishedSchema
from bundles.tree import parse_tree
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PackageInput", "PackageProject", "parse_package_input"]

_SCHEMA: Final = PublishedSchema("package-input.schema.json")
_FORMS: Final = "write v1-33-1001, or v1-33-2026-06-26-1782500000"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageProject:
    """One package: the repository of its chart, and its versions, each a tag, ``latest`` or ``PREFIX-latest``.

    ``registry`` is empty where the input names none.
    """

    name: str
    repository: str
    versions: tuple[str, ...]
    registry: str = ""
    workloadonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInput:
    """Which charts a bundle is made of, in the order of the input."""

    name: BundleName
    projects: tuple[PackageProject, ...]
    min_controller_version: str = ""
    warnings: tuple[str, ...] = ()


def parse_package_input(raw: bytes, *, origin: str, name: str = "") -> PackageInput:
    """Read an input, strictly: upstream ignores its name, and takes the last of two packages of one name.

    A Kubernetes version without quotes is taken as written, with a warning.

    Args:
        raw: the YAML.
        origin: the path, for messages.
        name: of the bundle, in place of the input's.

    Raises:
        ContentError: it is not valid, told as ``ORIGIN:LINE: FIELD: WHY`` with the first fault.
        UsageError: ``name`` is not the name of a bundle for this version of Kubernetes.
    """
    tree = parse_tree(raw, origin=origin)
    located = Located(tree.root, origin)
    value, warnings = _SCHEMA.read(located)
    return PackageInput(
        name=_bundle_name(value, located, name),
        projects=tuple(_projects(value, located)),
        min_controller_version=value.get("minControllerVersion", ""),
        warnings=(*tree.warnings, *warnings),
    )


def _bundle_name(value: dict[str, Any], located: Located, name: str) -> BundleName:
    found = BundleName.read(name or value["name"])
    wanted = value["kubernetesVersion"]
    why = ""
    if found is None:
        why = f"{(name or value['name'])[:100]!r} is not the name of a bundle"
    elif found.kube_version != wanted:
        why = f"{found.text} is the name of a bundle for Kubernetes {found.kube_version}, and this one is for {wanted}"
    if found is None or why:
        if name:
            raise UsageError(why, hint=_FORMS)
        raise located.at("name").fault(why, _FORMS)
    return found


def _projects(value: dict[str, Any], located: Located) -> Iterator[PackageProject]:
    places: dict[str, Located] = {}
    for group, packages in enumerate(value["packages"]):
        for index, project in enumerate(packages["projects"]):
            here = located.at("packages", group, "projects", index)
            name, registry = project["name"], project.get("registry", "").rstrip("/")
            # The package controller finds packages whatever the case of their names, the first that fits.
            earlier = places.setdefault(name.casefold(), here)
            if earlier is not here:
                raise here.at("name").fault(
                    f"there is a package of this name already, on line {earlier.node.line}",
                    "give it another name, or list its versions there",
                )
            if registry:
                _check_registry(registry, here.at("registry"))
            yield PackageProject(
                name=name,
                repository=project["repository"],
                versions=tuple(version["name"] for version in project["versions"]),
                registry=registry,
                workloadonly=project.get("workloadonly", False),
            )


def _check_registry(registry: str, place: Located) -> None:
    try:
        Reference.parse(registry if "/" in registry else f"{registry}/x")
    except UsageError as error:
        raise place.fault(error.message, "write HOST[:PORT][/PREFIX]") from error
