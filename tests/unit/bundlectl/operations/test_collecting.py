"""``store gc`` beside other commands, and after them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from bundlectl.errors import StoreError
from bundlectl.operations import collect_garbage, store_stats

if TYPE_CHECKING:
    from tests.unit.bundlectl.operations.site import Site

SOURCES = ("eks-d:1-33", "packages:1-33")


def test_a_download_beside_gc_without_grace_loses_nothing(site: Site) -> None:
    ended = threading.Event()
    runs: list[int] = []

    def collect() -> None:
        while not ended.is_set():
            try:
                runs.append(len(collect_garbage(site.store, grace=0).removed))
            except StoreError:
                ended.wait(0.01)  # the download has not made the store yet

    collecting = threading.Thread(target=collect)
    collecting.start()
    try:
        report = site.download(*SOURCES, name="release")
    finally:
        ended.set()
        collecting.join()
    assert report.failed == []
    assert runs
    assert site.verify_store().exit_code == 0


def test_everything_that_a_download_brought_is_named(site: Site) -> None:
    site.download(*SOURCES, name="release")
    time.sleep(0.02)
    assert collect_garbage(site.store, grace=0).removed == ()
    assert store_stats(site.store).unreferenced_blobs == 0


def test_names_alone_keep_what_a_download_brought(site: Site) -> None:
    site.download(*SOURCES, name="release")
    (site.store / "bundlectl" / "collections" / "release.json").rename(site.store / "lock")
    before = store_stats(site.store).blobs
    time.sleep(0.02)
    assert collect_garbage(site.store, grace=0).removed == ()
    assert store_stats(site.store).blobs == before
