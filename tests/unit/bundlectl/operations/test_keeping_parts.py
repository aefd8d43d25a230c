"""With one drive for several media an import comes to its end: what is here of an image waits for the rest of it."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.layout import Store
from registry_fixtures.faults import Fault, Refuse
from tests.unit.bundlectl.operations.carrying import Carrier, flip

if TYPE_CHECKING:
    from bundlectl.operations.importing import ImportReport
    from tests.unit.bundlectl.operations.site import Site

BOTH = pytest.mark.parametrize("into", ["store", "registry"])


@pytest.fixture
def carrier(site: Site) -> Carrier:
    made = Carrier(site)
    made.export()
    return made


def media(carrier: Carrier, count: int) -> list[Path]:
    """The archive on so many media, its volumes one after the other."""
    folders = [carrier.copied(f"medium-{number}") for number in range(count)]
    for number, name in enumerate(sorted(path.name for path in carrier.out.glob("*.tar"))):
        for folder in folders:
            if folder is not folders[number * count // len(list(carrier.out.glob("*.tar")))]:
                (folder / name).unlink()
    assert all(list(folder.glob("*.tar")) for folder in folders)
    return folders


def bring(carrier: Carrier, folder: Path, into: str, **more: Any) -> ImportReport:
    return carrier.import_(folder, **more) if into == "store" else carrier.push(folder, **more)


def is_whole(carrier: Carrier, into: str) -> bool:
    if into == "store":
        return carrier.is_whole()
    return carrier.site.verify(carrier.lock, deep=True).findings == []


@BOTH
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_media_may_be_inserted_one_after_the_other_in_any_order(
    carrier: Carrier, into: str, order: tuple[int, ...]
) -> None:
    folders = media(carrier, 3)
    codes = [bring(carrier, folders[number], into).exit_code for number in order]
    assert codes[0] == 4
    # What lies on a medium that was here before may be wanted by what came later.
    again = itertools.takewhile(lambda _: codes[-1] != 0, order)
    codes += [bring(carrier, folders[number], into).exit_code for number in again]
    assert codes[-1] == 0
    assert is_whole(carrier, into)


@BOTH
def test_two_media_are_inserted_once_each(carrier: Carrier, into: str) -> None:
    first, second = media(carrier, 2)
    assert [bring(carrier, folder, into).exit_code for folder in (first, second)] == [4, 0]
    assert is_whole(carrier, into)


@BOTH
def test_nothing_has_a_name_before_all_of_it_is_there(carrier: Carrier, into: str) -> None:
    first, _ = media(carrier, 2)
    report = bring(carrier, first, into)
    missing = {failure.reference for failure in report.copied.failed}
    assert missing
    if into == "store":
        with Store.open(carrier.here, read_only=True) as store:
            named = {f"{ref.repository}:{ref.tag}" for ref in store.refs()}
        assert not missing & named
    else:
        assert not [name for name in carrier.tags() if any(name.endswith(label.partition("/")[2]) for label in missing)]


def test_a_registry_that_takes_no_parts_is_told_of_as_before(carrier: Carrier) -> None:
    first, second = media(carrier, 2)
    carrier.site.target.faults.add(Fault(Refuse(403), path="*/blobs/uploads/*", method="POST"))
    assert carrier.push(first).exit_code == 4
    carrier.site.target.faults.clear()
    assert carrier.push(first, second).exit_code == 0


def test_a_damaged_volume_on_a_medium_that_cannot_be_written_is_repaired_on_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = Carrier(site)
    carrier.export(parity=1)
    disc, disk = carrier.copied("disc"), carrier.copied("disk")
    for path in (*disc.glob("*.parity"), *disk.glob("*-0001.tar")):
        path.unlink()
    flip(disc / "release-0001.tar", 30_000)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != disc and access(path, mode))
    for path in disk.glob("*.tar"):
        shutil.copy(path, disc)
    before = {path.name: path.read_bytes() for path in disc.iterdir()}
    report = carrier.import_(disc, disk)
    assert (report.exit_code, report.repaired, report.problems) == (0, ["release-0001.tar"], [])
    assert carrier.is_whole()
    assert (disk / "release-0001.tar").read_bytes() == (carrier.out / "release-0001.tar").read_bytes()
    assert {path.name: path.read_bytes() for path in disc.iterdir()} == before
