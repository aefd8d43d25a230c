from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, StoreError, TransportError
from mirror.layout import Store
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 10_000


class CutReader(io.BytesIO):
    """Gives what it has, then breaks."""

    def read(self, size: int | None = -1, /) -> bytes:
        if block := super().read(size):
            return block
        raise TransportError("the client went away", retryable=True)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_upload_in_pieces_becomes_a_blob(store: Store, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    session = store.begin_session()
    assert store.append(session, io.BytesIO(DATA[:1000]), at=0) == 1000
    assert store.session_size(session) == 1000
    assert store.append(session, io.BytesIO(DATA[1000:])) == len(DATA)
    assert store.finish(session, digest) == len(DATA)
    assert store.blob_path(digest).read_bytes() == DATA
    with pytest.raises(MissingError):
        store.session_size(session)


def test_an_upload_goes_on_in_another_process(store: Store, path: Path) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(DATA[:1000]))
    with Store.open(path) as other:
        other.append(session, io.BytesIO(DATA[1000:2000]))
    store.append(session, io.BytesIO(DATA[2000:]))
    store.finish(session, Digest.of(DATA))
    assert store.size(Digest.of(DATA)) == len(DATA)


def test_what_arrived_before_a_cut_stays(store: Store) -> None:
    session = store.begin_session()
    with pytest.raises(TransportError):
        store.append(session, CutReader(DATA[:700]))
    assert store.session_size(session) == 700
    store.append(session, io.BytesIO(DATA[700:]), at=700)
    store.finish(session, Digest.of(DATA))


def test_appending_elsewhere_is_refused(store: Store) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(b"12345"))
    with pytest.raises(ContentError, match="stands at 5"):
        store.append(session, io.BytesIO(b"6"), at=4)
    assert store.session_size(session) == 5


def test_a_wrong_digest_drops_the_upload(store: Store) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(DATA))
    with pytest.raises(ContentError, match="nothing was stored"):
        store.finish(session, Digest.of(b"other"))
    assert store.size(Digest.of(b"other")) is None
    store.abort(session)
    with pytest.raises(MissingError):
        store.finish(session, Digest.of(DATA))


def test_an_aborted_upload_is_gone(store: Store, path: Path) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(DATA))
    store.abort(session)
    store.abort(session)
    assert list((path / "bundlectl" / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "..", "../store.json", "x" * 32, "/etc/passwd", "A" * 32, "0" * 32, "0" * 31 + "\n"]
)
def test_a_name_that_is_no_session_is_missing(store: Store, path: Path, name: str) -> None:
    for attempt in (
        lambda: store.session_size(name),
        lambda: store.append(name, io.BytesIO(b"x")),
        lambda: store.finish(name, Digest.of(b"")),
    ):
        with pytest.raises(MissingError):
            attempt()
    store.abort(name)
    assert (path / "bundlectl" / "store.json").exists()


def test_a_linked_session_is_not_followed(store: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (path / "bundlectl" / "uploads" / ("0" * 32)).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        store.append("0" * 32, io.BytesIO(b"x"))
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_two_requests_do_not_write_to_one_upload(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._sessions, "_patience", 0.1)
    session = store.begin_session()
    reading, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reading.set()
            go_on.wait()
            return super().read(size)

    writing = threading.Thread(target=store.append, args=(session, Slow(b"slow")))
    writing.start()
    reading.wait()
    with pytest.raises(StoreError, match="another request") as raised:
        store.append(session, io.BytesIO(b"fast"))
    assert raised.value.retryable
    go_on.set()
    writing.join()
    assert store.finish(session, Digest.of(b"slow")) == 4


def test_a_second_request_waits_for_the_first_to_end_even_in_another_process(store: Store, path: Path) -> None:
    session = store.begin_session()
    reading = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if not reading.is_set():
                reading.set()
                time.sleep(0.3)
            return super().read(size)

    with Store.open(path) as other:
        writing = threading.Thread(target=other.append, args=(session, Slow(b"first,")))
        writing.start()
        reading.wait()
        assert store.append(session, io.BytesIO(b" second"), at=6) == 13
        writing.join()
    assert store.finish(session, Digest.of(b"first, second")) == 13


def test_a_request_that_waited_for_the_last_one_finds_the_upload_over(store: Store, path: Path) -> None:
    session = store.begin_session()
    reading, ended = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reading.set()
            ended.wait()
            return super().read(size)

    with Store.open(path) as other:
        writing = threading.Thread(target=other.append, args=(session, Slow(b"")))
        writing.start()
        reading.wait()
        upload = path / "bundlectl" / "uploads" / session

        def end() -> None:
            upload.rename(path / "bundlectl" / "tmp" / session)
            ended.set()

        threading.Timer(0.2, end).start()
        with pytest.raises(MissingError):
            store.append(session, io.BytesIO(b"late"))
        writing.join()
    assert (path / "bundlectl" / "tmp" / session).read_bytes() == b""


@pytest.mark.parametrize("expected", ["sha256", "sha512"])
@pytest.mark.parametrize("told", ["sha256", "sha512"])
def test_an_upload_ends_under_whichever_algorithm(store: Store, expected: str, told: str) -> None:
    session = store.begin_session(expected)
    store.append(session, io.BytesIO(DATA))
    assert store.finish(session, Digest.of(DATA, told)) == len(DATA)


def test_a_registry_that_never_ends_its_uploads_does_not_remember_them_all(store: Store) -> None:
    sessions = [store.begin_session() for _ in range(1100)]
    assert len(store._sessions._running) <= 1024
    store.append(sessions[0], io.BytesIO(DATA))
    assert store.finish(sessions[0], Digest.of(DATA)) == len(DATA)
