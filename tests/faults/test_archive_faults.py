"""Carrying across the gap under kills, full disks and damaged media: every case ends in the documented state."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from bundles.archive import open_archive
from mirror.archive.sums import VolumeSum
from mirror.oci.digest import Digest
from tests.faults.gap import Gap, blobs, check_store, contents, flip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.archive.reading import VolumeSet
    from registry_fixtures.registry import ServedRegistry

KILLS: Final = 20
SEED: Final = 20261126


def stable(folder: Path) -> dict[str, bytes]:
    """What two exports of the same input have in common: all but when they were signed, and the sums of that."""
    volatile = {"release.inventory.json", "SHA256SUMS"}
    return {name: data for name, data in contents(folder).items() if name not in volatile}


def check_folder(folder: Path, gap: Gap) -> None:
    """Whatever has a name is whole, and says so itself."""
    found = contents(folder) if folder.exists() else {}
    expected = contents(gap.whole)
    for name, data in found.items():
        if ".tar" in name or name.endswith(".parity"):
            stated = VolumeSum.from_bytes(found[f"{name.rpartition('.')[0]}.sum.json"], origin=name)
            assert data == expected[name]
            assert stated.sha256 == Digest.of(data)
    if any(".tar" in name for name in found):
        assert "release.inventory.json" in found
        assert found["release.lock.json"] == expected["release.lock.json"]
    if "SHA256SUMS" in found:
        assert subprocess.run(["sha256sum", "-c", "--status", "SHA256SUMS"], cwd=folder, check=False).returncode == 0


def points(calls: int, seed: int) -> list[int]:
    found = sorted(random.Random(seed).sample(range(1, calls + 1), KILLS))
    sys.stdout.write(f"seed {seed}: killed before calls {found} of {calls}\n")
    return found


def test_an_export_killed_at_twenty_random_points_leaves_only_whole_volumes_and_goes_on(
    gap: Gap, tmp_path: Path
) -> None:
    calls = gap.export(tmp_path / "counted").calls
    for number, point in enumerate(points(calls, SEED)):
        out = tmp_path / f"out-{number}"
        assert gap.export(out, kill=point).code == -9
        check_folder(out, gap)
        ran = gap.export(out)
        assert ran.code == 0, ran.err
        check_folder(out, gap)
        assert stable(out) == stable(gap.whole)
        shutil.rmtree(out)


def test_an_export_killed_again_and_again_ends_all_the_same(gap: Gap, tmp_path: Path) -> None:
    out, dice = tmp_path / "out", random.Random(SEED + 1)
    for _ in range(KILLS):
        if gap.export(out, kill=dice.randint(20, 120)).code == 0:
            break
        check_folder(out, gap)
    assert gap.export(out).code == 0
    check_folder(out, gap)
    assert stable(out) == stable(gap.whole)


def test_an_import_killed_at_twenty_random_points_leaves_a_store_that_is_right_and_goes_on(
    gap: Gap, tmp_path: Path
) -> None:
    calls = gap.into(gap.whole, tmp_path / "counted").calls
    before, kills = contents(gap.whole), 0
    for number, point in enumerate(points(calls, SEED + 2)):
        store = tmp_path / f"store-{number}"
        # How many calls it takes depends a little on which thread comes first.
        kills += gap.into(gap.whole, store, kill=point).code == -9
        check_store(store)
        ran = gap.into(gap.whole, store)
        assert ran.code == 0, ran.err
        assert ran.document["failed"] == ran.document["lacking"] == []
        check_store(store)
        assert blobs(store) == blobs(tmp_path / "counted")
        shutil.rmtree(store)
    assert contents(gap.whole) == before
    assert kills > KILLS - 3


def test_a_repair_killed_at_random_points_leaves_nothing_wrong_and_goes_on(gap: Gap, tmp_path: Path) -> None:
    def damaged(name: str) -> Path:
        folder = gap.copy(tmp_path / name)
        (folder / "release-0001.tar").unlink()
        flip(folder / "release-0003.tar", 2000)
        return folder

    calls = gap.into(damaged("counted"), tmp_path / "counted-store").calls
    assert contents(tmp_path / "counted") == contents(gap.whole)
    for number in range(6):
        folder, store = damaged(f"out-{number}"), tmp_path / f"store-{number}"
        gap.into(folder, store, kill=random.Random(SEED + number).randint(1, calls * 2 // 3))
        check_store(store)
        for name, data in contents(folder).items():
            if name.endswith(".tar") and name != "release-0003.tar":
                assert data == contents(gap.whole)[name]
        ran = gap.into(folder, store)
        assert ran.code == 0, ran.err
        assert contents(folder) == contents(gap.whole)


def test_an_import_into_a_registry_that_is_killed_goes_on(gap: Gap, registry: ServedRegistry, tmp_path: Path) -> None:
    for seed in range(3):
        gap.bring(gap.whole, "--to", f"{registry.host}/eks", kill=random.Random(SEED + seed).randint(5, 60))
        for name in registry.holdings.names():
            held = registry.holdings.repository(name)
            assert set(held.tags.values()) <= set(held.manifests)
    ran = gap.bring(gap.whole, "--to", f"{registry.host}/eks")
    assert ran.code == 0, ran.err
    lock = gap.whole / "release.lock.json"
    checked = gap.zygote.run("verify", f"registry:{registry.host}/eks", "--against", lock, "--deep", "--verify", "off")
    assert checked.code == 0, checked.out + checked.err
    assert not (tmp_path / "store").exists()


# Damaged media


def unprotected(gap: Gap, folder: Path) -> Path:
    """A copy without parity: nothing is given back."""
    for path in gap.copy(folder).glob("release-p*"):
        path.unlink()
    return folder


def lost_in(folder: Path, gap: Gap) -> set[str]:
    """The digests that cannot be read any more, or not rightly."""
    volumes: VolumeSet = open_archive((gap.whole,), None).volumes()
    found = set()
    for member in volumes.plan.members:
        place = volumes.locate(member.digest)
        if place is None:
            continue
        data = b""
        for part in volumes.plan.volumes_of(*place):
            path = folder / f"release-{part.number:04}.tar"
            raw = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            data += raw[max(place[0] - part.start, 0) : max(sum(place) - part.start, 0)]
        if Digest.of(data, member.digest.algorithm) != member.digest:
            found.add(str(member.digest))
    return found


DAMAGES: Final = {
    "a volume removed": lambda path: path.unlink(),
    "a volume truncated": lambda path: os.truncate(path, 30_000),
    "a volume emptied": lambda path: os.truncate(path, 0),
    "one bit flipped": lambda path: flip(path, 25_000),
    "one bit of the first header flipped": lambda path: flip(path, 3),
    "zeroes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_archive_the_damage_is_named_and_everything_else_imported(
    gap: Gap, tmp_path: Path, damage: str, number: int
) -> None:
    folder = unprotected(gap, tmp_path / "media")
    path = folder / f"release-{number:04}.tar"
    DAMAGES[damage](path)
    lost = lost_in(folder, gap)
    ran = gap.into(folder, tmp_path / "store")
    document = ran.document
    told = {item["name"] for item in document["volumes"]["problems"]}
    assert told == ({path.name} if lost or path.name in told else set())
    assert {item["digest"] for item in document["lacking"]} <= lost
    assert bool(document["failed"]) == bool(lost & needed(gap))
    assert ran.code in ((3, 4) if document["failed"] else (0,))
    check_store(tmp_path / "store")
    assert set(blobs(tmp_path / "store")) >= {digest.partition(":")[2] for digest in complete(gap, lost)}
    shutil.copy(gap.whole / path.name, folder)
    assert gap.into(folder, tmp_path / "store").code == 0


def needed(gap: Gap) -> set[str]:
    """The digests that some artifact or document needs."""
    lock = open_archive((gap.whole,), None).lock
    found = {str(digest) for digest in lock.blobs} | {str(item.digest) for item in lock.manifests}
    return found | {str(item.oci_digest) for item in lock.manifests if item.oci_digest}


def complete(gap: Gap, lost: set[str]) -> set[str]:
    """The digests of the artifacts that lack nothing."""
    lock = open_archive((gap.whole,), None).lock
    whole = [item.all_digests() for item in lock.artifacts if not {str(one) for one in item.all_digests()} & lost]
    return {str(digest) for digests in whole for digest in digests}


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_parity_a_damaged_archive_is_mended_bit_by_bit_and_imported(gap: Gap, tmp_path: Path, damage: str) -> None:
    folder = gap.copy(tmp_path / "media")
    for number in (1, 3):
        DAMAGES[damage](folder / f"release-{number:04}.tar")
    ran = gap.into(folder, tmp_path / "store")
    assert ran.code == 0, ran.err
    assert ran.document["lacking"] == ran.document["volumes"]["problems"] == []
    check_store(tmp_path / "store")
    repaired = set(ran.document["volumes"]["repaired"])
    assert repaired == {"release-0001.tar", "release-0003.tar"}
    assert contents(folder) == contents(gap.whole)


def test_two_volumes_of_a_set_deleted_come_back_bit_by_bit(gap: Gap, tmp_path: Path) -> None:
    """Every third pair; `test_repairing` takes all of twelve."""
    names = [*sorted(path.name for path in gap.whole.glob("*.tar")), "release-p01.parity", "release-p02.parity"]
    for number, pair in enumerate(itertools.islice(itertools.combinations(names, 2), 0, None, 3)):
        folder = gap.copy(tmp_path / f"media-{number}")
        for name in pair:
            (folder / name).unlink()
            (folder / f"{name.rpartition('.')[0]}.sum.json").unlink()
        assert gap.into(folder, tmp_path / f"store-{number}").code == 0
        for name in pair:
            if name.endswith(".tar"):
                assert (folder / name).read_bytes() == (gap.whole / name).read_bytes()


@pytest.mark.parametrize("with_sums", [True, False], ids=["sums", "no sums"])
def test_volumes_of_two_exports_mixed_are_told_apart(gap: Gap, tmp_path: Path, *, with_sums: bool) -> None:
    other = tmp_path / "other"
    ran = gap.zygote.run(
        "export", gap.source, "--exclude", "*hello*", "--to", other, "--name", "release",
        "--split-size", "64KiB", "--key", gap.folder / "transfer.key",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    folder = unprotected(gap, tmp_path / "media")
    shutil.copy(other / "release-0001.tar", folder)
    sums = folder / "release-0001.sum.json"
    shutil.copy(other / sums.name, folder) if with_sums else sums.unlink()
    ran = gap.into(folder, tmp_path / "store")
    (problem,) = ran.document["volumes"]["problems"]
    assert problem["name"] == "release-0001.tar"
    assert problem["message"] == "belongs to another export" or not with_sums
    assert ran.code in (3, 4)
    check_store(tmp_path / "store")
    mixed = gap.bring(gap.whole, other, "--store", tmp_path / "second")
    assert mixed.code == 3
    assert "holds another export" in mixed.err
    assert not (tmp_path / "second").exists()


# Full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """Mounts file systems of so many KiB."""
    mounted = []

    def mount(size: int) -> Path:
        path = tmp_path / f"disk-{len(mounted)}"
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", path], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip() or 'not root'}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", path], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Write a file that leaves so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(shutil.disk_usage(disk).free - leave, 0)))
    return ballast


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_an_export_onto_a_full_disk_leaves_the_rest_and_goes_on_once_there_is_room(gap: Gap, small_disk: Any) -> None:
    disk = small_disk(2048)
    out = disk / "out"
    # One volume fits beside the margin that is kept.
    ballast = fill(disk, leave=1024 * 1024 + 110 * 1024)
    ran = gap.export(out)
    assert ran.code == 4, ran.err
    states = [item["state"] for item in ran.document["volumes"]]
    assert states == ["written"] + ["left"] * (len(states) - 1)
    check_folder(out, gap)
    ballast.unlink()
    ran = gap.export(out)
    assert ran.code == 0, ran.err
    check_folder(out, gap)
    assert stable(out) == stable(gap.whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_an_export_that_meets_the_end_of_the_disk_is_told_and_goes_on(gap: Gap, small_disk: Any) -> None:
    """The room that was there is taken by somebody else meanwhile."""
    disk = small_disk(2048)
    out = disk / "out"
    assert gap.export(out).code == 0
    for name in ("release-0002.tar", "release-0003.tar", "release-p01.parity", "release-p02.parity"):
        (out / name).unlink()
    calls = gap.export(out, kill=10**9).calls
    assert calls
    for name in ("release-0002.tar", "release-0003.tar", "release-p01.parity", "release-p02.parity"):
        (out / name).unlink()
    for leave in (0, 4096, 70_000):
        ballast = fill(disk, leave=leave)
        ran = gap.export(out)
        # Either it is seen beforehand, and the rest is left, or it is told in the middle.
        assert ran.code in (1, 4), ran.out
        assert ran.code == 4 or "space" in ran.err
        assert "Traceback" not in ran.err
        check_folder(out, gap)
        ballast.unlink()
    assert gap.export(out).code == 0
    assert stable(out) == stable(gap.whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_an_import_onto_a_full_disk_is_told_and_goes_on(gap: Gap, small_disk: Any, tmp_path: Path) -> None:
    disk = small_disk(70 * 1024)
    ballast = fill(disk, leave=60_000)
    ran = gap.into(gap.whole, disk / "store")
    assert ran.code == 1, ran.out
    assert "are free" in ran.err
    check_store(disk / "store")
    ballast.unlink()
    assert gap.into(gap.whole, disk / "store").code == 0
    check_store(disk / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_repair_onto_a_full_disk_is_told_the_rest_is_imported_and_it_goes_on(
    gap: Gap, small_disk: Any, tmp_path: Path
) -> None:
    disk = small_disk(1024)
    folder = gap.copy(disk / "media")
    (folder / "release-0002.tar").unlink()
    left = contents(folder)
    ballast = fill(disk, leave=20_000)
    ran = gap.into(folder, tmp_path / "store")
    assert ran.code == 4
    assert "cannot be repaired" in ran.err
    assert [item["name"] for item in ran.document["volumes"]["problems"]] == ["release-0002.tar"]
    assert contents(folder) == left
    check_store(tmp_path / "store")
    ballast.unlink()
    assert gap.into(folder, tmp_path / "store").code == 0
    assert contents(folder) == contents(gap.whole)
