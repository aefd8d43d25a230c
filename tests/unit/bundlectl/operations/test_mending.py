"""``download`` again: what a store lost, or does not know yet, is not "up to date"."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import InterruptError, StoreError, UsageError
from bundlectl.operations import Session, downloading
from bundles.plan import upstream_name
from mirror.layout import Store
from tests.unit.bundles.signed_documents import BY_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from bundles.lock import LockedArtifact
    from mirror.oci.digest import Digest
    from tests.unit.bundlectl.operations.site import Site

PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"


def pause(site: Site) -> LockedArtifact:
    return site.lock(f"image:{PAUSE}").artifacts[0]


def lose(store: Path, digest: Digest) -> None:
    with Store.open(store, read_only=True) as kept:
        kept.blob_path(digest).unlink()


def test_a_store_that_lost_the_manifest_under_a_tag_is_mended(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    lose(site.store, pause(site).digest)
    assert site.verify_store().exit_code == 4
    assert site.download(f"image:{PAUSE}").artifacts_done == 1
    assert site.verify_store().findings == []


def test_a_store_that_lost_any_manifest_or_blob_of_a_signature_is_mended(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    referrers = pause(site).referrers
    lost = {digest for item in referrers for digest in (*item.manifests, *item.blobs)}
    assert lost
    for digest in lost:
        lose(site.store, digest)
        assert site.download(f"image:{PAUSE}").artifacts_done == 1
        assert site.verify_store().findings == []


def test_a_truncated_manifest_is_mended(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    with Store.open(site.store) as kept:
        kept.blob_path(pause(site).digest).write_bytes(b"{}")
    assert site.download(f"image:{PAUSE}").artifacts_done == 1
    assert site.verify_store().findings == []


def test_a_better_trust_is_recorded_though_the_content_is_there(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    lock = site.signed_lock(f"image:{PAUSE}")
    assert site.download(lock, belief=BY_KEY).artifacts_done == 1
    with Store.open(site.store, read_only=True) as kept:
        assert {ref.trust for ref in kept.refs() if str(ref) == PAUSE} == {"signed"}
    assert site.download(lock, belief=BY_KEY).artifacts_skipped == 1
    assert site.download(f"image:{PAUSE}").artifacts_skipped == 1


def test_a_referrer_whose_bytes_are_there_but_which_no_log_names_is_recorded(site: Site, tmp_path: Path) -> None:
    item = pause(site)
    untagged = {referrer.digest for referrer in item.referrers if not referrer.tag}
    assert untagged
    whole = tmp_path / "whole"
    site.download(f"image:{PAUSE}", store=whole)
    site.download(f"image:{PAUSE}", referrers=False)
    with Store.open(site.store) as kept, Store.open(whole, read_only=True) as other:
        for digest in item.all_digests():
            with other.open_blob(digest) as reader:
                kept.put(reader.read())
    assert site.download(f"image:{PAUSE}").artifacts_done == 1
    with Store.open(site.store, read_only=True) as kept:
        name = upstream_name(PAUSE)[0]
        subjects = (*item.manifests, *(referrer.digest for referrer in item.referrers))
        found = {ref.descriptor.digest for digest in subjects for ref in kept.referrers(name, digest)}
    assert untagged <= found


def test_a_blob_that_is_half_there_is_not_asked_of_the_disk_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.put_file("big.bin", b"b" * 1_000_000)
    lock = site.lock_file(f"file:{url}")
    digest = next(item for item in site.lock(f"file:{url}").artifacts).digest
    with Store.open(site.store, create=True) as kept:
        partial = kept.path / "bundlectl" / "partial" / f"sha256-{digest.encoded}"
        partial.write_bytes(b"b" * 900_000)
    free = downloading._MARGIN + 200_000
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert site.download(lock).exit_code == 0
    with pytest.raises(StoreError, match="needs"):
        site.download(lock, store=tmp_path / "another")


def test_a_disk_that_fills_up_while_a_file_is_measured_ends_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.put_file("unstated.bin", b"content")

    def full(*_: object, **__: object) -> int:
        raise StoreError("cannot write it: No space left on device", hint="free some space")

    monkeypatch.setattr(Store, "append", full)
    with pytest.raises(StoreError, match="No space"):
        site.download(f"file:{url}")
    assert list((site.store / "bundlectl" / "uploads").iterdir()) == []


def test_a_name_that_no_collection_can_have_is_refused_before_anything_is_fetched(site: Site) -> None:
    with pytest.raises(UsageError, match="a/b"):
        site.download(f"image:{PAUSE}", name="a/b")
    assert site.source.requests.count() == 0
    assert not site.store.exists()


def test_a_session_that_was_cancelled_opens_no_connection_that_works(site: Site) -> None:
    with Session() as session:
        session.cancel()
        with pytest.raises(InterruptError):
            session.client.fetch(site.source.cdn_url, limit=10)
