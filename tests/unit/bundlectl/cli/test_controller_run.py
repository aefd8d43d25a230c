"""What the controller writes to standard error."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from bundlectl.cli.controller_run import _json_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Console:
    """Has its lines diverted."""

    through: Callable[[str], None] | None = None

    def divert(self, through: Callable[[str], None] | None) -> None:
        self.through = through


def fail() -> None:
    raise ZeroDivisionError("a\nline")


def test_every_line_is_json_whoever_writes_it(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console()
    invocation = SimpleNamespace(console=console, start=SimpleNamespace(debug=False))
    hook = threading.excepthook
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
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["info", "info", "warning", "warning", "error"]
    assert "not checked" in lines[2]["warning"]
    assert lines[3]["warning"] == "retrying %s"
    assert (lines[4]["thread"], lines[4]["error"]) == ("watch", "ZeroDivisionError: a\nline")
    assert console.through is None
    assert threading.excepthook is hook
