"""Bounded, unambiguous reading of YAML and JSON."""

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles import tree
from bundles.scalars import yaml_type
from bundles.tree import ListNode, MapNode, Node, Scalar, parse_tree


def read(text: str | bytes) -> MapNode:
    return parse_tree(text if isinstance(text, bytes) else text.encode(), origin="doc.yaml").root


def refused(text: str | bytes) -> ContentError:
    with pytest.raises(ContentError) as caught:
        read(text)
    assert caught.value.hint
    return caught.value


def plain(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: plain(child) for key, child in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(child) for child in node.items]
    return node.text


def test_scalars_keep_the_text_of_the_document() -> None:
    root = read("a: 1.30\nb: 2026-07-28\nc: \"1.30\"\nd: 'x'\ne: |\n  two\n  lines\nf: no\ng: 010\nh:\n")
    assert plain(root) == {
        "a": "1.30",
        "b": "2026-07-28",
        "c": "1.30",
        "d": "x",
        "e": "two\nlines\n",
        "f": "no",
        "g": "010",
        "h": "",
    }
    marks = {key: node.plain for key, node in root.entries.items() if isinstance(node, Scalar)}
    assert [key for key, is_plain in marks.items() if is_plain] == ["a", "b", "f", "g", "h"]


def test_nodes_know_their_line_and_column() -> None:
    root = read("a:\n  b:\n  - x\n  - c: y\n")
    inner = root.map("a")
    assert inner is not None
    (first, second) = inner.items("b")
    assert (inner.line, inner.column) == (1, 1)
    assert (inner.entries["b"].line, first.line, first.column, second.line) == (2, 3, 5, 4)


def test_json_is_read_too() -> None:
    value = {"a": [1, True, None, "x"], "b": {"c": "é\u2028", "d": []}}
    root = read(json.dumps(value, ensure_ascii=False))
    assert plain(root) == {"a": ["1", "true", "null", "x"], "b": {"c": "é\u2028", "d": []}}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (b"", 1, "the document is empty"),
        (b"# nothing\n", 1, "the document is empty"),
        (b"~\n", 1, "the document is empty"),
        (b"- a\n", 1, "must be a map, not a list"),
        (b"hello\n", 1, "must be a map, not text"),
        (b"\xef\xbb\xbfa: b\n", 1, "byte order mark"),
        (b"a: b\nc: \xff\n", 2, "not UTF-8 (byte 0xff)"),
        ("a: b\n".encode("utf-16"), 1, "not UTF-8"),
        (b"a: b\n---\nc: d\n", 2, "more than one document"),
        (b"a: b\nc: [d\n", 3, "not YAML"),
        (b"a: \x00\n", 1, "not YAML"),
        (b"a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c: given twice with different values (first on line 3)"),
        (b"a: &x {b: c}\nd:\n  <<: *x\n", 3, "d: merge keys"),
        (b"a: !!python/object/apply:os.system [x]\n", 1, "the tag tag:yaml.org,2002:python/object/apply:os.system"),
        (b"a: !!str 5\n", 1, "a: the tag tag:yaml.org,2002:str is not read"),
        (b"a: ! 5\n", 1, "the tag ! is not read"),
        (b"a:\n  1: b\n", 2, "a: the key '1' is not text"),
        (b"on: b\n", 1, "the key 'on' is not text"),
        (b"~: b\n", 1, "the key '~' is not text"),
        (b"2026-01-01: b\n", 1, "is not text"),
        (b"? [a, b]\n: c\n", 1, "a key must be text, not a list"),
        (b"? {a: b}\n: c\n", 1, "a key must be text, not a map"),
        (b"a: &x b\n? *x\n: c\n", 2, "a key must be text, not an alias"),
        (b"*x\n", 1, "the alias *x names nothing before it"),
        (b"a: *x\n", 1, "the alias *x names nothing before it"),
        (b"a: &x\n  b: *x\n", 2, "the alias *x names nothing before it"),
    ],
)
def test_what_readers_could_differ_on_is_refused_with_its_line(text: bytes, line: int, why: str) -> None:
    error = refused(text)
    assert str(error).startswith(f"doc.yaml:{line}: ")
    assert why in error.message


def test_quoted_keys_may_look_like_anything() -> None:
    assert plain(read('"1": a\n\'on\': b\n"<<": c\n')) == {"1": "a", "on": "b", "<<": "c"}


def test_a_quoted_key_does_not_permit_the_same_key_without_quotes() -> None:
    assert "not text" in refused('a: {"1": b}\nc: {1: d}\n').message


def test_a_key_given_twice_with_one_value_is_a_warning() -> None:
    found = parse_tree(b"a:\n  b: {c: [d]}\n  b: {c: [d]}\n", origin="doc.yaml")
    assert found.warnings == ("doc.yaml:3: a.b: given twice with one value (line 2)",)
    assert plain(found.root) == {"a": {"b": {"c": ["d"]}}}


@pytest.mark.parametrize("second", ["{c: [e]}", "{c: d}", "{c: [d, d]}", "{x: [d]}", '{c: ["d"]}', "c", "{}"])
def test_a_key_given_twice_with_two_values_is_refused(second: str) -> None:
    assert "given twice with different values" in refused(f"b: {{c: [d]}}\nb: {second}\n").message


def test_aliases_are_followed() -> None:
    assert plain(read("a: &x {b: [1]}\nc: *x\nd: [*x, &y z, *y]\n")) == {
        "a": {"b": ["1"]},
        "c": {"b": ["1"]},
        "d": [{"b": ["1"]}, "z", "z"],
    }


@pytest.mark.parametrize("before", ["", "\n", "# x\r", "\u0085", "\u2028"])
def test_tag_directives_which_take_libyaml_quadratic_time_are_refused(before: str) -> None:
    text = f"{before}%TAG !a! x\n" + "".join(f"%TAG !a{n}! x\n" for n in range(3)) + "---\na: b\n"
    with pytest.raises(ContentError, match="%TAG") as caught:
        parse_tree(text.encode(), origin="x")
    assert caught.value.hint
    assert parse_tree(b"a: '%TAG ! x'\nb: x %TAG\n", origin="x")


def test_a_document_larger_than_the_limit_is_refused() -> None:
    error = refused(b"a: " + b"x" * tree.SIZE_LIMIT)
    assert str(error) == "doc.yaml: larger than 16 MiB"


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- "])
def test_deep_nesting_is_refused_however_deep(opening: bytes) -> None:
    assert f"deeper than {tree.DEPTH_LIMIT}" in refused(b"a: \n" + b" " + opening * 200_000).message


def test_deep_nesting_of_keys_is_refused() -> None:
    assert "a key must be text" in refused(b"a: \n" + b" " + b"? " * 200_000).message


def test_the_deepest_level_that_is_read() -> None:
    levels = tree.DEPTH_LIMIT - 1  # beside the root
    read("a: " + "[" * levels + "]" * levels)
    refused("a: " + "[" * (levels + 1) + "]" * (levels + 1))


def test_aliases_cannot_deepen_a_document_beyond_the_limit() -> None:
    half = tree.DEPTH_LIMIT // 2
    deep = "[" * half + "]" * half
    chain = f"a: &a {deep}\nb: &b {'[' * half}*a{']' * half}\n"
    assert "deeper" in refused(chain).message
    read(f"a: &a {deep}\nb: &b {'[' * (half - 2)}*a{']' * (half - 2)}\n")


def test_a_billion_laughs_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 1000000 values" in refused("\n".join(lines)).message


def test_many_aliases_are_refused() -> None:
    assert "more than 200 aliases" in refused("a: &a x\nb: [" + ", ".join(["*a"] * 201) + "]").message
    read("a: &a x\nb: [" + ", ".join(["*a"] * 200) + "]")


@pytest.mark.parametrize("long", ["{}", "[{}]", "k: {}", "? {}\n  : k"])
def test_aliases_cannot_make_a_document_longer_than_the_limit(long: str) -> None:
    text = "x" * 200_000
    anchored = f"a: &a\n  {long.format(text)}\n"
    few = tree.SIZE_LIMIT // len(text) - 2
    assert read(f"{anchored}b: [{', '.join(['*a'] * few)}]")
    assert "expand it to more than 16777216 bytes" in refused(f"{anchored}b: [{', '.join(['*a'] * (few + 2))}]").message
    doubled = f"{anchored}b: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c]\n"
    assert "expand it" in refused(doubled).message


def test_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "SECONDS_LIMIT", 300.0)  # a busy machine may need more than the limit for as many
    assert f"more than {tree.NODE_LIMIT}" in refused("a: [" + "x," * tree.NODE_LIMIT + "]").message


def test_reading_stops_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "SECONDS_LIMIT", -1.0)
    assert "seconds to read" in refused("a: [" + "x," * 5000 + "]").message


@given(st.binary(max_size=200))
@example(b'a: "\\ud800"')
@example(b'a: "\\U00110000"')
@example(b"a: \x85")
@example(b"%YAML 9.9\n---\na: b")
@example(b"%TAG ! x:\n---\na: b")
@example(b"*0")
@example(b"&a a: b")
@example(b"a: &a\n  *a : b")
def test_arbitrary_bytes_raise_nothing_but_content_errors(raw: bytes) -> None:
    with suppress(ContentError):
        read(raw)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?<~ \n\t0", max_size=60))
def test_arbitrary_punctuation_raises_nothing_but_content_errors(text: str) -> None:
    with suppress(ContentError):
        read(text)


_TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
_TREES = st.recursive(
    _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_TEXTS, _TREES, max_size=4))
def test_what_was_dumped_is_read_back(value: dict[str, Any]) -> None:
    if value:
        assert plain(read(yaml.safe_dump(value, allow_unicode=True, default_style="'"))) == value
    assert plain(read(json.dumps(value, ensure_ascii=False))) == value


@example(".0_")
@given(st.text(alphabet="0123456789.eExXoOb_+-:TZ ynf", min_size=1, max_size=12).map(str.strip).filter(bool))
def test_what_pyyaml_takes_for_something_else_than_text_is_never_text(text: str) -> None:
    try:
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, IndexError):
        return
    if not isinstance(value, (str, list, dict)):
        assert yaml_type(text) != "text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "null"),
        ("~", "null"),
        ("yes", "bool"),
        ("Off", "bool"),
        ("yEs", "text"),
        ("0", "int"),
        ("-12", "int"),
        ("0x1F", "int"),
        ("0o17", "int"),
        ("1_000", "int"),
        ("1.30", "float"),
        ("1e3", "float"),
        (".5", "float"),
        ("1.", "float"),
        ("-.inf", "float"),
        (".nan", "float"),
        ("1:20", "float"),
        ("2026-07-28", "timestamp"),
        ("2025-01-01T00:00:00Z", "timestamp"),
        ("2026-08-13 23:35:22.1 +0000 UTC", "timestamp"),
        ("1-33", "text"),
        ("v1.2", "text"),
        ("0.1.2-abc", "text"),
        ("1.2.3", "text"),
        ("sha256:00", "text"),
    ],
)
def test_types_of_plain_scalars(text: str, expected: str) -> None:
    assert yaml_type(text) == expected
