from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError, TransportError
from mirror.layout import Store
from mirror.layout.blobs import PartialBlob
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCTET_STREAM

if TYPE_CHECKING:
    from pathlib import Path


Openers = Callable[..., Callable[[], io.BytesIO]]
DATA = bytes(range(256)) * 20_000


def descriptor_of(data: bytes, **annotations: str) -> Descriptor:
    return Descriptor(OCTET_STREAM, Digest.of(data), len(data), annotations=annotations)


def begin(store: Store, descriptor: Descriptor) -> PartialBlob:
    upload = store.begin_blob(descriptor)
    assert isinstance(upload, PartialBlob)
    return upload


def partials(store: Store) -> list[Path]:
    return list((store.path / "bundlectl" / "partial").iterdir())


def cut(store: Store, descriptor: Descriptor, data: bytes) -> None:
    upload = begin(store, descriptor)
    with pytest.raises(TransportError) as raised:
        upload.write(lambda: io.BytesIO(data))
    assert raised.value.retryable
    upload.cancel()


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_a_blob_arrives(store: Store, opener_of: Openers, data: bytes) -> None:
    descriptor = descriptor_of(data)
    upload = begin(store, descriptor)
    assert upload.offset() == 0
    upload.write(opener_of(data))
    upload.cancel()
    assert store.blob_path(descriptor.digest).read_bytes() == data
    assert store.size(descriptor.digest) == len(data)
    assert store.begin_blob(descriptor) == "present"
    assert partials(store) == []


def test_a_sha512_blob_arrives(store: Store, opener_of: Openers) -> None:
    descriptor = Descriptor(OCTET_STREAM, Digest.of(DATA, "sha512"), len(DATA))
    begin(store, descriptor).write(opener_of(DATA))
    assert store.blob_path(descriptor.digest).parent.name == "sha512"


def test_a_cut_download_resumes_where_it_stopped(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    cut(store, descriptor, DATA[:1_500_000])
    assert store.size(descriptor.digest) is None
    upload = begin(store, descriptor)
    assert upload.offset() == 1_500_000
    upload.write(opener_of(DATA, 1_500_000))
    assert store.size(descriptor.digest) == len(DATA)


def test_a_retry_of_the_same_upload_goes_on(store: Store, opener_of: Openers) -> None:
    upload = begin(store, descriptor_of(DATA))
    with pytest.raises(TransportError):
        upload.write(opener_of(DATA[:100]))
    assert upload.offset() == 100
    upload.write(opener_of(DATA, 100))
    assert store.size(Digest.of(DATA)) == len(DATA)


def test_a_complete_partial_is_checked_without_asking_the_source(store: Store) -> None:
    descriptor = descriptor_of(DATA)
    (store.path / "bundlectl" / "partial" / f"sha256-{descriptor.digest.encoded}").write_bytes(DATA)
    upload = begin(store, descriptor)

    def opener() -> io.BytesIO:
        pytest.fail("the source was asked")

    upload.write(opener)
    assert store.size(descriptor.digest) == len(DATA)


def test_a_wrong_blob_is_never_visible(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    upload = begin(store, descriptor)
    with pytest.raises(ContentError, match="digest") as raised:
        upload.write(opener_of(b"y" * len(DATA)))
    assert not raised.value.retryable
    assert raised.value.artifact == str(descriptor.digest)
    assert store.size(descriptor.digest) is None
    assert partials(store) == []


def test_a_longer_blob_is_refused(store: Store, opener_of: Openers) -> None:
    with pytest.raises(ContentError, match="longer"):
        begin(store, descriptor_of(DATA)).write(opener_of(DATA + b"z"))
    assert partials(store) == []


def test_a_damaged_partial_starts_over_once(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    cut(store, descriptor, b"y" * 1000)
    upload = begin(store, descriptor)
    with pytest.raises(ContentError) as raised:
        upload.write(opener_of(DATA, 1000))
    assert raised.value.retryable
    assert upload.offset() == 0
    upload.write(opener_of(DATA))
    assert store.size(descriptor.digest) == len(DATA)


def test_wrong_content_after_starting_over_is_final(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    cut(store, descriptor, b"y" * 1000)
    upload = begin(store, descriptor)
    with pytest.raises(ContentError):
        upload.write(opener_of(DATA, 1000))
    with pytest.raises(ContentError) as raised:
        upload.write(opener_of(b"y" * len(DATA)))
    assert not raised.value.retryable
    with pytest.raises(StoreError):
        upload.write(opener_of(DATA))


def test_a_partial_that_is_too_long_starts_over(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(b"short")
    (store.path / "bundlectl" / "partial" / f"sha256-{descriptor.digest.encoded}").write_bytes(DATA)
    upload = begin(store, descriptor)
    assert upload.offset() == 0
    upload.write(opener_of(b"short"))


def test_a_stated_sha512_is_checked_too(store: Store, opener_of: Openers) -> None:
    good = descriptor_of(DATA, **{SHA512_ANNOTATION: hashlib.sha512(DATA).hexdigest()})
    bad = descriptor_of(DATA, **{SHA512_ANNOTATION: "0" * 128})
    with pytest.raises(ContentError, match="sha512"):
        begin(store, bad).write(opener_of(DATA))
    assert store.size(bad.digest) is None
    cut(store, good, DATA[:777])
    begin(store, good).write(opener_of(DATA, 777))
    assert store.size(good.digest) == len(DATA)


def test_a_cancelled_upload_that_got_nothing_leaves_nothing(store: Store) -> None:
    upload = begin(store, descriptor_of(DATA))
    upload.cancel()
    upload.cancel()
    assert partials(store) == []


def test_a_second_thread_waits_and_finds_the_blob_present(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    upload = begin(store, descriptor)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(store.begin_blob(descriptor)))
    waiting.start()
    waiting.join(0.1)
    assert found == []
    upload.write(opener_of(DATA))
    waiting.join()
    assert found == ["present"]
    assert partials(store) == []


def test_a_second_thread_takes_over_what_the_first_gave_up(store: Store, opener_of: Openers) -> None:
    descriptor = descriptor_of(DATA)
    upload = begin(store, descriptor)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(store.begin_blob(descriptor)))
    waiting.start()
    with pytest.raises(TransportError):
        upload.write(opener_of(DATA[:10]))
    upload.cancel()
    waiting.join()
    (second,) = found
    assert isinstance(second, PartialBlob)
    assert second.offset() == 10
    second.write(opener_of(DATA, 10))


@pytest.mark.parametrize("how", ["interrupt", "cancelled"])
def test_a_wait_can_be_interrupted(path: Path, how: str) -> None:
    cancelled = threading.Event()
    descriptor = descriptor_of(DATA)
    store = Store.open(path, create=True, cancelled=cancelled)
    upload = begin(store, descriptor)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            store.begin_blob(descriptor)
        except InterruptError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    (store.interrupt if how == "interrupt" else cancelled.set)()
    waiting.join()
    assert len(caught) == 1
    upload.cancel()
    store.close()


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "size"])
def test_what_is_no_regular_file_of_the_right_size_is_not_the_blob(
    store: Store, tmp_path: Path, opener_of: Openers, kind: str
) -> None:
    descriptor = descriptor_of(DATA)
    path = store.blob_path(descriptor.digest)
    (tmp_path / "elsewhere").write_bytes(DATA)
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"less")
    repository = store.repository("a.example/x")
    assert not repository.has(descriptor)
    with pytest.raises(ContentError):
        repository.open_blob(descriptor)
    upload = begin(store, descriptor)
    if kind == "directory":
        with pytest.raises(StoreError):
            upload.write(opener_of(DATA))
        return
    upload.write(opener_of(DATA))
    assert not path.is_symlink()
    assert path.read_bytes() == DATA
    assert (tmp_path / "elsewhere").read_bytes() == DATA


def test_a_linked_partial_is_not_followed(store: Store, tmp_path: Path) -> None:
    descriptor = descriptor_of(DATA)
    (tmp_path / "victim").write_bytes(b"precious")
    (store.path / "bundlectl" / "partial" / f"sha256-{descriptor.digest.encoded}").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        store.begin_blob(descriptor)
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("encoded", ["../../../etc/passwd", "a" * 63, "A" * 64, ""])
def test_a_digest_that_is_none_never_becomes_a_path(store: Store, encoded: str) -> None:
    digest = Digest("sha256", encoded)
    for attempt in (store.blob_path, store.size, store.open_blob, store.discard, store.touch):
        with pytest.raises(ContentError):
            attempt(digest)


def test_reading_from_an_offset_and_in_pieces(store: Store) -> None:
    digest = store.put(DATA)
    with store.open_blob(digest, 5) as reader:
        assert reader.read(3) == DATA[5:8]
        assert reader.read() == DATA[8:]
        assert reader.read(10) == b""
        assert reader.size == len(DATA)
        assert reader.fileno() >= 0
    reader.close()


def test_an_absent_blob_is_missing(store: Store) -> None:
    with pytest.raises(MissingError) as raised:
        store.open_blob(Digest.of(b"nothing"))
    assert raised.value.hint


def test_put_checks_the_digest_and_replaces_what_is_damaged(store: Store) -> None:
    digest = store.put(b"content")
    store.blob_path(digest).write_bytes(b"cOntent")
    assert store.put(b"content", expected=digest) == digest
    assert store.blob_path(digest).read_bytes() == b"content"
    with pytest.raises(ContentError):
        store.put(b"other", expected=digest)


def test_a_discarded_blob_is_fetched_anew(store: Store) -> None:
    digest = store.put(b"content")
    store.discard(digest)
    store.discard(digest)
    assert store.size(digest) is None


def test_a_full_disk_keeps_what_arrived(store: Store, opener_of: Openers, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = descriptor_of(DATA)
    upload = begin(store, descriptor)
    real, room = os.write, [1_200_000]

    def write(target: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        written = real(target, memoryview(data)[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        with pytest.raises(StoreError, match="No space left") as raised:
            upload.write(opener_of(DATA))
    assert "free some space" in str(raised.value.hint)
    upload.cancel()
    again = begin(store, descriptor)
    assert again.offset() == 1_200_000
    again.write(opener_of(DATA, 1_200_000))
    assert store.size(descriptor.digest) == len(DATA)


def test_a_failed_fsync_never_makes_a_blob_visible(
    store: Store, opener_of: Openers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    descriptor = descriptor_of(DATA)
    upload = begin(store, descriptor)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError) as raised:
            upload.write(opener_of(DATA))
    assert "disk" in str(raised.value.hint)
    assert store.size(descriptor.digest) is None
    assert partials(store) == []


def test_touching_a_blob_tells_its_size_and_that_it_is_wanted(store: Store) -> None:
    digest = store.put(b"content")
    path = store.blob_path(digest)
    os.utime(path, (1, 1))
    assert store.touch(digest) == 7
    touched = path.stat().st_mtime_ns
    assert touched > 10**18
    assert store.touch(digest, within=3600) == 7
    assert path.stat().st_mtime_ns == touched
    assert store.touch(Digest.of(b"absent")) is None


def test_touching_never_follows_a_link(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    os.utime(victim, (1, 1))
    digest = Digest.of(b"linked")
    store.blob_path(digest).symlink_to(victim)
    assert store.touch(digest) is None
    assert victim.stat().st_mtime == 1


def test_touching_changes_nothing_on_a_read_only_medium(store: Store) -> None:
    digest = store.put(b"content")
    path = store.blob_path(digest)
    os.utime(path, (1, 1))
    with Store.open(store.path, read_only=True) as reader:
        assert reader.touch(digest) == 7
    assert path.stat().st_mtime == 1


def test_a_blob_takes_the_place_of_a_link(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    digest = Digest.of(b"content")
    store.blob_path(digest).symlink_to(victim)
    assert store.put(b"content") == digest
    assert not store.blob_path(digest).is_symlink()
    assert victim.read_bytes() == b"precious"
