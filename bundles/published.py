"""Documents of bundlectl's own kinds, held to their published JSON Schemas, with the line of each fault."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from bundles.scalars import is_true, yaml_type
from bundles.tree import ListNode, MapNode, Scalar, content_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonschema_rs import ValidationError

    from bundlectl.errors import ContentError
    from bundles.tree import Node

__all__ = ["Located", "PublishedSchema"]

_COLLECTED: Final = 5_000
"""Values of a document whose faults are all collected, to tell the uppermost."""
_COMBINED: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if"})
"""Keywords whose faults only a person can explain; the description beside them does."""
_WHOLE_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Located:
    """A node of a document, and where it stands: ``path`` is empty for the whole document."""

    node: Node
    origin: str
    path: str = ""

    def at(self, *steps: str | int) -> Located:
        """What stands below, or the deepest of it that is there."""
        node, path = self.node, self.path
        for step in steps:
            if isinstance(node, MapNode) and isinstance(step, str):
                child = node.entries.get(step)
            else:
                child = node.items[step] if isinstance(node, ListNode) and isinstance(step, int) else None
            if child is None:
                break
            node, path = child, f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}"
        return Located(node, self.origin, path.lstrip("."))

    def fault(self, why: str, hint: str | None = None) -> ContentError:
        """Tell what is wrong here, as ``ORIGIN:LINE: FIELD: WHY``."""
        return content_error(self.origin, self.node.line, self.path, why, hint)


@dataclass(frozen=True, slots=True)
class PublishedSchema:
    """A schema that ships with the package.

    ``refers`` are the other files that it refers to by their ``$id``; ``numbers`` the fields that
    hold whole numbers: anywhere else what looks like a number stays text.
    """

    file: str
    refers: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()

    def read(self, document: Located) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The plain values of a document, and warnings about text that other readers take for numbers.

        Null fields count as absent.

        Raises:
            ContentError: the document does not fit; the first fault is told, further ones are counted.
        """
        warnings: list[str] = []
        value = self._value(document, "", warnings)
        faults = sorted(self._faults(value), key=lambda fault: self._place(document, fault).node.line)
        if faults:
            raise self._told(document, faults)
        return cast("dict[str, Any]", value), tuple(warnings)

    def _value(self, here: Located, key: str, warnings: list[str]) -> object:
        node = here.node
        if isinstance(node, MapNode):
            return {
                name: self._value(here.at(name), name, warnings)
                for name, child in node.entries.items()
                if not (isinstance(child, Scalar) and child.is_null)
            }
        if isinstance(node, ListNode):
            return [self._value(here.at(index), key, warnings) for index in range(len(node.items))]
        kind = yaml_type(node.text) if node.plain else "text"
        if kind == "null":
            return None
        if kind == "bool":
            return is_true(node.text)
        if kind == "int" and key in self.numbers and _WHOLE_NUMBER.fullmatch(node.text):
            return int(node.text)
        if kind in ("int", "float"):
            warnings.append(
                f"{here.origin}:{node.line}: {here.path}: {node.text[:80]} is not in quotes: taken as this text, "
                f"other readers take it for {node.what}"
            )
        return node.text

    def _faults(self, value: object) -> list[ValidationError]:
        from jsonschema_rs import Draft202012Validator, Registry, ValidationError  # noqa: PLC0415 -- only with such a document

        others = [_load(name) for name in self.refers]
        registry = Registry([(schema["$id"], schema) for schema in others]) if others else None
        validator = Draft202012Validator(_load(self.file), registry=registry)
        try:
            validator.validate(value)
        except ValidationError as first:
            # Each fault holds a copy of what it is about: in a large document they are not collected.
            return list(validator.iter_errors(value)) if _count(value) <= _COLLECTED else [first]
        return []

    def _told(self, document: Located, faults: Sequence[ValidationError]) -> ContentError:
        first = faults[0]
        schema, keyword = self._violated(first), first.schema_path[-1]
        why, hint = first.message[:300], schema.get("description")
        if keyword == "additionalProperties":
            hint = f"known fields are {', '.join(sorted(schema['properties']))}"
        elif keyword in _COMBINED and hint:
            why, hint = hint, None
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        place = self._place(document, first)
        return Located(place.node, document.origin, document.at(*first.instance_path).path).fault(f"{why}{more}", hint)

    def _violated(self, fault: ValidationError) -> Mapping[str, Any]:
        """The part of the schemas whose keyword does not hold."""
        location = (fault.absolute_keyword_location or "").partition("#")[0]
        known = {schema["$id"]: schema for schema in map(_load, (self.file, *self.refers))}
        node: Any = known.get(location, _load(self.file))
        for part in fault.schema_path[:-1]:
            node = node[part]
        return node if isinstance(node, dict) else {}

    def _place(self, document: Located, fault: ValidationError) -> Located:
        """The line of what is wrong, or of the mapping that lacks something."""
        here = document.at(*fault.instance_path)
        if fault.schema_path[-1] == "additionalProperties" and isinstance(here.node, MapNode):
            known = self._violated(fault).get("properties", {})
            unknown = [name for name in here.node.entries if name not in known]
            return min((here.at(name) for name in unknown), key=lambda each: each.node.line, default=here)
        return here


def _count(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1


@cache
def _load(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(files("bundles").joinpath(name).read_bytes()))
