"""What a release document names, as far as an upstream for it must be made up.

A reader of its own, not that of ``bundles``: the product's reader is what the synthesised
upstreams put to the test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bundlectl.errors import ContentError, UsageError
from mirror.oci.reference import Reference
from registry_fixtures.rewriting import Spot, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileUse", "ImageUse", "PackageUse", "Reading", "read_document"]

_Path: TypeAlias = tuple[str | int, ...]

_OCI_DIGEST: Final = re.compile(r"(?:sha256|sha512):[0-9a-f]+")
_HEX: Final = re.compile(r"[0-9a-f]{16,128}")
_CHART_KEYS: Final = frozenset({"helmChart", "tinkerbellChart", "tinkerbellCrds", "stack"})
_COMPONENT_DEPTH: Final = 4  # spec.versionsBundles[i].COMPONENT
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image or chart that a document names by tag, or a chart's image by digest.

    ``key`` is what two uses of one thing have in common: ``host/repository:tag``, or
    ``host/repository@digest`` with the digest as the document has it.
    """

    key: str
    reference: Reference
    chart: bool
    architectures: tuple[str, ...] = ()
    digests: tuple[Spot, ...] = ()
    component: _Path = ()


@dataclass(frozen=True, slots=True)
class FileUse:
    """A file that a document names by URL, with the places of its checksums."""

    url: str
    sha256: Spot | None = None
    sha512: Spot | None = None


@dataclass(frozen=True, slots=True)
class PackageUse:
    """One version of a curated package: its chart and the chart's images."""

    name: str
    version: str
    registry: str
    repository: str
    digest: Spot | None
    dependencies: tuple[str, ...]
    images: tuple[tuple[str, Spot], ...]
    """Repository, and the place of the digest."""


@dataclass(slots=True)
class Reading:
    """A document's text and what it names. ``kind`` tells EKS-A's ``Release`` from EKS-D's (``EksdRelease``)."""

    text: str
    kind: str
    name: str
    number: int | None = None
    versions: tuple[str, str] = ("", "")
    """cliMinVersion and cliMaxVersion of a Bundles document."""
    images: list[ImageUse] = field(default_factory=list)
    files: list[FileUse] = field(default_factory=list)
    packages: list[PackageUse] = field(default_factory=list)
    followed: list[dict[str, str]] = field(default_factory=list)
    """The plain fields of each ``eksD`` (Bundles) or entry of ``releases`` (EKS-A Release)."""


def read_document(raw: bytes) -> Reading:
    """Read a Bundles, EKS-A Release, EKS-D Release or PackageBundle document.

    Raises:
        ContentError: not UTF-8, not YAML, or of another kind.
    """
    try:
        text = raw.decode()
        root = yaml.compose(text, Loader=_LOADER)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContentError(f"not a release document: {error}") from error
    fields = dict(_items(root))
    kind, version = _text(fields.get("kind")), _text(fields.get("apiVersion"))
    if kind == "Release" and version.startswith("distro."):
        kind = "EksdRelease"
    if kind not in ("Bundles", "Release", "EksdRelease", "PackageBundle"):
        raise ContentError(f"an upstream cannot be made from a document of kind {kind!r}")
    spec = dict(_items(fields.get("spec")))
    number = _text(spec.get("number"))
    reading = Reading(
        text,
        kind,
        _text(dict(_items(fields.get("metadata"))).get("name")),
        int(number) if number.isdecimal() else None,
        (_text(spec.get("cliMinVersion")), _text(spec.get("cliMaxVersion"))),
    )
    if kind == "PackageBundle":
        reading.packages = [use for package in _list(spec.get("packages")) for use in _package(text, package)]
    else:
        _walk(reading, root, (), ())
    return reading


def _walk(reading: Reading, node: Node | None, path: _Path, architectures: tuple[str, ...]) -> None:
    if isinstance(node, SequenceNode):
        for index, child in enumerate(node.value):
            _walk(reading, child, (*path, index), architectures)
        return
    fields = dict(_items(node))
    if "arch" in fields:
        architectures = tuple(_text(item) for item in _list(fields["arch"]))
    if "uri" in fields:
        _use(reading, fields, path, architectures)
    if path and path[-1] == "eksD" and isinstance(node, MappingNode):
        reading.followed.append({key: _text(value) for key, value in fields.items()})
        crd = _text(fields.get("components"))
        if _is_url(crd):
            reading.files.append(FileUse(crd))
    if "bundleManifestUrl" in fields:
        reading.followed.append({key: _text(value) for key, value in fields.items()})
    for key, child in fields.items():
        _walk(reading, child, (*path, key), architectures)


def _use(reading: Reading, fields: dict[str, Node], path: _Path, architectures: tuple[str, ...]) -> None:
    """Note the image, chart or file that a mapping with a ``uri`` is; placeholders and local paths are neither."""
    uri = _text(fields["uri"])
    if _is_url(uri):
        sums = [_checksum(reading.text, fields.get(name)) for name in ("sha256", "sha512")]
        reading.files.append(FileUse(uri, *sums))
        return
    try:
        reference = Reference.parse(uri)
    except UsageError:
        return
    if reference.tag is None and reference.digest is None:
        return
    places = [_oci_spot(reading.text, fields.get("imageDigest"))]
    if reference.digest and isinstance(fields["uri"], ScalarNode):
        places.append(spot(reading.text, fields["uri"], str(reference.digest)))
    described = _text(fields.get("description")).startswith("Helm chart")
    chart = path[-1] in _CHART_KEYS or (described and "os" not in fields)
    found = tuple(place for place in places if place is not None)
    reading.images.append(ImageUse(uri, reference, chart, architectures, found, path[:_COMPONENT_DEPTH]))


def _package(text: str, node: Node) -> Iterator[PackageUse]:
    fields = dict(_items(node))
    source = dict(_items(fields.get("source")))
    for entry in _list(source.get("versions")):
        version = dict(_items(entry))
        images = [dict(_items(image)) for image in _list(version.get("images"))]
        places = [(_text(image.get("repository")), _oci_spot(text, image.get("digest"))) for image in images]
        yield PackageUse(
            name=_text(fields.get("name")),
            version=_text(version.get("name")),
            registry=_text(source.get("registry")),
            repository=_text(source.get("repository")),
            digest=_oci_spot(text, version.get("digest")),
            dependencies=tuple(_text(item) for item in _list(version.get("dependencies"))),
            images=tuple((repository, place) for repository, place in places if place is not None),
        )


def _oci_spot(text: str, node: Node | None) -> Spot | None:
    return spot(text, node) if isinstance(node, ScalarNode) and _OCI_DIGEST.fullmatch(node.value) else None


def _checksum(text: str, node: Node | None) -> Spot | None:
    return spot(text, node) if isinstance(node, ScalarNode) and _HEX.fullmatch(node.value) else None


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _items(node: Node | None) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                yield key.value, value


def _list(node: Node | None) -> list[Node]:
    return list(node.value) if isinstance(node, SequenceNode) else []


def _text(node: Node | None) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else ""
