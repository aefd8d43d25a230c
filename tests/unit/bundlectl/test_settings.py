"""The configuration file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError
from bundlectl.settings import find_settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {
    "quiet": "flag",
    "verbose": "integer",
    "mirror": {"to": "text", "map": "list", "dry_run": "flag", "jobs": "text"},
    "store": {"list": {"output": "text"}},
}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_tables_become_defaults_of_commands(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config.toml",
        'quiet = true\n[mirror]\nto = "h.example/p"\nmap = ["a=b"]\ndry-run = true\njobs = 4\n'
        '[store.list]\noutput = "json"\n',
    )
    settings = load_settings(path, known=KNOWN)
    assert settings.path == path
    assert settings.options == {
        "quiet": True,
        "mirror": {"to": "h.example/p", "map": ["a=b"], "dry_run": True, "jobs": "4"},
        "store": {"list": {"output": "json"}},
    }


def test_transport_tables_are_read_by_host_with_paths_beside_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", '[transport."h.example:5000"]\nplain-http = true\nca-file = "ca.pem"\n')
    host = load_settings(path, known=KNOWN).transport["h.example:5000"]
    assert host.plain_http
    assert not host.insecure_skip_tls_verify
    assert host.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("[miror]\n", "unknown key miror", "did you mean mirror?"),
        ("[mirror]\nplatfrm = 1\n", "unknown key mirror.platfrm", "there are: dry-run, jobs, map, to"),
        ("mirror = 1\n", "mirror is a command: write a table [mirror]", None),
        ("[mirror]\nmap = 'x'\n", "mirror.map must be a list of strings", None),
        ("[mirror]\ndry-run = 'yes'\n", "mirror.dry-run must be true or false", None),
        ("verbose = true\n", "verbose must be a whole number", None),
        ("[transport]\nh = 1\n", 'transport."h" must be a table', None),
        ("[transport.h.example]\nplain-http = true\n", 'transport."h" holds another table', "quote the host"),
        ('[transport."h"]\nhttp = true\n', 'unknown key transport."h".http', "there are: ca-file"),
        ("transport = 3\n", "transport must hold tables", None),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, told: str, hint: str | None) -> None:
    path = write(tmp_path / "config.toml", text)
    with pytest.raises(ConfigError) as raised:
        load_settings(path, known=KNOWN)
    assert raised.value.artifact == str(path)
    assert told in raised.value.message
    if hint:
        assert hint in (raised.value.hint or "")


@pytest.mark.parametrize("content", [b"\xff", b"a = ", b"= 1", b"x" * (1024 * 1024 + 1)])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        load_settings(path, known=KNOWN)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "config.toml", "")
    path.chmod(0o602)
    with pytest.raises(ConfigError, match="everybody may write"):
        load_settings(path, known=KNOWN)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "config.toml", "")
    if path.stat().st_uid == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_settings(path, known=KNOWN)


def test_what_is_not_a_regular_file_is_refused_but_the_null_device_means_none(tmp_path: Path) -> None:
    fifo = tmp_path / "folder"
    fifo.mkdir()
    with pytest.raises(ConfigError):
        load_settings(fifo, known=KNOWN)
    null = tmp_path.__class__(os.devnull)
    assert load_settings(null, known=KNOWN).path is None


def test_the_explicit_file_beats_the_user_s_which_beats_the_system_s(tmp_path: Path) -> None:
    user, system, explicit = (write(tmp_path / name, "") for name in ("user", "system", "explicit"))
    assert find_settings(explicit, (user, system)) == explicit
    assert find_settings(None, (user, system)) == user
    assert find_settings(None, (tmp_path / "absent", system)) == system
    assert find_settings(None, (tmp_path / "absent", user / "below-a-file")) is None
    with pytest.raises(ConfigError, match="does not exist"):
        find_settings(tmp_path / "absent", (user, system))
