"""Release documents as Go's types hold them, and the bytes that AWS's signatures are over.

AWS signs neither the bytes of a document nor what stands in it, but what Go makes of it: unknown
fields are gone, empty ones appear or disappear as each field's ``omitempty`` says, numbers have
become text where text is wanted, ``null`` is the zero value, and names match in any case. What
Go's decoder refuses is refused here; beyond that, two names that become one field are refused,
for Go would let one of them overwrite the other in part.

Source: ``encoding/json``, ``sigs.k8s.io/yaml`` (``convertToJSONableObject``), and the types of
``domain.md`` 1.1 to 1.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias, cast, get_args, get_origin

from bundles.goscalars import GoScalar, float32_text, resolve, rfc3339
from bundles.schema.fields import Struct, always, inner_annotation, spelled, struct_fields
from bundles.schema.shared import Metadata
from bundles.tree import ListNode, MapNode, Node, Scalar, content_error
from signing import manifest

if TYPE_CHECKING:
    from signing.canonical_json import Value

__all__ = ["CanonicalKind", "canonical_bytes", "go_value", "kind_of_root"]

CanonicalKind: TypeAlias = Literal["PackageBundle", "Bundles", "EksdRelease", "object"]
"""Which types and which procedure: AWS's three, and ``object`` for any other kind with its annotations."""

_Field: TypeAlias = Callable[[Node, str], "Value"]
"""Decodes a node that is there; raises where Go's decoder would."""


_KINDS: Final[Mapping[tuple[str, str], CanonicalKind]] = {
    ("anywhere.eks.amazonaws.com", "Bundles"): "Bundles",
    ("distro.eks.amazonaws.com", "Release"): "EksdRelease",
    ("packages.eks.amazonaws.com", "PackageBundle"): "PackageBundle",
}


class _Types(NamedTuple):
    """A struct: its fields by name, by folded name, and what it is when nothing is there."""

    fields: Mapping[str, _Typed]
    folded: Mapping[str, str]
    zero: dict[str, Value]


class _Typed(NamedTuple):
    decode: _Field
    zero: Value
    left_out: Callable[[Value], bool]
    """Whether a value of the field is not written (``omitempty``)."""


class _GoTime(Struct):
    """``metav1.Time``: text in RFC 3339, no coercion."""


class _AnyJson(Struct):
    """What Go keeps as it is, or reads into a struct without fields."""


class _OwnerReference(Struct):
    api_version: str = always("")
    kind: str = always("")
    name: str = always("")
    uid: str = always("")
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class _ManagedField(Struct):
    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: _GoTime | None = None
    fields_type: str = ""
    fields_v1: _AnyJson | None = spelled(None, "fieldsV1")
    subresource: str = ""


class _GoMetadata(Metadata):
    """ObjectMeta with the types that the readers of documents have no use for."""

    creation_timestamp: _GoTime = _GoTime()  # type: ignore[assignment]
    deletion_timestamp: _GoTime | None = None  # type: ignore[assignment]
    deletion_grace_period_seconds: int | None = None  # type: ignore[assignment]
    owner_references: tuple[_OwnerReference, ...] = ()
    managed_fields: tuple[_ManagedField, ...] = ()


def canonical_bytes(root: MapNode, kind: CanonicalKind, *, origin: str) -> bytes:
    """The bytes that a signature in the annotations of a document is over.

    Args:
        root: the document.
        kind: which of AWS's types it is, or ``object``.
        origin: the path or URL, for messages.

    Raises:
        ContentError: Go's decoder, or the procedure of AWS's signatures, refuses the document.
    """
    value = go_value(root, kind, origin=origin)
    if kind == "Bundles":
        return manifest.json_form(value, manifest.BUNDLES_EXCLUDED, origin=origin)
    return (
        manifest.json_form(value, (), origin=origin)
        if kind == "EksdRelease"
        else manifest.yaml_form(value, origin=origin)
    )


def kind_of_root(root: MapNode) -> CanonicalKind:
    """Which procedure signs a document: AWS's for its own kinds, ``object`` for all others."""
    group, _, version = root.text("apiVersion").rpartition("/")
    if version != "v1alpha1":
        return "object"
    return _KINDS.get((group, root.text("kind")), "object")


def go_value(root: MapNode, kind: CanonicalKind, *, origin: str) -> dict[str, Value]:
    """A document as Go marshals it again after reading it into its type.

    Raises:
        ContentError: Go's decoder refuses the document, or two names become one field.
    """
    try:
        if kind == "object":
            _check_annotations(root)
            return cast("dict[str, Value]", _plain(root, ""))
        return _decode_struct(_types(_model(kind)), root, "")
    except _Refused as refused:
        raise content_error(origin, refused.line, refused.path.lstrip("."), refused.why) from None


def _check_annotations(root: MapNode) -> None:
    """Of an object of any kind the annotations alone have a type: they are read as Kubernetes reads them."""
    metadata = _map_or_nothing(root, "metadata", ".metadata")
    annotations = _map_or_nothing(metadata, "annotations", ".metadata.annotations") if metadata else None
    for key, node in annotations.entries.items() if annotations else ():
        if not isinstance(_scalar(node, f".metadata.annotations.{key}"), str | None):
            _refuse(node, f".metadata.annotations.{key}", "text")


def _map_or_nothing(parent: MapNode, key: str, path: str) -> MapNode | None:
    node = parent.entries.get(key)
    if node is None or isinstance(node, MapNode):
        return node
    return None if isinstance(node, Scalar) and node.is_null else _refuse(node, path, "a map")


def _model(kind: CanonicalKind) -> type[Struct]:
    if kind == "Bundles":
        from bundles.schema.bundles import Bundles  # noqa: PLC0415 -- each kind costs some milliseconds

        return Bundles
    if kind == "EksdRelease":
        from bundles.schema.eksd_release import EksdRelease  # noqa: PLC0415

        return EksdRelease
    from bundles.schema.package_bundle import PackageBundle  # noqa: PLC0415

    return PackageBundle


class _Refused(Exception):  # noqa: N818 -- never leaves this module
    def __init__(self, node: Node, path: str, why: str) -> None:
        self.line = node.line
        self.path = path
        self.why = why


def _refuse(node: Node, path: str, wanted: str) -> NoReturn:
    found = "" if isinstance(node, Scalar) and node.is_null else f", not {node.what}"
    raise _Refused(node, path, f"must be {wanted}{found}")


_NOT_FIELDS: Final = frozenset({"unknown", "warnings"})
_FOLDED_LETTERS: Final = {0x17F: "s", 0x212A: "k", **{code: chr(code + 32) for code in range(ord("A"), ord("Z") + 1)}}
"""Case folding of field names, which are ASCII: two letters beyond it fold into that."""


@cache
def _types(model: type[Struct]) -> _Types:
    fields: dict[str, _Typed] = {}
    for name, spec in struct_fields(model).items():
        if spec.attribute in _NOT_FIELDS:
            continue
        fields[name] = _typed(_hint(model, spec.attribute, spec.hint), always_written=spec.always)
    zero = {name: item.zero for name, item in fields.items() if not item.left_out(item.zero)}
    return _Types(fields, {name.translate(_FOLDED_LETTERS): name for name in fields}, zero)


def _hint(model: type[Struct], attribute: str, hint: Any) -> Any:  # noqa: ANN401 -- an annotation is any object
    """The Go type of a field whose model keeps less of it."""
    if hint is Metadata and model is not _GoMetadata:
        return _GoMetadata
    if attribute in ("kind", "api_version") and _is_root(model):
        return _Uncoerced
    return hint


class _Nil:
    """A pointer to nothing, which ``omitempty`` leaves out; a pointer to a zero time is written as null."""


_NIL: Final[Any] = _Nil()


class _Uncoerced(Struct):
    """Text of an embedded struct, which ``sigs.k8s.io/yaml`` takes no number for."""


def _is_root(model: type[Struct]) -> bool:
    return "metadata" in struct_fields(model) and "kind" in struct_fields(model)


def _typed(hint: Any, *, always_written: bool) -> _Typed:  # noqa: ANN401 -- an annotation is any object
    inner, pointer = inner_annotation(hint)
    decode, zero, may_be_empty = _decoder(inner)
    if pointer:
        return _Typed(_nullable(decode), _NIL, _is_nil)
    return _Typed(decode, zero, _is_empty if may_be_empty and not always_written else _never)


def _decoder(inner: Any) -> tuple[_Field, Value, bool]:  # noqa: ANN401
    """How a type is decoded, its zero value, and whether ``omitempty`` has a meaning for it."""
    if inner in _SINGLE:
        decode, zero = _SINGLE[inner]
        return decode, zero, inner is not _GoTime
    if get_origin(inner) is tuple:
        return _list_of(_typed(get_args(inner)[0], always_written=True).decode), None, True
    if get_origin(inner) is Mapping:
        return _text_map, None, True
    types = _types(inner)
    return partial(_decode_struct, types), types.zero, False


def _decode_struct(types: _Types, node: Node, path: str) -> dict[str, Value]:
    if not isinstance(node, MapNode):
        if isinstance(node, Scalar) and node.is_null:
            return types.zero
        _refuse(node, path, "a map")
    found: dict[str, Value] = {}
    named: dict[str, str] = {}
    for key, child in node.entries.items():
        name = key if key in types.fields else types.folded.get(key.translate(_FOLDED_LETTERS))
        here = f"{path}.{key}"
        if name is None:
            _plain(child, here)  # Go marshals it before it is dropped
            continue
        if name in named:
            raise _Refused(child, here, f"becomes the field {name}, which {named[name]} is already")
        named[name] = key
        field = types.fields[name]
        value = field.decode(child, here)
        if not field.left_out(value):
            found[name] = value
    return {**types.zero, **found}


def _never(value: Value) -> bool:
    del value
    return False


def _is_nil(value: Value) -> bool:
    return value is _NIL


def _is_empty(value: Value) -> bool:
    return not value


def _nullable(decode: _Field) -> _Field:
    """A pointer."""

    def pointed(node: Node, path: str) -> Value:
        if isinstance(node, Scalar) and node.is_null:
            return cast("Value", _NIL)
        return decode(node, path)

    return pointed


def _list_of(item: _Field) -> _Field:
    def decode(node: Node, path: str) -> Value:
        if isinstance(node, ListNode):
            return [item(child, f"{path}[{index}]") for index, child in enumerate(node.items)]
        if isinstance(node, Scalar) and node.is_null:
            return None
        _refuse(node, path, "a list")

    return decode


def _text_map(node: Node, path: str) -> Value:
    if isinstance(node, MapNode):
        return {key: _text(child, f"{path}.{key}") for key, child in node.entries.items()}
    if isinstance(node, Scalar) and node.is_null:
        return None
    _refuse(node, path, "a map")


def _scalar(node: Node, path: str) -> GoScalar:
    if not isinstance(node, Scalar):
        return _refuse(node, path, "a single value")
    return resolve(node.text) if node.plain else node.text


def _text(node: Node, path: str) -> str:
    if not isinstance(node, Scalar):
        _refuse(node, path, "text")
    if not node.plain:
        return node.text
    value = resolve(node.text)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else float32_text(value)


def _text_uncoerced(node: Node, path: str) -> str:
    value = _scalar(node, path)
    if value is None:
        return ""
    return value if isinstance(value, str) else _refuse(node, path, "text")


def _integer(node: Node, path: str) -> int:
    value = _scalar(node, path)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(node, path, "an integer")
    whole = value if isinstance(value, int) else _whole(value)
    if whole is None or not -(1 << 63) <= whole < 1 << 63:
        _refuse(node, path, "an integer of 64 bits")
    return whole


def _whole(value: float) -> int | None:
    """A whole double by the digits that JSON writes of it: the shortest that tell it from others, then zeros."""
    return int(Decimal(repr(value))) if math.isfinite(value) and value.is_integer() else None


def _bool(node: Node, path: str) -> bool:
    value = _scalar(node, path)
    if value is None:
        return False
    return value if isinstance(value, bool) else _refuse(node, path, "true or false")


def _time(node: Node, path: str) -> Value:
    value = _scalar(node, path)
    if value is None:
        return None
    moment = rfc3339(value) if isinstance(value, str) else None
    if moment is None:
        _refuse(node, path, "a time as RFC 3339 writes it")
    if moment == moment.min.replace(tzinfo=moment.tzinfo):
        return None  # Go's zero time is null again
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _plain(node: Node, path: str) -> Value:
    """A value without a type, as ``interface{}`` holds it."""
    if isinstance(node, MapNode):
        return {key: _plain(child, f"{path}.{key}") for key, child in node.entries.items()}
    if isinstance(node, ListNode):
        return [_plain(child, f"{path}[{index}]") for index, child in enumerate(node.items)]
    value = _scalar(node, path)
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(node, path, "a number that JSON can hold")
    return value


_SINGLE: Final[Mapping[Any, tuple[_Field, Value]]] = {
    str: (_text, ""),
    int: (_integer, 0),
    bool: (_bool, False),
    _Uncoerced: (_text_uncoerced, ""),
    _GoTime: (_time, None),
    _AnyJson: (_plain, None),
}
