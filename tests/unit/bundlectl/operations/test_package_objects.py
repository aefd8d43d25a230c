"""The Package that asks for a package, and its values."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.errors import UsageError
from bundlectl.operations.package_objects import generate_package, package_namespace, read_values
from controller.configuration import read_config


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        (("a=b",), {"a": "b"}),
        (("a=b=c",), {"a": "b=c"}),
        (("a=",), {"a": ""}),
        (("a.b=1", "a.c=true"), {"a": {"b": 1, "c": True}}),
        ((r"a\.b=x",), {"a.b": "x"}),
        (("a=1.30",), {"a": "1.30"}),
        (("a=007",), {"a": "007"}),
        (("a=t", "b=1"), {"a": "t", "b": 1}),
        (("a=null",), {"a": None}),
        (('a="1"',), {"a": "1"}),
        (('a=[{"b": 1}]',), {"a": [{"b": 1}]}),
        (("a=x", "a=y"), {"a": "y"}),
        (("a.b=x", 'a={"c": 1}'), {"a": {"c": 1}}),
    ],
)
def test_a_value_is_what_it_looks_like(pairs: tuple[str, ...], values: dict[str, Any]) -> None:
    assert read_values(pairs) == values


@pytest.mark.parametrize(
    "pairs",
    [
        ("a",),
        ("=b",),
        ("a..b=c",),
        (".a=b",),
        ("a.=b",),
        ("a=[1",),
        ("a=b", "a.c=d"),
        ("a.c=d", "a=b"),
        ("a=[NaN]",),
        ("a=[-Infinity]",),
        ("a=[1e999]",),
        ("a=\udcff",),
        ("\udcff=a",),
    ],
)
def test_what_is_no_value_is_told(pairs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--set"):
        read_values(pairs)


@pytest.mark.parametrize(
    "pairs", [("a=[hunter2",), ("a=b", "a.c=hunter2"), ("a.c=d", "a=hunter2"), ("a..b=hunter2",), ("=hunter2",)]
)
def test_no_value_is_repeated_for_it_may_be_a_password(pairs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        read_values(pairs)
    assert "hunter2" not in str(refused.value)


def test_the_namespace_of_a_cluster_can_have_its_name() -> None:
    assert len(package_namespace("c" * 49)) == 63
    with pytest.raises(UsageError, match="too long"):
        package_namespace("c" * 50)


def test_what_is_set_counts_more_than_the_file_and_leaves_it_as_it_is() -> None:
    base = {"a": {"b": 1, "c": 2}}
    assert read_values(("a.b=3",), base=base) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.text())
def test_every_key_and_every_text_can_be_set(parts: list[str], text: str) -> None:
    parts = [part.replace("\\", "/").replace("=", "-") for part in parts]
    key = ".".join(part.replace(".", r"\.") for part in parts)
    expected: Any = text
    for part in reversed(parts):
        expected = {part: expected}
    assert read_values((f"{key}={json.dumps(text)}",)) == expected


@given(st.lists(st.text(max_size=30), max_size=3))
def test_whatever_is_set_is_read_or_refused(pairs: list[str]) -> None:
    with suppress(UsageError):
        assert isinstance(read_values(pairs), dict)


def test_the_configuration_is_text_that_says_the_same() -> None:
    values = {"title": "on", "count": 3, "nested": {"empty": {}}}
    made = generate_package("Greeter", name="hello", namespace=package_namespace("site"), version="1.0", values=values)
    assert yaml.safe_load(made["spec"]["config"]) == values
    assert (made["metadata"]["namespace"], made["spec"]["packageVersion"]) == ("eksa-packages-site", "1.0")
    assert "config" not in generate_package("Greeter", name="hello", namespace="x")["spec"]


TEXTS = st.text(st.characters(blacklist_categories=("Cs",)))
LIKE_NUMBERS = st.text("0123456789abexo_.+-:ynYN~")


@given(st.dictionaries(TEXTS | LIKE_NUMBERS, TEXTS | LIKE_NUMBERS, max_size=3))
@example({"\x85": "a\u2028b", "x": "\u2029"})
@example({"image": "12e4", "mode": "0o17", "half": "-.5", "answer": "y", "1e3": "1_e3"})
def test_a_controller_reads_the_texts_that_were_given(values: dict[str, str]) -> None:
    made = generate_package("Greeter", name="hello", namespace="x", values=values)
    assert read_config(made["spec"].get("config", ""), origin="hello") == values


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a-", "a" * 64, "a\n"])
def test_what_kubernetes_would_not_take_as_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        package_namespace(name)
