"""``files``: what lies where afterwards, what was changed in it, and what never happens."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import InterruptError, StoreError, UsageError
from bundlectl.events import ArtifactFinished, BytesMoved
from bundlectl.operations import Connection, Session, lock, write_files
from bundles.lock import Lock
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from registry_fixtures.faults import CutBody, Fault, FlipByte, Refuse
from tests.unit.bundlectl.operations.site import FILES_HOST, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundlectl.events import Event

from tests.unit.bundlectl.operations.filed import (
    BASE,
    BUNDLES,
    CDN,
    CERT_MANAGER,
    EKSD_RELEASE,
    INDEX,
    OVA,
    RELEASE,
    WORD,
    files,
    listed,
    lock_of,
    out,
    tree,
    uris,
)


def test_every_file_of_a_store_lies_under_the_host_and_path_of_its_url(site: Site, held: str) -> None:
    report = files(site, held)
    assert report.exit_code == 0
    made = site.source.upstream.files
    for url, file in made.items():
        place = out(site) / url.removeprefix("https://")
        if place.exists():
            assert Digest.of(place.read_bytes()) == file.digest
    with Store.open(site.store, read_only=True) as store:
        lock = Lock.from_bytes(store.collections()["v0.24.1"], origin="lock")
    wanted = {item.reference for item in lock.artifacts if item.type == "file"} | {item.url for item in lock.manifests}
    assert listed(out(site)) == {url.removeprefix("https://") for url in wanted}
    assert {INDEX, BUNDLES, EKSD_RELEASE, OVA} <= listed(out(site))
    assert report.written == report.total == len(wanted)
    assert report.bytes_written == sum(path.stat().st_size for path in out(site).rglob("*") if path.is_file())


def test_documents_are_written_as_they_were_received(site: Site, held: str) -> None:
    files(site, held)
    for document in site.source.upstream.documents:
        place = out(site) / document.location.removeprefix("https://")
        if place.exists():
            assert place.read_bytes() == document.raw


def test_upstream_gives_the_same_as_a_store_without_being_asked_for_an_image(site: Site) -> None:
    assert files(site, RELEASE).exit_code == 0
    assert site.source.requests.count("*", "/v2/*") == 0
    site.download(RELEASE)
    report = files(site, f"store:{site.store}")
    assert (report.written, report.skipped) == (0, report.total)


def test_a_run_that_was_cut_is_resumed(site: Site) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, ArtifactFinished) and event.outcome == "done":
            session.cancel()

    site.download(RELEASE)
    with site.session() as session:
        session.listener = cut
        with pytest.raises(InterruptError):
            write_files(site.request(f"store:{site.store}"), directory=out(site), session=session)
    begun = listed(out(site))
    assert begun
    assert not any("partial" in name for name in begun)
    report = files(site, f"store:{site.store}")
    assert report.exit_code == 0
    assert report.skipped >= len(begun)
    assert report.written + report.skipped == report.total


def test_progress_ends_at_the_total(site: Site, held: str) -> None:
    for _ in range(2):
        site.heard.clear()
        report = files(site, held)
        moved = sum(event.count for event in site.heard if isinstance(event, BytesMoved))
        assert moved == report.bytes_total
        assert sum(isinstance(event, ArtifactFinished) for event in site.heard) == report.total


def test_a_file_that_is_wrong_is_replaced(site: Site, held: str) -> None:
    files(site, held)
    right = (out(site) / OVA).read_bytes()
    (out(site) / OVA).write_bytes(bytes(len(right)))
    (out(site) / CERT_MANAGER).write_bytes(b"short")
    report = files(site, held)
    assert report.written == 2
    assert (out(site) / OVA).read_bytes() == right


def test_what_was_left_half_written_by_a_run_that_was_killed_is_cleared_away(site: Site, held: str) -> None:
    (out(site) / ".bundlectl-partial").mkdir(parents=True)
    (out(site) / ".bundlectl-partial" / "left").write_bytes(b"half")
    files(site, held)
    assert not (out(site) / ".bundlectl-partial").exists()


def test_no_link_in_the_folder_is_followed(site: Site, held: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    place = out(site) / CERT_MANAGER
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "precious")
    assert files(site, held).exit_code == 0
    assert (outside / "precious").read_bytes() == b"precious"
    assert not place.is_symlink()

    other = site.folder / "other"
    other.mkdir()
    (other / CDN).symlink_to(outside)
    with pytest.raises(StoreError, match="in the way"):
        files(site, held, to=other)
    assert listed(outside) == {"precious"}


def test_a_right_file_behind_a_link_does_not_count(site: Site, held: str) -> None:
    files(site, held)
    moved = site.folder / "moved"
    (out(site) / OVA).rename(moved)
    (out(site) / OVA).symlink_to(moved)
    assert files(site, held).written == 1
    assert not (out(site) / OVA).is_symlink()


def test_the_folder_itself_may_be_a_link(site: Site, held: str) -> None:
    (site.folder / "real").mkdir()
    out(site).symlink_to(site.folder / "real")
    assert files(site, held).exit_code == 0
    assert (site.folder / "real" / OVA).is_file()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(site: Site, held: str) -> None:
    (out(site) / OVA).parent.mkdir(parents=True)
    os.mkfifo(out(site) / OVA)
    assert files(site, held).exit_code == 0
    assert (out(site) / OVA).is_file()


def test_files_are_not_written_into_a_store(site: Site, held: str) -> None:
    before = listed(site.store)
    with pytest.raises(UsageError, match="is a store"):
        files(site, held, to=site.store)
    assert listed(site.store) == before


def test_a_file_that_is_wrong_at_its_source_is_not_shown(site: Site) -> None:
    site.download(RELEASE)
    wanted = site.source.upstream.files[f"https://{OVA}"].digest
    blob = site.store / "blobs" / "sha256" / wanted.encoded
    data = bytearray(blob.read_bytes())
    data[7] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    report = files(site, f"store:{site.store}")
    assert report.exit_code == 3
    assert [item.reference for item in report.failed] == [f"https://{OVA}"]
    assert not (out(site) / OVA).exists()
    assert (out(site) / CERT_MANAGER).exists()


def test_a_sha512_that_does_not_hold_is_found_out(site: Site) -> None:
    url = site.put_file("a.bin", b"content")
    report = files(site, lock_of(site, {url: b"content"}, sha512="0" * 128))
    assert report.exit_code == 3
    assert "sha512" in report.failed[0].error
    assert listed(out(site)) == set()


def test_what_a_source_lacks_is_missing_and_everything_else_is_done(site: Site) -> None:
    site.source.faults.add(Fault(Refuse(404), path="*/vmlinuz-*"))
    report = files(site, RELEASE)
    assert report.exit_code == 4
    assert [item.reference.rpartition("/")[2] for item in report.failed] == ["vmlinuz-x86_64"]
    assert report.written == report.total - 1


def test_a_file_of_upstream_that_is_altered_on_the_way_is_refused(site: Site) -> None:
    site.source.faults.add(Fault(FlipByte(3), method="GET", path="*.ova"))
    report = files(site, RELEASE)
    assert report.exit_code == 3
    assert not (out(site) / OVA).exists()


def test_a_connection_that_is_cut_is_taken_up_again(site: Site) -> None:
    site.source.faults.add(Fault(CutBody(100), method="GET", path="*.ova", count=1))
    assert files(site, RELEASE).exit_code == 0


def test_two_urls_of_one_path_are_one_file_or_told(site: Site) -> None:
    url = site.put_file("a.yaml", b"one")
    same = lock_of(site, {f"{url}?x=1": b"one", f"{url}?x=2": b"one"})
    other = lock_of(site, {f"{url}?x=1": b"one", f"{url}?x=2": b"two"})
    assert files(site, same).exit_code == 0
    assert listed(out(site)) == {"files.example/a.yaml"}
    report = files(site, other)
    assert report.exit_code == 3
    assert [item.reference for item in report.failed] == [f"{url}?x=2"]
    assert (out(site) / "files.example/a.yaml").read_bytes() == b"one"


def test_a_url_that_goes_on_where_another_ends_is_told(site: Site) -> None:
    one, two = site.put_file("a", b"one"), site.put_file("a/b", b"two")
    report = files(site, f"file:{one}", f"file:{two}")
    assert report.exit_code == 3
    assert [item.reference for item in report.failed] == [one]
    assert listed(out(site)) == {"files.example/a/b"}


def test_no_url_leads_out_of_the_folder(site: Site) -> None:
    paths = ("%2e%2e/%2e%2e/%2e%2e/evil", "../../evil", "a%2fb", "a%00b", "a%5cb", "folder/", "a/./b", "a" * 300)
    bad = [f"{FILES_HOST}/{path}" for path in paths] + ["https://.bundlectl-partial/a", "https://../evil"]
    report = files(site, lock_of(site, dict.fromkeys(bad, b"evil")))
    assert {item.reference for item in report.failed} == set(bad)
    assert report.exit_code == 3
    assert listed(out(site)) == set()


def test_escapes_in_a_url_are_resolved_as_web_servers_do(site: Site) -> None:
    site.put_file("a+b.yaml", b"good")
    assert files(site, lock_of(site, {f"{FILES_HOST}/a%2Bb.yaml": b"good"})).exit_code == 0
    assert listed(out(site)) == {"files.example/a+b.yaml"}


def test_a_document_without_a_url_stays_where_it_is_and_that_is_told(site: Site) -> None:
    path = site.folder / "bundles.yaml"
    path.write_bytes(site.source.upstream.document("Bundles").raw)
    report = files(site, str(path))
    assert report.exit_code == 0
    assert [item.reference for item in report.excluded] == [str(path)]


def test_a_narrower_selection_writes_less_and_says_what(site: Site) -> None:
    report = files(site, RELEASE, kube_versions=("1.33",), platforms=(Platform.parse("linux/arm64"),))
    assert report.exit_code == 0
    assert not any("kubernetes-1-32/releases" in name for name in listed(out(site)))
    assert not any(name.endswith("amd64.tar.gz") for name in listed(out(site)))
    left = {item.reference for item in report.excluded}
    assert any("kubernetes-1-32/releases" in url for url in left)
    assert all(url.startswith("https://") for url in left)


def test_of_several_states_of_the_release_index_the_newest_is_written(site: Site) -> None:
    older = site.source.upstream.document("Release").raw
    newer = older.replace(b"releases:\n", b"releases:\n  - {number: 999, version: v9.9.9}\n", 1)
    assert newer != older
    for name, raw in (("b", newer), ("a", older)):
        site.source.cdn.put(f"/{INDEX}", raw)
        assert site.download(RELEASE, name=name, include=("http*.yaml",)).exit_code == 0
    assert files(site, f"store:{site.store}").exit_code == 0
    assert (out(site) / INDEX).read_bytes() == newer
    assert files(site, f"store:{site.store}", base_url=BASE).exit_code == 0
    assert b"v9.9.9" in (out(site) / INDEX).read_bytes()
    assert tree(site, f"store:{site.store}").exit_code == 0
    assert (site.folder / WORD / "manifest.yaml").read_bytes() == newer
    assert files(site, f"store:{site.store}#a").exit_code == 0
    assert (out(site) / INDEX).read_bytes() == older


# documents that point to the site


def test_documents_point_to_the_site_for_every_file_that_is_there(site: Site, held: str) -> None:
    report = files(site, held, base_url=f"{BASE}/")
    assert report.exit_code == 0
    there = {f"https://{name}" for name in listed(out(site))}
    for name in (INDEX, BUNDLES, EKSD_RELEASE):
        for uri in uris(out(site) / name):
            if uri.startswith(BASE):
                assert (out(site) / uri.removeprefix(f"{BASE}/")).is_file()
            else:
                assert uri not in there or f"https://{OVA}" == uri or "/etcdadm/" in uri
    assert {item.url.rpartition("/")[2].partition("-v")[0] for item in report.kept} == {"bottlerocket", "etcdadm"}
    assert {item.document for item in report.kept} == {BUNDLES}
    assert set(report.rewritten) >= {INDEX, BUNDLES, EKSD_RELEASE}


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """A web server that knows nothing but files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_release_is_read_from_the_site_alone_when_its_documents_point_there(site: Site, held: str) -> None:
    files(site, held, base_url=BASE)
    with web_server(out(site)) as url, Session(Connection(origins={BASE: url})) as session:
        request = site.request(f"{BASE}/{BUNDLES}", include=("http*.yaml",))
        locked = lock(request, session=session)
    found = {item.reference for item in locked.artifacts}
    assert f"{BASE}/{CERT_MANAGER}" in found
    assert f"{BASE}/{EKSD_RELEASE}" in found
    assert all(url.startswith(BASE) for url in found)


def test_changed_documents_wait_for_what_they_name(site: Site) -> None:
    files(site, RELEASE)
    before = (out(site) / BUNDLES).read_bytes()
    assert before
    site.source.faults.add(Fault(Refuse(404), method="GET", path="*.ova"))
    (out(site) / OVA).unlink()
    report = files(site, RELEASE, base_url=BASE)
    assert report.exit_code == 4
    assert not (out(site) / BUNDLES).exists()
    assert any("is not written before" in item.error for item in report.failed)


@pytest.mark.parametrize(
    "url",
    ["http://files.example", "files.example", "https://files.example?a", "https://files.example/#a", "ftp://x/y"],
)
def test_a_base_url_that_eksctl_would_not_take_for_one_is_refused(site: Site, url: str) -> None:
    with pytest.raises(UsageError):
        files(site, RELEASE, base_url=url)


@pytest.mark.parametrize("layout", ["url", "eks-anywhere"])
def test_a_base_url_that_eksctl_would_take_for_a_path_is_refused(site: Site, layout: str) -> None:
    with pytest.raises(UsageError, match=f"contains {WORD}"):
        files(site, RELEASE, base_url=f"https://files.example/{WORD}", layout=layout)
