"""What somebody put on the medium to harm who reads it: nothing of it is used, nothing is written beside the target."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from bundles.archive import open_archive
from bundles.inventory import Inventory
from bundles.lock import Lock
from mirror.archive.plan import Literal, Member
from mirror.archive.sums import VolumeSum
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from tests.faults.gap import Gap, blobs, check_store, contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.zygote import Ran

pytestmark = pytest.mark.timeout(60)

VOLUME: Final = "release-0001.tar"
PEAK: Final = 300 * 1024 * 1024
"""Bytes: what a run may hold whatever it is given. An ordinary one holds a third of that."""
SLOWEST: Final = 15.0
"""Seconds, on a machine that is busy."""


@pytest.fixture
def media(gap: Gap, tmp_path: Path) -> Path:
    """A copy of the archive without parity, and beside it what must not be touched."""
    folder = gap.copy(tmp_path / "media")
    for path in folder.glob("release-p*"):
        path.unlink()
    (tmp_path / "precious").write_bytes(b"precious")
    return folder


def bring(gap: Gap, media: Path, *more: object) -> Ran:
    """Import into ``store`` beside the media; whatever comes of it, it takes a bounded time and memory."""
    began = time.monotonic()
    ran = gap.zygote.run("import", media, "--store", media.parent / "store", "-o", "json", *more)
    assert time.monotonic() - began < SLOWEST
    assert ran.peak < PEAK
    assert ran.code in (0, 1, 2, 3, 4), ran.err
    assert "Traceback" not in ran.err
    return ran


def check_untouched(media: Path, before: dict[str, bytes]) -> None:
    """Nothing lies outside the store that did not lie there before, and nothing in it is wrong."""
    assert {path.name for path in media.parent.iterdir()} <= {"media", "store", "precious"}
    assert (media.parent / "precious").read_bytes() == b"precious"
    check_store(media.parent / "store")
    for name, data in before.items():
        assert (media / name).read_bytes() == data
    if (media.parent / "store").exists():
        links = [path for path in (media.parent / "store").rglob("*") if path.is_symlink() or not path.exists()]
        assert links == []


# Tars


def entry(name: str, data: bytes = b"", **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def sparse(real: int) -> bytes:
    """An entry of GNU's old sparse format that unpacks to ``real`` bytes."""
    raw = bytearray(entry("bomb", type=b"S"))
    raw[257:265] = b"ustar  \0"
    raw[386:482] = bytes(96)
    # As base-256 numbers, and no map: all of it is a hole.
    raw[483:495] = b"\x80" + real.to_bytes(11, "big")
    raw[148:156] = b"        "
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


def lying(size: int) -> bytes:
    """A header that says that ``size`` bytes follow."""
    return entry("liar", size=size)


def pax(**records: str) -> bytes:
    return entry("x", b"data", pax_headers=records)


HOSTILE: Final[dict[str, Callable[[Path], bytes]]] = {
    "a path that escapes": lambda _: entry("../precious", b"owned") + entry("../../store/oci-layout", b"owned"),
    "an absolute path": lambda place: entry(str(place / "precious"), b"owned"),
    "a symbolic link and a file through it": lambda place: (
        entry("blobs", type=tarfile.SYMTYPE, linkname=str(place)) + entry("blobs/precious", b"owned")
    ),
    "a hard link": lambda place: entry("blobs/x", type=tarfile.LNKTYPE, linkname=str(place / "precious")),
    "devices and a fifo": lambda _: (
        entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        + entry("disk", type=tarfile.BLKTYPE, devmajor=8)
        + entry("fifo", type=tarfile.FIFOTYPE)
    ),
    "a huge pax header": lambda _: pax(comment="A" * 50_000),
    "a pax header that says it is huge": lambda _: entry("x", size=2**60, type=b"x"),
    "a pax path that escapes": lambda _: pax(path="../precious"),
    "a pax size that is a lie": lambda _: pax(size=str(2**62)),
    "a sparse entry of an exbibyte": lambda _: sparse(2**60),
    "a size that is a lie": lambda _: lying(2**40),
    "one name twice": lambda _: entry("index.json", b"{}") + entry("index.json", b'{"manifests":[]}'),
    "no tar at all": lambda _: b"#!/bin/sh\nrm -rf /\n",
}


@pytest.mark.parametrize(
    ("begins", "forged"),
    [(False, True), (True, False)],
    ids=["from the beginning, with a forged sum file", "after the right header, without a sum file"],
)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_tar_in_place_of_a_volume_is_named_and_nothing_of_it_is_used(
    gap: Gap, media: Path, what: str, *, begins: bool, forged: bool
) -> None:
    archive = open_archive((gap.whole,), None)
    plan = archive.contents.plan()
    volume = plan.volumes[0]
    raw = HOSTILE[what](media.parent)
    if begins:
        first = next(plan.pieces(volume.start, volume.end))
        assert isinstance(first, Literal)
        raw = first.data + raw
    raw = raw[: volume.size].ljust(volume.size, b"\0")
    (media / VOLUME).write_bytes(raw)
    sums = media / "release-0001.sum.json"
    sums.unlink()
    if forged:
        stated = VolumeSum.of(
            plan, volume, archive=str(archive.inventory.archive_id), name=VOLUME, sha256=Digest.of(raw)
        )
        sums.write_bytes(stated.to_bytes())
    before = contents(media)
    ran = bring(gap, media, "--key", gap.folder / "transfer.pub")
    assert ran.code in (3, 4)
    document = ran.document
    assert [item["name"] for item in document["volumes"]["problems"]] == [VOLUME]
    check_untouched(media, before)
    in_first = {
        str(member.digest) for member in plan.members if (place := plan.locate(member.digest)) and place[0] < volume.end
    }
    assert {item["digest"] for item in document["lacking"]} <= in_first
    assert document["lacking"]
    kept = set(blobs(media.parent / "store"))
    for artifact in archive.lock.artifacts:
        needs = {str(digest) for digest in artifact.all_digests()}
        if not needs & in_first:
            assert {digest.partition(":")[2] for digest in needs} <= kept


@pytest.mark.parametrize("what", ["fifo", "link", "folder", "device", "huge"])
@pytest.mark.parametrize(
    "name", [VOLUME, "release-0001.sum.json", "release.inventory.json", "release.lock.json", "release-p01.parity"]
)
def test_what_is_called_like_a_file_of_an_archive_and_is_none_holds_nobody_up(
    gap: Gap, media: Path, what: str, name: str
) -> None:
    (media / name).unlink(missing_ok=True)
    if what == "fifo":
        os.mkfifo(media / name)
    elif what == "link":
        (media / name).symlink_to(gap.whole / name)
    elif what == "folder":
        (media / name).mkdir()
    elif what == "huge":
        with (media / name).open("wb") as file:
            file.truncate(2**40)
    elif os.geteuid():
        pytest.skip("only root makes devices")
    else:
        os.mknod(media / name, 0o644 | 0o020000, os.makedev(1, 5))
    ran = bring(gap, media, "--key", gap.folder / "transfer.pub")
    if name in (VOLUME, "release.inventory.json", "release.lock.json"):
        assert ran.code in (2, 3, 4)
        assert name in ran.err + ran.out or "holds no archive" in ran.err
    else:
        assert ran.code == 0
    check_untouched(media, {})


def test_a_folder_of_five_thousand_other_files_is_looked_through(gap: Gap, media: Path) -> None:
    for number in range(5_000):
        (media / f"release-9{number:05}.tar.x").touch()
    assert bring(gap, media, "--key", gap.folder / "transfer.pub").code == 0


# What nobody signed, and is believed because somebody said --verify off


@pytest.fixture(scope="module")
def nobodys(gap: Gap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same archive without a signature."""
    folder = tmp_path_factory.mktemp("unsigned") / "media"
    done = gap.zygote.run("export", gap.source, "--to", folder, "--name", "release", "--split-size", "64KiB", "-q")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def unsigned(nobodys: Path, tmp_path: Path) -> Path:
    """A copy of it, and beside it what must not be touched."""
    (tmp_path / "precious").write_bytes(b"precious")
    return shutil.copytree(nobodys, tmp_path / "media")


def forge(media: Path, **changes: Any) -> None:
    """Alter what the inventory says of the archive, in its own form; a callable gets what is there."""
    path = media / "release.inventory.json"
    statement = json.loads(path.read_bytes())
    found = statement["predicate"]["archive"]
    for key, value in changes.items():
        found[key] = value(found[key]) if callable(value) else value
    if "lock" in changes:
        named = {"name": found["lock"]["name"], "digest": dict([found["lock"]["digest"].split(":")])}
        others = [item for item in statement["subject"] if item["name"] != "release.lock.json"]
        statement["subject"] = sorted([*others, named], key=lambda item: str(item["name"]))
    path.write_bytes(canonical_json(statement))


def members(*more: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda there: [*there, *more]


BLOB: Final = {"digest": str(Digest.of(b"x")), "size": 1}
LIES: Final[dict[str, dict[str, Any]]] = {
    "a member's path that escapes": {"members": members({**BLOB, "name": "../../precious"})},
    "a member's path that is absolute": {"members": members({**BLOB, "name": "/etc/passwd"})},
    "a member's path with a NUL": {"members": members({**BLOB, "name": "a\0b"})},
    "a member's path of a megabyte": {"members": members({**BLOB, "name": "a" * 1_000_000})},
    "a member twice": {"members": lambda there: [*there, there[-1]]},
    "a member of four exbibytes": {"members": members({**BLOB, "size": 2**62 - 1})},
    "a member that needs a billion volumes": {"members": members({**BLOB, "size": 2**45})},
    "a member of more than any number": {"members": members({**BLOB, "size": 10**400})},
    "a member of less than nothing": {"members": members({**BLOB, "size": -1})},
    "a size that is no number": {"members": members({**BLOB, "size": 1.5})},
    "a size that is true": {"members": members({**BLOB, "size": True})},
    "volumes of nothing": {"volumeSize": 0},
    "volumes of one block": {"volumeSize": 512},
    "volumes of four exbibytes": {"volumeSize": 2**62 - 512},
    "parity without end": {"parity": 2**61},
    "less parity than none": {"parity": -1},
    "a lock elsewhere": {"lock": {"name": "../precious", "digest": str(Digest.of(b"precious")), "size": 8}},
    "a lock in a folder": {"lock": {"name": "tool/x", "digest": str(Digest.of(b"precious")), "size": 8}},
    "a lock at the root": {"lock": {"name": "/etc/passwd", "digest": str(Digest.of(b"x")), "size": 8}},
    "a lock with a NUL": {"lock": {"name": "a\0b", "digest": str(Digest.of(b"x")), "size": 8}},
    "a lock of a name too long": {"lock": {"name": "a" * 5000, "digest": str(Digest.of(b"x")), "size": 8}},
    "a tool elsewhere": {"tool": [{"name": "../precious", "digest": str(Digest.of(b"precious")), "size": 8}]},
    "no members": {"members": []},
    "members that are none": {"members": [None]},
}


@pytest.mark.parametrize("what", LIES)
def test_an_inventory_that_lies_is_refused_with_a_reason(gap: Gap, unsigned: Path, what: str) -> None:
    forge(unsigned, **LIES[what])
    before = contents(unsigned)
    ran = bring(gap, unsigned, "--verify", "off")
    if what == "volumes of four exbibytes":
        # It can be so: all of it is one volume then, and the one that is here is too short.
        assert ran.code in (3, 4)
    else:
        assert ran.code in (1, 3, 4)
        assert len(ran.err) < 3000
        assert not (unsigned.parent / "store").exists()
    check_untouched(unsigned, before)


def test_half_a_character_in_a_name_is_refused_with_a_reason(gap: Gap, unsigned: Path) -> None:
    path = unsigned / "release.inventory.json"
    path.write_bytes(path.read_bytes().replace(b"oci-layout", b"\\ud800"))
    ran = bring(gap, unsigned, "--verify", "off")
    assert ran.code == 3
    assert "is not an inventory" in ran.err


def rebuilt(media: Path, wanted: list[Member], **more: Any) -> None:
    """An inventory of other members, that contradicts nothing."""
    path = media / "release.inventory.json"
    inventory = Inventory.from_bytes(path.read_bytes(), origin="x")
    assert inventory.archive is not None
    archive = replace(inventory.archive, members=(*inventory.archive.members, *wanted), **more)
    path.write_bytes(replace(inventory, archive=archive, blobs=inventory.blobs | archive.blobs()).to_bytes())


def test_members_that_no_artifact_needs_are_not_stored(gap: Gap, unsigned: Path) -> None:
    extra = Digest.of(b"x")
    rebuilt(unsigned, [Member(extra, 1)])
    bring(gap, unsigned, "--verify", "off")
    assert extra.encoded not in blobs(unsigned.parent / "store")
    check_store(unsigned.parent / "store")


def test_fifty_thousand_members_are_read_in_bounded_time_and_memory(gap: Gap, unsigned: Path) -> None:
    rebuilt(unsigned, [Member(Digest.of(b"%d" % number), 1) for number in range(50_000)])
    ran = bring(gap, unsigned, "--verify", "off")
    assert ran.code in (0, 3, 4)
    check_store(unsigned.parent / "store")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 200_000,
        b"{" * 1000,
        b'{"_type":"https://in-toto.io/Statement/v1",' + b'"a":' * 50_000,
        b'{"dsseEnvelope":{"payload":"' + b"A" * 100 + b'"}}',
        b'{"dsseEnvelope":[]}',
        b'{"dsseEnvelope":{"payload":5}}',
        b"\x1f\x8b" + bytes(100),
        b"\xff" * 1000,
        json.dumps({"predicate": None}).encode(),
    ],
    ids=lambda raw: ascii(raw[:20]),
)
@pytest.mark.parametrize("name", ["release.inventory.json", "release.lock.json"])
def test_what_is_no_json_of_ours_is_refused_with_a_reason(gap: Gap, unsigned: Path, raw: bytes, name: str) -> None:
    (unsigned / name).write_bytes(raw)
    if name == "release.lock.json":
        forge(unsigned, lock={"name": name, "digest": str(Digest.of(raw)), "size": len(raw)})
    for how in (("--verify", "off"), ("--key", gap.folder / "transfer.pub")):
        assert bring(gap, unsigned, *how).code == 3
        assert not (unsigned.parent / "store").exists()


def test_a_lock_that_the_inventory_does_not_know_is_refused(gap: Gap, unsigned: Path) -> None:
    """What is signed is what is imported: the lock's artifacts are the inventory's."""
    raw = (unsigned / "release.lock.json").read_bytes()
    document = json.loads(raw)
    document["artifacts"] = document["artifacts"][:-1]
    needed = {digest for item in document["artifacts"] for digest in json.dumps(item).split('"') if ":" in digest}
    document["blobs"] = {key: value for key, value in document["blobs"].items() if key in needed}
    altered = canonical_json(document)
    Lock.from_bytes(altered, origin="still a lock")
    (unsigned / "release.lock.json").write_bytes(altered)
    forge(unsigned, lock={"name": "release.lock.json", "digest": str(Digest.of(altered)), "size": len(altered)})
    ran = bring(gap, unsigned, "--verify", "off")
    assert ran.code == 3
    assert "contradict each other" in ran.err


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"members":[' + b"{}," * 8_000_000 + b"{}]}",
        b"9" * 1_000_000,
        b'{"archive":"sha256:0","members":[],"name":"x","sha256":"0","size":Infinity,"volume":Infinity}',
    ],
    ids=["deep", "many", "a number", "infinite"],
)
def test_a_hostile_sum_file_changes_nothing(gap: Gap, media: Path, raw: bytes) -> None:
    (media / "release-0001.sum.json").write_bytes(raw)
    (media / "release-0003.sum.json").write_bytes(raw[:1000])
    ran = bring(gap, media, "--key", gap.folder / "transfer.pub")
    assert ran.code == 0, ran.err
    check_store(media.parent / "store")


def test_a_date_far_in_the_future_cannot_be_made_by_who_has_no_key(gap: Gap, media: Path) -> None:
    """Such an archive would shut out every one after it."""
    envelope = json.loads((media / "release.inventory.json").read_bytes())
    assert "dsseEnvelope" in envelope
    inventory = open_archive((media,), None).inventory
    late = replace(inventory, issued=dt.datetime(9999, 1, 1, tzinfo=dt.UTC))
    (media / "release.inventory.json").write_bytes(late.to_bytes())
    ran = bring(gap, media, "--key", gap.folder / "transfer.pub")
    assert ran.code == 3
    assert "is not signed" in ran.err
    assert not (media.parent / "store").exists()
