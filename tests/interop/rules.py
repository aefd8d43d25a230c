"""The rules of the canonical forms, each with what takes its place when it is left out."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundles import canonical, goscalars
from signing import canonical_json, canonical_yaml, manifest, selectors, yaml_scalars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pytest

NEVER = re.compile(r"(?!)")
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rule:
    """A function or a table of the implementation, and one that does not know the rule."""

    name: str
    owner: Any
    attribute: Any
    otherwise: Any

    @contextmanager
    def left_out(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        canonical._types.cache_clear()
        with monkeypatch.context() as patch:
            (patch.setitem if isinstance(self.owner, dict) else patch.setattr)(
                self.owner, self.attribute, self.otherwise
            )
            yield
        canonical._types.cache_clear()

    def __str__(self) -> str:
        return self.name


def _without(table: Mapping[int, str], *characters: str) -> dict[int, str]:
    return {code: written for code, written in table.items() if chr(code) not in characters}


def _each_left_out(name: str, attribute: str) -> list[Rule]:
    """For each entry of a list of what is excluded, the list without it."""
    entries: tuple[str, ...] = getattr(manifest, attribute)
    return [
        Rule(f"{name} {entry} is excluded", manifest, attribute, tuple(other for other in entries if other != entry))
        for entry in entries
    ]


def _iterates_lists_alone(parent: Any, step: str | None, selector: Any) -> Any:
    if step is None and isinstance(parent, dict):
        return []
    return _CHILDREN(parent, step, selector)


_CHILDREN: Callable[..., Any] = selectors._children
_ALWAYS: Callable[[Any], bool] = lambda _value: False  # noqa: E731

_JSON = [
    Rule("HTML is escaped", canonical_json, "ESCAPES", _without(canonical_json.ESCAPES, *"<>&")),
    Rule(
        "line separators are escaped", canonical_json, "ESCAPES", _without(canonical_json.ESCAPES, "\u2028", "\u2029")
    ),
    Rule("quotes are escaped", canonical_json, "ESCAPES", _without(canonical_json.ESCAPES, '"')),
    Rule(
        "control characters are escaped",
        canonical_json,
        "ESCAPES",
        _without(canonical_json.ESCAPES, *map(chr, range(32))),
    ),
    Rule(
        "some control characters have short escapes",
        canonical_json,
        "ESCAPES",
        {**canonical_json.ESCAPES, 8: "\\u0008"},
    ),
    Rule("large numbers have no exponent", canonical_json, "_FIXED_UNTIL", 16),
    Rule("small numbers have no exponent", canonical_json, "_FIXED_FROM", -3),
]
_YAML = [
    Rule("lists stand below their key", canonical_yaml, "_list_indent", lambda indent: indent + 2),
    Rule("two columns a level", canonical_yaml, "STEP", 4),
    Rule("keys are in natural order", canonical_yaml, "_ordered", sorted),
    Rule("next-line characters are folded", canonical_yaml, "_text_read_back", lambda text: text),
    Rule("whole numbers are integers", canonical_yaml, "INTEGERS", range(-(2**63), 2**53)),
    Rule("keys have a limit", canonical_yaml, "KEY_LIMIT", 1 << 30),
    Rule("lines are folded", yaml_scalars, "WIDTH", 1 << 30),
    Rule("long keys are complex", yaml_scalars, "SIMPLE_KEY_LIMIT", 1 << 30),
    Rule("words that are no text are quoted", yaml_scalars, "WORDS", NONE | {""}),
    Rule("escapes have letters", yaml_scalars, "ESCAPES", {}),
    Rule("the unprintable is escaped", yaml_scalars, "UNPRINTABLE", re.compile("[\0-\x09\x0b-\x1f]")),
    Rule("a space before a break is quoted", yaml_scalars, "SPACE_BEFORE_BREAK", NEVER),
    Rule("a space after a separator is quoted", yaml_scalars, "SPACE_AFTER_BREAK", NEVER),
    Rule("keys of several lines are complex", yaml_scalars, "MULTILINE", NEVER),
    Rule("marks of documents are quoted", yaml_scalars, "MARKS", ()),
    Rule("indicators are quoted", yaml_scalars, "INDICATORS", ()),
    Rule("indicators before a blank are quoted", yaml_scalars, "BLANK_INDICATORS", NEVER),
    Rule("indicators within are quoted", yaml_scalars, "INNER_INDICATORS", NEVER),
    Rule("timestamps are quoted", yaml_scalars, "is_timestamp", lambda _text: False),
    Rule("integers with a prefix are quoted", yaml_scalars, "is_integer", lambda _text: False),
    Rule("decimal numbers are quoted", yaml_scalars, "is_float", lambda _text: False),
    Rule("numbers to base 60 are quoted", yaml_scalars, "is_base_60", lambda _text: False),
    Rule("literals say their indentation", yaml_scalars, "indentation_hint", lambda _text: ""),
    Rule("literals say what ends them", yaml_scalars, "chomping", lambda _text: ""),
    Rule("folded spaces are kept", yaml_scalars, "continued", lambda line: line),
    Rule("floats have exponents", yaml_scalars, "floating", canonical_json.number),
    Rule("a byte order mark escapes all", yaml_scalars, "BYTE_ORDER_MARK", "\0\0"),
]
_FORMS = [
    *_each_left_out("of packages", "PACKAGE_BUNDLE_EXCLUDED"),
    *_each_left_out("of releases", "ALWAYS_EXCLUDED"),
    *_each_left_out("of bundles", "BUNDLES_EXCLUDED"),
    Rule("of annotations two stay", manifest, "_keep_annotations", lambda _value: None),
    Rule("includes stay", manifest, "_KEPT_ANNOTATIONS", frozenset({manifest.EXCLUDES_ANNOTATION})),
    Rule("excludes stay", manifest, "_KEPT_ANNOTATIONS", frozenset({"eksa.aws.com/includes"})),
    Rule("excludes are read", manifest, "decode_excludes", lambda _text: ()),
    Rule("objects are iterated", selectors, "_children", _iterates_lists_alone),
    Rule("paths are deleted", selectors, "_plan", lambda _deletions, _path: None),
]
_TYPES = [
    Rule("numbers become text", canonical._SINGLE, str, (canonical._text_uncoerced, "")),
    Rule("the head takes no number for text", canonical._SINGLE, canonical._Uncoerced, (canonical._text, "")),
    Rule("numbers as text have single precision", canonical, "float32_text", repr),
    Rule("times are checked", canonical._SINGLE, canonical._GoTime, (canonical._text, None)),
    Rule("empty fields are left out", canonical, "_is_empty", _ALWAYS),
    Rule("names match in any case", canonical, "_FOLDED_LETTERS", {}),
    Rule("what has no type is checked", canonical, "_plain", lambda _node, _path: None),
    Rule(
        "numbers have a prefix",
        goscalars,
        "_integer",
        lambda text: int(text) if text.isdecimal() and text[0] != "0" else None,
    ),
    Rule("infinity is no text", goscalars, "_SPECIAL", {}),
    Rule("numbers are finite", goscalars, "_finite", float),
]
RULES = [*_JSON, *_YAML, *_FORMS, *_TYPES]
