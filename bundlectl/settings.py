"""The configuration file: found, checked, read once.

Flags beat environment variables, these beat the file. The file is TOML: one table a command
(``[mirror]``, ``[store.verify]``) with the names of its options as keys, global options at the
top, and ``[transport."HOST"]`` tables for how a host is reached.

It is looked for in the user's and the system's configuration folders, **never in the working
directory**: that may be a cloned repository, or the medium just plugged in.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CommandShape", "HostSettings", "OptionKind", "Settings", "find_settings", "load_settings"]

OptionKind: TypeAlias = Literal["text", "integer", "flag", "list"]
"""What a value must look like: one string, one number, true or false, or a list of strings."""

CommandShape: TypeAlias = "Mapping[str, OptionKind | CommandShape]"
"""The options of a command, by name; commands below it as mappings of their own."""

_SIZE_LIMIT: Final = 1024 * 1024
_TRANSPORT: Final = "transport"
_HOST_KEYS: Final[Mapping[str, OptionKind]] = {
    "plain_http": "flag",
    "insecure_skip_tls_verify": "flag",
    "ca_file": "text",
    "client_cert": "text",
}
_EXPECTED: Final[Mapping[str, str]] = {
    "text": "a string",
    "integer": "a whole number",
    "flag": "true or false",
    "list": "a list of strings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How one host is reached, from a ``[transport."HOST"]`` table."""

    plain_http: bool = False
    insecure_skip_tls_verify: bool = False
    ca_file: Path | None = None
    client_cert: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A configuration file, checked. ``path`` is None when there is none."""

    path: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Values by command and option, option names with ``_``: the shape of a default map."""
    transport: Mapping[str, HostSettings] = field(default_factory=dict)


def find_settings(explicit: Path | None, places: Iterable[Path]) -> Path | None:
    """Choose the configuration file.

    Args:
        explicit: what ``--config`` names; it must exist.
        places: the user's file, then the system's.

    Raises:
        ConfigError: ``explicit`` does not exist, or a place cannot be looked at.
    """
    if explicit is not None:
        if not _exists(explicit):
            raise ConfigError("the configuration file does not exist", artifact=str(explicit))
        return explicit
    return next((place for place in places if _exists(place)), None)


def load_settings(path: Path | None, *, known: CommandShape) -> Settings:
    """Read a configuration file.

    Args:
        path: from ``find_settings``; None, or the null device, means that there is none.
        known: every command and option there is. What is not among them is refused: a
            misspelt key that is ignored is a setting that the user believes in.

    Raises:
        ConfigError: the file could be altered by others, is not TOML, or has a key that does
            not exist or a value of the wrong kind. The message names file and key.
    """
    if path is None or str(path) == os.devnull:
        return Settings()
    document = _parse(path, _read(path))
    hosts = document.pop(_TRANSPORT, {})
    return Settings(
        path=path,
        options=_table(path, "", document, known),
        transport=_transport(path, hosts),
    )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(
            f"the configuration file cannot be looked at: {error.strerror}",
            artifact=str(path),
            hint="name another one with --config, or none with --config /dev/null",
        ) from error
    return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"the configuration file cannot be read: {error.strerror}", artifact=str(path)) from error
    if len(content) > _SIZE_LIMIT:
        raise ConfigError(f"the configuration file is larger than {_SIZE_LIMIT} bytes", artifact=str(path))
    return content


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse a file through which somebody else could decide what this user trusts."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError("the configuration file is not a regular file", artifact=str(path))
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError("everybody may write to the configuration file", artifact=str(path), hint=f"chmod o-w {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"the configuration file belongs to another user (id {status.st_uid})",
            artifact=str(path),
            hint="it decides what is trusted: it must be yours or root's",
        )


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError("the configuration file is not UTF-8", artifact=str(path)) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the configuration file is not TOML: {error}", artifact=str(path)) from error


def _table(path: Path, prefix: str, table: Mapping[str, Any], known: CommandShape) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{prefix}{key}"
        # A command keeps its hyphen (``package-bundle``), an option's name loses it.
        name = key if isinstance(known.get(key), dict) else key.replace("-", "_")
        kind = known.get(name)
        if kind is None:
            raise _unknown(path, where, key, known)
        if not isinstance(kind, str):
            if not isinstance(value, dict):
                raise ConfigError(f"{where} is a command: write a table [{where}]", artifact=str(path))
            found[name] = _table(path, f"{where}.", value, kind)
        else:
            found[name] = _value(path, where, value, kind)
    return found


def _value(path: Path, where: str, value: object, kind: OptionKind) -> object:
    fits = {
        "text": isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "flag": isinstance(value, bool),
        "list": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }
    if not fits[kind]:
        raise ConfigError(f"{where} must be {_EXPECTED[kind]}", artifact=str(path))
    return str(value) if kind == "text" else value


def _transport(path: Path, hosts: object) -> dict[str, HostSettings]:
    if not isinstance(hosts, dict):
        raise ConfigError('transport must hold tables [transport."HOST"]', artifact=str(path))
    found: dict[str, HostSettings] = {}
    for host, table in hosts.items():
        where = f'transport."{host}"'
        if not isinstance(table, dict):
            raise ConfigError(f"{where} must be a table", artifact=str(path))
        if not host or "/" in host:
            raise ConfigError(f"{where} names no host", artifact=str(path), hint="write HOST or HOST:PORT")
        if any(isinstance(value, dict) for value in table.values()):
            raise ConfigError(
                f"{where} holds another table",
                artifact=str(path),
                hint='quote the host: [transport."harbor.example.com"]',
            )
        values = _table(path, f"{where}.", table, _HOST_KEYS)
        found[host] = HostSettings(
            plain_http=values.get("plain_http", False),
            insecure_skip_tls_verify=values.get("insecure_skip_tls_verify", False),
            ca_file=_beside(path, values.get("ca_file")),
            client_cert=_beside(path, values.get("client_cert")),
        )
    return found


def _beside(path: Path, value: str | None) -> Path | None:
    """Resolve against the configuration file's folder: the working directory says nothing here."""
    if value is None:
        return None
    try:
        return path.absolute().parent / Path(value).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"there is no home folder for {value}", artifact=str(path)) from error


def _unknown(path: Path, where: str, key: str, known: CommandShape) -> ConfigError:
    names = [name.replace("_", "-") for name in known]
    close = get_close_matches(key.replace("_", "-"), names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(names))}"
    return ConfigError(f"unknown key {where}", artifact=str(path), hint=hint)
