"""Work on a thread, the main thread waiting for signals."""

from __future__ import annotations

import threading

import pytest

from bundlectl.cli.console import Console
from bundlectl.cli.running import run_interruptibly
from bundlectl.cli.writing import write_result
from bundlectl.errors import ContentError, InterruptError, StoreError


def test_the_result_and_the_error_of_the_work_come_through() -> None:
    assert run_interruptibly(lambda: 7, cancel=lambda: None) == 7

    def fail() -> None:
        raise ContentError("wrong")

    with pytest.raises(ContentError, match="wrong"):
        run_interruptibly(fail, cancel=lambda: None)


def test_ctrl_c_asks_the_work_to_end_and_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ended = threading.Event(), threading.Event()

    def work() -> None:
        asked.wait()
        ended.set()

    waits: list[float | None] = []
    plain = threading.Event.wait

    def wait(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            waits.append(timeout)
            if len(waits) == 2:  # the first is Thread.start waiting for the thread
                raise KeyboardInterrupt
        return plain(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait)
    with pytest.raises(InterruptError) as raised:
        run_interruptibly(work, cancel=asked.set)
    assert ended.is_set()
    assert raised.value.exit_code == 130
    assert "resumes" in (raised.value.hint or "")


def test_a_file_is_written_whole_or_not_at_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out")
    out = folder / "bundle.lock.json"
    out.write_text("earlier")
    write_result(Console(quiet=True), str(out), b"new")
    assert out.read_bytes() == b"new"
    assert [path.name for path in folder.iterdir()] == ["bundle.lock.json"]
    with pytest.raises(StoreError) as raised:
        write_result(Console(quiet=True), str(folder / "absent" / "x"), b"new")
    assert str(folder / "absent" / "x") in str(raised.value)


def test_a_dash_is_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_result(Console(), "-", b'{"a":1}')
    assert capsysbinary.readouterr() == (b'{"a":1}', b"")


def test_a_symbolic_link_stays_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out")
    (folder / "real").write_text("old")
    (folder / "link").symlink_to("real")
    write_result(Console(quiet=True), str(folder / "link"), b"new")
    assert (folder / "link").is_symlink()
    assert (folder / "real").read_bytes() == b"new"
