"""The program from the outside, as far as no host is needed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

import pytest

import bundlectl as package
from bundlectl.cli import application, main
from bundlectl.cli.installation import check_installation
from bundlectl.errors import ConfigError, ContentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.bundlectl.cli.conftest import Ran

PROGRAM = [sys.executable, "-c", "from bundlectl.cli.main import main; raise SystemExit(main())"]


def test_the_version_is_one_line(bundlectl: Callable[..., Ran]) -> None:
    ran = bundlectl("--version")
    assert (ran.exit_code, ran.out, ran.err) == (0, f"bundlectl {package.__version__}\n", "")


def test_wrong_usage_is_exit_2_with_what_to_do_next(bundlectl: Callable[..., Ran]) -> None:
    ran = bundlectl("mirror", "image:r.example/a:1", "--too", "x")
    assert ran.exit_code == 2
    assert ran.out == ""
    assert "--too" in ran.err
    assert "did you mean --to?" in ran.err


def test_a_misspelt_command_is_told_the_right_one(bundlectl: Callable[..., Ran]) -> None:
    ran = bundlectl("dwnload")
    assert ran.exit_code == 2
    assert "Did you mean 'download'?" in ran.err


def test_wrong_usage_with_json_is_one_document(bundlectl: Callable[..., Ran]) -> None:
    for arguments in (
        ("mirror", "image:r.example/a:1", "-o", "json"),
        ("mirror", "-ojson", "--too"),
        ("lock", "--output=json"),
    ):
        ran = bundlectl(*arguments)
        assert ran.exit_code == 2
        assert set(ran.document["error"]) == {"code", "message", "artifact", "hint", "exitCode"}
        assert ran.document["error"]["code"] == "usage"
        assert ran.document["error"]["exitCode"] == 2


def test_json_is_known_from_environment_and_file_too(
    bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[store.stats]\noutput = "json"\n')
    config.chmod(0o600)
    assert bundlectl("--config", config, "store", "stats").document["error"]["exitCode"] == 2
    monkeypatch.setenv("BUNDLECTL_LOCK_OUTPUT", "json")
    assert bundlectl("lock").document["error"]["exitCode"] == 2


def test_an_unknown_key_of_the_file_ends_the_command(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[lock]\nplatfrom = ['linux/amd64']\n")
    config.chmod(0o600)
    ran = bundlectl("lock", "x", "--config", config)
    assert ran.exit_code == 1
    assert str(config) in ran.err
    assert "lock.platfrom" in ran.err
    assert "did you mean platform?" in ran.err


def test_the_file_is_never_taken_from_the_working_directory(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.toml", "bundlectl.toml", ".bundlectl.toml"):
        (tmp_path / name).write_text("nonsense = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert bundlectl("lock").exit_code == 2


@pytest.mark.parametrize("arguments", [("--debug", "boom"), ("boom", "--debug"), ("boom",)])
def test_a_traceback_is_shown_with_debug_only(
    arguments: tuple[str, ...], bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ZeroDivisionError("by zero"))
    ran = bundlectl(*arguments)
    assert ran.exit_code == 1
    assert "this is a bug" in ran.err
    assert "--debug" in ran.err
    assert ("Traceback" in ran.err) == ("--debug" in arguments)


def test_an_error_tells_artifact_reason_and_hint_without_control_characters(
    bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, ContentError("is \x1b[31mred\u202e", artifact="r.example/a:1", hint="look again"))
    ran = bundlectl("boom")
    assert ran.exit_code == 3
    assert ran.err == "error: r.example/a:1: is \\x1b[31mred\\x202e\nhint: look again\n"


def test_an_error_as_json(bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, ContentError("is wrong", artifact="r.example/a:1", hint="look again"))
    assert bundlectl("boom", "-o", "json").document == {
        "error": {
            "code": "content",
            "message": "is wrong",
            "artifact": "r.example/a:1",
            "hint": "look again",
            "exitCode": 3,
        }
    }


def test_ctrl_c_is_exit_130_with_how_to_resume(bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, KeyboardInterrupt())
    ran = bundlectl("boom", "-o", "json")
    assert ran.exit_code == 130
    assert ran.document["error"]["code"] == "interrupted"
    assert "the same command again resumes" in ran.err


def test_global_options_may_stand_anywhere_but_after_two_dashes() -> None:
    hoist = main.hoist_global_options
    assert hoist(["lock", "x", "-v", "--config", "c"]) == ["-v", "--config", "c", "lock", "x"]
    assert hoist(["lock", "-vv", "--config=c", "-q"]) == ["-vv", "--config=c", "-q", "lock"]
    assert hoist(["lock", "--", "-v"]) == ["lock", "--", "-v"]
    assert hoist(["lock", "-o", "json", "-"]) == ["lock", "-o", "json", "-"]
    assert hoist(["lock", "--config"]) == ["--config", "lock"]


def test_a_reader_that_goes_away_is_no_failure() -> None:
    with subprocess.Popen([*PROGRAM, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_packages_of_the_same_name_from_elsewhere_are_refused(tmp_path: Path) -> None:
    check_installation()
    foreign = ModuleSpec("mirror", None, origin=str(tmp_path / "mirror" / "__init__.py"))
    with pytest.raises(ConfigError, match="does not lie beside bundlectl"):
        check_installation(lambda _: foreign)
    with pytest.raises(ConfigError, match="nowhere"):
        check_installation(lambda _: None)


def test_a_foreign_package_ahead_on_the_path_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "__init__.py").write_text("raise SystemExit('run')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {PROGRAM[-1]}"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not lie beside bundlectl" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_work_cancels_it_and_ends_the_process_though_threads_hang(number: signal.Signals) -> None:
    # A shell that runs the tests in the background has its children ignore SIGINT; a user's does not.
    code = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from bundlectl.cli.running import run_interruptibly, terminable
from bundlectl.cli import main
threading.Thread(target=time.sleep, args=(60,)).start()
def work():
    print("working", flush=True)
    time.sleep(60)
def invoke(arguments, report):
    run_interruptibly(work, cancel=lambda: print("cancelled", flush=True))
main._invoke = invoke
raise SystemExit(main.main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == "cancelled\n"
    assert "resumes" in err


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Put a program in place whose only command ``boom`` fails."""
    import typer  # noqa: PLC0415

    from bundlectl.cli.command import Invocation, command  # noqa: PLC0415
    from bundlectl.cli.options import FormatOptions  # noqa: PLC0415

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.callback()(application._start)

    def boom(invocation: Invocation, *, form: FormatOptions) -> int:
        """Fail."""
        del invocation, form
        raise error

    boom.__annotations__ = {"invocation": Invocation, "form": FormatOptions, "return": int}
    command(app, "boom", examples=("bundlectl boom",))(boom)
    monkeypatch.setattr(application, "build", lambda *_: typer.main.get_command(app))


def test_json_documents_end_with_a_newline_and_keep_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    from bundlectl.cli.console import Console  # noqa: PLC0415

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Console().document({"name": "ü"})
    assert json.loads(raw.getvalue()) == {"name": "ü"}
    assert raw.getvalue().endswith(b"}\n")


def test_flags_beat_environment_beats_file(
    bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import typer  # noqa: PLC0415

    from bundlectl.cli.command import Invocation, command  # noqa: PLC0415
    from bundlectl.cli.options import TargetOptions  # noqa: PLC0415

    seen: list[tuple[str, tuple[str, ...], str | None]] = []
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.callback()(application._start)

    def look(invocation: Invocation, *, target: TargetOptions) -> int:
        """Look."""
        seen.append((target.to, target.map, invocation.came_from("--to")))
        return 0

    look.__annotations__ = {"invocation": Invocation, "target": TargetOptions, "return": int}
    command(app, "look", examples=("bundlectl look",))(look)
    monkeypatch.setattr(application, "build", lambda *_: typer.main.get_command(app))
    assert bundlectl("look").exit_code == 0
    config = tmp_path / "config.toml"
    config.write_text("[look]\nto = 'file'\nmap = ['a=b', 'c=d']\n")
    config.chmod(0o600)
    bundlectl("look", "--config", config)
    monkeypatch.setenv("BUNDLECTL_LOOK_TO", "environment")
    monkeypatch.setenv("BUNDLECTL_LOOK_MAP", "e=f g=h")
    bundlectl("look", "--config", config)
    bundlectl("look", "--config", config, "--to", "flag")
    assert seen == [
        ("", (), None),
        ("file", ("a=b", "c=d"), f"file {config}"),
        ("environment", ("e=f", "g=h"), "environment variable BUNDLECTL_LOOK_TO"),
        ("flag", ("e=f", "g=h"), "flag --to"),
    ]


def test_the_http_log_has_no_queries_since_signed_urls_carry_credentials_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import logging  # noqa: PLC0415

    from bundlectl.cli.console import Console  # noqa: PLC0415
    from bundlectl.cli.httplog import log_requests  # noqa: PLC0415

    end = log_requests(Console())
    logger = logging.getLogger("urllib3.connectionpool")
    logger.debug(
        '%s://%s:%s "%s %s %s" %s %s', "https", "h", 443, "GET", "/blob?X-Amz-Signature=secret", "HTTP/1.1", 200, 5
    )
    logger.debug("Redirecting %s -> %s", "https://h/?token=secret", "x")
    end()
    logger.debug("%s://%s:%s %s %s %s %s %s", *range(8))
    assert capsys.readouterr().err == "GET https://h:443/blob?… 200\n"
