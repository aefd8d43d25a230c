"""What gojq 0.12 makes of the same; ``tests/interop`` compares with it at large."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from signing.selectors import delete_paths, parse_selectors

if TYPE_CHECKING:
    from signing.canonical_json import Value


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        (".spec", ("spec",)),
        (".spec.packages[].source.registry", ("spec", "packages", None, "source", "registry")),
        ('."odd key".b', ("odd key", "b")),
        ('.["odd key"]', ("odd key",)),
        ('.a["b"][]["c"]', ("a", "b", None, "c")),
        (".and._1.A", ("and", "_1", "A")),
        (r'."\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"', ('"\\/\b\f\n\r\té😀',)),
        ('.""', ("",)),
        ('."\\ud800"', ("\ufffd",)),
        ('."é.[]"', ("é.[]",)),
    ],
)
def test_a_selector_is_made_of_names_and_brackets(line: str, steps: tuple[str | None, ...]) -> None:
    (selector,) = parse_selectors([line])

    assert selector.text == line
    assert selector.steps == steps


def test_empty_lines_are_no_selectors() -> None:
    assert [selector.text for selector in parse_selectors(["", ".a", "", ".b", ""])] == [".a", ".b"]


@pytest.mark.parametrize(
    "line",
    [
        ".a as $x | env",
        ".a | .b",
        ".a, .b",
        ".a)|input|(.",
        ".a|=1",
        ".a # comment",
        ".a[env.SECRET]",
        ".a[0]",
        ".a[-1]",
        ".a[1:]",
        ".a?",
        ".a//1",
        ".[]",
        ".",
        "..",
        "..a",
        ".a.",
        ".a..b",
        ".a.[]",
        "a",
        "[]",
        '["a"]',
        '"a"',
        ".1",
        ".a b",
        " .a",
        ".a ",
        ".a\r",
        ".a\n",
        ".é",
        ".a-b",
        '."a',
        r'."\(env)"',
        r'."\x41"',
        r'."\u00"',
        '."a\tb"',
        ".a::b",
        '.a"b"',
        ".$__loc__",
        "." + "a" * 100_000 + "!",
        ".a" * 101,
    ],
)
def test_everything_else_is_refused_and_named(line: str) -> None:
    with pytest.raises(ContentError, match=r"^invalid selector ") as refused:
        parse_selectors([".a", line])

    assert repr(line[:40])[:-1] in str(refused.value)
    assert len(str(refused.value)) < 120


def test_a_document_has_a_bounded_number_of_selectors() -> None:
    assert len(parse_selectors([".a"] * 256)) == 256
    with pytest.raises(ContentError, match="more than 256"):
        parse_selectors([".a"] * 257)


@pytest.mark.parametrize(
    ("lines", "value", "expected"),
    [
        pytest.param([], {"a": 1}, {"a": 1}, id="no selectors"),
        pytest.param([".a"], {"a": 1, "b": 2}, {"b": 2}, id="a member"),
        pytest.param([".a"], {"b": 2}, {"b": 2}, id="a missing member"),
        pytest.param([".a"], {"a": None, "b": None}, {"b": None}, id="null"),
        pytest.param([".a"], None, None, id="a member of null"),
        pytest.param([".a.b.c"], {"a": None}, {"a": None}, id="below null"),
        pytest.param([".a.b.c"], {}, {}, id="below a missing member"),
        pytest.param([".a.b"], {"a": {"b": 1}}, {"a": {}}, id="what held it stays"),
        pytest.param([".a[]"], {"a": [1, 2]}, {"a": []}, id="all of a list"),
        pytest.param([".a[]"], {"a": {"x": 1, "y": 2}}, {"a": {}}, id="all of an object"),
        pytest.param([".a[]"], {"a": []}, {"a": []}, id="all of an empty list"),
        pytest.param([".a[].b.c"], {"a": []}, {"a": []}, id="below an empty list"),
        pytest.param([".a[].b"], {"a": {"x": {"b": 1, "c": 2}}}, {"a": {"x": {"c": 2}}}, id="below an object's values"),
        pytest.param([".a[][]"], {"a": [[1], [], {"b": 2}]}, {"a": [[], [], {}]}, id="lists in lists"),
        pytest.param([".a[].b"], {"a": [{"b": 1}, None, {}, {"c": 1}]}, {"a": [{}, None, {}, {"c": 1}]}, id="some"),
        pytest.param([".a", ".a.b", ".a.b.c"], {"a": {"b": {"c": 1}}}, {}, id="an ancestor before"),
        pytest.param([".a.b.c", ".a.b", ".a"], {"a": {"b": {"c": 1}}, "d": 1}, {"d": 1}, id="an ancestor after"),
        pytest.param([".a[]", ".a[].b"], {"a": [{"b": 1}]}, {"a": []}, id="an item and a part of it"),
        pytest.param([".a", ".a"], {"a": 1}, {}, id="twice"),
        pytest.param([".a", ".b"], {"a": 1, "b": 2, "c": 3}, {"c": 3}, id="two members"),
    ],
)
def test_what_selectors_reach_is_left_out(lines: list[str], value: Value, expected: Value) -> None:
    before = copy.deepcopy(value)

    assert delete_paths(value, parse_selectors(lines)) == expected
    assert value == before


@pytest.mark.parametrize(
    ("lines", "value", "why"),
    [
        ([".a[]"], {"a": None}, "null cannot be iterated over"),
        ([".a[]"], {}, "null cannot be iterated over"),
        ([".a.b[]"], {"a": None}, "null cannot be iterated over"),
        ([".a[]"], {"a": "text"}, "a string cannot be iterated over"),
        ([".a[].b"], {"a": [{}, [], {}]}, "a list has no member 'b'"),
        ([".a"], [], "a list has no member 'a'"),
        ([".a.b"], {"a": 1.5}, "a number has no member 'b'"),
        ([".a.b"], {"a": True}, "a boolean has no member 'b'"),
        ([".a.b"], {"a": ""}, "a string has no member 'b'"),
        ([".a", ".a.b[]"], {"a": {}}, "null cannot be iterated over"),
    ],
)
def test_a_selector_that_does_not_fit_the_document_is_an_error(lines: list[str], value: Value, why: str) -> None:
    with pytest.raises(ContentError, match=re.escape(f"{lines[-1]!r} does not fit the document: {why}")):
        delete_paths(value, parse_selectors(lines))


def test_places_are_counted_over_all_selectors() -> None:
    few: Value = {"a": [{"b": {"c": number}} for number in range(100)]}
    assert delete_paths(few, parse_selectors([".a[].b.c"] * 256)) == {"a": [{"b": {}}] * 100}
    many: Value = {"a": [{"b": {"c": number}} for number in range(40_000)]}
    assert delete_paths(many, parse_selectors([".a[].b.c"]))
    for lines in ([".a[].b.c", ".a[].b"], [".a[].b"] * 256):
        with pytest.raises(ContentError, match="more than 200,000 places"):
            delete_paths(many, parse_selectors(lines))


@given(st.text(st.sampled_from('.a_"[]\\u0041?|( \n'), max_size=12) | st.text(max_size=12))
def test_any_line_is_a_selector_or_refused(line: str) -> None:
    try:
        selectors = parse_selectors([line])
    except ContentError:
        return

    assert [selector.text for selector in selectors] == [line] * bool(line)
    assert all(selector.steps[0] is not None for selector in selectors)
