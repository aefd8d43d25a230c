"""An upstream and a target on loopback, and the operations between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_fixtures.faults import Fault, Refuse
from tests.unit.bundlectl.operations.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served


@pytest.fixture
def site(upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path) -> Iterator[Site]:
    """The upstream of the samples, an empty target and an empty folder."""
    with Site(upstream_served, registry_factory(), tmp_path) as place:
        yield place


@pytest.fixture
def held(site: Site) -> str:
    """A store with the whole release, upstream being out of reach."""
    assert site.download("eks-a:v0.24.1").exit_code == 0
    site.source.faults.add(Fault(Refuse(503), path="*"))
    return f"store:{site.store}"
