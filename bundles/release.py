"""What a release document holds: artifacts, what is none and why, and the documents it names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.agreement import NamedDocument
from bundles.artifact import Artifact, Excluded, merge_artifacts
from bundles.classify import Classifier
from bundles.schema import model_class
from bundles.schema.fields import struct_fields
from bundles.tree import MapNode
from bundles.walk import PROVIDERS, Found, Place, find
from signing.manifest import EKSD_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundles.document import Document
    from bundles.schema.fields import Struct
    from bundles.tree import Node
    from bundles.verify import VerifiedDocument

__all__ = ["Contents", "contents", "findings"]

_MANAGEMENT: Final = frozenset(
    {
        "bootstrap",
        "certManager",
        "clusterAPI",
        "controlPlane",
        "eksa",
        "etcdadmBootstrap",
        "etcdadmController",
        "flux",
        "packageController",
        *PROVIDERS,
    }
)
"""Components that upstream installs on a management cluster from the first VersionsBundle alone."""

_EKSD_MANAGEMENT: Final = frozenset({"components", "manifestUrl"})
_EKSD_PROVIDERS: Final = {"ami": "snow", "ova": "vsphere", "raw": "tinkerbell"}
"""Operating system images, gigabytes each, that one provider alone boots."""

_CHANNEL: Final = re.compile(r"([0-9]+)-([0-9]+)")
_DOCUMENT_FIELDS: Final = frozenset({"bundleManifestUrl", "manifestUrl"})
_NOT_WALKED: Final = frozenset({"apiVersion", "kind", "metadata"})


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything a document names, sorted; ``artifacts`` are merged.

    ``named`` keeps one URL as often as it is named: each place may say something else of it, and
    the document must agree with all of them.
    """

    artifacts: tuple[Artifact, ...]
    excluded: tuple[Excluded, ...]
    named: tuple[NamedDocument, ...]


def contents(
    verified: VerifiedDocument,
    *,
    version: str | None = None,
    package_registry: str | None = None,
    package_image_registry: str | None = None,
) -> Contents:
    """List what a document of AWS names. Pure: nothing is fetched.

    Args:
        verified: an EKS-A release index, Bundles, EKS-D release or package bundle.
        version: of an EKS-A release index, the one release that is meant (exactly as its entry
            writes it); None means all.
        package_registry: where the charts of packages are, instead of what the bundle says.
        package_image_registry: where their images are.

    Raises:
        ContentError: a digest is not one; one reference has two; the document is a Collection or
            a lock; ``version`` is not in the index.
    """
    document = verified.document
    classifier = Classifier(verified)
    if document.type == "PackageBundle":
        from bundles.packages import PackageRegistries, package_artifacts  # noqa: PLC0415 -- each kind loads its own

        found = package_artifacts(
            document.root,
            name=document.name,
            origin=document.origin,
            classifier=classifier,
            registries=PackageRegistries(package_registry, package_image_registry),
        )
        return _contents(found, ())
    settled: list[Artifact | Excluded] = []
    named: list[NamedDocument] = []
    for item in findings(document, version=version):
        is_document = item.plain and item.path.rpartition(".")[2] in _DOCUMENT_FIELDS
        result = classifier.settle(item, document=is_document)
        settled.append(result)
        if is_document and isinstance(result, Artifact):
            named.append(_named(document, item))
    return _contents(settled, named)


def findings(document: Document, *, version: str | None = None) -> Iterator[Found]:
    """Every URI in a document, where it stands, whatever it is.

    Args:
        document: an EKS-A release index, Bundles or EKS-D release.
        version: of an EKS-A release index, the one release that is meant; None means all.

    Raises:
        ContentError: the document is of another kind; ``version`` is not in the index.
    """
    walkers = {"EksaRelease": _eksa_release, "Bundles": _bundles, "EksdRelease": _eksd_release}
    walker = walkers.get(document.type)
    if walker is None:
        raise ContentError(f"a {document.kind} names no artifacts of its own", artifact=document.origin)
    return walker(document, version)


def _contents(settled: Iterable[Artifact | Excluded], named: Iterable[NamedDocument]) -> Contents:
    artifacts: list[Artifact] = []
    excluded: set[Excluded] = set()
    for item in settled:
        if isinstance(item, Artifact):
            artifacts.append(item)
        else:
            excluded.add(item)
    ordered = sorted(set(named), key=lambda item: (item.type, item.url, item.found_in))
    return Contents(merge_artifacts(artifacts), tuple(sorted(excluded)), tuple(ordered))


def _eksa_release(document: Document, version: str | None) -> Iterator[Found]:
    from bundles.release_index import entry_of_version  # noqa: PLC0415

    wanted = entry_of_version(document, version) if version is not None else None
    for path, node, model in _parts(document, "releases"):
        if wanted is None or node is wanted or not path.startswith("spec.releases["):
            yield from find(node, path, model, Place())


def _bundles(document: Document, _version: str | None) -> Iterator[Found]:
    for path, node, model in _parts(document, "versionsBundles"):
        if path.startswith("spec.versionsBundles[") and isinstance(node, MapNode):
            yield from _versions_bundle(node, path, model, first=path == "spec.versionsBundles[0]")
        else:
            yield from find(node, path, model, Place())


def _versions_bundle(node: MapNode, path: str, model: type[Struct] | None, *, first: bool) -> Iterator[Found]:
    kube_version = node.text("kubeVersion").removeprefix("v")
    fields = struct_fields(model) if model else {}
    for key, child in node.entries.items():
        provider = PROVIDERS.get(key)
        place = Place(
            components=frozenset({key}),
            kube_versions=frozenset({kube_version} if kube_version else ()),
            providers=frozenset({provider} if provider else ()),
            management=first and key in _MANAGEMENT,
            deprecated=_text(child, "version") == "deprecated",
        )
        spec = fields.get(key)
        found = find(child, f"{path}.{key}", spec.model if spec else None, place)
        yield from (_in_eksd(item, f"{path}.eksD.", first=first) for item in found) if key == "eksD" else found


def _in_eksd(found: Found, prefix: str, *, first: bool) -> Found:
    field = found.path.removeprefix(prefix).partition(".")[0]
    provider = _EKSD_PROVIDERS.get(field)
    return found._replace(
        place=replace(
            found.place,
            providers=frozenset({provider} if provider else ()),
            management=first and field in _EKSD_MANAGEMENT,
        ),
    )


def _eksd_release(document: Document, _version: str | None) -> Iterator[Found]:
    spec = document.root.map("spec")
    match = _CHANNEL.fullmatch(spec.text("channel")) if spec else None
    kube_versions = frozenset({f"{match[1]}.{match[2]}"} if match else ())
    for path, node, model in _parts(document, "components"):
        component = _text(node, "name") if path.startswith("status.components[") else ""
        place = Place(components=frozenset({component} if component else ()), kube_versions=kube_versions)
        yield from find(node, path, model, place)


def _parts(document: Document, repeated: str) -> Iterator[tuple[str, Node, type[Struct] | None]]:
    """The parts that a document consists of: items of the list ``repeated``, and all else as it stands.

    Yields:
        The path, the node, and its model.
    """
    fields = struct_fields(model_class(document))
    for key, section in document.root.entries.items():
        if key in _NOT_WALKED:
            continue
        spec = fields.get(key)
        model = spec.model if spec else None
        items = section.items(repeated) if isinstance(section, MapNode) else []
        inner = struct_fields(model).get(repeated) if model else None
        for index, item in enumerate(items):
            yield f"{key}.{repeated}[{index}]", item, inner.model if inner else None
        yield key, section.without(repeated) if isinstance(section, MapNode) and items else section, model


def _named(document: Document, found: Found) -> NamedDocument:
    holder = found.holder
    place = f"{document.origin}#{found.path}"
    if document.type == "EksaRelease":
        return NamedDocument(
            type="Bundles",
            url=found.uri,
            found_in=place,
            number=holder.text("number"),
            version=holder.text("version"),
        )
    channel = holder.text("channel")
    annotation = f"{EKSD_DOMAIN}/signature-{channel}"
    metadata = document.root.map("metadata")
    annotations = metadata.map("annotations") if metadata else None
    return NamedDocument(
        type="EksdRelease",
        url=found.uri,
        found_in=place,
        name=holder.text("name"),
        channel=channel,
        kube_version=holder.text("kubeVersion"),
        signature=annotations.text(annotation) if annotations else "",
        signature_place=f"{annotation} of {document.origin}",
    )


def _text(node: object, key: str) -> str:
    return node.text(key) if isinstance(node, MapNode) else ""
