"""Names and text of bundles of packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError
from bundles.annotating import annotate
from bundles.document import parse_document
from bundles.package_bundle import BundleName, check_dependencies, render_package_bundle
from bundles.schema import parse_model
from bundles.schema.package_bundle import BundledPackage, PackageBundle, PackageSource, PackageVersion
from signing.manifest import PACKAGES_DOMAIN

if TYPE_CHECKING:
    from pathlib import Path


def package(name: str, *needs: tuple[str, ...]) -> BundledPackage:
    """A package with a version for each tuple of what it needs."""
    versions = tuple(
        PackageVersion(name=f"{index}.0.0", digest="sha256:1", dependencies=needed)
        for index, needed in enumerate(needs or ((),))
    )
    return BundledPackage(name=name, source=PackageSource(repository=name, versions=versions))


def test_the_bundle_of_aws_is_written_to_the_byte_from_what_is_read_of_it(shared_data: Path) -> None:
    raw = shared_data.joinpath("packagebundle-v1-24-116.aws-signed.yaml").read_bytes()
    model = parse_model(parse_document(raw, origin="aws.yaml"))
    assert isinstance(model, PackageBundle)
    written = render_package_bundle(
        model.metadata.name, model.spec.packages, min_controller_version=model.spec.min_controller_version
    )
    annotation = f"{PACKAGES_DOMAIN}/signature"
    signed = annotate(written, {annotation: model.metadata.annotations[annotation]}, origin="made.yaml")
    # Where the new line goes among the annotations is ours.
    assert sorted(signed.splitlines()) == sorted(raw.splitlines())


@pytest.mark.parametrize("text", ["v1-33", "1-33-7", "v1-33-latest", "v1-33-7-8", "v1-033-7", "v1-33-2026-6-26-1", ""])
def test_what_is_of_neither_form_is_no_name(text: str) -> None:
    assert BundleName.read(text) is None


def test_names_are_ordered_by_their_numbers_and_those_with_a_date_are_newer() -> None:
    texts = ["v1-33-9", "v1-33-120", "v1-33-2026-01-02-9", "v1-33-2026-01-02-10", "v1-33-2027-01-01-1"]
    names = [found for text in texts if (found := BundleName.read(text))]
    assert [name.text for name in sorted(names, key=lambda name: name.age)] == texts
    assert {name.kube_version for name in names} == {"1.33"}


def test_a_dependency_that_the_bundle_lacks_is_named() -> None:
    with pytest.raises(ContentError, match=r"a 0\.0\.0 needs the package z, which is not in the bundle"):
        check_dependencies((package("a", ("b", "z")), package("b")), origin="packages.yaml")


def test_packages_that_need_each_other_are_named_along_the_way() -> None:
    packages = (package("x", ("a",)), package("a", ("b",)), package("b", ("c",)), package("c", ("a",)))
    with pytest.raises(ContentError, match="a needs b needs c needs a"):
        check_dependencies(packages, origin="packages.yaml")


def test_an_older_version_that_needs_what_needs_it_no_longer_is_no_circle() -> None:
    check_dependencies((package("a", (), ("b",)), package("b", ())), origin="packages.yaml")
    with pytest.raises(ContentError, match="a needs b needs a"):
        check_dependencies((package("a", (), ("b",)), package("b", ("a",))), origin="packages.yaml")
