"""JSON that is YAML for Go, too."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from controller.encoding import encode_json


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inside: st.dictionaries(st.text(), inside)))
def test_it_is_read_as_it_was_and_holds_nothing_that_yaml_does_not(value: object) -> None:
    encoded = encode_json(value)
    assert json.loads(encoded) == value
    text = encoded.decode()
    assert all(" " <= each <= "~" or each > "\uffff" for each in text), "everything else is escaped"


def test_what_lies_beyond_16_bits_is_not_escaped_as_a_pair() -> None:
    assert encode_json({"a": "\U0001f600\u00e9"}) == '{"a": "\U0001f600\\u00e9"}'.encode()
