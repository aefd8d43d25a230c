"""Configurations of packages, and the schemas that they are held to."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest

from bundlectl.errors import ContentError
from bundles.package_requires import encode_schema
from controller.configuration import check_config, read_config, values_for


def check(values: dict[str, Any], schema: Any) -> None:
    check_config(values, encode_schema(json.dumps(schema).encode(), origin="x"), origin="hello")


def test_scalars_have_the_types_that_go_gives_them() -> None:
    text = "a: 1\nb: 1.5\nc: yes\nd: '1'\ne: 010\nf: null\ng: 1:30\nh: .inf\nlist: [1, two]\n"
    assert read_config(text, origin="x") == {
        "a": 1, "b": 1.5, "c": True, "d": "1", "e": 8, "f": None, "g": "1:30", "h": ".inf", "list": [1, "two"],
    }  # fmt: skip


@pytest.mark.parametrize("text", [" \n", "# nothing yet\n", "---\n", "---\n# nothing\n\n", "null", "~\n", "{}"])
def test_nothing_is_an_empty_configuration(text: str) -> None:
    assert read_config(text, origin="x") == {}


@pytest.mark.parametrize(
    "text", ["- a", "a: [", "a: &x 1\nb: *x\na: 2", "3", "x" * 2_000_000, f"a: {'ü' * 300_000}", "a: \ud800"]
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ContentError):
        read_config(text, origin="x")


@pytest.mark.parametrize("leaf", ["x" * 10_000, "[" + ",".join("1" * 1_000) + "]"])
def test_what_aliases_make_large_is_refused_before_it_is(leaf: str) -> None:
    lines = [f"a: &a {leaf}", *(f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in pairwise("abcd"))]
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="aliases expand it to more than"):
            read_config("\n".join(lines), origin="hello")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    few = "\n".join(lines[:2])
    assert len(read_config(few, origin="hello")["b"]) == 9


def test_the_declared_draft_counts() -> None:
    dependent = {"dependentRequired": {"a": ["b"]}}
    with pytest.raises(ContentError, match="b"):
        check({"a": 1}, {"$schema": "https://json-schema.org/draft/2020-12/schema", **dependent})
    check({"a": 1}, {"$schema": "http://json-schema.org/draft-07/schema#", **dependent})
    check({"a": 1}, {"$schema": "http://json-schema.org/schema#", **dependent})
    check({"a": 1}, dependent)


def test_faults_name_their_fields() -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"a": {"properties": {"b": {"type": "string"}}}},
    }
    with pytest.raises(ContentError) as caught:
        check({"a": {"b": 1}, "c": 2}, schema)
    assert "a.b: " in caught.value.message
    assert "(root): " in caught.value.message


def test_a_name_that_is_very_long_is_not_repeated_whole() -> None:
    with pytest.raises(ContentError) as refused:
        check({"a" * 100_000: {"b": 1}}, {"additionalProperties": {"type": "string"}})
    assert len(refused.value.message) < 1000


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://elsewhere.example/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"a": {"$ref": "other.json"}}},
        {"type": "nonsense"},
    ],
)
def test_a_schema_that_needs_something_from_elsewhere_or_is_none_is_refused(schema: Any) -> None:
    with pytest.raises(ContentError, match="cannot be used"):
        check({"a": 1}, schema)


def test_a_version_without_a_schema_takes_everything() -> None:
    check_config({"a": 1}, "", origin="hello")


def test_the_pull_secret_is_added_to_those_that_are_named() -> None:
    ours = {"name": "registry-mirror-cred"}
    given = {"imagePullSecrets": [{"name": "theirs"}], "sourceRegistry": ""}
    found = values_for(given, image_registry="mirror.example/x", pull_secret=True)
    assert found == {"imagePullSecrets": [{"name": "theirs"}, ours], "sourceRegistry": "mirror.example/x"}
    assert values_for(found, image_registry="other", pull_secret=True) == found
    assert values_for({}, image_registry="r", pull_secret=False) == {"sourceRegistry": "r"}
    for wrong in ({"sourceRegistry": 3}, {"imagePullSecrets": "a"}):
        with pytest.raises(ContentError):
            values_for(wrong, image_registry="r", pull_secret=True)


def test_a_value_that_is_refused_is_not_repeated_for_it_may_be_a_password() -> None:
    schema = {"properties": {"password": {"type": "string"}, "mode": {"enum": ["a"]}}}
    for draft in ({}, {"$schema": "https://json-schema.org/draft/2020-12/schema"}):
        with pytest.raises(ContentError) as refused:
            check({"password": 8472615, "mode": "hunter2"}, {**schema, **draft})
        assert "password: the value is not of type" in str(refused.value)
        assert "8472615" not in str(refused.value)
        assert "hunter2" not in str(refused.value)
