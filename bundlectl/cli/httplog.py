"""The HTTP log of ``--debug``: one line a request, without what could be a secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.cli.console import Console

__all__ = ["log_requests"]

_LOGGER: Final = "urllib3.connectionpool"
_FIELDS: Final = 7  # scheme, host, port, method, target, version, status; then the length


class _RequestLines(logging.Handler):
    """Writes urllib3's record of a request. Queries are cut off: signed URLs carry credentials there."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; records of other things (which may quote a whole URL) are left out."""
        arguments = record.args
        if not isinstance(arguments, tuple) or len(arguments) < _FIELDS:
            return
        scheme, host, port, method, target, _, status = arguments[:_FIELDS]
        path, query, _ = str(target).partition("?")
        self._console.debug(f"{method} {scheme}://{host}:{port}{path}{'?…' if query else ''} {status}")


def log_requests(console: Console) -> Callable[[], None]:
    """Log every request from now on to standard error.

    Returns:
        What ends it.
    """
    logger = logging.getLogger(_LOGGER)
    lines = _RequestLines(console)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(lines)

    def end() -> None:
        logger.removeHandler(lines)
        logger.setLevel(level)
        logger.propagate = propagate

    return end
