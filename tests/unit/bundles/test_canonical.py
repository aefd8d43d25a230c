"""Documents as Go's types hold them: what appears, what disappears, what becomes something else, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bundlectl.errors import ContentError
from bundles.canonical import CanonicalKind, canonical_bytes, go_value, kind_of_root
from bundles.tree import parse_tree
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, shared

BUNDLE = "apiVersion: packages.eks.amazonaws.com/v1alpha1\nkind: PackageBundle\n"
EKSA = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\n"
LONG_S, KELVIN = "\u017f", "\u212a"


def value(text: str, kind: CanonicalKind = "PackageBundle") -> Any:
    return go_value(parse_tree(text.encode(), origin="made.yaml").root, kind, origin="made.yaml")


def spec(text: str) -> Any:
    return value(f"{BUNDLE}spec: {text}")["spec"]


def metadata(text: str) -> Any:
    return value(f"{BUNDLE}metadata: {text}")["metadata"]


def versions_bundle(text: str) -> Any:
    return value(f"{EKSA}spec: {{versionsBundles: [{{{text}}}]}}", "Bundles")["spec"]["versionsBundles"][0]


def test_the_smallest_bundles_that_aws_signed_have_the_bytes_that_it_signed() -> None:
    root = parse_tree(shared("bundles-minimal.aws-kms-signed.yaml"), origin="b.yaml").root
    assert canonical_bytes(root, "Bundles", origin="b.yaml") == (
        b'{"apiVersion":"anywhere.eks.amazonaws.com/v1alpha1","kind":"Bundles","metadata":{},"spec":{"cliMaxVersion":"",'
        b'"cliMinVersion":"","number":1,"versionsBundles":[{"eksD":{"ami":{"bottlerocket":{}},"containerd":{},"crictl":{},'
        b'"etcdadm":{},"imagebuilder":{},"kindNode":{},"ova":{"bottlerocket":{}},"raw":{"bottlerocket":{}}},'
        b'"kubeVersion":"1.31"}]}}'
    )


def test_fields_that_go_always_writes_appear_and_empty_ones_that_it_does_not_disappear() -> None:
    assert value("{}") == {
        "metadata": {"creationTimestamp": None},
        "spec": {"minControllerVersion": "", "packages": None},
        "status": {"spec": {"minControllerVersion": "", "packages": None}, "state": ""},
    }
    packages = spec("{packages: [{name: '', workloadonly: false}]}")["packages"]
    assert packages == [{"source": {"repository": "", "versions": None}}]
    assert metadata("{labels: {}, name: '', generation: 0}") == {"creationTimestamp": None}


def test_null_is_what_an_absent_field_is() -> None:
    assert spec("null") == spec("{}")
    assert spec("{minControllerVersion: null, packages: ~}") == spec("{}")
    assert metadata("{name: null, labels: null, generation: null}") == metadata("{}")


def test_an_empty_list_that_is_always_written_is_not_the_same_as_none() -> None:
    assert spec("{packages: []}")["packages"] == []
    assert spec("{packages: null}")["packages"] is None


def test_a_pointer_is_absent_or_whatever_is_behind_it() -> None:
    assert "aws" not in versions_bundle("kubeVersion: x")
    assert "aws" not in versions_bundle("aws: null")
    assert "aws" in versions_bundle("aws: {}")
    assert metadata("{deletionGracePeriodSeconds: 0}")["deletionGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1.30", "1.3"),
        ("'1.30'", "1.30"),
        ("1e6", "1e+06"),
        ("0x10", "16"),
        ("017", "15"),
        ("yes", "true"),
        ("No", "false"),
        ("2026-07-28", "2026-07-28"),
        ("1-33", "1-33"),
        ("~", ""),
        (".inf", "+Inf"),
        (".nan", "NaN"),
        ("-0.0", "-0"),
    ],
)
def test_what_is_no_text_becomes_text_where_text_is_wanted(written: str, text: str) -> None:
    assert spec(f"{{minControllerVersion: {written}}}")["minControllerVersion"] == text
    assert metadata(f"{{labels: {{a: {written}}}}}")["labels"] == {"a": text}


@pytest.mark.parametrize("written", ["1.0", "1", "1e0", "0x1"])
def test_a_whole_number_is_an_integer_however_it_is_written(written: str) -> None:
    assert metadata(f"{{generation: {written}}}")["generation"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "metadata: {generation: 1.5}",
        "metadata: {generation: '1'}",
        "metadata: {generation: true}",
        "metadata: {generation: 9223372036854775808}",
        "metadata: {generation: 1e30}",
        "metadata: {generation: .inf}",
        "metadata: {labels: [a]}",
        "metadata: {labels: {a: {}}}",
        "metadata: []",
        "metadata: text",
        "metadata: {creationTimestamp: yesterday}",
        "metadata: {creationTimestamp: 2025-01-01}",
        "metadata: {creationTimestamp: 2025}",
        "spec: {packages: {}}",
        "spec: {packages: text}",
        "spec: {packages: [{name: []}]}",
        "spec: {packages: [{workloadonly: 'true'}]}",
        "spec: {packages: [{workloadonly: 1}]}",
        "spec: {unknown: .nan}",
        "status: {state: {}}",
    ],
)
def test_what_go_cannot_decode_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ContentError) as caught:
        value(f"{BUNDLE}{text}")
    assert caught.value.exit_code == 3
    assert f"made.yaml:3: {text.partition(':')[0]}" in str(caught.value)


@pytest.mark.parametrize("text", ["apiVersion: 1\nkind: PackageBundle\n", "apiVersion: a/v1\nkind: true\n"])
def test_the_version_and_the_kind_are_never_numbers(text: str) -> None:
    with pytest.raises(ContentError):
        value(text)


def test_unknown_fields_are_gone() -> None:
    assert spec("{novel: {a: [1]}, minControllerVersion: v1}") == spec("{minControllerVersion: v1}")
    assert "novel" not in value(f"{BUNDLE}novel: 1\n")


@pytest.mark.parametrize(
    "name",
    ["packages", "Packages", "PACKAGES", f"package{LONG_S}", f"pac{KELVIN}ages", f"PAC{KELVIN}AGE{LONG_S}"],
)
def test_names_match_in_any_case_and_so_do_the_two_letters_that_fold_into_ascii(name: str) -> None:
    assert spec(f"{{{name}: []}}")["packages"] == []


@pytest.mark.parametrize("name", ["päckages", "package", "packages ", "pack-ages"])
def test_other_names_are_other_fields(name: str) -> None:
    assert spec(f"{{'{name}': []}}")["packages"] is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("packages", "Packages"), ("PACKAGES", f"package{LONG_S}"), ("packages", f"pac{KELVIN}ages")],
)
def test_two_names_that_become_one_field_are_refused(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        with pytest.raises(ContentError, match=r"becomes the field packages, which .* is already"):
            spec(f"{{{first}: [], {second}: []}}")


def test_labels_that_differ_in_case_are_two() -> None:
    assert metadata("{labels: {a: x, A: z}}")["labels"] == {"a": "x", "A": "z"}


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2025-09-30T01:02:03Z", "2025-09-30T01:02:03Z"),
        ("'2025-09-30T01:02:03.5+02:00'", "2025-09-29T23:02:03Z"),
        ("0001-01-01T00:00:00Z", None),
        ("null", None),
    ],
)
def test_a_time_is_in_utc_and_whole_seconds(written: str, time: str | None) -> None:
    assert metadata(f"{{creationTimestamp: {written}}}")["creationTimestamp"] == time


@pytest.mark.parametrize(("text", "kind"), [(PACKAGES, "PackageBundle"), (BUNDLES, "Bundles"), (EKSD, "EksdRelease")])
def test_aws_s_kinds_are_told_by_their_group_and_version(text: str, kind: str) -> None:
    assert kind_of_root(parse_tree(text.encode(), origin="").root) == kind
    for other in (text.replace("v1alpha1", "v1beta1", 1), text.replace("amazonaws.com", "example.com", 1)):
        assert kind_of_root(parse_tree(other.encode(), origin="").root) == "object"


def test_any_other_object_is_taken_as_it_is() -> None:
    text = "apiVersion: v1\nkind: Pod\nspec: {a: 1.50, b: yes, c: [~], D: '1', d: x}\n"
    assert value(text, "object")["spec"] == {"a": 1.5, "b": True, "c": [None], "D": "1", "d": "x"}
    with pytest.raises(ContentError, match="a number that JSON can hold"):
        value("a: .inf\n", "object")
