"""Exports and imports of a small release, as the tests of both need them."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from bundlectl.events import Notice
from bundlectl.operations import Inventory, SourceRequest, take_inventory
from bundlectl.operations.exporting import ExportSettings, export, plan_export
from bundlectl.operations.importing import ImportReport, import_into_registry, import_into_store
from bundles.archive import open_archive
from bundles.belief import Belief
from bundles.inventory import open_inventory
from mirror.layout import Store
from mirror.oci.digest import Digest
from tests.unit.bundlectl.operations.signed import push_image
from tests.unit.bundles.signed_documents import BY_KEY, SIGNER

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.export_report import ExportReport
    from bundles.plan import Naming
    from mirror.archive.reading import VolumeSet
    from tests.unit.bundlectl.operations.site import Site

__all__ = ["NOW", "RELEASE", "SMALL", "Carrier", "contents", "flip", "redated"]

RELEASE: Final = "eks-d:1-33"
PACKAGES: Final = "packages:1-33"
SMALL: Final = ("*/coredns*", "*/pause*", "*/etcd-linux*", "*metallb/speaker*", "*/hello-eks-anywhere*")
NOW: Final = dt.datetime(2026, 11, 26, 12, 0, 0, tzinfo=dt.UTC)
SPLIT: Final = 64 * 1024
OFF: Final = Belief(mode="off")


class Carrier:
    """Carries a lock of a few artifacts from one side of a gap to the other; volumes are as small as can be."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.lock = site.lock_file(RELEASE, PACKAGES, include=SMALL)
        self.out = site.folder / "out"
        self.here = site.folder / "here"

    def settings(self, **more: Any) -> ExportSettings:
        return ExportSettings(**{"issued": NOW, "name": "release", "split_size": SPLIT, "signer": SIGNER, **more})

    def export(self, *sources: str, folder: Path | None = None, **more: Any) -> ExportReport:
        request = self.site.request(*(sources or (self.lock,)))
        with self.site.session() as session:
            return export(request, folder=folder or self.out, settings=self.settings(**more), session=session)

    def plan(self, *sources: str, **more: Any) -> ExportReport:
        request = self.site.request(*(sources or (self.lock,)))
        with self.site.session() as session:
            return plan_export(request, folder=self.out, settings=self.settings(**more), session=session)

    def believing(self, belief: Belief = BY_KEY, **more: Any) -> SourceRequest:
        return SourceRequest(sources=(), belief=belief, **more)

    def import_(
        self, *paths: Path, store: Path | None = None, belief: Belief = BY_KEY, name: str | None = None, **more: Any
    ) -> ImportReport:
        """Into a store."""
        with self.site.session() as session:
            return import_into_store(
                self.believing(belief, **more),
                paths or (self.out,),
                store=store or self.here,
                session=session,
                name=name,
            )

    def push(self, *paths: Path, naming: Naming | None = None, belief: Belief = BY_KEY, **more: Any) -> ImportReport:
        """Into the registry."""
        with self.site.session() as session:
            return import_into_registry(
                self.believing(belief, **more), paths or (self.out,), target=naming or self.site.naming, session=session
            )

    def refused(self, *paths: Path, **more: Any) -> BundlectlError:
        """What an import into a store is refused with; nothing is there then."""
        try:
            self.import_(*paths, **more)
        except BundlectlError as error:
            return error
        raise AssertionError("it was imported")

    def inventory(self, source: str = "") -> tuple[Inventory, Digest]:
        """What a site has, as ``--since`` takes it."""
        with self.site.session() as session:
            found = take_inventory(source or f"store:{self.here}", session=session, issued=NOW)
        return found, Digest.of(found.to_bytes())

    def volumes(self, *folders: Path) -> VolumeSet:
        return open_archive(folders or (self.out,), None).volumes()

    def is_whole(self, store: Path | None = None) -> bool:
        """Whether a store has all of the lock, and nothing in it is wrong."""
        with Store.open(store or self.here, read_only=True) as held:
            lock = self.site.lock(self.lock)
            return not list(held.verify()) and all(held.size(digest) == size for digest, size in lock.blobs.items())

    def tags(self) -> dict[str, str]:
        """Every name at the target and what it points at; without what the target remembers of imports."""
        holdings = self.site.target.holdings
        return {
            f"{name}:{tag}": str(digest)
            for name in holdings.names()
            for tag, digest in holdings.repository(name).tags.items()
            if not name.endswith("bundlectl/imports")
        }

    def warnings(self) -> list[str]:
        return [f"{item.artifact}: {item.message}" for item in self.site.heard if isinstance(item, Notice)]

    def copied(self, name: str = "copy") -> Path:
        return shutil.copytree(self.out, self.site.folder / name)

    def moved_names(self, folder: Path) -> tuple[Path, Path]:
        """Two archives that give one name to two contents, the second a month later."""
        target = self.site.target.host
        archives = []
        for number in (0, 1):
            with self.site.session() as session:
                push_image(session.target(target).repository("moving/image"), f"content {number}".encode())
            lock = self.site.lock_file(f"image:{target}/moving/image:v1")
            archives.append(folder / f"moves-{number}")
            self.export(lock, folder=archives[-1], name="moves", issued=NOW + dt.timedelta(days=30 * number))
        return archives[0], archives[1]


def redated(folder: Path, issued: dt.datetime) -> Path:
    """The same archive as somebody without a key would date it."""
    (path,) = folder.glob("*.inventory.json")
    inventory, _ = open_inventory(path.read_bytes(), None, origin="x")
    path.write_bytes(replace(inventory, issued=issued).to_bytes())
    return folder


def contents(folder: Path, *, suffix: str = "") -> dict[str, bytes]:
    """All files of a folder by their name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.endswith(suffix)}


def flip(path: Path, at: int) -> None:
    """Flip a bit."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x08
    path.write_bytes(raw)
