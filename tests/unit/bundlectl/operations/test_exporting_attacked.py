"""A medium that was in other hands before it is exported to."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, StoreError
from bundlectl.operations import exporting
from bundles.inventory import NamedFile, open_inventory
from tests.unit.bundlectl.operations.carrying import NOW, Carrier, redated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.bundlectl.operations.site import Site


@pytest.fixture
def carrier(site: Site) -> Carrier:
    """An archive in ``out``."""
    made = Carrier(site)
    made.export()
    return made


def test_an_export_does_not_sign_a_date_that_somebody_wrote_onto_the_medium(carrier: Carrier) -> None:
    redated(carrier.out, NOW + dt.timedelta(days=900))
    carrier.export()
    (path,) = carrier.out.glob("*.inventory.json")
    assert open_inventory(path.read_bytes(), None, origin="x")[0].issued == NOW


def test_a_tool_is_not_written_through_a_link_that_lies_on_the_medium(carrier: Carrier, tmp_path: Path) -> None:
    tool, elsewhere, medium = tmp_path / "install.py", tmp_path / "elsewhere", tmp_path / "medium"
    tool.write_bytes(b"print()")
    elsewhere.mkdir()
    medium.mkdir()
    (medium / "tool").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="leads out"):
        carrier.export(folder=medium, tool={"tool/install.py": tool})
    assert not list(elsewhere.iterdir())


def test_a_tool_that_changes_while_it_is_exported_is_not_written(
    carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "install.py"
    tool.write_bytes(b"print()")
    real = exporting._hashed

    def hashed(name: str, path: Path) -> NamedFile:
        found = real(name, path)
        path.write_bytes(b"print(1)")
        return found

    monkeypatch.setattr(exporting, "_hashed", hashed)
    with pytest.raises(ContentError, match="changed while it was exported"):
        carrier.export(folder=tmp_path / "medium", tool={"tool/install.py": tool})
    assert not (tmp_path / "medium" / "tool" / "install.py").exists()
