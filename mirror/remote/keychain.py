"""Docker's credential helpers (``wire.md`` 5.2)."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Final

from bundlectl.errors import ConfigError

__all__ = ["ask_helper"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SECONDS: Final = 30
_NOT_FOUND: Final = ("credentials not found in native keychain", "no credentials server URL")


def ask_helper(suffix: str, server: str) -> tuple[str, str] | None:
    """Ask ``docker-credential-<suffix>`` for a server's user name and secret.

    The server goes to its standard input, and nothing it prints is repeated anywhere.

    Raises:
        ConfigError: there is no such helper, it failed, or it took longer than half a minute.
    """
    if not _NAME.fullmatch(suffix):
        raise ConfigError(f"{suffix[:80]!r} is not the name of a credential helper")
    program = f"docker-credential-{suffix}"
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed argument, the name checked above
            [program, "get"], input=f"{server}\n".encode(), capture_output=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ConfigError(
            "the credential helper is not installed",
            artifact=program,
            hint="install it, or remove credsStore and credHelpers from the docker configuration",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the credential helper did not answer for {server} within {_SECONDS} seconds", artifact=program
        ) from error
    except OSError as error:
        raise ConfigError(f"the credential helper cannot be run: {error.strerror}", artifact=program) from error
    if done.returncode:
        if any(text.encode() in done.stdout for text in _NOT_FOUND):
            return None
        raise ConfigError(
            f"the credential helper failed for {server} (exit code {done.returncode})",
            artifact=program,
            hint=f"try it: echo {server} | {program} get",
        )
    return _answer(done.stdout, program)


def _answer(output: bytes, program: str) -> tuple[str, str] | None:
    try:
        document = json.loads(output)
    except ValueError as error:
        raise ConfigError("the credential helper's answer is not JSON", artifact=program) from error
    username = document.get("Username") if isinstance(document, dict) else None
    secret = document.get("Secret") if isinstance(document, dict) else None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ConfigError("the credential helper's answer has no Username and Secret", artifact=program)
    return (username, secret) if secret else None
