"""What a cluster says of its packages, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import MissingError, UsageError, VerificationError
from bundlectl.events import ignore
from bundles.annotating import annotate
from bundles.belief import Belief
from bundles.package_bundle import render_package_bundle
from bundles.schema.package_bundle import BundledPackage, PackageSource, PackageVersion
from controller.packages_state import (
    ask_for,
    controller_object,
    delete_packages,
    describe_objects,
    held_bundle,
    packages_of,
)
from controller.values import bundle_object
from signing.manifest import EXCLUDES_ANNOTATION, encode_excludes
from tests.unit.bundles.signed_documents import BY_KEY, signed

if TYPE_CHECKING:
    from controller.packages_cluster import ClusterAccess


class Access:
    """A cluster of which only what is asked for is there."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.applied: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def get(self, _path: str) -> dict[str, Any] | None:
        return self.held

    def items(self, _path: str) -> list[dict[str, Any]]:
        return []

    def find(self, _document: dict[str, Any]) -> dict[str, Any] | None:
        return self.held

    def apply(self, document: dict[str, Any]) -> None:
        self.applied.append(document)

    def delete(self, path: str) -> bool:
        self.deleted.append(path)
        return True


def as_access(access: Access) -> ClusterAccess:
    return cast("ClusterAccess", access)


def package(state: str, version: str = "", **more: Any) -> dict[str, Any]:
    status = {"state": state, "currentVersion": version, **more}
    return {"metadata": {"name": "a", "generation": 2}, "spec": {"packageName": "A"}, "status": status}


def leaving(name: str = "a") -> dict[str, Any]:
    found = package("uninstalling")
    return {**found, "metadata": {**found["metadata"], "name": name, "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def test_what_is_asked_of_a_package_that_goes_away_would_go_with_it() -> None:
    access = Access()
    wanted = {"kind": "Package", "metadata": {"name": "a", "namespace": "n"}, "spec": {"packageName": "A"}}
    access.held = leaving()
    with pytest.raises(MissingError, match="n/a: is being deleted"):
        ask_for(as_access(access), wanted)
    assert access.applied == []
    access.held = package("installed")
    ask_for(as_access(access), wanted)
    assert access.applied == [wanted]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "A", "a\n", "a" * 254, "-a"])
def test_nothing_is_deleted_where_one_name_is_none(name: str) -> None:
    access = Access()
    with pytest.raises(UsageError, match="cannot be the name of a package"):
        delete_packages(as_access(access), "site", ["good", name])
    assert access.deleted == []


def test_packages_are_deleted_by_the_names_that_objects_can_have() -> None:
    access = Access()
    assert delete_packages(as_access(access), "site", ["a", "a.b-c"]) == {"a": True, "a.b-c": True}
    assert [path.rpartition("/")[2] for path in access.deleted] == ["a", "a.b-c"]


@pytest.mark.parametrize("cluster", ["", "..", "a/b", "Site"])
def test_what_no_cluster_is_called_is_no_part_of_a_path(cluster: str) -> None:
    access = as_access(Access())
    for call in (controller_object, packages_of, describe_objects):
        with pytest.raises(UsageError, match="cannot be the name of a cluster"):
            call(access, cluster)  # type: ignore[operator]
    with pytest.raises(UsageError, match="cannot be the name of a cluster"):
        delete_packages(access, cluster, ["a"])


def test_a_bundle_of_the_cluster_whose_signature_leaves_out_its_digests_is_not_believed() -> None:
    version = PackageVersion(name="1.0.0", digest=f"sha256:{'a' * 64}")
    package_ = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    raw = render_package_bundle("v1-33-1", (package_,))
    access = Access()
    access.held = bundle_object(signed(raw), origin="x")
    assert held_bundle(as_access(access), "v1-33-1", belief=BY_KEY, listener=ignore) is not None
    with pytest.raises(VerificationError) as refused:
        held_bundle(as_access(access), "v1-33-1", belief=Belief(mode="aws"), listener=ignore)
    assert "--verify KEY" in str(refused.value.hint)
    excludes = {EXCLUDES_ANNOTATION: encode_excludes((".spec.packages[].source.versions[].digest",))}
    access.held = bundle_object(signed(annotate(raw, excludes, origin="x")), origin="x")
    with pytest.raises(VerificationError, match="leaves out the digests"):
        held_bundle(as_access(access), "v1-33-1", belief=BY_KEY, listener=ignore)
