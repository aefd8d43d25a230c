"""Charts and images of a package bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from bundles.artifact import Artifact, Excluded
from bundles.tree import ListNode, MapNode, Node, content_error
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.artifact import ArtifactType
    from bundles.classify import Classifier

__all__ = ["PACKAGE_IMAGE_REGISTRY", "PACKAGE_REGISTRY", "PackageRegistries", "package_artifacts"]

PACKAGE_REGISTRY: Final = "public.ecr.aws/eks-anywhere"
"""Where AWS publishes package bundles and their charts."""

PACKAGE_IMAGE_REGISTRY: Final = "783794618700.dkr.ecr.us-west-2.amazonaws.com"
"""AWS's private registry of the packages' images."""

_BUNDLE_NAME: Final = re.compile(r"v?([0-9]+)-([0-9]+)-.+")


@dataclass(frozen=True, slots=True)
class PackageRegistries:
    """Registries as the user named them (``--package-registry``, ``--package-image-registry``); None: not named."""

    charts: str | None = None
    images: str | None = None


_STEPS: Final[Mapping[tuple[str, str], str]] = {
    ("package", "source"): "source",
    ("source", "versions"): "versions",
    ("versions", ""): "version",
    ("version", "images"): "images",
    ("images", ""): "image",
}
"""Which parts of a package AWS's types know, by the part around it and the field (an item has no name)."""


@dataclass(frozen=True, slots=True)
class _Package:
    """What holds at one point below a package: its name, the registry of its charts, and which known part it is.

    ``part`` is empty where AWS's types know nothing: what stands there is dropped before signing.
    It follows from the keys themselves and never from a path as text, which a key could imitate.
    """

    name: str
    registry: str
    part: str

    def below(self, key: str) -> _Package:
        """The same for the field ``key``, or for the items of a list where it is empty."""
        return replace(self, part=_STEPS.get((self.part, key), ""))


class _Walk:
    def __init__(
        self, classifier: Classifier, origin: str, kube_versions: frozenset[str], registries: PackageRegistries
    ) -> None:
        self._classifier = classifier
        self._origin = origin
        self._kube_versions = kube_versions
        self._registries = registries
        self.found: list[Artifact | Excluded] = []

    def visit(self, node: Node, path: str, package: _Package) -> None:
        """Settle a node and everything below it."""
        if isinstance(node, ListNode):
            for index, item in enumerate(node.items):
                self.visit(item, f"{path}[{index}]", package.below(""))
        elif isinstance(node, MapNode):
            versions = node.entries.get("versions")
            if isinstance(versions, ListNode) and "repository" in node.entries:
                package = replace(package, registry=node.text("registry") or PACKAGE_REGISTRY)
                each = package.below("versions").below("")
                for index, version in enumerate(versions.items):
                    if isinstance(version, MapNode):
                        self._chart(node.text("repository"), version, f"{path}.versions[{index}]", each)
            elif "repository" in node.entries and "digest" in node.entries:
                self._image(node, path, package)
            for key, child in node.entries.items():
                self.visit(child, f"{path}.{key}", package.below(key))

    def _chart(self, repository: str, version: MapNode, path: str, package: _Package) -> None:
        registry = self._registries.charts or package.registry
        tag = version.text("name").replace("+", "_")
        name = f"{registry}/{repository}"
        known = package.part == "version"
        self._settle("chart", f"{name}:{tag}" if tag else name, (version, path, package), known=known)

    def _image(self, image: MapNode, path: str, package: _Package) -> None:
        registry = self._registries.images or PACKAGE_IMAGE_REGISTRY
        known = package.part == "image"
        self._settle("image", f"{registry}/{image.text('repository')}", (image, path, package), known=known)

    def _settle(self, kind: ArtifactType, text: str, where: tuple[MapNode, str, _Package], *, known: bool) -> None:
        node, path, package = where
        place = f"{self._origin}#{path}"
        digest = self._digest(node, path)
        try:
            reference = Reference.parse(text)
        except UsageError as error:
            self.found.append(Excluded(text, f"not a full reference: {error.message}", place))
            return
        if reference.tag is None and digest is None:
            self.found.append(Excluded(text, "names neither a tag nor a digest", place))
            return
        self.found.append(
            Artifact(
                type=kind,
                name=package.name if kind == "chart" else reference.repository.rpartition("/")[2],
                reference=text if reference.tag else f"{reference.name}@{digest}",
                digest=digest,
                components=frozenset({package.name}) if package.name else frozenset(),
                kube_versions=self._kube_versions,
                found_in=frozenset({place}),
                trust=self._classifier.trust(path, digest, known=known),
                image_registry=self._registries.images or "" if kind == "chart" else "",
            )
        )

    def _digest(self, node: MapNode, path: str) -> Digest | None:
        text = node.text("digest")
        if not text:
            return None
        try:
            return Digest.parse(text)
        except ContentError as error:
            line = node.entries["digest"].line
            raise content_error(self._origin, line, f"{path}.digest", error.message) from error


def package_artifacts(
    root: MapNode, *, name: str, origin: str, classifier: Classifier, registries: PackageRegistries
) -> list[Artifact | Excluded]:
    """List the charts and images of a package bundle.

    A chart is ``<registry>/<source.repository>:<version>`` (``+`` becomes ``_``, as Helm does), an
    image ``<image registry>/<repository>@<digest>`` (domain.md 1.7). For charts a
    ``source.registry`` in the bundle replaces AWS's, and what the user named replaces both.

    Args:
        root: the document.
        name: of the bundle; ``v1-33-…`` tells the Kubernetes version.
        origin: of the document, for messages.
        classifier: gives the trust level.
        registries: what the user named.

    Raises:
        ContentError: a digest is not one.
    """
    match = _BUNDLE_NAME.fullmatch(name)
    kube_versions = frozenset({f"{match[1]}.{match[2]}"}) if match else frozenset[str]()
    walk = _Walk(classifier, origin, kube_versions, registries)
    spec = root.entries.get("spec")
    for key, child in spec.entries.items() if isinstance(spec, MapNode) else ():
        if key == "packages" and isinstance(child, ListNode):
            for index, item in enumerate(child.items):
                package = item.text("name") if isinstance(item, MapNode) else ""
                walk.visit(item, f"spec.packages[{index}]", _Package(package, PACKAGE_REGISTRY, "package"))
        else:
            walk.visit(child, f"spec.{key}", _Package("", PACKAGE_REGISTRY, ""))
    return walk.found
