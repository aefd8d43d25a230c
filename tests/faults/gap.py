"""A store on one side of a gap, and what is carried from it; the commands run in processes of their own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.layout import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.zygote import Ran, Zygote

__all__ = ["Gap", "blobs", "check_store", "contents", "flip"]


@dataclass(frozen=True)
class Gap:
    """A store on one side, a key, and an undisturbed export to compare with."""

    folder: Path
    zygote: Zygote

    @property
    def source(self) -> str:
        return f"store:{self.folder / 'store'}#release"

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    def export(self, to: Path, *more: object, kill: int = 0) -> Ran:
        return self.zygote.run(
            "export", self.source, "--to", to, "--name", "release", "--split-size", "64KiB", "--parity", "2",
            "--key", self.folder / "transfer.key", "-o", "json", *more, kill=kill,
        )  # fmt: skip

    def bring(self, archive: Path, *to: object, kill: int = 0) -> Ran:
        return self.zygote.run("import", archive, *to, "--key", self.folder / "transfer.pub", "-o", "json", kill=kill)

    def into(self, archive: Path, store: Path, *, kill: int = 0) -> Ran:
        return self.bring(archive, "--store", store, kill=kill)

    def copy(self, to: Path) -> Path:
        return shutil.copytree(self.whole, to)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check_store(path: Path) -> None:
    """No name without all of its content, no content that is not what it is called."""
    if not (path / "bundlectl" / "refs.log").exists():
        # It was killed while it was made: there is nothing in it yet.
        assert not (path / "blobs").exists() or not blobs(path)
    else:
        with Store.open(path, read_only=True) as store:
            assert list(store.verify()) == []


def blobs(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "blobs").rglob("*") if path.is_file()}


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x10
    path.write_bytes(raw)
