"""An upstream and a target on loopback, and the operations between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
