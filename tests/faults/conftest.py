"""A small release, locked once, and what was made from it on one side of a gap."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bundlectl.operations import Connection, Session, SourceRequest, download, lock
from bundles.belief import Belief
from tests.faults.field import upstream_request
from tests.faults.gap import Gap
from tests.faults.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_fixtures.upstream import Upstream


@pytest.fixture(scope="session")
def locked(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock of the EKS-D release and the package bundle of the samples."""
    out = tmp_path_factory.mktemp("locked") / "bundle.lock.json"
    with upstream.serve() as served, Session(Connection(origins=served.origin_map)) as session:
        out.write_bytes(lock(upstream_request(), session=session).to_bytes())
    return out


@pytest.fixture(scope="session")
def gap(upstream: Upstream, locked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gap]:
    """A store with that lock's content and a file larger than a volume, a key pair, and an undisturbed export."""
    folder = tmp_path_factory.mktemp("gap")
    with upstream.serve() as served:
        served.cdn.put("/files.example/large.tar.gz", random.Random(6).randbytes(150_000))
        origins = {**served.origin_map, "https://files.example": f"{served.cdn_url}/files.example"}
        sources = (str(locked), "file:https://files.example/large.tar.gz")
        request = SourceRequest(sources=sources, belief=Belief(mode="off"))
        with Session(Connection(origins=origins)) as session:
            done = download(request, store=folder / "store", session=session, name="release")
        assert done.exit_code == 0
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "transfer.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "transfer.key").chmod(0o600)
    (folder / "transfer.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with Zygote(folder) as zygote:
        made = Gap(folder, zygote)
        ran = made.export(made.whole)
        assert ran.code == 0, ran.err
        assert len(list(made.whole.glob("*.tar"))) > 4
        yield made
