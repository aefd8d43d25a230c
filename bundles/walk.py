"""Finding everything that a document names, wherever it stands.

The tree is walked, not a list of known fields: what AWS adds tomorrow is mirrored too. Upstream's own
lists have forgotten images for years (``credentialProviderPackage``, Nutanix' ``kubeVip``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bundles.schema.fields import struct_fields
from bundles.tree import ListNode, MapNode, Scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.schema.fields import FieldSpec, Struct
    from bundles.tree import Node

__all__ = ["Found", "Place", "find"]

_URLS: Final = ("https://", "http://")
_URL_FIELDS: Final = frozenset({"bundleManifestUrl", "components", "manifestUrl"})
"""Plain text fields that name a file; reported even when what they hold is no URL."""
_NO_FIELDS: Final[Mapping[str, FieldSpec]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What holds for everything below one point of a document."""

    components: frozenset[str] = frozenset()
    kube_versions: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    management: bool = False
    deprecated: bool = False
    """Whether the component gives its version as ``deprecated``."""


class Found(NamedTuple):
    """One URI. ``holder`` is the mapping it stands in, ``parent`` the one around that."""

    path: str
    uri: str
    line: int
    holder: MapNode
    parent: MapNode | None
    declared: type[Struct] | None
    """The model of ``holder``; None when no model knows it, or when the URI is a plain text field."""
    plain: bool
    """Whether it is a text field of ``holder`` rather than what ``holder`` is about."""
    place: Place


def find(node: Node, path: str, declared: type[Struct] | None, place: Place) -> list[Found]:
    """Find every URI in a subtree, in the order of the document.

    Args:
        node: the subtree.
        path: its dotted path.
        declared: its model, if one knows it.
        place: what holds for all of it.
    """
    found: list[Found] = []
    _find(node, path, (declared, place, None), found)
    return found


_Around: TypeAlias = "tuple[type[Struct] | None, Place, MapNode | None]"
"""Of a node: its model, its place, the mapping around it."""


def _find(node: Node, path: str, around: _Around, found: list[Found]) -> None:
    declared, place, parent = around
    if isinstance(node, ListNode):
        _find_in_list(node, path, around, found)
        return
    if not isinstance(node, MapNode):
        return
    fields = struct_fields(declared) if declared else _NO_FIELDS
    for key, child in node.entries.items():
        if isinstance(child, Scalar):
            text = child.text
            if key == "uri":
                found.append(Found(path, _text(child), child.line, node, parent, declared, False, place))  # noqa: FBT003
            elif (text.startswith(_URLS) and key != "description") or key in _URL_FIELDS:
                found.append(Found(f"{path}.{key}", _text(child), child.line, node, parent, None, True, place))  # noqa: FBT003
            continue
        spec = fields.get(key)
        if spec is None:
            _find(child, f"{path}.{key}", (None, _misplaced(place, key, child), node), found)
        else:
            _find(child, f"{path}.{key}", (spec.model, place, node), found)


def _find_in_list(node: ListNode, path: str, around: _Around, found: list[Found]) -> None:
    _, place, parent = around
    for index, item in enumerate(node.items):
        if not isinstance(item, Scalar):
            _find(item, f"{path}[{index}]", around, found)
        elif parent is not None and item.text.startswith(_URLS):
            found.append(Found(f"{path}[{index}]", item.text, item.line, parent, parent, None, True, place))  # noqa: FBT003


def _text(node: Scalar) -> str:
    return "" if node.is_null else node.text


def _misplaced(place: Place, key: str, child: Node) -> Place:
    """A provider written inside of another one (upstream's own samples do so) is still that provider."""
    provider = PROVIDERS.get(key)
    if provider is None or not isinstance(child, MapNode) or "uri" in child.entries:
        return place
    return replace(place, components=frozenset({key}), providers=frozenset({provider}))


PROVIDERS: Final = {
    "aws": "aws",
    "cloudStack": "cloudstack",
    "docker": "docker",
    "nutanix": "nutanix",
    "snow": "snow",
    "tinkerbell": "tinkerbell",
    "vSphere": "vsphere",
}
"""Fields of a VersionsBundle that one provider alone needs, and its name on the command line."""
