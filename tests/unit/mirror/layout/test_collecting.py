"""What `gc` removes from a store, and what it never does."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, StoreError
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_LAYER
from tests.unit.mirror.layout.conftest import Content, age, everything, held

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.layout import LayoutRepository

HOUR = 3600.0
LONG_AGO = 1_600_000_000


def problems(store: Store) -> list[str]:
    return [problem.message for problem in store.verify()]


def test_what_nothing_names_goes_and_what_is_named_stays(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    kept, gone = content.image(b"kept"), content.image(b"gone")
    repository.put_manifest(kept, tag="v1")
    repository.put_manifest(gone, tag="v2")
    repository.delete_tag("v2")
    age(store)
    found = store.gc(grace=HOUR)
    assert {digest for digest, _ in found.removed} == everything(gone) - everything(kept)
    assert held(store) == everything(kept)
    assert found.removed_bytes == len(gone.raw) + len(b"gone")
    assert (found.kept_blobs, found.young_blobs) == (3, 0)
    assert problems(store) == []
    assert store.gc(grace=HOUR).removed == ()


def test_a_dry_run_tells_the_same_and_removes_nothing(store: Store, repository: LayoutRepository, content: Any) -> None:
    subject = content.image(b"gone")
    repository.put_manifest(subject, tag="v2")
    repository.put_manifest(content.image(b"signature", subject=subject))
    repository.put_manifest(content.image(b"kept"), tag="v1")
    repository.delete_tag("v2")
    age(store)
    before = held(store)
    told = store.gc(grace=HOUR, dry_run=True)
    assert held(store) == before
    assert repository.referrers(subject.descriptor.digest) != []
    done = store.gc(grace=HOUR)
    assert (told.removed, told.referrers, told.kept_bytes) == (done.removed, done.referrers, done.kept_bytes)
    assert told.dry_run
    assert not done.dry_run


def test_what_arrived_lately_stays_with_all_it_names(store: Store, repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image)
    age(store)
    os.utime(store.blob_path(image.descriptor.digest))
    found = store.gc(grace=HOUR)
    assert found.removed == ()
    assert found.young_blobs == 3
    age(store)
    assert {digest for digest, _ in store.gc(grace=HOUR).removed} == everything(image)


def test_a_referrer_lives_as_long_as_its_subject(store: Store, repository: LayoutRepository, content: Any) -> None:
    subject, other = content.image(b"subject"), content.image(b"other")
    signature = content.image(b"signature", subject=subject)
    on_signature = content.image(b"attested", subject=signature)
    lonely = content.image(b"lonely", subject=other)
    repository.put_manifest(subject, tag="v1")
    for referrer in (on_signature, signature, lonely):
        repository.put_manifest(referrer)
    age(store)
    found = store.gc(grace=HOUR)
    assert held(store) == everything(subject, signature, on_signature)
    assert found.referrers == 1
    assert problems(store) == []
    repository.delete_tag("v1")
    assert store.gc(grace=HOUR).referrers == 2
    assert held(store) == set()
    assert store.repositories() == []
    assert problems(store) == []


def test_a_referrer_of_a_platform_that_is_not_here_stays(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    platform = Manifest.render({"schemaVersion": 2, "layers": []})
    index = content.index(platform)
    repository.put_manifest(index, tag="v1")
    referrer = content.image(b"sbom", subject=platform)
    repository.put_manifest(referrer)
    age(store)
    assert store.gc(grace=0).removed == ()


def test_a_tagged_referrer_stays_without_its_subject(store: Store, repository: LayoutRepository, content: Any) -> None:
    signature = content.image(b"signature", subject=content.image(b"never pushed"))
    repository.put_manifest(signature, tag="signature")
    age(store)
    store.gc(grace=0)
    assert held(store) == everything(signature)


def test_a_collection_keeps_all_that_its_lock_lists(store: Store, content: Any) -> None:
    blob = content.blob(b"listed")
    content.blob(b"not listed")
    store.put_collection("release", canonical_json({"blobs": {str(blob.digest): blob.size}}))
    age(store)
    store.gc(grace=0)
    assert held(store) == {blob.digest}


@pytest.mark.parametrize(
    "lock",
    [
        b"",
        b"[]",
        b"{}",
        b'{"blobs":[]}',
        b'{"blobs":{"x":1}}',
        b'{"blobs":{"%s":7,"x":1}}' % str(Digest.of(b"listed!")).encode(),
        b'{"blobs":{"%s":"7"}}' % str(Digest.of(b"listed!")).encode(),
        b"\xff",
    ],
)
def test_a_collection_that_cannot_be_read_stops_everything(store: Store, content: Any, lock: bytes) -> None:
    blobs = {content.blob(data).digest for data in (b"perhaps listed", b"listed!")}
    store.put_collection("release", lock)
    age(store)
    with pytest.raises(ContentError, match="cannot be told"):
        store.gc(grace=0)
    assert held(store) == blobs


def test_a_log_that_was_damaged_stops_everything(path: Path) -> None:
    with Store.open(path, create=True) as store:
        blob = store.put(b"perhaps named")
        age(store)
    (path / "bundlectl" / "refs.log.damaged-00000000").write_bytes(b"")
    with Store.open(path) as store, pytest.raises(ContentError, match="damaged"):
        store.gc(grace=0)
    with Store.open(path) as store:
        assert held(store) == {blob}


@pytest.mark.parametrize("index", ["ours", "absent"])
def test_a_log_that_was_lost_stops_everything(path: Path, index: str) -> None:
    """A backup that left out ``*.log``, say: what was named is not what nothing names."""
    with Store.open(path, create=True) as store:
        content = Content(store)
        store.repository("a.b/c").put_manifest(content.image(b"named"), tag="v1")
        blob = content.blob(b"perhaps named")
        age(store)
        before = held(store)
    (path / "bundlectl" / "refs.log").unlink()
    if index == "absent":
        (path / "index.json").unlink()
    with Store.open(path) as store:
        assert len(store.refs()) == (index == "ours")
        with pytest.raises(ContentError, match="damaged"):
            store.gc(grace=0)
        assert "lost" in problems(store)[0]
        assert held(store) == before
        assert blob.digest in before


def test_a_lock_is_not_kept_when_what_it_lists_is_gone(store: Store, content: Any) -> None:
    blob = content.blob(b"up to date a moment ago")
    age(store)
    store.gc(grace=0)
    with pytest.raises(MissingError, match="not in the store"):
        store.put_collection("release", canonical_json({"blobs": {str(blob.digest): blob.size}}))
    assert store.collections() == {}


def test_a_clock_that_was_set_back_under_a_download_costs_it_nothing(path: Path) -> None:
    with Store.open(path, create=True) as store, Store.open(path) as download:
        blob = Descriptor(OCI_LAYER, Digest.of(b"fetched"), 7)
        upload = download.begin_blob(blob)
        assert not isinstance(upload, str)
        upload.write(lambda: io.BytesIO(b"fetched"))
        (lease,) = (path / "bundlectl" / "fetching").iterdir()
        os.utime(lease, (time.time() + 48 * HOUR,) * 2)
        age(store)
        assert store.gc(grace=HOUR).removed == ()


def test_a_store_on_a_medium_that_is_read_only_is_left_alone(path: Path) -> None:
    Store.open(path, create=True).close()
    with Store.open(path, read_only=True) as store, pytest.raises(StoreError, match="read-only"):
        store.gc(grace=0)


def test_open_uploads_and_partial_files_stay(store: Store) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(b"half"))
    whole = b"the whole of it"
    upload = store.begin_blob(Descriptor(OCI_LAYER, Digest.of(whole), len(whole)))
    assert not isinstance(upload, str)
    with pytest.raises(BundlectlError):
        upload.write(lambda: io.BytesIO(whole[:5]))
    store.gc(grace=0)
    assert store.session_size(session) == 4
    upload.write(lambda: io.BytesIO(whole[5:]))
    store.finish(session, Digest.of(b"half"))


def test_an_upload_that_took_long_counts_from_its_end(store: Store, path: Path) -> None:
    session = store.begin_session()
    store.append(session, io.BytesIO(b"slowly"))
    os.utime(path / "bundlectl" / "uploads" / session, (LONG_AGO, LONG_AGO))
    store.finish(session, Digest.of(b"slowly"))
    assert store.gc(grace=HOUR).removed == ()


def answer_present(store: Store, way: str, digest: Digest, size: int) -> None:
    repository = store.repository("pushed/repo", trust="pushed")
    if way == "begin":
        assert repository.begin_blob(Descriptor(OCI_LAYER, digest, size)) == "present"
    elif way == "link":
        assert repository.link_blob(digest) == size
    elif way == "touch":
        assert store.touch(digest, within=60) == size
    else:
        store.put(b"layer")


@pytest.mark.parametrize("way", ["begin", "link", "touch", "put"])
def test_a_blob_that_a_pusher_was_told_is_there_stays(store: Store, content: Any, way: str) -> None:
    blob = content.blob(b"layer")
    age(store)
    answer_present(store, way, blob.digest, blob.size)
    assert store.gc(grace=HOUR).removed == ()


def test_what_a_manifest_by_digest_names_stays_as_long_as_the_manifest(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    image = content.image(b"layer")
    age(store)
    repository.put_manifest(image)
    assert store.gc(grace=HOUR).removed == ()


def test_a_running_download_keeps_what_it_fetched_however_long_it_takes(path: Path) -> None:
    with Store.open(path, create=True) as store, Store.open(path) as download:
        stray = store.put(b"stray")
        age(store)
        blob = Descriptor(OCI_LAYER, Digest.of(b"fetched"), 7)
        upload = download.repository("a.b/c").begin_blob(blob)
        assert not isinstance(upload, str)
        upload.write(lambda: io.BytesIO(b"fetched"))
        time.sleep(0.02)
        assert [digest for digest, _ in store.gc(grace=0).removed] == [stray]
        download.close()
        time.sleep(0.02)
        assert [digest for digest, _ in store.gc(grace=0).removed] == [blob.digest]


def test_a_download_that_was_killed_keeps_nothing(path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from mirror.layout import Store
        from mirror.oci.descriptor import Descriptor
        from mirror.oci.digest import Digest
        store = Store.open(Path(sys.argv[1]), create=True)
        store.put(b"x")
        assert store.begin_blob(Descriptor("", Digest.of(b"x"), 1)) == "present"
        os.kill(os.getpid(), signal.SIGKILL)
    """
    outcome = subprocess.run([sys.executable, "-c", textwrap.dedent(script), path], check=False)
    assert outcome.returncode == -signal.SIGKILL
    assert len(list((path / "bundlectl" / "fetching").iterdir())) == 1
    time.sleep(0.02)
    with Store.open(path) as store:
        assert len(store.gc(grace=0).removed) == 1
    assert list((path / "bundlectl" / "fetching").iterdir()) == []


def test_what_is_named_between_marking_and_sweeping_stays(
    store: Store, path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = content.image(b"layer")
    listed = content.blob(b"listed")
    store.put(image.raw)
    stray = content.blob(b"stray")
    age(store)
    commit = store._log.commit

    def named_first(plan: Any) -> None:
        """Another process names content after it was marked, and its touch is long past."""
        monkeypatch.undo()
        with Store.open(path) as other:
            other.repository("a.b/c").put_manifest(image, tag="v1")
            other.put_collection("late", canonical_json({"blobs": {str(listed.digest): listed.size}}))
        age(store)
        commit(plan)

    monkeypatch.setattr(store._log, "commit", named_first)
    assert [digest for digest, _ in store.gc(grace=HOUR).removed] == [stray.digest]
    assert problems(store) == []


def test_a_manifest_whose_layer_was_removed_meanwhile_is_refused(
    store: Store, repository: LayoutRepository, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = content.image(b"layer")
    commit = store._log.commit

    def removed_first(plan: Any) -> None:
        store.discard(Digest.of(b"layer"))
        commit(plan)

    monkeypatch.setattr(store._log, "commit", removed_first)
    with pytest.raises(MissingError, match="not in the store"):
        repository.put_manifest(image, tag="v1")
    assert repository.tags() == []


def test_a_link_is_removed_and_what_it_points_to_is_not(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = store.blob_path(Digest.of(b"linked"))
    link.symlink_to(victim)
    os.utime(link, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    directory = store.blob_path(Digest.of(b"directory"))
    directory.mkdir()
    foreign = link.parent / "README"
    foreign.write_text("not a blob")
    store.gc(grace=0)
    assert not link.is_symlink()
    assert victim.read_bytes() == b"precious"
    assert directory.is_dir()
    assert foreign.exists()


def test_that_something_was_deleted_is_forgotten_with_its_content(store: Store, path: Path, content: Any) -> None:
    repository = store.repository("pushed/repo", trust="pushed")
    blob = content.blob(b"layer")
    repository.delete_blob(blob.digest)
    assert store.is_forgotten("pushed/repo", blob.digest)
    age(store)
    store.gc(grace=0)
    assert not store.is_forgotten("pushed/repo", blob.digest)
    content.blob(b"layer")
    with Store.open(path) as other:
        assert not other.is_forgotten("pushed/repo", blob.digest)


def test_a_cancelled_run_goes_on_when_repeated(store: Store, content: Any) -> None:
    for number in range(5):
        content.blob(f"{number}".encode())
    age(store)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InterruptError):
        store.gc(grace=0, cancelled=cancelled)
    assert len(store.gc(grace=0).removed) == 5


PUSHER = """
    import io, sys
    from pathlib import Path
    from bundlectl.errors import MissingError
    from mirror.layout import Store
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

    name, rounds = sys.argv[2], int(sys.argv[3])
    with Store.open(Path(sys.argv[1])) as store:
        repository = store.repository(f"pushed/{name}", trust="pushed")

        def push(data, media_type):
            digest = Digest.of(data)
            if repository.link_blob(digest) is None:
                session = store.begin_session()
                store.append(session, io.BytesIO(data))
                store.finish(session, digest)
                repository.link_blob(digest)
            return Descriptor(media_type, digest, len(data)).to_json()

        def push_image(number, tag):
            layers = [push(b"%d" % (number % 7 + more) * 2000, OCI_LAYER) for more in range(3)]
            layers.append(push(b"only here, %d" % number, OCI_LAYER))
            manifest = Manifest.render({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "config": push(b"{}", OCI_CONFIG), "layers": layers})
            if number % 3:
                repository.put_manifest(manifest)
            repository.put_manifest(manifest, tag=tag)
            return manifest

        for number in range(rounds):
            while True:
                try:
                    manifest = push_image(number, f"v{number % 5}")
                    break
                except MissingError:  # slower than the grace: refused, so pushed again
                    continue
            print(f"v{number % 5} {manifest.descriptor.digest}", flush=True)
            if number % 2:
                repository.delete_tag(f"v{number % 5}")
                print(f"v{number % 5} -", flush=True)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_pushers_beside_gc_lose_nothing(path: Path, *, killed: bool) -> None:
    """Two processes push and delete the same layers while this one collects, with hardly the grace a push needs."""
    Store.open(path, create=True).close()
    command = [sys.executable, "-c", textwrap.dedent(PUSHER), path]
    pushers = {
        name: subprocess.Popen(
            [*command, name, "120"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        for name in ("one", "two")
    }
    removed = 0
    with Store.open(path) as store:
        while any(pusher.poll() is None for pusher in pushers.values()) or not removed:
            removed += len(store.gc(grace=0.3).removed)
            assert {pusher.poll() for pusher in pushers.values()} <= {None, 0, -signal.SIGKILL}
            if killed and removed:
                pushers["one"].kill()
    said = {name: pusher.communicate() for name, pusher in pushers.items()}
    assert pushers["two"].returncode == 0, said["two"][1]
    with Store.open(path) as store:
        assert problems(store) == []
        for name, (out, _) in said.items():
            acknowledged = dict(line.split() for line in out.splitlines())
            repository = store.repository(f"pushed/{name}")
            found = {tag: str(repository.resolve(tag).digest) for tag in repository.tags()}
            wanted = {tag: digest for tag, digest in acknowledged.items() if digest != "-"}
            # The change that was under way when it was killed may have been made, but was not acknowledged.
            assert len(found.items() ^ wanted.items()) <= (2 if killed and name == "one" else 0)
        store.gc(grace=0)
        assert problems(store) == []


@pytest.mark.parametrize("after", [0, 1, 3, 7, 12])
def test_gc_killed_at_any_moment_loses_nothing_that_is_named(
    path: Path, content: Any, store: Store, after: int
) -> None:
    repository = store.repository("a.b/c", trust="signed")
    kept = content.image(b"kept", b"shared")
    repository.put_manifest(kept, tag="kept")
    for number in range(4):
        subject = content.image(b"%d" % number, b"shared")
        repository.put_manifest(subject, tag=f"v{number}")
        repository.put_manifest(content.image(b"signature %d" % number, subject=subject))
        repository.delete_manifest(subject.descriptor.digest)
    age(store)
    store.flush()
    script = f"""
        import os, signal, sys
        from pathlib import Path
        from mirror.layout import Store
        count, unlink = 0, Path.unlink
        def counted(self, *args, **more):
            global count
            if self.parent.name == "sha256":
                count += 1
                if count > {after}:
                    os.kill(os.getpid(), signal.SIGKILL)
            return unlink(self, *args, **more)
        Path.unlink = counted
        with Store.open(Path(sys.argv[1])) as store:
            store.gc(grace=0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), path], check=False, timeout=60)
    with Store.open(path) as again:
        assert problems(again) == []
        assert everything(kept) <= held(again)
        again.gc(grace=0)
        assert held(again) == everything(kept)
        assert problems(again) == []


@given(data=strategies.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_what_names_reach_is_kept(
    tmp_path_factory: pytest.TempPathFactory, data: strategies.DataObject
) -> None:
    """Against a naive walk, over stores of random content, names and deletions."""
    with Store.open(tmp_path_factory.mktemp("any") / "store", create=True) as store:
        content = Content(store)
        repositories = [store.repository(name, trust="pushed") for name in ("one/repo", "two/repo")]
        made: list[Manifest] = []
        names: dict[tuple[int, str], Manifest] = {}
        referring: set[tuple[int, int]] = set()
        for _ in range(data.draw(strategies.integers(1, 8))):
            where = data.draw(strategies.integers(0, 1))
            layers = [
                b"layer %d" % number for number in data.draw(strategies.sets(strategies.integers(0, 4), max_size=3))
            ]
            children = data.draw(strategies.sets(strategies.sampled_from(range(len(made))))) if made else set()
            subject = data.draw(strategies.sampled_from([None, *made]))
            if children and data.draw(strategies.booleans()):
                manifest = content.index(*(made[number] for number in sorted(children)))
                subject = None
            else:
                manifest = content.image(*layers, subject=subject, annotations={"n": str(len(made))})
            made.append(manifest)
            tag = data.draw(strategies.sampled_from([None, "a", "b"]))
            repositories[where].put_manifest(manifest, tag=tag)
            if tag:
                names[where, tag] = manifest
            if subject:
                referring.add((where, len(made) - 1))
        for where, tag in data.draw(strategies.sets(strategies.sampled_from(sorted(names)))) if names else ():
            repositories[where].delete_tag(tag)
            del names[where, tag]
        age(store)
        store.gc(grace=0)
        assert held(store) == reached(made, list(names.values()), referring)
        assert problems(store) == []


def reached(made: list[Manifest], named: list[Manifest], referring: set[tuple[int, int]]) -> set[Digest]:
    by_digest = {manifest.descriptor.digest: manifest for manifest in made}
    found: set[Digest] = set()
    pending = [manifest.descriptor.digest for manifest in named]
    while pending:
        digest = pending.pop()
        if digest in found:
            continue
        found.add(digest)
        if manifest := by_digest.get(digest):
            pending += [child.digest for child in manifest.children()]
        for _, number in referring:
            subject = made[number].subject
            if subject and subject.digest == digest:
                pending.append(made[number].descriptor.digest)
    return found
