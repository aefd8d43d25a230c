"""What is exported is the same each time, checks out with the tools of the field, and goes on where it stopped."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections import Counter, namedtuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError, UsageError
from bundlectl.operations.exporting import export
from bundles.inventory import open_inventory
from mirror.layout import Store
from mirror.oci.digest import Digest
from registry_fixtures.faults import Fault, SlowBody
from tests.unit.bundlectl.operations.carrying import NOW, Carrier, contents, flip
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY

if TYPE_CHECKING:
    from tests.unit.bundlectl.operations.site import Site


@pytest.fixture
def carrier(site: Site) -> Carrier:
    return Carrier(site)


def layout(folder: Path) -> dict[str, bytes]:
    """What ``cat VOLUMES | tar x`` gives."""
    whole = b"".join(path.read_bytes() for path in sorted(folder.glob("*.tar")))
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
        found = {}
        for entry in tar:
            file = tar.extractfile(entry)
            assert file is not None
            assert entry.name not in found
            found[entry.name] = file.read()
        return found


def test_volumes_one_after_the_other_are_the_tar_of_an_oci_layout_of_the_lock(carrier: Carrier) -> None:
    report = carrier.export()
    assert report.exit_code == 0
    assert len(report.volumes) > 2
    found = layout(carrier.out)
    assert json.loads(found.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(found.pop("index.json"))
    for name, data in found.items():
        folder, algorithm, encoded = name.split("/")
        assert folder == "blobs"
        assert Digest.of(data, algorithm).encoded == encoded
    lock = carrier.site.lock(carrier.lock)
    held = {Digest.of(data) for data in found.values()}
    assert set(lock.blobs) <= held
    assert len(held) == report.blobs
    named = {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in index["manifests"]
        if "annotations" in entry
    }
    for artifact in lock.artifacts:
        if artifact.type != "file":
            assert named[artifact.reference] == str(artifact.digest)
    assert {entry["digest"] for entry in index["manifests"]} <= {str(digest) for digest in held}


def test_an_artifacts_blobs_lie_together_and_only_the_last_volume_has_the_end(carrier: Carrier) -> None:
    carrier.export()
    volumes = carrier.volumes()
    for path in sorted(carrier.out.glob("*.tar"))[:-1]:
        assert path.read_bytes()[-1024:] != bytes(1024)
    assert max(carrier.out.glob("*.tar")).read_bytes()[-1024:] == bytes(1024)
    needed = Counter(digest for item in carrier.site.lock(carrier.lock).artifacts for digest in item.all_digests())
    order = [member.digest for member in volumes.plan.members]
    for artifact in carrier.site.lock(carrier.lock).artifacts:
        own = sorted(order.index(digest) for digest in artifact.all_digests() if needed[digest] == 1)
        assert set(order[own[0] : own[-1] + 1] if own else ()) <= artifact.all_digests()


def test_sha256sum_checks_the_whole_folder_and_nothing_else_matches_tar(carrier: Carrier, tmp_path: Path) -> None:
    (tmp_path / "bundlectl.whl").write_bytes(b"a wheel")
    report = carrier.export(parity=2, tool={"tool/bundlectl.whl": tmp_path / "bundlectl.whl"})
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=carrier.out, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    listed = {line.partition(":")[0] for line in done.stdout.splitlines()}
    there = {str(path.relative_to(carrier.out)) for path in carrier.out.rglob("*") if path.is_file()}
    assert listed == there - {"SHA256SUMS"}
    assert {name for name in there if ".tar" in name} == {item.name for item in report.volumes}
    assert [item.name for item in report.parity] == ["release-p01.parity", "release-p02.parity"]
    assert (carrier.out / "tool" / "bundlectl.whl").read_bytes() == b"a wheel"


def test_the_same_input_gives_the_same_bytes(carrier: Carrier, tmp_path: Path) -> None:
    carrier.export(parity=1)
    carrier.export(folder=tmp_path / "b", parity=1, issued=NOW + dt.timedelta(days=1))
    one, two = contents(carrier.out), contents(tmp_path / "b")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == {"release.inventory.json", "SHA256SUMS"}
    ids = {open_inventory(each["release.inventory.json"], None, origin="x")[0].archive_id for each in (one, two)}
    assert len(ids) == 1


def test_volumes_are_the_same_from_wherever_they_are_read(carrier: Carrier, tmp_path: Path) -> None:
    carrier.export()
    carrier.site.download(carrier.lock, name="c")
    sources = (f"store:{carrier.site.store}#c", f"archive:{carrier.out}")
    for number, source in enumerate(sources):
        carrier.export(source, folder=tmp_path / str(number))
        assert contents(tmp_path / str(number), suffix=".tar") == contents(carrier.out, suffix=".tar")


def test_every_blob_is_fetched_once(carrier: Carrier) -> None:
    carrier.site.source.requests.clear()
    carrier.export()
    asked = [item.path for item in carrier.site.source.requests.entries("GET", "/v2/*/blobs/*")]
    assert asked
    assert len(asked) == len(set(asked))


def test_the_inventory_is_signed_and_comes_before_any_volume(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        order.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    carrier.export()
    assert order[:2] == ["release.inventory.json", "release.lock.json"]
    assert order[-1] == "SHA256SUMS"
    assert order.index("release-0001.sum.json") < order.index("release-0001.tar")
    raw = (carrier.out / "release.inventory.json").read_bytes()
    inventory, proof = open_inventory(raw, BY_KEY.anchors, origin="x")
    assert proof is not None
    assert inventory.issued == NOW
    with pytest.raises(Exception, match="does not hold"):
        open_inventory(raw, BY_OTHER_KEY.anchors, origin="x")


def test_a_dry_run_tells_the_very_bytes_and_writes_nothing(carrier: Carrier) -> None:
    planned = carrier.plan(parity=2)
    assert not carrier.out.exists()
    done = carrier.export(parity=2)
    assert [(item.name, item.size) for item in planned.volumes] == [(item.name, item.size) for item in done.volumes]
    assert [item.state for item in planned.volumes] == ["planned"] * len(done.volumes)
    for item in planned.volumes:
        assert (carrier.out / item.name).stat().st_size == item.size
    left_out = ("volumes", "parity")
    assert {key: value for key, value in planned.to_json().items() if key not in left_out} == {
        key: value for key, value in done.to_json().items() if key not in left_out
    }


def test_a_second_run_leaves_everything_as_it_is(carrier: Carrier) -> None:
    carrier.export(parity=1)
    before = {path.name: path.stat().st_mtime_ns for path in carrier.out.iterdir() if "tar" in path.name}
    whole = contents(carrier.out)
    again = carrier.export(parity=1, issued=NOW + dt.timedelta(days=3))
    assert {item.state for item in again.volumes} == {"present"}
    assert {path.name: path.stat().st_mtime_ns for path in carrier.out.iterdir() if "tar" in path.name} == before
    after = contents(carrier.out)
    assert {name for name in whole if whole[name] != after[name]} <= {"release.inventory.json", "SHA256SUMS"}
    assert open_inventory(after["release.inventory.json"], None, origin="x")[0].issued == NOW


@pytest.mark.parametrize("parity", [0, 1])
def test_a_lost_volume_is_made_again_alone_bit_by_bit(carrier: Carrier, tmp_path: Path, parity: int) -> None:
    carrier.export(parity=parity)
    whole = contents(carrier.out)
    (carrier.out / "release-0002.tar").unlink()
    (carrier.out / "release-0002.sum.json").unlink()
    report = carrier.export(parity=parity, volumes=frozenset({2}))
    assert [(item.number, item.state) for item in report.volumes] == [(2, "written")]
    after = contents(carrier.out)
    assert after["release-0002.tar"] == whole["release-0002.tar"]
    assert after.keys() == whole.keys()
    check = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=carrier.out, check=False)
    assert check.returncode == 0
    assert after["SHA256SUMS"].count(b"\n") == whole["SHA256SUMS"].count(b"\n")
    carrier.export(folder=tmp_path / "medium", parity=parity, volumes=frozenset({2}))
    assert (tmp_path / "medium" / "release-0002.tar").read_bytes() == whole["release-0002.tar"]
    assert not (tmp_path / "medium" / "release-0001.tar").exists()


def test_a_damaged_volume_is_found_and_made_again(carrier: Carrier) -> None:
    carrier.export()
    whole = contents(carrier.out)
    flip(carrier.out / "release-0002.tar", 9_000)
    report = carrier.export()
    assert [item.state for item in report.volumes if item.number == 2] == ["written"]
    assert contents(carrier.out, suffix=".tar") == {name: data for name, data in whole.items() if name.endswith(".tar")}


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 -- as shutil has it


@pytest.mark.parametrize("room", [1, 2])
def test_what_does_not_fit_is_left_for_the_next_medium_and_both_are_one_archive(
    carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    planned = carrier.plan()
    free = sum(item.size for item in planned.volumes[:room]) + 1024 * 1024 + 100
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, free))
        report = carrier.export()
    assert report.exit_code == 4
    assert [item.state for item in report.volumes] == ["written"] * room + ["left"] * (len(planned.volumes) - room)
    left = frozenset(item.number for item in report.volumes if item.state == "left")
    # The next medium, the next day.
    second = carrier.export(folder=tmp_path / "second", volumes=left, issued=NOW + dt.timedelta(days=1))
    assert second.exit_code == 0
    assert {path.name for path in (tmp_path / "second").glob("*.tar")} == {
        f"release-{number:04}.tar" for number in left
    }
    for folder in (carrier.out, tmp_path / "second"):
        done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
        assert done.returncode == 0
    imported = carrier.import_(carrier.out, tmp_path / "second")
    assert imported.exit_code == 0
    assert imported.archive.inventory.issued == NOW + dt.timedelta(days=1)
    assert carrier.is_whole()


def test_no_room_for_one_volume_is_told(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 1000))
    with pytest.raises(StoreError, match="no room for release-0001.tar"):  # noqa: RUF043
        carrier.export()
    assert list(carrier.out.glob("*.tar")) == []


def test_another_archive_in_the_folder_is_refused_and_stays(carrier: Carrier) -> None:
    carrier.export()
    whole = contents(carrier.out)
    for more in ({"name": "other"}, {"split_size": 128 * 1024}, {"parity": 1}):
        with pytest.raises(UsageError, match="another export already"):
            carrier.export(**more)
    with pytest.raises(UsageError, match="another export already"):
        carrier.export(carrier.site.lock_file("eks-d:1-33", include=("*/pause*",)))
    assert contents(carrier.out) == whole
    (carrier.out / "release.inventory.json").write_bytes(b"{}")
    with pytest.raises(UsageError, match="another export already"):
        carrier.export()


def test_a_signature_is_not_taken_away_and_can_be_given_later(carrier: Carrier) -> None:
    carrier.export()
    whole = contents(carrier.out)
    with pytest.raises(UsageError, match="would not be any more"):
        carrier.export(signer=None)
    assert contents(carrier.out) == whole
    shutil.rmtree(carrier.out)
    carrier.export(signer=None)
    carrier.export(signer=None)
    assert carrier.export().signed_by
    assert carrier.import_().exit_code == 0


def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_bytes(carrier: Carrier, tmp_path: Path) -> None:
    carrier.export(folder=tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed", suffix=".tar")
    carrier.export()
    volume = carrier.out / "release-0002.tar"
    raw = volume.read_bytes()
    for cut in (0, 700, 30_000, len(raw)):
        volume.unlink(missing_ok=True)
        (carrier.out / "release-0002.partial").write_bytes(raw[:cut])
        (carrier.out / "SHA256SUMS").unlink()
        (carrier.out / "release-0003.sum.json.0123456789abcdef").write_bytes(b"{")
        carrier.export()
        assert contents(carrier.out, suffix=".tar") == expected
        assert contents(carrier.out).keys() == contents(tmp_path / "undisturbed").keys()


def test_while_a_volume_is_written_again_no_sums_say_that_all_is_there(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier.export()
    (carrier.out / "release-0002.tar").unlink()
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        carrier.export()
    assert not (carrier.out / "SHA256SUMS").exists()


def test_since_leaves_out_what_the_site_has_and_import_needs_it_there(carrier: Carrier, tmp_path: Path) -> None:
    first = carrier.site.lock_file("eks-d:1-33", include=("*/pause*", "*/coredns*"))
    carrier.export(first)
    carrier.import_()
    since = carrier.inventory()
    report = carrier.export(folder=tmp_path / "next", since=(since,), issued=NOW + dt.timedelta(days=30))
    assert report.blobs_present == len(since[0].blobs)
    carried = {item.digest for item in carrier.volumes(tmp_path / "next").plan.members}
    assert not carried & since[0].blobs
    everything = carrier.plan()
    assert sum(item.size for item in report.volumes) < sum(item.size for item in everything.volumes)
    assert carrier.import_(tmp_path / "next").exit_code == 0
    assert carrier.is_whole()


def test_since_everything_makes_an_archive_of_names_alone(carrier: Carrier, tmp_path: Path) -> None:
    carrier.export()
    carrier.import_()
    report = carrier.export(folder=tmp_path / "next", since=(carrier.inventory(),))
    assert len(report.volumes) == 1
    assert report.bytes == report.bytes_present
    assert carrier.import_(tmp_path / "next").exit_code == 0


def test_a_volume_that_there_is_not_and_names_that_cannot_be_are_refused(carrier: Carrier) -> None:
    with pytest.raises(UsageError, match="no volume 99"):
        carrier.export(volumes=frozenset({1, 99}))
    with pytest.raises(UsageError, match="cannot name an archive"):
        carrier.export(name="../up")
    with pytest.raises(UsageError, match="more than 256"):
        carrier.export(parity=255)
    assert not carrier.out.exists()


def test_a_size_that_no_medium_has_is_refused_at_once(carrier: Carrier) -> None:
    document = json.loads((carrier.site.folder / carrier.lock).read_bytes())
    digest = document["artifacts"][0]["blobs"][0]
    document["blobs"][digest] = 2**52
    huge = carrier.site.folder / "huge.lock.json"
    huge.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    with pytest.raises(ContentError, match="more than 100,000 volumes"):
        carrier.plan(str(huge))


def test_a_blob_that_the_source_has_not_ends_the_export_and_says_which(carrier: Carrier) -> None:
    carrier.site.download(carrier.lock, name="c")
    digest = max(carrier.site.lock(carrier.lock).blobs.items(), key=lambda item: item[1])[0]
    path = carrier.site.store / "blobs" / "sha256" / digest.encoded
    right = path.read_bytes()
    path.unlink()
    source = f"store:{carrier.site.store}#c"
    with pytest.raises(MissingError, match=digest.encoded):
        carrier.export(source)
    path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    with pytest.raises(ContentError):
        carrier.export(source)
    for volume in carrier.out.glob("*.tar"):
        assert right[:1000] not in volume.read_bytes()
    path.write_bytes(right)
    assert carrier.export(source).exit_code == 0
    assert carrier.import_().exit_code == 0


def test_a_slow_source_that_is_cancelled_stops_soon(carrier: Carrier) -> None:
    carrier.site.source.faults.add(Fault(SlowBody(chunk=64, seconds=0.05), method="GET", path="*/blobs/*"))
    try:
        with carrier.site.session() as session:
            timer = threading.Timer(0.3, session.cancel)
            timer.start()
            with pytest.raises(InterruptError):
                export(
                    carrier.site.request(carrier.lock), folder=carrier.out, settings=carrier.settings(), session=session
                )
            timer.join()
    finally:
        carrier.site.source.faults.clear()
    assert not (carrier.out / "SHA256SUMS").exists()
    assert carrier.export().exit_code == 0


def test_what_a_signed_lock_was_signed_by_travels_along(carrier: Carrier) -> None:
    path = carrier.site.signed_lock("eks-d:1-33", include=("*/pause*",))
    carrier.export(path)
    whole = contents(carrier.out)
    assert whole["release.lock.json"] == (carrier.site.folder / path).read_bytes()
    assert "release.lock.json.sigstore.json" in whole
    assert re.search(rb"  release\.lock\.json\.sigstore\.json\n", whole["SHA256SUMS"])


def test_the_store_that_an_export_reads_is_left_as_it_is(carrier: Carrier) -> None:
    carrier.site.download(carrier.lock, name="c")
    before = {path: path.stat().st_mtime_ns for path in carrier.site.store.rglob("*")}
    carrier.export(f"store:{carrier.site.store}#c")
    assert {path: path.stat().st_mtime_ns for path in carrier.site.store.rglob("*")} == before
    with Store.open(carrier.site.store, read_only=True) as store:
        assert list(store.verify()) == []
