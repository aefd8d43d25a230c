"""Release documents as received: their bytes, what they are, and their located tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bundles.tree import MapNode, Scalar, content_error, parse_tree
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.tree import Tree

__all__ = ["Document", "DocumentType", "document_of", "parse_document"]

DocumentType: TypeAlias = Literal["EksaRelease", "Bundles", "EksdRelease", "PackageBundle", "Collection", "Lock"]
"""What a document is. AWS calls two different things ``Release``; here each has its own name."""

_EKSA: Final = "anywhere.eks.amazonaws.com"
_EKSD: Final = "distro.eks.amazonaws.com"
_PACKAGES: Final = "packages.eks.amazonaws.com"
_OURS: Final = "bundlectl.dev"

_TYPES: Final[Mapping[tuple[str, str], DocumentType]] = {
    (_EKSA, "Release"): "EksaRelease",
    (_EKSA, "Bundles"): "Bundles",
    (_EKSD, "Release"): "EksdRelease",
    (_PACKAGES, "PackageBundle"): "PackageBundle",
    (_OURS, "Collection"): "Collection",
    (_OURS, "Lock"): "Lock",
}
_VERSION: Final = "v1alpha1"
_KNOWN: Final = "known are " + ", ".join(f"{kind} ({group}/{_VERSION})" for group, kind in _TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document. ``raw`` is its identity; everything else is a view of it.

    ``name`` is ``metadata.name``, empty where there is none (AWS's small Bundles have none).
    """

    raw: bytes = field(repr=False)
    origin: str
    """The path or URL it was read from, for messages and ``found_in``."""
    digest: Digest
    """sha256 of ``raw``."""
    type: DocumentType
    kind: str
    api_version: str
    name: str
    root: MapNode = field(repr=False, compare=False)
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """What was read but should be written differently, each with its place."""


def parse_document(raw: bytes, *, origin: str) -> Document:
    """Read a release document within bounds (see ``bundles.tree.parse_tree``) and tell its kind.

    Args:
        raw: the bytes as received, YAML or JSON.
        origin: the path or URL they came from.

    Raises:
        ContentError: not a document, too large, ambiguous, or of a kind that bundlectl does not
            know; told as ``ORIGIN:LINE: FIELD: WHY``.
    """
    return document_of(raw, parse_tree(raw, origin=origin), origin=origin)


def document_of(raw: bytes, tree: Tree, *, origin: str) -> Document:
    """Tell the kind of a release document that was parsed.

    Raises:
        ContentError: of a kind that bundlectl does not know.
    """
    root = tree.root
    api_version = _required_text(root, "apiVersion", origin)
    kind = _required_text(root, "kind", origin)
    group, _, version = api_version.rpartition("/")
    document_type = _TYPES.get((group, kind))
    if document_type is None or version != _VERSION:
        raise content_error(
            origin, root.entries["kind"].line, "kind", f"{kind[:100]} of {api_version[:100]} is not known here", _KNOWN
        )
    metadata = root.map("metadata")
    return Document(
        raw=raw,
        origin=origin,
        digest=Digest.of(raw),
        type=document_type,
        kind=kind,
        api_version=api_version,
        name=metadata.text("name") if metadata else "",
        root=root,
        warnings=tree.warnings,
    )


def _required_text(root: MapNode, key: str, origin: str) -> str:
    node = root.entries.get(key)
    if isinstance(node, Scalar) and not node.is_null and node.text:
        return node.text
    if node is not None:
        raise content_error(origin, node.line, key, f"must be text, not {node.what}", _KNOWN)
    similar = next((name for name in root.entries if name.casefold() == key.casefold()), None)
    if similar:
        line = root.entries[similar].line
        raise content_error(origin, line, similar, f"must be written {key}", "names of fields are case-sensitive")
    raise content_error(origin, root.line, key, "missing", _KNOWN)
