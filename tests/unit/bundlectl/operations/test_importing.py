"""An import takes what is right, names what is not, says exactly what is lacking, and goes on later."""

from __future__ import annotations

import datetime as dt
import errno
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError, VerificationError
from bundlectl.operations.importing import import_into_store
from bundles.belief import Belief
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.mediatype import EMPTY_DIGEST
from registry_fixtures.faults import Fault, Refuse
from tests.unit.bundlectl.operations.carrying import NOW, OFF, RELEASE, Carrier, contents, flip
from tests.unit.bundles.signed_documents import BY_OTHER_KEY
from tests.unit.mirror.archive.archives import noise

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.importing import ImportReport
    from tests.unit.bundlectl.operations.site import Site


@pytest.fixture
def carrier(site: Site) -> Carrier:
    """An archive in ``out``; what it was made from is not reached any more."""
    made = Carrier(site)
    made.export()
    return made


def lying_in(carrier: Carrier, *numbers: int) -> set[Digest]:
    """The digests of which something lies in these volumes."""
    volumes = carrier.volumes()
    return {
        member.digest
        for member in volumes.plan.members
        if (place := volumes.locate(member.digest))
        and {part.number for part in volumes.plan.volumes_of(*place)} & set(numbers)
    }


def lacking(report: ImportReport) -> set[Digest]:
    return {item.digest for item in report.lacking}


# Whole archives


def test_a_store_gets_all_of_it_and_the_lock_as_a_collection(carrier: Carrier) -> None:
    carrier.site.source.requests.clear()
    report = carrier.import_()
    assert (report.exit_code, report.lacking, report.problems, report.repaired) == (0, [], [], [])
    assert carrier.is_whole()
    with Store.open(carrier.here, read_only=True) as store:
        assert set(store.collections()) == {"release"}
    assert carrier.site.source.requests.count() == carrier.site.target.requests.count() == 0
    assert report.next_steps
    assert report.repair_commands() == []


def test_a_registry_gets_all_of_it_and_nothing_else_is_asked(carrier: Carrier) -> None:
    carrier.site.source.requests.clear()
    report = carrier.push()
    assert (report.exit_code, report.lacking) == (0, [])
    assert carrier.site.source.requests.count() == 0
    assert carrier.site.verify(carrier.lock, deep=True).findings == []
    assert report.next_steps


def test_importing_twice_moves_nothing(carrier: Carrier) -> None:
    carrier.import_()
    again = carrier.import_()
    assert (again.exit_code, again.copied.bytes_transferred) == (0, 0)
    carrier.push()
    again = carrier.push()
    assert (again.exit_code, again.copied.blobs_transferred) == (0, 0)


def test_the_archive_may_be_named_by_any_file_of_it(carrier: Carrier) -> None:
    for number, name in enumerate(("release-0002.tar", "release.inventory.json", "release-0001.sum.json")):
        assert carrier.import_(carrier.out / name, store=carrier.site.folder / f"s{number}").exit_code == 0
    everything = sorted(carrier.out.glob("*.tar"))
    assert carrier.import_(*everything, store=carrier.site.folder / "all").exit_code == 0


def test_volumes_come_on_as_many_media_as_it_takes_also_without_the_inventory(carrier: Carrier) -> None:
    for number, name in ((2, "inventory"), (3, "bare")):
        folder = carrier.site.folder / name
        folder.mkdir()
        for path in carrier.out.glob(f"release-{number:04}.*"):
            path.rename(folder / path.name)
        if name == "inventory":
            for path in carrier.out.glob("release.*.json"):
                shutil.copy(path, folder)
    assert carrier.import_(carrier.out, store=carrier.site.folder / "part").exit_code == 4
    folders = (carrier.site.folder / "inventory", carrier.out, carrier.site.folder / "bare")
    assert carrier.import_(*folders).exit_code == 0
    assert carrier.is_whole()


@pytest.mark.parametrize("into", ["store", "registry"])
def test_media_may_come_one_after_the_other_in_any_order(carrier: Carrier, into: str) -> None:
    bring = carrier.import_ if into == "store" else carrier.push
    folders = [carrier.copied(f"medium-{number}") for number in (1, 2, 3)]
    for number, folder in enumerate(folders, start=1):
        for path in folder.glob("*.tar"):
            if path.name != f"release-{number:04}.tar":
                path.unlink()
    codes = [bring(folder).exit_code for folder in (folders[2], folders[0], folders[1])]
    assert codes == [4, 4, 0]
    if into == "store":
        assert carrier.is_whole()
    else:
        assert carrier.site.verify(carrier.lock).findings == []


def test_media_of_two_exports_are_not_mixed(carrier: Carrier) -> None:
    other = carrier.site.folder / "other"
    carrier.export(folder=other, split_size=128 * 1024)
    error = carrier.refused(carrier.out, other)
    assert isinstance(error, ContentError)
    assert "holds another export" in error.message
    assert not carrier.here.exists()


# What is believed


def test_without_a_key_or_a_policy_it_is_refused(carrier: Carrier) -> None:
    for belief in (Belief(), Belief(mode="key")):
        error = carrier.refused(belief=belief)
        assert isinstance(error, VerificationError)
        assert "--key KEY" in str(error.hint)
    assert not carrier.here.exists()
    with pytest.raises(VerificationError):
        carrier.push(belief=Belief())
    assert carrier.site.target.requests.count() == 0


def test_signed_by_somebody_else_or_by_nobody_it_is_refused(carrier: Carrier) -> None:
    assert isinstance(carrier.refused(belief=BY_OTHER_KEY), VerificationError)
    carrier.export(folder=carrier.site.folder / "unsigned", signer=None)
    assert isinstance(carrier.refused(carrier.site.folder / "unsigned"), VerificationError)
    assert not carrier.here.exists()
    assert carrier.import_(carrier.site.folder / "unsigned", belief=OFF).exit_code == 0
    assert carrier.is_whole()


@pytest.mark.parametrize("name", ["release.inventory.json", "release.lock.json"])
def test_one_bit_of_what_is_signed_changed_is_refused(carrier: Carrier, name: str) -> None:
    raw = (carrier.out / name).read_bytes()
    for at in range(3, len(raw), len(raw) // 7):
        flip(carrier.out / name, at)
        error = carrier.refused()
        assert isinstance(error, (ContentError, VerificationError)), error
        (carrier.out / name).write_bytes(raw)
    assert not carrier.here.exists()


def test_the_lock_of_another_signed_archive_is_not_taken_for_this_ones(carrier: Carrier) -> None:
    other = carrier.site.folder / "other"
    carrier.export(carrier.site.lock_file(RELEASE, include=("*/pause*",)), folder=other)
    shutil.copy(other / "release.lock.json", carrier.out)
    error = carrier.refused()
    assert isinstance(error, ContentError)
    assert "is not what the inventory says" in error.message


# Playing back


def test_an_older_archive_moves_no_name_back_unless_it_may(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    for bring in (carrier.import_, carrier.push):
        assert bring(new).exit_code == 0  # type: ignore[operator]
        before = carrier.tags()
        with pytest.raises(VerificationError, match="would move back") as raised:
            bring(old)  # type: ignore[operator]
        assert "--allow-rollback" in str(raised.value.hint)
        assert carrier.tags() == before
        assert bring(new).exit_code == 0  # type: ignore[operator]
        assert bring(old, allow_rollback=True).exit_code == 0  # type: ignore[operator]
    assert carrier.tags() != before
    # What was allowed is what is remembered: both may come again.
    assert carrier.push(old).exit_code == carrier.push(new).exit_code == 0


def test_the_same_content_again_is_no_step_back(carrier: Carrier) -> None:
    later = carrier.site.folder / "later"
    carrier.export(folder=later, issued=NOW + dt.timedelta(days=9))
    assert carrier.import_(later).exit_code == 0
    assert carrier.import_(carrier.out).exit_code == 0


def test_another_machine_learns_from_the_registry_what_was_imported(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    carrier.site.memory = tmp_path / "one machine"
    carrier.push(new)
    carrier.site.memory = tmp_path / "another machine"
    with pytest.raises(VerificationError, match="would move back"):
        carrier.push(old)
    carrier.site.memory = None
    with pytest.raises(VerificationError, match="would move back"):
        carrier.push(old)


def test_where_the_registry_keeps_no_record_this_machine_does(carrier: Carrier, tmp_path: Path) -> None:
    old, new = carrier.moved_names(tmp_path)
    carrier.site.memory = tmp_path / "machine"
    carrier.site.target.faults.add(Fault(Refuse(403), path="*/bundlectl/imports/*"))
    try:
        assert carrier.push(new).exit_code == 0
        assert [told for told in carrier.warnings() if "only this machine remembers" in told]
        with pytest.raises(VerificationError, match="would move back"):
            carrier.push(old)
    finally:
        carrier.site.target.faults.clear()


# Damage


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("into", ["store", "registry"])
def test_a_missing_volume_is_named_and_everything_else_is_imported(carrier: Carrier, number: int, into: str) -> None:
    lost = carrier.out / f"release-{number:04}.tar"
    raw = lost.read_bytes()
    gone = lying_in(carrier, number)
    lost.unlink()
    bring = carrier.import_ if into == "store" else carrier.push
    report = bring()
    assert report.exit_code == 4
    assert [(item.name, item.kind) for item in report.problems] == [(lost.name, "missing")]
    assert f"{lost.name}: is not there" in carrier.warnings()
    assert lacking(report) <= gone
    lock = carrier.site.lock(carrier.lock)
    failed = {item.reference for item in report.copied.failed}
    assert failed
    # The empty config may be there all the same: what is remembered and described here needs it too.
    empty = {Digest.parse(EMPTY_DIGEST)}
    for artifact in lock.artifacts:
        wanted = artifact.all_digests() & gone
        assert (artifact.reference in failed) == bool(wanted) or wanted == empty
        assert artifact.reference not in failed or wanted <= lacking(report) | empty
    assert all(lost.name in item.why for item in report.lacking)
    assert all(lock.blobs.get(item.digest, item.size) == item.size for item in report.lacking)
    assert report.next_steps == []
    lost.write_bytes(raw)
    again = bring()
    assert (again.exit_code, again.lacking) == (0, [])
    if into == "store":
        assert carrier.is_whole()
    else:
        assert carrier.site.verify(carrier.lock).findings == []


@pytest.mark.parametrize("into", ["store", "registry"])
def test_one_flipped_bit_costs_one_artifact_and_the_volume_is_named(carrier: Carrier, into: str) -> None:
    volumes = carrier.volumes()
    member = max(volumes.plan.members, key=lambda item: item.size)
    place = volumes.locate(member.digest)
    assert place is not None
    (part,) = volumes.plan.volumes_of(*place)
    path = carrier.out / f"release-{part.number:04}.tar"
    flip(path, place[0] - part.start + 100)
    report = carrier.import_() if into == "store" else carrier.push()
    assert report.exit_code == 3
    assert lacking(report) == {member.digest}
    (failure,) = report.copied.failed
    assert str(member.digest) in failure.error
    assert path.name in failure.error
    assert [(item.name, item.kind) for item in report.problems] == [(path.name, "damaged")]
    assert report.copied.artifacts_done == len(carrier.site.lock(carrier.lock).artifacts) - 1 + _documents(carrier)
    if into == "store":
        with Store.open(carrier.here, read_only=True) as store:
            assert list(store.verify()) == []
            assert store.size(member.digest) is None
    flip(path, place[0] - part.start + 100)
    assert (carrier.import_() if into == "store" else carrier.push()).exit_code == 0


def _documents(carrier: Carrier) -> int:
    return len(carrier.site.lock(carrier.lock).manifests)


def test_a_volume_that_was_cut_gives_what_is_before_the_cut(carrier: Carrier) -> None:
    path = carrier.out / "release-0002.tar"
    raw = path.read_bytes()
    volumes = carrier.volumes()
    part = volumes.plan.volumes[1]
    cut = 20_000
    path.write_bytes(raw[:cut])
    report = carrier.import_()
    assert report.exit_code == 4
    for item in report.lacking:
        place = volumes.locate(item.digest)
        assert place is not None
        assert sum(place) > part.start + cut
    path.write_bytes(raw)
    assert carrier.import_().exit_code == 0


def test_a_volume_of_another_export_is_named_and_not_used(carrier: Carrier) -> None:
    other = carrier.site.folder / "other"
    carrier.export(carrier.site.lock_file(RELEASE, include=("*/coredns*", "*/etcd*")), folder=other)
    for name in ("release-0001.tar", "release-0001.sum.json"):
        shutil.copy(other / name, carrier.out)
    report = carrier.import_()
    assert [(item.name, item.message) for item in report.problems] == [
        ("release-0001.tar", "belongs to another export")
    ]
    with Store.open(carrier.here, read_only=True) as store:
        assert list(store.verify()) == []


@pytest.mark.parametrize("how", ["gone", "flipped", "cut"])
@pytest.mark.parametrize("into", ["store", "registry"])
def test_parity_gives_back_two_volumes_while_importing(carrier: Carrier, tmp_path: Path, how: str, into: str) -> None:
    folder = tmp_path / "protected"
    carrier.export(folder=folder, parity=2)
    whole = contents(folder)
    for number in (1, 3):
        path = folder / f"release-{number:04}.tar"
        if how == "gone":
            path.unlink()
        elif how == "cut":
            path.write_bytes(path.read_bytes()[:1000])
        else:
            flip(path, path.stat().st_size - 20_000)
    report = carrier.import_(folder) if into == "store" else carrier.push(folder)
    assert (report.exit_code, report.lacking, report.problems) == (0, [], [])
    assert report.repaired == ["release-0001.tar", "release-0003.tar"]
    assert contents(folder) == whole
    assert into != "store" or carrier.is_whole()


@pytest.fixture
def large(carrier: Carrier) -> Path:
    """An archive of a file that lies in four volumes and of an image beside it, with a parity volume."""
    url = carrier.site.put_file("large.tar.gz", noise(220_000, 5))
    lock = carrier.site.lock_file(RELEASE, f"file:{url}", include=("*/pause*", "*large*"))
    carrier.export(lock, folder=carrier.site.folder / "large", name="large", parity=1)
    assert len(list((carrier.site.folder / "large").glob("*.tar"))) > 3
    return carrier.site.folder / "large"


def unprotected(folder: Path, *, sums: bool = True) -> Path:
    for path in folder.glob("*-p01.*"):
        path.unlink()
    for path in folder.glob("*.sum.json"):
        if not sums:
            path.unlink()
    return folder


@pytest.mark.parametrize("into", ["store", "registry"])
@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "flipped, no sums"])
def test_a_blob_over_four_volumes_is_lacking_when_one_of_them_is_bad(
    carrier: Carrier, large: Path, how: str, into: str
) -> None:
    whole = contents(large)
    unprotected(large, sums="no sums" not in how)
    path = large / "large-0003.tar"
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        flip(path, 30_000)
    report = carrier.import_(large) if into == "store" else carrier.push(large)
    assert report.exit_code in (3, 4)
    (failure,) = report.copied.failed
    assert "large.tar.gz" in failure.reference
    (lost,) = report.lacking
    assert lost.size == 220_000
    assert path.name in lost.why
    named = {item.name for item in report.problems}
    assert named == {path.name} or (how == "flipped, no sums" and path.name in named)
    path.write_bytes(whole[path.name])
    assert (carrier.import_(large) if into == "store" else carrier.push(large)).exit_code == 0


@pytest.mark.parametrize("how", ["gone", "flipped"])
@pytest.mark.parametrize("into", ["store", "registry"])
def test_parity_gives_back_a_volume_in_the_middle_of_a_blob(carrier: Carrier, large: Path, how: str, into: str) -> None:
    whole = contents(large)
    path = large / "large-0003.tar"
    if how == "gone":
        path.unlink()
    else:
        flip(path, 30_000)
    report = carrier.import_(large) if into == "store" else carrier.push(large)
    assert (report.exit_code, report.repaired, report.lacking) == (0, [path.name], [])
    assert contents(large) == whole


def test_more_lost_than_parity_can_give_back_is_told_and_the_rest_is_imported(carrier: Carrier, tmp_path: Path) -> None:
    folder = tmp_path / "protected"
    carrier.export(folder=folder, parity=1)
    for number in (1, 2):
        (folder / f"release-{number:04}.tar").unlink()
    report = carrier.import_(folder)
    assert report.exit_code == 4
    assert [told for told in carrier.warnings() if "cannot be repaired" in told and "can be rebuilt" in told]
    assert report.copied.artifacts_done + len(report.copied.failed) > len(report.copied.failed)
    assert report.repaired == []


def test_a_registry_that_refuses_one_artifact_is_no_damage(carrier: Carrier) -> None:
    carrier.site.target.faults.add(Fault(Refuse(403), method="PUT", path="*/manifests/*coredns*|*coredns*/manifests/*"))
    try:
        report = carrier.push()
    finally:
        carrier.site.target.faults.clear()
    assert report.exit_code != 0
    assert report.copied.failed
    assert report.problems == []
    assert carrier.push().exit_code == 0


# What a site has


def test_into_a_site_that_lost_something_exactly_that_is_lacking_and_a_repair_archive_brings_it(
    carrier: Carrier, tmp_path: Path
) -> None:
    carrier.import_()
    since = carrier.inventory()
    carrier.export(folder=tmp_path / "next", since=(since,), name="next")
    lost = sorted(carrier.site.lock(carrier.lock).blobs)[3::7]
    for digest in lost:
        (carrier.here / "blobs" / digest.algorithm / digest.encoded).unlink()
    report = carrier.import_(tmp_path / "next")
    assert report.exit_code == 4
    assert lacking(report) == set(lost)
    assert {item.why for item in report.lacking} == {"was left out: the site had it"}
    blobs = carrier.site.lock(carrier.lock).blobs
    assert {item.digest: item.size for item in report.lacking} == {digest: blobs[digest] for digest in lost}
    take, export = report.repair_commands()
    assert take == f"bundlectl inventory store:{carrier.here} --out site.inventory.json"
    assert "--since site.inventory.json" in export
    # What those commands do.
    repair = tmp_path / "repair"
    made = carrier.export(folder=repair, since=(carrier.inventory(),), name="next-repair")
    members = {item.digest for item in carrier.volumes(repair).plan.members if not item.name}
    assert set(lost) <= members
    assert made.bytes - made.bytes_present < 2 * sum(blobs[digest] for digest in lost) + 20_000
    assert carrier.import_(repair).exit_code == 0
    assert carrier.is_whole()
    assert carrier.import_(tmp_path / "next").exit_code == 0


def test_into_a_registry_that_lost_a_repository_exactly_that_is_lacking(carrier: Carrier, tmp_path: Path) -> None:
    carrier.push()
    source = f"registry:{carrier.site.target.host}/eks"
    carrier.export(folder=tmp_path / "next", since=(carrier.inventory(source),), name="next")
    assert carrier.push(tmp_path / "next").exit_code == 0
    holdings = carrier.site.target.holdings
    name = next(name for name in holdings.names() if name.endswith("coredns"))
    held = holdings.repository(name)
    gone = set(held.manifests) | set(held.blobs)
    held.tags.clear()
    held.manifests.clear()
    held.blobs.clear()
    report = carrier.push(tmp_path / "next")
    assert report.exit_code == 4
    assert lacking(report)
    assert lacking(report) <= gone
    others = {digest for other in holdings.names() for digest in holdings.repository(other).blobs}
    assert not lacking(report) & others
    carrier.push(carrier.out)
    assert carrier.push(tmp_path / "next").exit_code == 0


def test_archives_come_in_any_order(carrier: Carrier, tmp_path: Path) -> None:
    first = carrier.site.lock_file(RELEASE, include=("*/pause*",))
    base = tmp_path / "base"
    carrier.export(first, folder=base, name="base")
    carrier.import_(base, store=tmp_path / "elsewhere")
    since = carrier.inventory(f"store:{tmp_path / 'elsewhere'}")
    following = tmp_path / "following"
    carrier.export(folder=following, since=(since,), name="following", issued=NOW + dt.timedelta(days=1))
    early = carrier.import_(following)
    assert early.exit_code == 4
    assert lacking(early) <= since[0].blobs
    assert carrier.import_(base).exit_code == 0
    assert carrier.import_(following).exit_code == 0
    assert carrier.is_whole()


def test_a_larger_archive_knows_what_the_registry_has_under_other_names(carrier: Carrier, tmp_path: Path) -> None:
    """A layer that another repository of the target has is read there."""
    first = carrier.site.lock_file(RELEASE, include=("*/coredns*",))
    carrier.export(first, folder=tmp_path / "first", name="first")
    carrier.push(tmp_path / "first")
    since = carrier.inventory(f"registry:{carrier.site.target.host}/eks")
    carrier.export(folder=tmp_path / "second", since=(since,), name="second", issued=NOW + dt.timedelta(days=1))
    assert carrier.push(tmp_path / "second").exit_code == 0
    assert carrier.site.verify(carrier.lock).findings == []


# Stopping and going on


def test_a_cancelled_import_goes_on(carrier: Carrier) -> None:
    with carrier.site.session() as session:
        session.listener = lambda _: session.cancel()
        with pytest.raises(InterruptError):
            import_into_store(carrier.believing(), (carrier.out,), store=carrier.here, session=session)
    assert threading.active_count() < 50
    assert carrier.import_().exit_code == 0
    assert carrier.is_whole()


def test_too_small_a_disk_is_told_before_anything_is_written(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(carrier.out)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    error = carrier.refused()
    assert isinstance(error, StoreError)
    assert "are free" in error.message
    with Store.open(carrier.here, read_only=True) as store:
        assert store.refs() == []


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("after", [3, 30, 60])
def test_a_disk_that_fills_up_in_the_middle_is_told_and_the_import_goes_on(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    Store.open(carrier.here, create=True).close()
    real, calls = getattr(os, call), []

    def full(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StoreError, match="No space left") as raised:
            carrier.import_()
        assert "free some space" in str(raised.value.hint)
    with Store.open(carrier.here, read_only=True) as store:
        assert list(store.verify()) == []
    assert carrier.import_().exit_code == 0
    assert carrier.is_whole()


def test_where_there_is_no_archive_that_is_said(carrier: Carrier, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.tar").write_bytes(b"")
    for path in (tmp_path / "none", tmp_path / "empty", tmp_path / "x.tar", tmp_path / ("n" * 300)):
        error = carrier.refused(path)
        assert isinstance(error, (MissingError, StoreError)), error
        assert error.hint
    assert not carrier.here.exists()


def test_paths_with_a_colon_are_read_alone_and_beside_others(carrier: Carrier) -> None:
    copy = carrier.copied("usb:1")
    assert carrier.import_(copy).exit_code == 0
    (carrier.out / "release-0002.tar").unlink()
    (copy / "release-0001.tar").unlink()
    assert carrier.import_(carrier.out, copy, store=carrier.site.folder / "another").exit_code == 0


def test_a_name_for_the_collection_can_be_chosen(carrier: Carrier) -> None:
    carrier.import_(name="mine")
    with Store.open(carrier.here, read_only=True) as store:
        assert set(store.collections()) == {"mine"}
