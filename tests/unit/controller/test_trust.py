"""Bundles judged: by their signature, and anew wherever they are not what the API server has."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bundles.annotating import annotate
from bundles.package_bundle import render_package_bundle
from bundles.schema.package_bundle import BundledPackage, PackageImage, PackageSource, PackageVersion
from controller.trust import Judge
from controller.values import bundle_object
from signing.manifest import EXCLUDES_ANNOTATION, encode_excludes
from tests.unit.bundles.signed_documents import BY_KEY, OTHER_SIGNER, SIGNER, signed


def bundle(name: str = "v1-33-1", *, signer: Any = SIGNER, needs: str = "") -> dict[str, Any]:
    version = PackageVersion(name="1.0.0", digest=f"sha256:{'a' * 64}")
    package = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    raw = render_package_bundle(name, (package,), min_controller_version=needs)
    return bundle_object(signed(raw, signer), origin=name)


def stored(document: dict[str, Any], version: str = "1") -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "uid": "u", "resourceVersion": version}}


def test_a_bundle_that_the_key_signed_is_good_also_as_the_api_server_stores_it() -> None:
    more = {"uid": "u", "resourceVersion": "7", "generation": 1, "creationTimestamp": "2026-11-26T00:00:00Z"}
    document = bundle()
    document["metadata"] |= more
    document["status"] = {"state": "invalid"}
    assert Judge(BY_KEY).judge(document).fault is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (bundle(signer=OTHER_SIGNER), "BundleNotVerified"),
        (bundle("latest"), "BundleName"),
        (bundle(needs="v0.5.0"), "UpgradeNeeded"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, "BundleNotVerified"),
    ],
)
def test_any_other_is_not(document: dict[str, Any], reason: str) -> None:
    fault = Judge(BY_KEY).judge(document).fault
    assert fault is not None
    assert fault.reason == reason


@pytest.mark.parametrize("needs", ["v0.4.99", "v0.3.0", "development", "0.9.0"])
def test_versions_of_awss_controller_that_are_understood_will_do(needs: str) -> None:
    assert Judge(BY_KEY).judge(bundle(needs=needs)).fault is None


def test_a_signature_that_leaves_out_what_is_installed_is_none() -> None:
    image = PackageImage(repository="hello", digest=f"sha256:{'c' * 64}")
    version = PackageVersion(name="1.0.0", digest=f"sha256:{'a' * 64}", images=(image,))
    package = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    raw = render_package_bundle("v1-33-1", (package,)).decode()
    for path in (".spec.packages[].source.versions", ".spec.packages[].source.versions[].images[].digest", ".spec"):
        annotated = annotate(raw.encode(), {EXCLUDES_ANNOTATION: encode_excludes((path,))}, origin="x")
        fault = Judge(BY_KEY).judge(bundle_object(signed(annotated), origin="x")).fault
        assert fault is not None
        assert fault.reason == "BundleNotVerified"
        assert "leaves out" in fault.message


def test_of_each_object_one_version_is_remembered() -> None:
    judge = Judge(BY_KEY)
    first = judge.judge_stored(stored(bundle()))
    assert judge.judge_stored(stored(bundle())) is first
    assert judge.judge_stored(stored(bundle(), "2")) is not first
    assert judge.judge_stored(stored(bundle())) is not first


def test_what_was_judged_good_counts_for_that_version_of_that_object_alone() -> None:
    judge = Judge(BY_KEY)
    good = stored(bundle())
    assert judge.judge_stored(good).fault is None
    altered = copy.deepcopy(good)
    altered["spec"]["packages"][0]["source"]["versions"][0]["digest"] = f"sha256:{'b' * 64}"
    # It claims to be the version that is known; only what the API server has is looked up by that.
    assert judge.judge(altered).fault is not None
    assert judge.judge_stored(stored(altered, "2")).fault is not None
