"""What the environment says: the only place that reads environment variables.

Values are read once, at start, and handed down; no library looks at ``os.environ``.
"""

from __future__ import annotations

import datetime as dt
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bundlectl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Environment", "current_time", "read_environment"]

_SYSTEM_CONFIG = Path("/etc/bundlectl/config.toml")
_PIN = "BUNDLECTL_PKCS11_PIN"
_OURS = ("BUNDLECTL_", "COSIGN_", "DOCKER_AUTH_CONFIG")
"""How variables begin that are meant for bundlectl; passwords are among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment, as far as bundlectl heeds it (options have their own variables)."""

    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    credential_files: tuple[Path, ...] = ()
    """Where docker and podman keep credentials, in the order to ask; they need not exist."""
    credential_json: str = field(default="", repr=False)
    """``DOCKER_AUTH_CONFIG``: the content of a docker ``config.json``, ahead of all files."""
    config_files: tuple[Path, ...] = ()
    """Where a configuration file is looked for; the first that exists counts."""
    state_home: Path = Path("/nonexistent")
    """Where bundlectl may keep what is worth keeping and is neither configuration nor a store."""
    kubeconfig: Path = Path("/nonexistent")
    """The first file that ``KUBECONFIG`` names, else the user's own; it need not exist."""
    cluster_name: str = ""
    """``CLUSTER_NAME``: of the cluster that this runs in, as AWS's controller takes it."""
    search_path: str = ""
    """``PATH``: where programs are looked for."""
    for_programs: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What programs see that act in the user's name: all but what is meant for bundlectl."""
    no_color: bool = False
    dumb_terminal: bool = False
    cosign_password: bytes | None = field(default=None, repr=False)
    """``COSIGN_PASSWORD``: of encrypted key files. Empty is a password, too."""
    eksa_public_key: str = ""
    """``EKSA_PUBLIC_KEY``: base64 DER, in place of AWS's key for package bundles, as for AWS's own controller."""
    source_date_epoch: str = ""
    """``SOURCE_DATE_EPOCH``: seconds since 1970 that stand in for the time, for results that must be reproducible."""
    pkcs11_pin: bytes | None = field(default=None, repr=False)
    """``BUNDLECTL_PKCS11_PIN``: of a token. It is taken out of the process's environment when it is read."""


def read_environment(variables: Mapping[str, str] | None = None, *, home: Path | None = None) -> Environment:
    """Read the environment.

    Args:
        variables: instead of the process's own.
        home: instead of the user's home folder.
    """
    values = os.environ if variables is None else variables
    folder = home or _home(values)
    return Environment(
        http_proxy=_either(values, "http_proxy"),
        https_proxy=_either(values, "https_proxy"),
        no_proxy=_either(values, "no_proxy"),
        credential_files=_credential_files(values, folder),
        credential_json=values.get("DOCKER_AUTH_CONFIG", ""),
        config_files=(_config_home(values, folder) / "bundlectl" / "config.toml", _SYSTEM_CONFIG),
        state_home=_state_home(values, folder) / "bundlectl",
        kubeconfig=_kubeconfig(values, folder),
        cluster_name=values.get("CLUSTER_NAME", ""),
        search_path=values.get("PATH", ""),
        for_programs={name: value for name, value in values.items() if not name.startswith(_OURS)},
        no_color=bool(values.get("NO_COLOR")),
        dumb_terminal=values.get("TERM", "") == "dumb",
        eksa_public_key=values.get("EKSA_PUBLIC_KEY", ""),
        source_date_epoch=values.get("SOURCE_DATE_EPOCH", ""),
        cosign_password=_secret(values.get("COSIGN_PASSWORD")),
        pkcs11_pin=_secret(_take_pin() if variables is None else values.get(_PIN)),
    )


def current_time(environment: Environment) -> dt.datetime:
    """Now, in UTC and whole seconds, or what ``SOURCE_DATE_EPOCH`` says instead.

    Raises:
        ConfigError: that is not a number of seconds (reproducible-builds.org, "SOURCE_DATE_EPOCH specification").
    """
    stated = environment.source_date_epoch
    if not stated:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    try:
        return dt.datetime.fromtimestamp(int(stated) if stated.isascii() and stated.isdigit() else math.inf, dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {stated[:50]!r}, not a number of seconds", hint="unset it, or set it to one"
        ) from error


def _take_pin() -> str | None:
    """Read the PIN once: a program that is started from here must not inherit it."""
    return os.environ.pop(_PIN, None)


def _secret(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def _credential_files(values: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Order the files: docker's, then podman's; ``REGISTRY_AUTH_FILE`` excludes all others.

    Sources: docker CLI reference (``DOCKER_CONFIG``), containers-auth.json(5).
    """
    if exclusive := values.get("REGISTRY_AUTH_FILE"):
        return (Path(exclusive),)
    docker = Path(values["DOCKER_CONFIG"]) if values.get("DOCKER_CONFIG") else home / ".docker"
    runtime = Path(values.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}")
    return (
        docker / "config.json",
        runtime / "containers" / "auth.json",
        _config_home(values, home) / "containers" / "auth.json",
    )


def _config_home(values: Mapping[str, str], home: Path) -> Path:
    """``$XDG_CONFIG_HOME``; a relative one is invalid and ignored (XDG Base Directory, "Basics")."""
    stated = Path(values.get("XDG_CONFIG_HOME") or ".")
    return stated if stated.is_absolute() else home / ".config"


def _state_home(values: Mapping[str, str], home: Path) -> Path:
    """``$XDG_STATE_HOME``, read like ``$XDG_CONFIG_HOME``."""
    stated = Path(values.get("XDG_STATE_HOME") or ".")
    return stated if stated.is_absolute() else home / ".local" / "state"


def _kubeconfig(values: Mapping[str, str], home: Path) -> Path:
    """The first that is named, as ``eksctl anywhere`` takes it, else where kubectl keeps its own."""
    named = next(filter(None, values.get("KUBECONFIG", "").split(os.pathsep)), "")
    return Path(named) if named else home / ".kube" / "config"


def _home(values: Mapping[str, str]) -> Path:
    stated = values.get("HOME")
    if stated:
        return Path(stated)
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry in passwd, as in many containers
        return Path("/")


def _either(values: Mapping[str, str], name: str) -> str:
    """Lower case first, as curl does: the upper-case form can be set by a header under CGI."""
    return values.get(name) or values.get(name.upper(), "")
