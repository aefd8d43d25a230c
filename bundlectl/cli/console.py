"""Standard output and standard error: results on one, everything else on the other."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO

from bundlectl.errors import BundlectlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Console", "discard_output", "error_document", "one_line", "printable"]

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNSAFE_IN_JSON: Final = re.compile(rf"{_CONTROL.pattern}|[\ud800-\udfff]")


def printable(text: str) -> str:
    """Make control and direction characters visible, keeping tabs and newlines.

    References, file names and servers' messages are other people's text: an escape sequence in
    one of them must not reach the terminal.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def error_document(error: BundlectlError) -> dict[str, Any]:
    """The document that ``--output json`` shows for a failure (``cli.md``)."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "artifact": error.artifact,
            "hint": error.hint,
            "exitCode": error.exit_code,
        }
    }


def one_line(text: str) -> str:
    """Make all of other people's text visible on one line, so that none of it passes for lines of ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


class Console:
    """Where a command writes. Thread-safe.

    What is noted, warned of or an error is one line each, whatever is in it.

    Args:
        quiet: keep remarks and progress to yourself; warnings and errors still show.
        verbose: how much more to say; 1 shows remarks of the library.
        color: whether to use colour where standard error is a terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, color: bool = True) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.interactive = sys.stderr is not None and sys.stderr.isatty()
        self.color = color and self.interactive
        self._lock = threading.Lock()
        self._through: Callable[[str], None] | None = None

    def text(self, text: str) -> None:
        """Write a result for people."""
        self._emit(f"{printable(text)}\n".encode(errors="backslashreplace"))

    def document(self, value: Mapping[str, Any] | list[Any]) -> None:
        """Write a result for programs: one JSON document, harmless on a terminal too."""
        text = json.dumps(value, indent=2, ensure_ascii=False)
        text = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
        self._emit(f"{text}\n".encode())

    def raw(self, content: bytes) -> None:
        """Write bytes as they are."""
        self._emit(content)

    def note(self, text: str) -> None:
        """Say something that may be missed."""
        if not self.quiet:
            self._say(text)

    def detail(self, text: str) -> None:
        """Say something for those who asked with ``--verbose``."""
        if self.verbose and not self.quiet:
            self._say(text)

    def debug(self, text: str) -> None:
        """Say something, of many lines perhaps, to those who asked with ``--debug``; the caller knows who did."""
        self._write_line(printable(text))

    def warning(self, text: str) -> None:
        """Say something that must not be missed."""
        self._say(text, label="warning", style="1;33")

    def error(self, error: BundlectlError) -> None:
        """Say what failed, on what, why, and what to do next."""
        self._say(str(error), label="error", style="1;31")
        if error.hint:
            self._say(error.hint, label="hint", style="1")

    def divert(self, through: Callable[[str], None] | None) -> None:
        """Send what goes to standard error through ``through``, such as a live display; None ends it."""
        with self._lock:
            self._through = through

    def _say(self, text: str, *, label: str = "", style: str = "") -> None:
        mark = f"\x1b[{style}m{label}:\x1b[0m" if self.color else f"{label}:"
        self._write_line(f"{mark} {one_line(text)}" if label else one_line(text))

    def _write_line(self, line: str) -> None:
        with self._lock:
            if self._through is not None:
                self._through(line)
                return
            _write(sys.stderr, f"{line}\n")

    def _emit(self, content: bytes) -> None:
        """Write to standard output at once.

        A reader that went away (``| head``) has seen enough: that is no failure of the command.

        Raises:
            BundlectlError: it cannot be written otherwise, such as to a full disk.
        """
        if sys.stdout is None:  # started with it closed
            return
        try:
            binary = getattr(sys.stdout, "buffer", None)
            if binary is None:
                sys.stdout.write(content.decode())
            else:
                sys.stdout.flush()
                binary.write(content)
            sys.stdout.flush()
        except BrokenPipeError:
            discard_output()
        except OSError as error:
            discard_output()
            raise BundlectlError(
                f"the result cannot be written to standard output: {error.strerror}",
                hint="where it went has no room, or is closed",
            ) from error


def discard_output() -> None:
    """Point standard output at the null device, so that the interpreter's last flush cannot fail."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        return


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode())
        stream.flush()
    except OSError as error:
        # Nobody is left to be told anything.
        if error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EBADF):
            raise
