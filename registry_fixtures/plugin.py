"""The house's pytest plugin: registries, an upstream and the shared documents, as fixtures.

Registered under ``pytest11``, so it is imported by every pytest run: nothing heavy at the top.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.accounts import Accounts
    from registry_fixtures.faults import FaultPlan
    from registry_fixtures.features import Features
    from registry_fixtures.harbor import HarborFixture, LoginPace, Settings
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served, Upstream

__all__ = ["harbor", "harbor_factory", "registry", "registry_factory", "shared_data", "upstream", "upstream_served"]


@pytest.fixture
def registry_factory() -> Iterator[Callable[..., ServedRegistry]]:
    """Start registries on loopback, by keyword: ``features``, ``accounts``, ``faults``, ``tls``."""
    from registry_fixtures.registry import Registry  # noqa: PLC0415

    with contextlib.ExitStack() as stack:

        def start(
            *,
            features: Features | None = None,
            accounts: Accounts | None = None,
            faults: FaultPlan | None = None,
            tls: tuple[Path, Path] | None = None,
        ) -> ServedRegistry:
            made = Registry(features=features, accounts=accounts, faults=faults)
            stack.callback(made.holdings.depot.close)
            return stack.enter_context(made.serve(tls=tls))

        yield start


@pytest.fixture
def registry(registry_factory: Callable[..., ServedRegistry]) -> ServedRegistry:
    """An empty registry on loopback, strict and complete; ``registry.host`` says where."""
    return registry_factory()


@pytest.fixture
def harbor_factory() -> Iterator[Callable[..., HarborFixture]]:
    """Start Harbors on loopback, by keyword: ``settings``, ``pace``, ``faults``, ``tls``; logins take no time."""
    from registry_fixtures.harbor import HarborFixture, LoginPace  # noqa: PLC0415

    with contextlib.ExitStack() as stack:

        def start(
            *,
            settings: Settings | None = None,
            pace: LoginPace | None = None,
            faults: FaultPlan | None = None,
            tls: tuple[Path, Path] | None = None,
        ) -> HarborFixture:
            pace = pace or LoginPace(human=0, lock=0)
            return stack.enter_context(HarborFixture(settings=settings, pace=pace, faults=faults, tls=tls))

        yield start


@pytest.fixture
def harbor(harbor_factory: Callable[..., HarborFixture]) -> HarborFixture:
    """A Harbor on loopback that holds an administrator and nothing else; ``harbor.host`` says where."""
    return harbor_factory()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """What the sample documents name, made up once; not served, and not to be changed."""
    from registry_fixtures.samples import sample_documents  # noqa: PLC0415
    from registry_fixtures.upstream import Upstream  # noqa: PLC0415

    with Upstream.synthesise(sample_documents()) as made:
        yield made


@pytest.fixture
def upstream_served(upstream: Upstream) -> Iterator[Served]:
    """The upstream of the samples on loopback, with a request log and faults of this test's own."""
    with upstream.serve() as served:
        yield served


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real AWS documents beside the repository; skips without it, but fails in CI."""
    folder = pytestconfig.rootpath.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("shared/data is not beside the repository, and CI must have it")
        pytest.skip("shared/data, the real documents, is not beside the repository")
    return folder
