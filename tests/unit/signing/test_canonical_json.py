"""All expected bytes were written by Go's ``encoding/json``; ``tests/interop`` compares with it at large."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from signing.canonical_json import render

if TYPE_CHECKING:
    from signing.canonical_json import Value

# What AWS's public test vector B1 signs (344 bytes).
MINIMAL = (
    '{"apiVersion":"anywhere.eks.amazonaws.com/v1alpha1","kind":"Bundles","metadata":{},"spec":{"cliMaxVersion":"",'
    '"cliMinVersion":"","number":1,"versionsBundles":[{"eksD":{"ami":{"bottlerocket":{}},"containerd":{},"crictl":{},'
    '"etcdadm":{},"imagebuilder":{},"kindNode":{},"ova":{"bottlerocket":{}},"raw":{"bottlerocket":{}}},'
    '"kubeVersion":"1.31"}]}}'
)


def test_a_document_has_no_blanks_and_no_last_newline() -> None:
    assert render(json.loads(MINIMAL)) == MINIMAL.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"null"),
        (True, b"true"),
        (False, b"false"),
        ("", b'""'),
        ([], b"[]"),
        ({}, b"{}"),
        ([None, [True, {}], {"a": []}], b'[null,[true,{}],{"a":[]}]'),
    ],
)
def test_values_are_as_json_has_them(value: Value, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1, b"-1"),
        (-0.0, b"-0"),
        (0.0, b"0"),
        (2.0, b"2"),
        (1.5, b"1.5"),
        (0.1, b"0.1"),
        (123456789.125, b"123456789.125"),
        (1e-6, b"0.000001"),
        (9.5e-7, b"9.5e-7"),
        (1e-7, b"1e-7"),
        (-1.25e-10, b"-1.25e-10"),
        (10**20, b"100000000000000000000"),
        (999999999999999900000, b"999999999999999900000"),
        (1e21, b"1e+21"),
        (1.5e300, b"1.5e+300"),
        (5e-324, b"5e-324"),
        (2**53 + 1, b"9007199254740992"),
        (2**63, b"9223372036854776000"),
    ],
)
def test_numbers_are_float64_and_have_an_exponent_from_1e21_on_and_below_1e_6(value: float, expected: bytes) -> None:
    assert render(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<a&b>", rb'"\u003ca\u0026b\u003e"', id="what HTML would read"),
        pytest.param("\u2028\u2029", rb'"\u2028\u2029"', id="line separators"),
        pytest.param('"\\/', rb'"\"\\/"', id="quotes, backslashes and slashes"),
        pytest.param("\b\f\n\r\t", rb'"\b\f\n\r\t"', id="control characters with a letter"),
        pytest.param("\0\1\v\x1b\x1f", rb'"\u0000\u0001\u000b\u001b\u001f"', id="control characters without a letter"),
        pytest.param("\x7fé\x85\ufeff\U0001f600\ufffd", '"\x7fé\x85\ufeff\U0001f600\ufffd"'.encode(), id="raw"),
        pytest.param("a\ud800b", '"a\ufffdb"'.encode(), id="a lone surrogate"),
    ],
)
def test_texts_are_escaped_as_go_does(text: str, expected: bytes) -> None:
    assert render(text) == expected
    assert render({text: None}) == b"{%b:null}" % expected


def test_keys_are_sorted_by_their_bytes_before_they_are_escaped() -> None:
    keys = ["b", "a", "B", "é", "a<", "a=", "a10", "a9", "\U0001f600", "\uffff", "", "_"]

    assert list(json.loads(render(dict.fromkeys(keys)))) == sorted(keys, key=str.encode)


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), [{"a": float("-inf")}]])
def test_a_number_that_is_no_float64_is_refused(value: Value) -> None:
    with pytest.raises(ContentError, match=re.compile("float64|not a number that JSON knows")):
        render(value)


def test_nesting_is_bounded() -> None:
    value: Value = 1
    for _ in range(50):
        value = {"a": [value]}

    assert render(value) == b'{"a":[' * 50 + b"1" + b"]}" * 50
    with pytest.raises(ContentError, match="100 levels"):
        render([value])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_another_reader_reads_the_same_value_and_writes_the_same_bytes(value: Value) -> None:
    written = render(value)

    assert json.loads(written, parse_int=float) == value
    assert render(json.loads(written, parse_int=float)) == written
