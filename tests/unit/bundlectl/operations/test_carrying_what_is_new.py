"""The whole round: a site says what it has, an archive brings what it lacks, and what went missing meanwhile."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.operations import Inventory, diff, take_inventory
from bundlectl.operations.exporting import ExportSettings, export
from bundlectl.operations.importing import ImportReport, import_into_registry, import_into_store
from bundlectl.operations.taking_stock import load_inventory
from bundles.archive import find_inventory
from mirror.archive.folder import Folder
from mirror.layout import Store
from mirror.oci.digest import Digest
from tests.unit.bundlectl.operations.signed import push_image
from tests.unit.bundles.signed_documents import BY_KEY, SIGNER

if TYPE_CHECKING:
    from bundlectl.operations import Difference
    from bundlectl.operations.export_report import ExportReport
    from tests.unit.bundlectl.operations.site import Site

OLD = "eks-d:1-33"
NEW = ("eks-a:latest", "packages:1-33")
NOW = dt.datetime(2026, 11, 26, 12, 0, 0, tzinfo=dt.UTC)


@dataclass
class Round:
    """One site, of one kind, and what is carried to and from it."""

    site: Site
    kind: str
    lock: str
    count: int = 0

    @property
    def source(self) -> str:
        return f"store:{self.site.store}" if self.kind == "store" else f"registry:{self.site.target.host}/eks"

    def bring(self, *sources: str) -> None:
        if self.kind == "store":
            assert self.site.download(*sources, name="before").exit_code == 0
        else:
            assert self.site.mirror(*sources).exit_code == 0

    def take(self) -> Path:
        self.count += 1
        with self.site.session() as session:
            taken = take_inventory(self.source, session=session, issued=NOW)
        path = self.site.folder / f"{self.count}.inventory.json"
        path.write_bytes(taken.to_bytes())
        return path

    def diff(self, taken: Path) -> Difference:
        with self.site.session() as session:
            return diff(str(taken), self.lock, request=self.site.request(), session=session)

    def export(self, *since: Path) -> tuple[ExportReport, Inventory]:
        self.count += 1
        folder = self.site.folder / f"medium-{self.count}"
        settings = ExportSettings(
            issued=NOW + dt.timedelta(minutes=self.count),
            name=f"archive-{self.count}",
            since=tuple((found, digest) for found, _, digest in (load_inventory(path, None) for path in since)),
            signer=SIGNER,
        )
        with self.site.session() as session:
            report = export(self.site.request(self.lock), folder=folder, settings=settings, session=session)
        inventory, _, _ = load_inventory(folder / (find_inventory(Folder(folder)) or ""), BY_KEY.anchors)
        return report, inventory

    def bring_in(self, archive: ExportReport) -> ImportReport:
        request, paths = self.site.request(belief=BY_KEY), [Path(archive.folder)]
        with self.site.session() as session:
            if self.kind == "store":
                return import_into_store(request, paths, store=self.site.store, session=session)
            return import_into_registry(request, paths, target=self.site.naming, session=session)

    def lose(self, digest: Digest) -> None:
        with Store.open(self.site.store, create=True) as store:
            store.blob_path(digest).unlink(missing_ok=True)
        for name in self.site.target.holdings.names():
            held = self.site.target.holdings.repository(name)
            held.blobs.discard(digest)


@pytest.fixture(params=["store", "registry"])
def journey(site: Site, request: pytest.FixtureRequest) -> Round:
    """A site that has an old release; the lock is of a new one."""
    site.memory = site.folder / "state"
    place = Round(site, request.param, site.lock_file(*NEW))
    place.bring(OLD)
    return place


def carried(inventory: Inventory) -> dict[Digest, int]:
    """The blobs in the volumes."""
    assert inventory.archive is not None
    return {item.digest: item.size for item in inventory.archive.members if not item.name}


def test_only_what_a_site_lacks_is_carried_and_its_bytes_were_told_before(journey: Round) -> None:
    taken = journey.take()
    told = journey.diff(taken)
    report, inventory = journey.export(taken)
    assert sum(carried(inventory).values()) == told.bytes == report.bytes - report.bytes_present
    assert report.bytes_present
    assert told.bytes
    done = journey.bring_in(report)
    assert (done.exit_code, done.lacking) == (0, [])
    # What the import remembers there is no content of the site.
    after = journey.diff(journey.take())
    assert (after.added, after.changed, after.bytes) == ((), (), 0)
    assert {item.reference for item in after.removed} <= {item.reference for item in told.removed}
    # Once more, and everything is still there.
    assert journey.bring_in(report).exit_code == 0


def test_an_archive_for_another_site_names_what_is_missing_and_a_repair_archive_holds_that_alone(
    journey: Round,
) -> None:
    report, inventory = journey.export(journey.take())
    assert inventory.archive is not None
    sizes = journey.site.lock(journey.lock).blobs
    lost = max(inventory.archive.present, key=lambda digest: sizes.get(digest, 0))
    journey.lose(lost)
    done = journey.bring_in(report)
    assert done.exit_code == 4
    assert [item.digest for item in done.lacking] == [lost]
    assert done.repair_commands()[0].startswith(f"bundlectl inventory {journey.source} --out ")
    taken = journey.take()
    left = load_inventory(taken, None)[0].blobs
    assert lost not in left
    repair, inventory = journey.export(taken)
    assert lost in carried(inventory)
    assert carried(inventory).keys().isdisjoint(left)
    assert journey.bring_in(repair).exit_code == 0
    assert journey.bring_in(report).exit_code == 0
    assert journey.diff(journey.take()).bytes == 0


def test_archives_may_come_in_any_order(journey: Round) -> None:
    first, _ = journey.export()
    second, inventory = journey.export(journey.take())
    assert len(carried(inventory)) < first.blobs
    assert journey.bring_in(second).exit_code == 0
    assert journey.bring_in(first).exit_code == 0
    assert journey.diff(journey.take()).bytes == 0


def test_a_layer_is_found_in_a_repository_of_the_site_that_the_archive_does_not_name(site: Site) -> None:
    layer = b"a layer that two images share"
    place = Round(site, "registry", "")
    with site.session() as session:
        push_image(session.target(site.target.host).repository("eks/of/the/site"), layer)
        push_image(session.target(site.target.host).repository("made/app"), layer)
    place.lock = site.lock_file(f"image:{site.target.host}/made/app:v1")
    report, inventory = place.export(place.take())
    assert Digest.of(layer) not in carried(inventory)
    assert place.bring_in(report).exit_code == 0
