"""The expected documents are in ``sigs_yaml``; ``tests/interop`` compares with the real thing at large."""

from __future__ import annotations

import re
import string
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from signing import canonical_yaml
from signing.canonical_yaml import render
from tests.unit.signing import sigs_yaml

if TYPE_CHECKING:
    from signing.canonical_json import Value


@pytest.mark.parametrize(("value", "expected"), [*sigs_yaml.ROOTS, *sigs_yaml.STRUCTURES])
def test_documents_are_in_block_style_and_lists_are_not_indented_below_their_key(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(("value", "expected"), sigs_yaml.NUMBERS)
def test_numbers_are_integers_while_64_bits_hold_them_and_floats_otherwise(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize("text", sigs_yaml.QUOTED)
def test_a_text_that_reads_as_another_type_is_in_double_quotes(text: str) -> None:
    assert render(text) == f'"{text}"\n'.encode()


@pytest.mark.parametrize("text", sigs_yaml.PLAIN)
def test_a_text_that_only_resembles_another_type_is_plain(text: str) -> None:
    assert render(text) == f"{text}\n".encode()


@pytest.mark.parametrize("character", "#,[]{}&*!|>'\"%@`")
def test_a_text_that_begins_with_an_indicator_is_in_single_quotes(character: str) -> None:
    assert render(f"{character}a") == f"'{character.replace(chr(39), chr(39) * 2)}a'\n".encode()


@pytest.mark.parametrize("character", sorted(set(string.punctuation) - set("#,[]{}&*!|>'\"%@`")))
def test_a_text_that_begins_with_any_other_character_is_plain(character: str) -> None:
    assert render(f"{character}a") == f"{character}a\n".encode()


@pytest.mark.parametrize(("value", "expected"), [*sigs_yaml.STYLES, *sigs_yaml.LITERALS])
def test_a_text_has_the_simplest_style_that_holds_it(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(("value", "expected"), sigs_yaml.FOLDINGS)
def test_a_text_is_folded_at_lone_spaces_beyond_column_80(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(("value", "expected"), sigs_yaml.KEYS)
def test_a_key_is_a_complex_one_when_it_has_lines_or_more_than_128_bytes(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(("keys", "expected"), sigs_yaml.ORDERS)
def test_keys_are_in_natural_order(keys: list[str], expected: list[str]) -> None:
    lines = render(dict.fromkeys(keys)).decode().splitlines()

    assert [line.removesuffix(": null").strip("'\"") for line in lines] == expected


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(["10", "1a", "9"], id="a letter after a digit"),
        pytest.param(["0a", "9", "09-a"], id="a leading zero"),
        pytest.param(["ba", "1" * 24 + "56", "1" * 17 + "25", "_"], id="a number that wraps"),
    ],
)
def test_keys_that_upstream_writes_in_a_random_order_are_refused(keys: list[str]) -> None:
    with pytest.raises(ContentError, match="have no order"):
        render(dict.fromkeys(keys))


@pytest.mark.parametrize("character", ["\U00031350", "\U0002ebf0", "\U000e0fff", "\ua7c0", "\U00010d40"])
def test_keys_whose_order_depends_on_the_version_of_unicode_are_refused(character: str) -> None:
    assert render({f"a{character}": None}).endswith(b": null\n")
    with pytest.raises(ContentError, match=rf"no order: what U\+{ord(character):04X}"):
        render({f"a{character}": None, "a-": None})


LETTERS = str.maketrans("0123456789", "ghijklmnop")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({f"key{number}": None for number in range(2000)}, id="in one object"),
        pytest.param([{f"key{number:03}": None for number in range(300)} for _ in range(50)], id="in many objects"),
        pytest.param([{f"{number:03}{'1' * 900}": 0 for number in range(300)} for _ in range(2)], id="long ones"),
        pytest.param({"a1": 0, **{f"{number:x}-".translate(LETTERS): 0 for number in range(99_999)}}, id="one of many"),
    ],
)
def test_more_keys_with_digits_than_can_be_compared_are_refused_before_any_is(
    value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_yaml, "_ordered", lambda _: pytest.fail("keys are put in order"))
    with pytest.raises(ContentError, match="more keys with digits"):
        render(value)


@pytest.mark.parametrize(("keys", "objects", "prefix"), [(300, 11, "key"), (1000, 1, "key"), (95, 2, "k" * 900)])
def test_no_more_keys_with_digits_are_compared_than_was_reckoned(
    keys: int, objects: int, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = canonical_yaml._compare
    compared = 0

    def counted(left: str, right: str) -> int:
        nonlocal compared
        compared += min(len(left), len(right))
        return compare(left, right)

    monkeypatch.setattr(canonical_yaml, "_compare", counted)
    assert render([{f"{prefix}{number}": None for number in range(keys)} for _ in range(objects)])
    assert 0 < compared <= canonical_yaml.COMPARED_LIMIT


@pytest.mark.parametrize(("value", "expected"), sigs_yaml.NEXT_LINES)
def test_next_line_characters_fold_as_they_do_when_json_is_read_as_yaml(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize("character", ["\x7f", "\x80", "\x84", "\x86", "\x9f", "\ufffe", "\uffff"])
def test_characters_that_upstream_cannot_read_back_are_refused(character: str) -> None:
    for value in (f"a{character}", {character: 1}):
        with pytest.raises(ContentError, match=rf"U\+{ord(character):04X}"):
            render(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("a\x85--- b", "document mark", id="a document mark at the start of a line"),
        pytest.param("a\x85...\x85", "document mark", id="a document end at the start of a line"),
        pytest.param({"a\x85b": 1}, "a key", id="a key of lines"),
        pytest.param({"k" * 1023: 1}, "more than 1024", id="a key that is too long"),
        pytest.param({"<" * 171: 1}, "more than 1024", id="a key that is too long in JSON"),
        pytest.param(10**400, "float64", id="a number that is too large"),
        pytest.param(float("nan"), "nan", id="not a number"),
        pytest.param(float("-inf"), "-inf", id="infinity"),
    ],
)
def test_what_upstream_refuses_is_refused(value: Value, why: str) -> None:
    with pytest.raises(ContentError, match=re.escape(why)):
        render(value)


def test_nesting_is_bounded() -> None:
    value: Value = "leaf"
    for _ in range(50):
        value = [{"a": value}]

    assert render(value).endswith(b"a: leaf\n")
    with pytest.raises(ContentError, match="100 levels"):
        render([value])


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert render({"\udc00": "\ud800"}) == "\ufffd: \ufffd\n".encode()


def test_the_value_stays_as_it_was() -> None:
    value: Value = {"b": [1.0, "a\x85b"], "a": {}}

    render(value)

    assert value == {"b": [1.0, "a\x85b"], "a": {}}


@pytest.mark.parametrize("unit", [" ", "a ", " \u2028x", "\n", "9", "1_", "1:", "'", "\x01 ", "\x85", "a\u2028", "é"])
def test_long_texts_take_time_in_proportion_to_their_length(unit: str) -> None:
    start = time.process_time()

    render([unit * 100_000, f"{unit * 100_000}\x85é"])

    assert time.process_time() - start < 5


_TEXTS = st.text(
    st.one_of(st.sampled_from(" \n\u2028':#-\"\\\ufeff\ta1."), st.characters(exclude_categories=["Cc", "Cs", "Cn"]))
)


@given(
    st.recursive(
        _TEXTS | st.text(st.sampled_from("ab' \n\x01"), max_size=200),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc -:\n'", max_size=5), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_another_reader_reads_the_same_document(value: Value) -> None:
    assert yaml.load(render(value), yaml.BaseLoader) == value  # noqa: S506 - it makes texts alone
