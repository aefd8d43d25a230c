"""The options of commands that use keys, and how they are handed passwords and PINs."""

import getpass
import os
import stat
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bundlectl.cli.command import Invocation, OptionGroup, option
from bundlectl.cli.options import OfflineOptions, Pkcs11Module, TrustOptions
from bundlectl.errors import KeyProviderError, UsageError

if TYPE_CHECKING:
    from signing.keys import KeyAccess
    from signing.signature import Signer

__all__ = ["KeyOptions", "Pkcs11Options", "build_key_access", "new_password", "open_signing_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions(OptionGroup):
    """What is signed with."""

    key: Annotated[
        str,
        option(
            "--key",
            metavar="KEY",
            show_default=False,
            help="The key: a PEM or cosign key file, awskms:///alias/NAME, pkcs11:token=…;object=….",
        ),
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Options(OptionGroup):
    """How tokens are reached."""

    pkcs11_module: Pkcs11Module = None


def build_key_access(
    invocation: Invocation, *, pkcs11: Pkcs11Options | TrustOptions | None = None, offline: bool = False
) -> "KeyAccess":
    """Say what keys may use.

    A secret is asked for when a key that needs one is opened: open keys in the main thread and before
    progress is shown (not inside ``run_session``), so that Ctrl-C at the question leaves the terminal as it was.

    Args:
        invocation: for the environment (``COSIGN_PASSWORD``, ``BUNDLECTL_PKCS11_PIN``).
        pkcs11: flags of the group, where the command has it.
        offline: whether to connect to nothing but loopback.

    Raises:
        UsageError: the module's path is not absolute.
        KeyProviderError: the module is not there, or others than root and the user could replace it.
    """
    from signing.keys import KeyAccess  # noqa: PLC0415 -- not for --help

    module = pkcs11.pkcs11_module if pkcs11 else None
    if module is not None:
        _check_module(module, invocation.came_from("--pkcs11-module"))
    return KeyAccess(secret=_secret_source(invocation), pkcs11_module=module, offline=offline)


def open_signing_key(
    invocation: Invocation, key: KeyOptions, pkcs11: Pkcs11Options | TrustOptions, offline: OfflineOptions
) -> "Signer | None":
    """Open the key of ``--key``; None where none is given.

    Before anything is fetched or looked at: a wrong password should not cost the whole run.

    Raises:
        UsageError, KeyProviderError: it cannot be opened.
    """
    if not key.key:
        return None
    from signing.keys import open_signer  # noqa: PLC0415 -- not for --help

    return open_signer(key.key, build_key_access(invocation, pkcs11=pkcs11, offline=offline.offline))


def new_password(invocation: Invocation, key: str) -> bytes:
    """The password for a key that is about to be made: ``COSIGN_PASSWORD``, or asked for twice.

    Raises:
        KeyProviderError: there is none to be had, or the two differ.
    """
    password = invocation.start.environment.cosign_password
    if password is None:
        password = _ask("password", key, f"New password for {key}: ")
        if _ask("password", key, "The same password again: ") != password:
            raise KeyProviderError("the two passwords differ", artifact=key, hint="run the same command again")
    if not password:
        invocation.console.warning(f"{key}: the password is empty, so only the rights of the file protect the key")
    return password


def _secret_source(invocation: Invocation) -> Callable[[str, str], bytes]:
    environment = invocation.start.environment

    def secret(kind: str, key: str, /) -> bytes:
        stated = environment.pkcs11_pin if kind == "pin" else environment.cosign_password
        if stated is not None:
            return stated
        return _ask(kind, key, f"PIN of {key}: " if kind == "pin" else f"Password of {key}: ")

    return secret


def _ask(kind: str, key: str, question: str) -> bytes:
    """Ask on the terminal, without echo. Never where standard input is something else: a script would hang."""
    if sys.stdin is not None and sys.stdin.isatty():
        try:
            with warnings.catch_warnings():
                # Where echo cannot be turned off, getpass warns and asks nevertheless.
                warnings.simplefilter("error", getpass.GetPassWarning)
                return getpass.getpass(question, stream=sys.stderr).encode(errors="surrogateescape")
        except (EOFError, OSError, getpass.GetPassWarning):
            pass
    name, thing = ("BUNDLECTL_PKCS11_PIN", "PIN") if kind == "pin" else ("COSIGN_PASSWORD", "password")
    raise KeyProviderError(
        f"needs a {thing}, and there is no terminal to ask for it",
        artifact=key,
        hint=f"give it in the environment variable {name}, or run the command on a terminal",
    )


def _check_module(path: Path, where: str | None) -> None:
    """Refuse a library that somebody else could choose: its code runs with the PIN in hand."""
    if not path.is_absolute():
        raise UsageError(
            f"--pkcs11-module {path} is not an absolute path ({where})", hint="write it from the root on: /usr/lib/…"
        )
    hint = f"it comes from {where}"
    try:
        real = path.resolve(strict=True)
        # Who may write to the folder may put another file there; a link can be in another folder than the file.
        statuses = {place: place.stat() for place in (real, real.parent, path.parent)}
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise KeyProviderError(
            f"the PKCS#11 module cannot be looked at: {why}", artifact=str(path), hint=hint
        ) from error
    if not stat.S_ISREG(statuses[real].st_mode):
        raise KeyProviderError("the PKCS#11 module is not a regular file", artifact=str(path), hint=hint)
    for place, status in statuses.items():
        what = "the PKCS#11 module" if place == real else f"the folder of the PKCS#11 module, {place},"
        if status.st_uid not in (0, os.geteuid()):
            raise KeyProviderError(
                f"{what} belongs to somebody else, who could put in other code",
                artifact=str(path),
                hint=f"it must be root's or your own; {hint}",
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeyProviderError(
                f"others than its owner may write to {what.rstrip(',')}", artifact=str(path), hint=f"chmod go-w {place}"
            )
