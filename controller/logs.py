"""Log lines: one JSON object each, handed to whoever writes them. No secret has a way in here."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

__all__ = ["Level", "Log", "LogLine"]

LogLine: TypeAlias = Callable[[str], None]
"""Takes a finished line without its end; called from any thread."""
Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Log:
    """Writes lines. Thread-safe if ``write`` is.

    Args:
        write: takes each line.
        debug: write what is of interest to developers, too.
    """

    def __init__(self, write: LogLine, *, debug: bool = False) -> None:
        self._write = write
        self._debug = debug

    def __call__(self, level: Level, message: str, **fields: Any) -> None:  # noqa: ANN401 -- what JSON can hold
        """Write a line.

        Args:
            level: how much it matters.
            message: a fixed sentence; what differs is in the fields.
            fields: ``kind``, ``object`` (NAMESPACE/NAME), ``error`` and the like.
        """
        if level == "debug" and not self._debug:
            return
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(json.dumps({"time": now, "level": level, "message": message, **fields}, default=str))
