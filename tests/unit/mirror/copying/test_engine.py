"""Blobs move while roots are still surveyed, tags are looked at, and files leave the store unread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from mirror.copying import Root
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.verifying import VerifyingReader
from registry_fixtures.faults import Fault, Refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import Repository
    from tests.unit.mirror.copying.bench import Bench

LAYER = bytes(range(256)) * 4096
DIGEST = Digest.of(LAYER)
TAG = "/v2/a/one/manifests/v1"


class Through:
    """A repository whose methods a test replaces one by one."""

    def __init__(self, inner: Repository, **replaced: Any) -> None:
        self._inner = inner
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def with_source(root: Root, **replaced: Any) -> Root:
    changed: Any = Through(root.source, **replaced)  # type: ignore[arg-type]
    return Root(
        label=root.label, source=changed, target=root.target, descriptor=root.descriptor, tags=root.tags
    )  # fmt: skip


def test_blobs_move_while_another_root_is_still_surveyed(bench: Bench) -> None:
    first = bench.root("a/one", bench.image("a/one", LAYER))
    second = bench.root("a/two", bench.image("a/two", LAYER, b"more"))
    done = threading.Event()

    def manifest(descriptor: Descriptor) -> Manifest:
        assert done.wait(10)
        return second.source.manifest(descriptor)

    def listen(event: object) -> None:
        if "done" in repr(event):
            done.set()

    report = bench.copy([first, with_source(second, manifest=manifest)], listener=listen)
    assert (report.exit_code, report.artifacts_done) == (0, 2)
    assert (report.blobs_total, report.blobs_transferred, report.blobs_mounted) == (4, 4, 1)
    assert bench.tag("a/two") == second.descriptor.digest


def test_a_blob_that_its_only_source_lacks_waits_for_a_root_that_names_another(bench: Bench) -> None:
    first = bench.root("a/one", bench.image("a/one", LAYER))
    second = bench.root("a/two", bench.image("a/two", LAYER))
    bench.source.faults.add(Fault(Refuse(404), path=f"/v2/a/one/blobs/{DIGEST}"))

    def manifest(descriptor: Descriptor) -> Manifest:
        while not bench.source.requests.entries("GET", f"/v2/a/one/blobs/{DIGEST}"):
            threading.Event().wait(0.01)
        return second.source.manifest(descriptor)

    report = bench.copy([first, with_source(second, manifest=manifest)])
    assert (report.exit_code, report.artifacts_done) == (0, 2)
    assert len(bench.source.requests.entries("GET", f"/v2/a/one/blobs/{DIGEST}")) == 1


def test_the_largest_blob_that_is_known_goes_first(bench: Bench) -> None:
    layers = [bytes([size % 251]) * size for size in (10, 3000, 200, 70_000)]
    bench.copy([bench.root("a/one", bench.image("a/one", *layers))], jobs=1)
    asked = [entry.path.rpartition("/")[2] for entry in bench.source.requests.entries("GET", "/v2/a/one/blobs/*")]
    assert asked[:3] == [str(Digest.of(layer)) for layer in (layers[3], layers[1], layers[2])]


def test_a_tag_that_is_not_there_after_it_was_written_is_exit_4(bench: Bench) -> None:
    bench.target.faults.add(Fault(Refuse(404), method="HEAD", path=TAG, after=1))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER))])
    assert (report.exit_code, report.artifacts_done, report.failed[0].exit_code) == (4, 0, 4)
    assert bench.outcomes() == {"a/one:v1": "failed"}


def test_a_tag_that_points_elsewhere_after_it_was_written_is_exit_3(bench: Bench) -> None:
    root = bench.root("a/one", bench.image("a/one", LAYER))
    other = Descriptor(root.descriptor.media_type, Digest.of(b"another"), 7)
    written = threading.Event()

    def put_manifest(manifest: Manifest, *, tag: str | None = None) -> None:
        root.target.put_manifest(manifest, tag=tag)
        written.set()

    def resolve(tag: str) -> Descriptor:
        return other if written.is_set() else root.target.resolve(tag)

    target: Any = Through(root.target, put_manifest=put_manifest, resolve=resolve)
    spoiled = Root(label=root.label, source=root.source, target=target, descriptor=root.descriptor, tags=root.tags)
    report = bench.copy([spoiled, bench.root("a/two", bench.image("a/two", b"fine"))])
    assert (report.exit_code, report.artifacts_done) == (3, 1)
    assert "right after it was written" in report.failed[0].error


def test_no_tag_follows_one_that_points_elsewhere_after_it_was_written(bench: Bench) -> None:
    bench.target.faults.add(Fault(Refuse(404), method="HEAD", path=TAG, after=1))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER), tags=("v1", "latest"))])
    assert report.exit_code == 4
    assert bench.sent("PUT", "/v2/a/one/manifests/v1")
    assert not bench.sent("PUT", "/v2/a/one/manifests/latest")


def test_each_tag_is_asked_for_once_more_when_it_was_written(bench: Bench) -> None:
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER), tags=("v1", "v2"))])
    assert report.exit_code == 0
    for tag in ("v1", "v2"):
        order = [entry.method for entry in bench.sent("*", f"/v2/a/one/manifests/{tag}")]
        assert order[-2:] == ["PUT", "HEAD"]


@pytest.fixture
def store(bench: Bench, tmp_path: Path) -> Iterator[tuple[Store, Digest]]:
    """A store with one image, brought there from the source."""
    image = bench.image("a/one", LAYER)
    with Store.open(tmp_path / "store", create=True) as kept:
        root = bench.root("a/one", image)
        target = kept.repository("registry.example/a/one")
        there = Root(label="x", source=root.source, target=target, descriptor=root.descriptor, tags=("v1",))
        assert bench.copy([there]).exit_code == 0
        yield kept, image.descriptor.digest


def from_store(bench: Bench, store: Store, digest: Digest) -> Root:
    return Root(
        label="a/one:v1",
        source=store.repository("registry.example/a/one"),
        target=bench.repository(bench.target, "a/one"),
        descriptor=Descriptor("", digest, 0),
        tags=("v1",),
    )


def test_a_blob_leaves_the_store_unread_and_is_counted(
    bench: Bench, store: tuple[Store, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.client.request("GET", f"http://{bench.target.host}/v2/")  # a file leaves unread over an open connection only
    hashed: list[int] = []
    read = VerifyingReader.read

    def watched(self: VerifyingReader, size: int = -1, /) -> bytes:
        hashed.append(size)
        return read(self, size)

    monkeypatch.setattr(VerifyingReader, "read", watched)
    bench.heard.clear()
    report = bench.copy([from_store(bench, *store)], jobs=1)
    assert (report.exit_code, hashed) == (0, [])
    assert report.bytes_transferred == bench.moved() == bench.planned()
    assert DIGEST in bench.target.holdings.repository("a/one").blobs


def test_a_blob_that_was_damaged_in_the_store_is_exit_3_and_is_never_committed(
    bench: Bench, store: tuple[Store, Digest]
) -> None:
    kept, digest = store
    path = kept.path / "blobs" / DIGEST.algorithm / DIGEST.encoded
    path.chmod(0o644)
    path.write_bytes(LAYER[:-1] + b"!")
    report = bench.copy([from_store(bench, kept, digest)], jobs=1)
    assert (report.exit_code, report.failed[0].code) == (3, "content")
    assert bench.tag("a/one") is None
    assert DIGEST not in bench.target.holdings.repository("a/one").blobs
