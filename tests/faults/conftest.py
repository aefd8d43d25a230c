"""A small release, locked once, and what has to hold after every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.operations import Connection, Session, lock
from tests.faults.field import upstream_request

if TYPE_CHECKING:
    from pathlib import Path

    from registry_fixtures.upstream import Upstream


@pytest.fixture(scope="session")
def locked(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock of the EKS-D release and the package bundle of the samples."""
    out = tmp_path_factory.mktemp("locked") / "bundle.lock.json"
    with upstream.serve() as served, Session(Connection(origins=served.origin_map)) as session:
        out.write_bytes(lock(upstream_request(), session=session).to_bytes())
    return out
