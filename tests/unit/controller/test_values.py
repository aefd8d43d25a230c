"""The kinds as values, and AWS's rules of names and versions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from controller.status import merge_patch
from controller.values import (
    Package,
    PackageBundle,
    PackageBundleController,
    PackageStatus,
    bundle_object,
    cluster_of,
    find_package,
    find_version,
    is_namespace,
    parse_duration,
)

DIGEST = f"sha256:{'a' * 64}"
BUNDLE = f"""
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata: {{name: v1-33-7, namespace: somewhere, annotations: {{a: b}}}}
spec:
  packages:
  - name: Hello-EKS
    workloadonly: true
    source:
      repository: hello
      versions: [{{name: 1.30, digest: "{DIGEST}"}}, {{name: 0.9.0, digest: "sha256:{"b" * 64}"}}]
  - name: hello-eks
    source: {{repository: other, versions: [{{name: 2.0.0, digest: "{DIGEST}"}}]}}
status: {{state: available}}
"""


def test_a_bundle_becomes_an_object_whose_texts_are_as_they_are_written() -> None:
    found = bundle_object(BUNDLE.encode(), origin="bundle.yaml")
    assert found["metadata"] == {"name": "v1-33-7", "annotations": {"a": "b"}, "namespace": "eksa-packages"}
    assert "status" not in found
    first = found["spec"]["packages"][0]
    assert (first["workloadonly"], first["source"]["versions"][0]["name"]) == (True, "1.30")


@pytest.mark.parametrize("text", ["", "A", "a/b", "..", "-a", "a-", "a" * 64, "a.b", "a\n", "ä", "٣"])
def test_what_no_namespace_can_be_called(text: str) -> None:
    assert not is_namespace(text)
    assert is_namespace("eksa-packages")


def test_packages_are_found_in_any_case_and_versions_by_name_or_digest() -> None:
    bundle = PackageBundle.from_json(bundle_object(BUNDLE.encode(), origin="bundle.yaml"))
    assert bundle.name is not None
    assert bundle.name.kube_version == "1.33"
    package = find_package(bundle.model, "HELLO-eks")
    assert package is not None
    assert package.source.repository == "hello"
    assert find_package(bundle.model, "hello") is None
    for wanted, name in (("", "1.30"), ("latest", "1.30"), ("0.9.0", "0.9.0"), (f"sha256:{'b' * 64}", "0.9.0")):
        version = find_version(package, wanted)
        assert version is not None
        assert version.name == name
    assert find_version(package, "0.9") is None


def test_what_is_no_bundle_is_refused() -> None:
    with pytest.raises(ContentError):
        PackageBundle.from_json({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    with pytest.raises(ContentError):
        PackageBundle.from_json({**bundle_object(BUNDLE.encode(), origin="x"), "spec": {"packages": 3}})


@pytest.mark.parametrize(
    ("namespace", "cluster"),
    [
        ("eksa-packages", "own"),
        ("eksa-packages-a-b", "a-b"),
        ("eksa-packages-", None),
        ("eksa-packagesx", None),
        ("x", None),
    ],
)
def test_the_namespace_of_a_package_names_its_cluster(namespace: str, cluster: str | None) -> None:
    assert cluster_of(namespace, "own") == cluster


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h0m0s", 86400.0),
        ("1.5h", 5400.0),
        ("300ms", 0.3),
        ("1h30m", 5400.0),
        ("0", 0.0),
        ("", None),
        ("1", None),
        ("1d", None),
    ],
)
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_a_controller_without_intervals_has_the_defaults() -> None:
    found = PackageBundleController.from_json({"metadata": {"name": "a"}, "spec": {"upgradeCheckInterval": "soon"}})
    assert (found.upgrade_check_interval, found.upgrade_check_short_interval) == (86400.0, 86400.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_whatever_the_api_server_sends_is_read(document: object) -> None:
    given_object = {"metadata": document, "spec": document, "status": document}
    package = Package.from_json(given_object)
    assert PackageStatus.from_json(json.loads(json.dumps(package.status.to_json()))) is not None
    PackageBundleController.from_json(given_object)


plain = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def merged(target: object, patch: object) -> object:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


@given(st.dictionaries(st.text(max_size=3), plain), st.dictionaries(st.text(max_size=3), plain))
def test_a_patch_leads_from_one_to_the_other_and_is_none_where_they_are_the_same(
    before: dict[str, object], after: dict[str, object]
) -> None:
    patch = merge_patch(before, after)
    assert (patch is None) == (before == after)
    if patch is not None:
        assert merged(before, patch) == after
