from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from mirror.layout import Store
from mirror.server.limits import Limits, StoreGuard

if TYPE_CHECKING:
    from pathlib import Path


def test_an_upload_that_got_nothing_for_an_hour_does_not_count_as_open(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        sessions = [store.begin_session() for _ in range(3)]
        guard = StoreGuard(store.path, Limits())
        assert guard.sessions() == 3
        earlier = time.time() - 3700
        os.utime(store.path / "bundlectl" / "uploads" / sessions[0], (earlier, earlier))
        assert guard.sessions() == 2


def test_a_store_that_is_gone_has_an_ailment_and_no_open_uploads(tmp_path: Path) -> None:
    guard = StoreGuard(tmp_path / "absent", Limits())
    assert guard.sessions() == 0
    assert guard.free_bytes() is None
    assert guard.ailment(writable=False) == "the store cannot be read: No such file or directory"


def test_a_read_only_store_need_not_be_written_to_be_well(tmp_path: Path) -> None:
    Store.open(tmp_path / "store", create=True).close()
    (tmp_path / "store" / "bundlectl" / "tmp").rmdir()
    guard = StoreGuard(tmp_path / "store", Limits())
    assert guard.ailment(writable=False) is None
