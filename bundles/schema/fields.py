"""The engine of the typed models: reads a located tree into dataclasses as their annotations say.

A field of a model is a ``str``, ``int``, ``bool``, ``tuple[X, ...]``, ``Mapping[str, str]``, another
model, ``X | None`` (a Go pointer) or ``object`` (kept as a node). Its name in the document is its
own in camelCase, or what ``spelled`` says.

Semantics are Go's with sigs.k8s.io/yaml, which AWS's signatures presuppose: ``null`` is the same as
absent, unknown fields are ignored. Where Go is lax in a way that lets a verifier and a consumer
disagree (names in another case), this is an error; where it would change text (``1.30``), the
source text is kept and a warning is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Final,
    NamedTuple,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from bundles.scalars import is_true, yaml_type
from bundles.tree import ListNode, MapNode, Node, Scalar, content_error

__all__ = [
    "EMPTY_MAP",
    "FieldSpec",
    "Remarks",
    "Struct",
    "always",
    "inner_annotation",
    "read_fields",
    "spelled",
    "struct_fields",
]

T = TypeVar("T")
Path: TypeAlias = tuple[Any, ...]
"""The way to a node, innermost first: ``(key or index, path of the parent)``; ``()`` is the root."""
Reader: TypeAlias = Callable[[Node, Path, "Remarks"], Any]

EMPTY_MAP: Final[Mapping[str, str]] = MappingProxyType({})
_NOT_READ: Final = frozenset({"unknown", "warnings"})
"""Fields that say how a document was read; they are not in it."""
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


class _Declared(NamedTuple):
    """What ``spelled`` and ``always`` leave in the body of a class."""

    default: Any
    json: str = ""
    always: bool = False


def spelled(default: T, name: str, *, always_written: bool = False) -> T:
    """Declare a field whose name in the document is not its own in camelCase."""
    return cast("T", _Declared(default, name, always_written))


def always(default: T) -> T:
    """Declare a field that Go writes even when it is empty (no ``omitempty``)."""
    return cast("T", _Declared(default, always=True))


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _StructType(type):
    """Makes models: frozen dataclasses with slots, for a fifth of the time that these take to make.

    There are some fifty of them, and half a millisecond for each would be an eighth of what
    ``inspect`` may take as a whole. Every field has a default.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _StructType:
        declared = {key: value for key, value in body.items() if not key.startswith("_")}
        for key in declared:
            del body[key]
        inherited: dict[str, _Declared] = dict(getattr(bases[0], "_declared", {})) if bases else {}
        own = {key: value if type(value) is _Declared else _Declared(value) for key, value in declared.items()}
        body["_declared"] = inherited | own
        body["__slots__"] = tuple(own)
        return super().__new__(cls, name, bases, body)


class Struct(metaclass=_StructType):
    """Base of all models: built by keyword, immutable, compared by value."""

    _declared: ClassVar[Mapping[str, _Declared]]

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 -- mypy checks them against the fields
        put = object.__setattr__
        for name, declared in self._declared.items():
            put(self, name, values.pop(name, declared.default))
        if values:
            raise TypeError(f"{type(self).__name__} has no field {min(values)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._declared)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._declared))

    def __repr__(self) -> str:
        filled = [
            f"{name}={getattr(self, name)!r}"
            for name, declared in self._declared.items()
            if getattr(self, name) != declared.default
        ]
        return f"{type(self).__name__}({', '.join(filled)})"


class Remarks:
    """What was noticed while reading: fields no model knows, and text that should be quoted.

    Args:
        origin: of the document, for messages.
        warnings: those that there are already.
    """

    def __init__(self, origin: str, warnings: tuple[str, ...] = ()) -> None:
        self.origin = origin
        self.unknown: list[str] = []
        self.warnings = list(warnings)

    def warn(self, node: Node, path: Path, why: str) -> None:
        """Record a warning at ``node``."""
        self.warnings.append(f"{self.origin}:{node.line}: {dotted(path)}: {why}")


class FieldSpec(NamedTuple):
    """One field of a model, as the engine and the walk over a release see it."""

    attribute: str
    read: Reader
    model: type[Struct] | None
    """The model its value (or each item of it) has; None when that is not a mapping of fields."""
    always: bool
    hint: Any
    """Its annotation, with names resolved."""


class _Compiled(NamedTuple):
    fields: Mapping[str, FieldSpec]
    folded: Mapping[str, str]


def dotted(path: Path) -> str:
    """Render a path as ``spec.versionsBundles[3].cilium``."""
    parts: list[str] = []
    while path:
        part, path = path
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "".join(reversed(parts)).lstrip(".")


@cache
def _struct(model: type[Struct]) -> _Compiled:
    hints = get_type_hints(model)
    specs: dict[str, FieldSpec] = {}
    for attribute, declared in model._declared.items():  # noqa: SLF001 -- the engine's own
        if attribute in _NOT_READ:
            continue
        hint = hints[attribute]
        specs[declared.json or _camel(attribute)] = FieldSpec(
            attribute, _reader(hint), _model_of(hint), declared.always, hint
        )
    return _Compiled(specs, {name.casefold(): name for name in specs})


def struct_fields(model: type[Struct]) -> Mapping[str, FieldSpec]:
    """The fields of a model by their names in the document."""
    return _struct(model).fields


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def inner_annotation(hint: Any) -> tuple[Any, bool]:  # noqa: ANN401 -- an annotation is any object
    """An annotation without ``| None``, and whether it had that."""
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        return inner, True
    return hint, False


def _model_of(hint: Any) -> type[Struct] | None:  # noqa: ANN401
    inner, _ = inner_annotation(hint)
    if get_origin(inner) is tuple:
        inner = get_args(inner)[0]
    return inner if isinstance(inner, type) and issubclass(inner, Struct) else None


def _reader(hint: Any) -> Reader:  # noqa: ANN401
    inner, optional = inner_annotation(hint)
    if inner is object:
        return lambda node, _path, _remarks: node
    if inner in _SCALARS:
        return _SCALARS[inner]
    if get_origin(inner) is tuple:
        return _list_reader(_reader(get_args(inner)[0]))
    if get_origin(inner) is Mapping:
        return _read_text_map
    if isinstance(inner, type) and issubclass(inner, Struct):
        return _struct_reader(inner, optional=optional)
    raise TypeError(f"no reader for the annotation {hint!r}")


def _wrong(node: Node, path: Path, remarks: Remarks, expected: str) -> Exception:
    return content_error(remarks.origin, node.line, dotted(path), f"must be {expected}, not {node.what}")


def _read_text(node: Node, path: Path, remarks: Remarks) -> str:
    if not isinstance(node, Scalar):
        raise _wrong(node, path, remarks, "text")
    text = node.text
    if node.plain:
        kind = yaml_type(text)
        if kind in ("text", "timestamp"):
            return text
        if kind == "null":
            return ""
        remarks.warn(
            node, path, f"{text[:80]} is not in quotes: taken as this text, other readers take it for {node.what}"
        )
    return text


def _read_int(node: Node, path: Path, remarks: Remarks) -> int:
    if isinstance(node, Scalar) and node.plain:
        if _INT.fullmatch(node.text):
            return int(node.text)
        if yaml_type(node.text) == "null":
            return 0
    if isinstance(node, Scalar) and node.what != "text":
        why = f"must be an integer in plain decimal digits, not {node.text[:80]}"
        raise content_error(remarks.origin, node.line, dotted(path), why)
    raise _wrong(node, path, remarks, "an integer")


def _read_bool(node: Node, path: Path, remarks: Remarks) -> bool:
    if isinstance(node, Scalar) and node.plain:
        kind = yaml_type(node.text)
        if kind == "null":
            return False
        if kind == "bool":
            return is_true(node.text)
    raise _wrong(node, path, remarks, "true or false")


def _read_text_map(node: Node, path: Path, remarks: Remarks) -> Mapping[str, str]:
    if isinstance(node, Scalar) and node.is_null:
        return {}
    if not isinstance(node, MapNode):
        raise _wrong(node, path, remarks, "a map")
    return {key: _read_text(item, (key, path), remarks) for key, item in node.entries.items()}


_SCALARS: Final[dict[Any, Reader]] = {str: _read_text, int: _read_int, bool: _read_bool}


def _list_reader(read: Reader) -> Reader:
    def read_list(node: Node, path: Path, remarks: Remarks) -> tuple[Any, ...]:
        if type(node) is ListNode:
            return tuple([read(item, (index, path), remarks) for index, item in enumerate(node.items)])
        if isinstance(node, Scalar) and node.is_null:
            return ()
        raise _wrong(node, path, remarks, "a list")

    return read_list


def _struct_reader(model: type[Struct], *, optional: bool) -> Reader:
    empty = None if optional else model()

    def read(node: Node, path: Path, remarks: Remarks) -> Any:  # noqa: ANN401
        if type(node) is MapNode:
            return model(**read_fields(model, node, path, remarks))
        if isinstance(node, Scalar) and node.is_null:
            return empty
        raise _wrong(node, path, remarks, "a map")

    return read


def read_fields(model: type[Struct], node: MapNode, path: Path, remarks: Remarks) -> dict[str, Any]:
    """Read a mapping into what a model is built of.

    Raises:
        ContentError: a field has the wrong type, or a name is written in another case.
    """
    known = _struct(model)
    values: dict[str, Any] = {}
    for key, child in node.entries.items():
        spec = known.fields.get(key)
        if spec is not None:
            values[spec.attribute] = spec.read(child, (key, path), remarks)
            continue
        right = known.folded.get(key.casefold())
        if right is not None:
            raise content_error(
                remarks.origin,
                child.line,
                dotted((key, path)),
                f"must be written {right}",
                "some readers take it for that field and others do not",
            )
        remarks.unknown.append(dotted((key, path)))
    return values
