"""What is written as YAML, read as Go reads it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.operations.package_objects import generate_package
from bundles.goyaml import write_yaml
from controller.configuration import read_config

LIKE_NUMBERS = st.text(st.sampled_from("0123456789eE.+-_oxbyYnN:~"), min_size=1, max_size=6)


@pytest.mark.parametrize("text", ["1e3", "12e03", "1.5e3", "0o17", "y", "N", "on", "1e400", "12:30", "", "null", "07"])
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert write_yaml({"a": text}) == f"a: '{text}'\n"


@given(st.dictionaries(st.text(max_size=20), st.text(), max_size=3))
@example({"a": "b\x85c\u2028d\u2029", "<<": "=", "2001-01-01": "1:30", "b": "2001-01-01 0\x07", "c": "a\n---\nb"})
@example({"a": "it's 1 word " * 2000})
def test_whatever_is_in_a_text_comes_back(document: dict[str, object]) -> None:
    assert read_config(write_yaml(document), origin="x") == document


@given(st.dictionaries(LIKE_NUMBERS, LIKE_NUMBERS | st.lists(LIKE_NUMBERS), max_size=3))
@example({"y": "1e3"})
def test_every_text_is_the_same_text_to_go(document: dict[str, object]) -> None:
    assert read_config(write_yaml(document), origin="x") == document


def test_long_text_stays_on_its_line_and_numbers_are_numbers() -> None:
    document = {"long": "a word " * 40 + "end", "number": 1000.0, "truth": True, "none": None, "name": "ä"}
    written = write_yaml(document)
    assert len(written.splitlines()) == len(document)
    assert read_config(written, origin="x") == document


def test_values_that_are_text_reach_a_chart_as_text() -> None:
    asked = generate_package("harbor", name="harbor", namespace="eksa-packages-site", values={"tag": "1e3", "y": "no"})
    assert read_config(asked["spec"]["config"], origin="x") == {"tag": "1e3", "y": "no"}
