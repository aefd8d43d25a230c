"""Who carries the medium, may push to the registry or has old archives gets nothing wrong past an import."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, StoreError, UsageError, VerificationError
from bundlectl.operations.replaying import ImportMemory, RegistryMemory
from bundles.archive import open_archive
from bundles.inventory import open_inventory
from bundles.plan import Naming
from mirror.layout import Store
from tests.unit.bundlectl.operations.carrying import NOW, OFF, RELEASE, Carrier, redated

if TYPE_CHECKING:
    from pathlib import Path

    from bundles.archive import CarriedArchive
    from tests.unit.bundlectl.operations.site import Site


@pytest.fixture
def carrier(site: Site) -> Carrier:
    """An archive in ``out``; what it was made from is not reached any more."""
    made = Carrier(site)
    made.export()
    return made


# Who may push to the registry


@pytest.mark.parametrize("remembering", [True, False])
def test_a_layer_that_the_registry_lost_below_a_right_tag_is_brought_again(
    carrier: Carrier, tmp_path: Path, *, remembering: bool
) -> None:
    carrier.site.memory = tmp_path / "state" if remembering else None
    assert carrier.push().exit_code == 0
    holdings = carrier.site.target.holdings
    held = holdings.repository(next(name for name in holdings.names() if name.endswith("coredns")))
    before = set(held.blobs)
    held.blobs.clear()
    report = carrier.push()
    assert report.exit_code == 0
    assert set(held.blobs) == before


def test_a_record_in_the_registry_does_not_unsay_what_the_machine_remembers(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    carrier.site.memory = tmp_path / "state"
    assert carrier.push(new).exit_code == 0
    before = carrier.tags()
    with carrier.site.session() as session:
        memory = RegistryMemory(session.target(carrier.site.target.host), carrier.site.naming, session)
        memory._path = None  # somebody else, who may push
        with pytest.raises(VerificationError):
            carrier.push(old)
        known = memory.read()
        inventory, _ = open_inventory(next(old.glob("*.inventory.json")).read_bytes(), None, origin="x")
        (digest,) = inventory.refs.values()
        forged = ImportMemory(dict.fromkeys(known.names, (str(digest), "2099-01-01T00:00:00Z")))
        memory.change(lambda _: forged)
    with pytest.raises(VerificationError, match="would move back"):
        carrier.push(old)
    assert carrier.tags() == before


# Who has old archives


def test_an_older_archive_does_not_take_the_name_of_a_collection_back(carrier: Carrier, tmp_path: Path) -> None:
    older = carrier.site.lock_file(RELEASE, include=("*/pause*",))
    carrier.export(older, folder=tmp_path / "older", issued=NOW - dt.timedelta(days=30))
    assert carrier.import_().exit_code == 0
    with Store.open(carrier.here, read_only=True) as store:
        before = store.collections()
    with pytest.raises(VerificationError, match="would move back"):
        carrier.import_(tmp_path / "older")
    with Store.open(carrier.here, read_only=True) as store:
        assert store.collections() == before
    assert carrier.import_(tmp_path / "older", name="another").exit_code == 0
    assert carrier.import_(tmp_path / "older", allow_rollback=True).exit_code == 0


def test_an_archive_that_was_renamed_is_refused(carrier: Carrier) -> None:
    copy = carrier.copied()
    for path in list(copy.iterdir()):
        if not path.name.startswith("release.lock"):
            path.rename(copy / path.name.replace("release", "other"))
    error = carrier.refused(copy)
    assert isinstance(error, ContentError)
    assert "release" in error.message


# Who dates what nobody signed


def test_an_archive_that_nobody_signed_moves_nothing_that_a_signed_one_brought(
    carrier: Carrier, tmp_path: Path
) -> None:
    old, new = carrier.moved_names(tmp_path)
    assert carrier.import_(new).exit_code == 0
    redated(old, NOW + dt.timedelta(days=900))
    with pytest.raises(VerificationError, match="nobody's signature"):
        carrier.import_(old, belief=OFF)
    assert carrier.import_(old, belief=OFF, allow_rollback=True).exit_code == 0


def test_a_date_that_nobody_signed_keeps_no_signed_archive_out(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    redated(old, NOW + dt.timedelta(days=900))
    assert carrier.import_(old, belief=OFF).exit_code == 0
    assert carrier.import_(new).exit_code == 0


def test_among_archives_that_nobody_signed_the_dates_count_that_they_state(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    assert carrier.import_(new, belief=OFF).exit_code == 0
    with pytest.raises(VerificationError, match="would move back"):
        carrier.import_(old, belief=OFF)


def test_two_archives_of_one_second_do_not_take_each_others_names(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    for folder in (old, new):
        redated(folder, NOW)
    assert carrier.import_(new, belief=OFF).exit_code == 0
    with pytest.raises(VerificationError, match="would move back"):
        carrier.import_(old, belief=OFF)


# Who types


def test_a_name_that_no_collection_can_have_is_refused_before_anything_is_written(carrier: Carrier) -> None:
    error = carrier.refused(name="../up")
    assert isinstance(error, UsageError)
    assert not carrier.here.exists()


def test_what_is_checked_of_a_medium_is_what_is_imported(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def once(*args: Any) -> CarriedArchive:
        opened.append(args)
        found = open_archive(*args)
        for path in carrier.out.glob("*.json"):
            path.write_bytes(b"swapped")
        return found

    monkeypatch.setattr("bundlectl.operations.importing.open_archive", once)
    assert carrier.import_().exit_code == 0
    assert len(opened) == 1
    assert carrier.is_whole()


def test_two_imports_at_once_do_not_move_each_others_names(carrier: Carrier, tmp_path: Path) -> None:
    with (
        Store.open(carrier.here, create=True) as store,
        store.importing(),
        pytest.raises(StoreError, match="cannot lock it") as raised,
    ):
        carrier.import_()
    assert "let that one finish" in str(raised.value.hint)
    assert carrier.import_().exit_code == 0
    carrier.site.memory = tmp_path / "state"
    with carrier.site.session() as session:
        memory = RegistryMemory(session.target(carrier.site.target.host), carrier.site.naming, session)
        with memory.alone(), pytest.raises(StoreError, match="cannot lock it"):
            carrier.push()
    assert not carrier.tags()
    assert carrier.push().exit_code == 0


def test_what_the_machine_remembers_holds_for_every_prefix_and_map(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    carrier.site.memory = tmp_path / "state"
    host = carrier.site.target.host
    assert carrier.push(new).exit_code == 0
    before = carrier.tags()
    around = Naming.parse(host, [f"{host}=eks"])
    with pytest.raises(VerificationError, match="would move back"):
        carrier.push(old, naming=around)
    assert carrier.tags() == before
