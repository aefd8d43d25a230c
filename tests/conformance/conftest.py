"""Which registry is tested: ``bundlectl serve`` as a process, or the one that is named.

``BUNDLECTL_CONFORMANCE_REGISTRY=http://127.0.0.1:5000 pytest tests/conformance`` tests another one,
from which nothing is expected that the specification leaves open.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from mirror.layout import Store
from tests.conformance.driver import Registry, Repository
from tests.interop.programs import embedded_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = "BUNDLECTL_CONFORMANCE_REGISTRY"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    other = os.environ.get(OTHER)
    if other:
        yield Registry(other, strict=False)
        return
    folder = tmp_path_factory.mktemp("conformance")
    Store.open(folder / "store", create=True).close()
    with embedded_registry(folder, folder / "store") as host:
        yield Registry(f"http://{host}", strict=True)
    with Store.open(folder / "store") as store:
        assert [problem for problem in store.verify() if problem.kind == "different"] == []


@pytest.fixture
def repository(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """A repository of the test's own, that does not exist yet."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.lower()).strip("-")
    return Repository(registry, f"conformance/{words[:80].rstrip('-')}/{uuid.uuid4().hex[:12]}")


@pytest.fixture
def other(repository: Repository) -> Repository:
    """Another repository of the same registry."""
    return Repository(repository.registry, f"{repository.name}/other")
