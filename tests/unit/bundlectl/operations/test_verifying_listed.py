"""A signature that nobody can find is none: a registry must list it, not only have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.operations import verify_registry
from mirror.remote.referrers import fallback_tag
from registry_fixtures.features import Features
from tests.unit.bundlectl.operations.carrying import NOW, Carrier
from tests.unit.bundlectl.operations.signed import attach_bundle, bundle, push_image
from tests.unit.bundlectl.operations.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served


@pytest.fixture
def site(upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path) -> Iterator[Site]:
    """Its target has no referrers API."""
    with Site(upstream_served, registry_factory(features=Features(referrers_api=False)), tmp_path) as place:
        yield place


@pytest.mark.parametrize("remembering", [True, False])
def test_a_signature_that_a_registry_no_longer_lists_is_found_and_listed_again(
    site: Site, tmp_path: Path, *, remembering: bool
) -> None:
    site.memory = tmp_path / "state" if remembering else None
    carrier = Carrier(site)
    with site.session() as session:
        repository = session.target(site.target.host).repository("signed/image")
        image = push_image(repository)
        attach_bundle(repository, image, bundle(image.digest))
    lock = site.lock_file(f"image:{site.target.host}/signed/image:v1")
    carrier.export(lock, issued=NOW)
    assert carrier.push().exit_code == 0
    held = site.target.holdings.repository("eks/signed/image")
    tag = fallback_tag(image.digest)
    before = held.tags.pop(tag)
    with site.session() as session:
        report = verify_registry(site.naming, against=lock, deep=False, session=session)
    assert [finding.kind for finding in report.findings] == ["missing"]
    assert "does not list" in report.findings[0].message
    assert carrier.push().exit_code == 0
    assert held.tags[tag] == before
