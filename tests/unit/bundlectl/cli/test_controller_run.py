"""What the controller writes to standard error."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.cli.controller_run import _json_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.bundlectl.cli.conftest import Ran


class Console:
    """Has its lines diverted."""

    through: Callable[[str], None] | None = None

    def divert(self, through: Callable[[str], None] | None) -> None:
        self.through = through


def fail() -> None:
    raise ZeroDivisionError("a\nline")


class Untidy:
    """Fails where nobody can be told."""

    def __del__(self) -> None:
        fail()


def test_every_line_is_json_whoever_writes_it(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console()
    invocation = SimpleNamespace(console=console, start=SimpleNamespace(debug=False))
    hooks = threading.excepthook, sys.unraisablehook
    with _json_lines(cast("Any", invocation)) as log, warnings.catch_warnings():
        warnings.simplefilter("always")
        log("info", "one", error='a "line"\nand another \u2028 \udcff', odd=object())
        assert console.through is not None
        console.through("a note")
        warnings.warn("certificates are not checked", UserWarning, stacklevel=1)
        logging.getLogger("urllib3.connectionpool").warning("retrying %s", "https://x/?signature=hidden")
        thread = threading.Thread(target=fail, name="watch")
        thread.start()
        thread.join()
        Untidy()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["info", "info", "warning", "warning", "error", "error"]
    assert "not checked" in lines[2]["warning"]
    assert lines[3]["warning"] == "retrying %s"
    assert (lines[4]["thread"], lines[4]["error"]) == ("watch", "ZeroDivisionError: a\nline")
    assert lines[5]["error"] == "ZeroDivisionError: a\nline"
    assert console.through is None
    assert (threading.excepthook, sys.unraisablehook) == hooks


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 2, "the cluster has no name"),
        (("--cluster-name", "site", "--key", "off"), 2, "no controller installs what nobody signed"),
        (("--cluster-name", "site"), 1, "this is no pod"),
        (("--cluster-name", "site", "--kubeconfig", "/absent"), 1, "the kubeconfig cannot be used"),
    ],
)
def test_why_it_does_not_start_is_json_too(
    options: tuple[str, ...], code: int, told: str, bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kubernetes")
    for name in ("CLUSTER_NAME", "KUBERNETES_SERVICE_HOST", "EKSA_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    done = bundlectl("controller", "run", *options)
    assert done.exit_code == code
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert any(told in line["message"] and line["level"] == "error" for line in lines)


def test_who_stops_it_while_it_starts_is_told_of_no_failure(
    bundlectl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt(args)

    monkeypatch.setattr("bundlectl.cli.controller_run._connected", stopped)
    done = bundlectl("controller", "run", "--cluster-name", "site")
    assert (done.exit_code, done.err) == (0, "")
