"""What an archive consists of follows from the lock: each blob once, in the order that costs least when one is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import MissingError
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.packing import Packing
from bundlectl.operations.rooting import Rooting
from mirror.oci.digest import Digest
from tests.unit.bundlectl.operations.carrying import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from tests.unit.bundlectl.operations.site import Site

NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def session(site: Site) -> Iterator[Session]:
    with site.session() as session:
        yield session


@pytest.fixture
def packed(site: Site, session: Session) -> Iterator[tuple[Lock, Packing]]:
    request = site.request("eks-d:1-33", "packages:1-33", include=SMALL)
    locked = lock_sources(request, session=session)
    with Rooting(locked, session) as rooting:
        yield locked.lock, Packing.of(locked.lock, rooting, session)


def index_of(packing: Packing, *present: Digest) -> list[dict[str, object]]:
    _, made = packing.members(present)
    (raw,) = [data for data in made.values() if b'"manifests"' in data]
    return list(json.loads(raw)["manifests"])


def test_members_are_the_layouts_files_and_every_digest_of_the_lock_once(packed: tuple[Lock, Packing]) -> None:
    lock, packing = packed
    members, made = packing.members()
    assert [member.name for member in members[:2]] == ["oci-layout", "index.json"]
    assert all(Digest.of(made[member.digest]) == member.digest for member in members[:2])
    blobs = [member.digest for member in members[2:]]
    assert len(blobs) == len(set(blobs))
    assert set(lock.blobs) | {item.digest for item in lock.manifests} <= set(blobs)
    assert all(member.size == lock.blobs.get(member.digest, member.size) for member in members[2:])
    assert packing.sizes() == {member.digest: member.size for member in members[2:]}


def test_an_artifacts_manifests_come_before_its_blobs_and_its_referrers_last(packed: tuple[Lock, Packing]) -> None:
    lock, packing = packed
    order = list(packing.contents)
    taken: set[Digest] = set()
    position = 0
    for artifact in sorted(lock.artifacts, key=lambda item: item.identity):
        wanted = [*artifact.manifests, *artifact.blobs]
        for referrer in artifact.referrers:
            wanted += [*referrer.manifests, *referrer.blobs]
        fresh = [digest for digest in dict.fromkeys(wanted) if digest not in taken]
        assert order[position : position + len(fresh)] == fresh
        position += len(fresh)
        taken.update(fresh)


def test_what_a_site_has_is_left_out_of_members_and_of_the_index(packed: tuple[Lock, Packing]) -> None:
    lock, packing = packed
    image = next(item for item in lock.artifacts if item.type == "image")
    members, _ = packing.members({image.digest})
    assert image.digest not in {member.digest for member in members}
    assert image.reference in {entry["annotations"][NAME] for entry in index_of(packing) if "annotations" in entry}  # type: ignore[index]
    assert str(image.digest) not in {entry["digest"] for entry in index_of(packing, image.digest)}


def test_everything_that_is_opened_is_what_its_digest_says(packed: tuple[Lock, Packing], session: Session) -> None:
    _, packing = packed
    for digest, content in packing.contents.items():
        with packing.open(digest, session) as reader:
            data = reader.read()
        assert (Digest.of(data, digest.algorithm), len(data)) == (digest, content.member.size)


def test_a_blob_that_the_source_has_not_is_told_when_it_is_opened(
    site: Site, packed: tuple[Lock, Packing], session: Session
) -> None:
    lock, packing = packed
    image = next(item for item in lock.artifacts if item.type == "image")
    holdings = site.source.registry.holdings
    digest = image.blobs[-1]
    for name in holdings.names():
        holdings.repository(name).blobs.discard(digest)
    with pytest.raises(MissingError, match=digest.encoded), packing.open(digest, session):
        pass
