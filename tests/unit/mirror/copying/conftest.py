"""Two registries on loopback and the parts between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.http import HttpClient, Transport
from tests.unit.mirror.copying.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_fixtures.registry import ServedRegistry


@pytest.fixture
def bench(registry_factory: Callable[..., ServedRegistry]) -> Iterator[Bench]:
    """An empty source and an empty target, and a client whose retries are quick."""
    with HttpClient(Transport(retries=1, backoff=0.001, max_wait=0.01)) as client:
        yield Bench(registry_factory, client)
