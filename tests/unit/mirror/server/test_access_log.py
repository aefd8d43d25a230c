from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ConfigError
from mirror.server import AccessRecord
from mirror.server.access_log import AccessLog

if TYPE_CHECKING:
    from pathlib import Path


def record(path: str = "/v2/", user: str | None = None) -> AccessRecord:
    return AccessRecord("abcd", "127.0.0.1", user, "GET", path, 200, 1, 2, 0.25)


def test_a_request_is_a_line_of_json(tmp_path: Path) -> None:
    with AccessLog(tmp_path / "log") as log:
        log(record("/v2/a/manifests/v1", "alice"))
        log(record())
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/v2/a/manifests/v1", "/v2/"]
    assert lines[0] | {"time": ""} == {
        "time": "",
        "id": "abcd",
        "client": "127.0.0.1",
        "user": "alice",
        "method": "GET",
        "path": "/v2/a/manifests/v1",
        "status": 200,
        "received": 1,
        "sent": 2,
        "seconds": 0.25,
    }
    assert lines[0]["time"].endswith("+00:00")


@given(st.text(), st.text())
def test_whatever_a_client_calls_things_stays_one_line_of_printable_ascii(
    tmp_path_factory: pytest.TempPathFactory, path: str, user: str
) -> None:
    file = tmp_path_factory.mktemp("log") / "log"
    with AccessLog(file) as log:
        log(record(path, user))
    raw = file.read_bytes()
    assert raw.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in raw[:-1])
    assert json.loads(raw)["user"] == user


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.server.access_log._LOOK", 0.0)
    with AccessLog(tmp_path / "log") as log:
        log(record("/one"))
        (tmp_path / "log").rename(tmp_path / "log.1")
        log(record("/two"))
    assert "/one" in (tmp_path / "log.1").read_text()
    assert "/two" in (tmp_path / "log").read_text()


def test_without_a_file_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with AccessLog(None) as log:
        log(record("/v2/\x1b[31m"))
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["path"] == "/v2/\x1b[31m"
    assert "\x1b" not in err


def test_a_log_is_not_readable_by_everybody(tmp_path: Path) -> None:
    with AccessLog(tmp_path / "log"):
        assert not (tmp_path / "log").stat().st_mode & 0o007


def test_a_log_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="access log"):
        AccessLog(tmp_path / "absent" / "log")
