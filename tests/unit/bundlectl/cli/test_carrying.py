"""``bundlectl export`` and ``bundlectl import``: what they print, and how they end."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

SMALL = ("--split-size", "100KB")


def checked(ran: Ran, name: str) -> Any:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(ran.document)
    return ran.document


@pytest.fixture
def store(
    bundlectl: Callable[..., Ran], upstream_served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    done = bundlectl("download", "eks-a:v0.24.1", "--store", tmp_path / "store", *origins, "--verify", "off")
    assert done.exit_code == 0, done.err
    return tmp_path / "store"


@pytest.fixture
def keys(bundlectl: Callable[..., Ran], tmp_path: Path) -> tuple[Path, Path]:
    """The key that signs archives, and the one that checks them."""
    assert bundlectl("keys", "generate", tmp_path / "transfer.key").exit_code == 0
    return tmp_path / "transfer.key", tmp_path / "transfer.key.pub"


def test_what_is_exported_is_imported(
    bundlectl: Callable[..., Ran], store: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    signing, checking = keys
    place, site = tmp_path / "archive", tmp_path / "site"
    planned = checked(bundlectl("export", f"store:{store}", "--to", place, *SMALL, "--dry-run", "-o", "json"), "export")
    assert not place.exists()
    written = checked(
        bundlectl("export", f"store:{store}", "--to", place, *SMALL, "--key", signing, "-o", "json"), "export"
    )
    assert [item["size"] for item in planned["volumes"]] == [item["size"] for item in written["volumes"]]
    assert [item["size"] for item in written["volumes"]] == [
        (place / item["name"]).stat().st_size for item in written["volumes"]
    ]
    ran = bundlectl("import", place, "--store", site, "--key", checking, "-o", "json")
    assert ran.exit_code == 0, ran.err
    found = checked(ran, "import")
    assert found["artifacts"]["done"] == written["artifacts"] > 10
    assert found["archive"]["id"] == written["archive"]
    assert found["requests"] == {"source": 0, "target": 0}
    assert any("bundlectl serve" in step["text"] for step in found["next"])
    again = checked(bundlectl("import", place, "--store", site, "--key", checking, "-o", "json"), "import")
    assert again["artifacts"]["skipped"] == written["artifacts"]


def test_a_lost_volume_is_named_with_what_is_lacking_and_the_way_to_get_it(
    bundlectl: Callable[..., Ran], store: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    bundlectl("export", f"store:{store}", "--to", place, *SMALL, "--key", keys[0])
    lost = sorted(place.glob("*.tar"))[1]
    lost.unlink()
    ran = bundlectl("import", place, "--store", tmp_path / "site", "--key", keys[1], "-o", "json")
    assert ran.exit_code == 4
    found = checked(ran, "import")
    assert [item["name"] for item in found["volumes"]["problems"]] == [lost.name]
    assert all(lost.name in item["reason"] for item in found["lacking"])
    assert found["artifacts"]["done"] > 0
    assert found["repair"][0].startswith("bundlectl inventory store:")
    text = bundlectl("import", place, "--store", tmp_path / "site", "--key", keys[1])
    assert lost.name in text.out
    assert found["repair"][1] in text.out


def test_nobody_is_believed_without_being_named(
    bundlectl: Callable[..., Ran], store: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    place, site = tmp_path / "archive", tmp_path / "site"
    bundlectl("export", f"store:{store}", "--to", place)
    for options in ((), ("--key", keys[1])):
        ran = bundlectl("import", place, "--store", site, *options)
        assert ran.exit_code == 3
        assert not site.exists()
    ran = bundlectl("import", place, "--store", site, "--verify", "off", "-o", "json")
    assert ran.exit_code == 0
    assert any("not verified" in text for text in ran.document["weakened"])


NONSENSE = (
    ("import", "PLACE", "--key", "KEY"),
    ("import", "PLACE", "--store", "SITE", "--to", "registry.example.com", "--key", "KEY"),
    ("import", "PLACE", "--to", "registry.example.com", "--name", "other", "--key", "KEY"),
    ("export", "STORE", "--to", "OTHER", "--split-size", "12"),
    ("export", "STORE", "--to", "OTHER", "--split-size", "many"),
    ("export", "STORE", "--to", "OTHER", "--volumes", "0"),
    ("export", "STORE", "--to", "OTHER", "--volumes", "3-1"),
    ("export", "STORE", "--to", "OTHER", "--volumes", "99"),
    ("export", "STORE", "--to", "OTHER", "--name", "a/b"),
)


def test_an_inventory_that_was_exchanged_on_its_way_is_refused_with_the_sites_key(
    bundlectl: Callable[..., Ran], store: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    theirs, ours = keys
    assert bundlectl("keys", "generate", tmp_path / "site.key").exit_code == 0
    since, place, page = tmp_path / "since.json.gz", tmp_path / "archive", tmp_path / "r.html"
    export = ("export", f"store:{store}", "--to", place, "--since", since, "--dry-run")
    report = ("report", f"store:{store}", "--out", page, "--since", since)
    checked_with = ("--since-key", tmp_path / "site.key.pub")

    assert bundlectl("inventory", f"store:{store}", "--out", since, "--key", tmp_path / "site.key").exit_code == 0
    ran = bundlectl(*export, *checked_with)
    assert (ran.exit_code, "nobody vouches" in ran.err) == (0, False)
    ran = bundlectl(*report, *checked_with)
    assert (ran.exit_code, "inventory's word" in ran.out) == (0, False)
    page.unlink()

    for signed in (("--key", theirs), ()):
        assert bundlectl("inventory", f"store:{store}", "--out", since, *signed).exit_code == 0
        for command in (export, report):
            ran = bundlectl(*command, *checked_with)
            assert ran.exit_code == 3, ran.err
        assert "nobody vouches for it" in bundlectl(*export).err
    assert not page.exists()
    assert bundlectl("export", f"store:{store}", "--to", place, "--since-key", ours).exit_code == 2


def test_what_makes_no_sense_is_wrong_usage(
    bundlectl: Callable[..., Ran], store: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    bundlectl("export", f"store:{store}", "--to", place, "--key", keys[0])
    meant = {
        "PLACE": place,
        "KEY": keys[1],
        "SITE": tmp_path / "site",
        "STORE": f"store:{store}",
        "OTHER": tmp_path / "other",
    }
    for arguments in NONSENSE:
        assert bundlectl(*(meant.get(word, word) for word in arguments)).exit_code == 2, arguments
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "site").exists()
