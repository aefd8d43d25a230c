"""Progress where there is no terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.cli.console import Console, printable
from bundlectl.cli.progress import PlainProgress, Tally, show_progress
from bundlectl.errors import BundlectlError
from bundlectl.events import ArtifactFinished, BytesMoved, Notice, PhaseStarted, TransferPlanned, Waiting


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_at_most_one_line_a_second_and_the_last_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = PlainProgress(Console(), clock=clock)
    progress(TransferPlanned(artifacts=4))
    for second, name in enumerate(("a", "b", "c", "d")):
        clock.now = second * 0.4
        progress(ArtifactFinished(name, "done"))
    progress.finish()
    assert capsys.readouterr().err.splitlines() == ["done a (1/4)", "done d (4/4)"]


def test_failures_warnings_and_long_waits_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(Console(), clock=Clock())
    progress(ArtifactFinished("a", "failed", "gone"))
    progress(ArtifactFinished("b", "failed"))
    progress(Notice("warning", "odd", "c"))
    progress(Notice("info", "only with -v"))
    progress(Waiting("r.example", 9.7, "429"))
    progress(Waiting("r.example", 0.2, "back-off"))
    progress(PhaseStarted("copying", 3))
    assert capsys.readouterr().err.splitlines() == [
        "failed a: gone",
        "failed b: no reason given",
        "warning: c: odd",
        "waiting 10 s for r.example: 429",
    ]


def test_verbose_tells_remarks_and_phases(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(Console(verbose=1), clock=Clock())
    progress(Notice("info", "remark"))
    progress(PhaseStarted("copying", 3))
    assert capsys.readouterr().err.splitlines() == ["remark", "copying (3)"]


def test_quiet_tells_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(Console(quiet=True)) as listener:
        listener(ArtifactFinished("a", "done"))
        listener(ArtifactFinished("b", "failed", "gone"))
        listener(Notice("warning", "odd"))
    captured = capsys.readouterr()
    assert captured.err == "warning: odd\n"
    assert captured.out == ""


def test_a_tally_adds_up_what_began_again() -> None:
    tally = Tally()
    for event in (TransferPlanned(bytes=10), BytesMoved(7), BytesMoved(-7), BytesMoved(10)):
        tally.count(event)
    assert (tally.bytes, tally.moved) == (10, 10)


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 and character not in "\t\n" for character in shown)
    assert "\x7f" not in shown
    assert not any(0x80 <= ord(character) < 0xA0 for character in shown)


def test_a_remark_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(verbose=1)
    for say in (console.note, console.detail, console.warning):
        say("a\nerror: b\tc\x1b")
    console.error(BundlectlError("a\nhint: b", artifact="c\nd", hint="e\nf"))
    assert capsys.readouterr().err.splitlines() == [
        r"a\nerror: b\tc\x1b",
        r"a\nerror: b\tc\x1b",
        r"warning: a\nerror: b\tc\x1b",
        r"error: c\nd: a\nhint: b",
        r"hint: e\nf",
    ]


@pytest.mark.parametrize("text", ["\x9b31m", "\x7f", "\u202egnp", "\x1b[2J", "\ud800", "a\nb\té"])
def test_a_document_is_json_that_no_terminal_obeys(text: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Console().document({"name": text})
    shown = capfdbinary.readouterr().out
    assert json.loads(shown) == {"name": text}
    assert printable(shown.decode()) == shown.decode()
