"""The order in which things are copied, and how often."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from mirror.copying import Referrer
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from registry_fixtures.faults import Fault, IgnoreQuery, Refuse
from registry_fixtures.features import Features
from tests.unit.mirror.copying.bench import AMD64, ARM64

if TYPE_CHECKING:
    from tests.unit.mirror.copying.bench import Bench

SHARED = b"a layer that every image has" * 40


def test_a_blob_that_many_roots_need_is_fetched_and_sent_once(bench: Bench) -> None:
    roots = [bench.root(name, bench.image(name, SHARED, name.encode())) for name in ("a/one", "a/two", "b/three")]
    report = bench.copy(roots)
    assert (report.exit_code, report.artifacts_done) == (0, 3)
    digest = Digest.of(SHARED)
    assert bench.source.requests.count("GET", f"*/blobs/{digest}") == 1
    assert len([entry for entry in bench.sent("PUT", "*/blobs/uploads/*") if entry.received == len(SHARED)]) == 1
    assert (report.blobs_total, report.blobs_transferred, report.blobs_mounted) == (7, 7, 2)


def test_a_first_copy_costs_one_get_one_post_and_one_put_for_each_unique_blob(bench: Bench) -> None:
    bench.copy([bench.root(name, bench.image(name, SHARED)) for name in ("a/one", "a/two")])
    assert bench.source.requests.count("GET", "*/blobs/*") == 3
    assert len(bench.sent("POST", "*/blobs/uploads/")) == 3 + 1
    assert len(bench.sent("PUT", "*/blobs/uploads/*")) == 3
    assert bench.sent("HEAD", "*/blobs/*") == []


def test_the_largest_blob_goes_first(bench: Bench) -> None:
    layers = [bytes([number]) * number * 100 for number in (2, 5, 1, 4, 3)]
    bench.copy([bench.root("a/one", bench.image("a/one", *layers))], jobs=1)
    sizes = [entry.received for entry in bench.sent("PUT", "*/blobs/uploads/*")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 500


def test_a_blob_of_several_repositories_of_the_target_is_mounted_into_the_further_ones(bench: Bench) -> None:
    roots = [bench.root(name, bench.image(name, SHARED, config="same")) for name in ("a/one", "a/two", "a/three")]
    report = bench.copy(roots)
    assert report.blobs_mounted == 2 * 2
    assert len(bench.sent("POST", "*/blobs/uploads/", status=201)) == 4
    assert {name for name in ("a/one", "a/two", "a/three") if bench.tag(name)} == {"a/one", "a/two", "a/three"}


def test_where_nothing_can_be_mounted_the_blob_is_sent_again(bench: Bench) -> None:
    bench.renew_target(Features(mount=False))
    report = bench.copy([bench.root(name, bench.image(name, SHARED, config="same")) for name in ("a/one", "a/two")])
    assert (report.exit_code, report.blobs_mounted) == (0, 0)
    assert len(bench.sent("PUT", "*/blobs/uploads/*", status=201)) == 4
    assert report.blobs_transferred == 2
    assert bench.moved() == bench.planned()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refused_mount_falls_back_to_an_upload(bench: Bench, status: int) -> None:
    class RefuseMounts(IgnoreQuery):
        def apply(self, request, handler):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            source, name = request.asked("from"), request.path.partition("/v2/")[2].partition("/blobs/")[0]
            return Refuse(status).apply(request, handler) if source not in ("", name) else handler(request)

    bench.target.faults.add(Fault(RefuseMounts(), method="POST"))
    report = bench.copy([bench.root(name, bench.image(name, SHARED, config="same")) for name in ("a/one", "a/two")])
    assert report.exit_code == 0, report.failed
    assert bench.tag("a/two") is not None


def test_manifests_go_children_first_and_the_tag_last(bench: Bench) -> None:
    index = bench.multi("a/one")
    signature = bench.image("a/one", b"signature", tag=None, subject=index.descriptor.to_json())
    root = bench.root("a/one", index, referrers=(Referrer(signature.descriptor, "sha256-x.sig"),))
    bench.copy([root])
    order = [entry.path.rpartition("/")[2] for entry in bench.sent("PUT", "*/manifests/*")]
    children = {str(child.digest) for child in index.children()}
    assert order[-1] == "v1"
    assert order.index("sha256-x.sig") < order.index("v1")
    assert set(order[:-1]) - {"sha256-x.sig"} == children
    last_blob = max(bench.target.requests.entries().index(entry) for entry in bench.sent("PUT", "*/blobs/*"))
    first_manifest = bench.target.requests.entries().index(bench.sent("PUT", "*/manifests/*")[0])
    assert last_blob < first_manifest


def test_a_nested_index_goes_up_from_its_leaves(bench: Bench) -> None:
    leaf = bench.image("a/one", b"leaf", tag=None)
    inner = bench.index("a/one", (leaf, AMD64), tag=None)
    outer = bench.index("a/one", (inner, {}))
    bench.copy([bench.root("a/one", outer)])
    order = [entry.path.rpartition("/")[2] for entry in bench.sent("PUT", "*/manifests/*")]
    assert order == [str(leaf.descriptor.digest), str(inner.descriptor.digest), "v1"]


def test_every_tag_is_written(bench: Bench) -> None:
    image = bench.image("a/one", b"layer")
    bench.copy([bench.root("a/one", image, tags=("v1", "latest"))])
    assert bench.tag("a/one", "v1") == bench.tag("a/one", "latest") == image.descriptor.digest


def test_what_is_up_to_date_is_asked_for_once_and_nothing_is_sent(bench: Bench) -> None:
    root = bench.root("a/one", bench.image("a/one", SHARED))
    bench.copy([root])
    for served in (bench.source, bench.target):
        served.requests.clear()
    report = bench.copy([root])
    assert (report.artifacts_skipped, report.bytes_transferred, report.exit_code) == (1, 0, 0)
    assert bench.source.requests.count() == 0
    assert [(entry.method, entry.path) for entry in bench.target.requests.entries()] == [
        ("HEAD", "/v2/a/one/manifests/v1")
    ]


def test_an_index_whose_child_is_gone_from_the_target_is_not_up_to_date(bench: Bench) -> None:
    index = bench.multi("a/one")
    digests = tuple(child.digest for child in index.children())
    root = bench.root("a/one", index, manifests=(*digests, index.descriptor.digest))
    bench.copy([root])
    del bench.target.holdings.repository("a/one").manifests[digests[0]]
    assert bench.copy([root]).artifacts_done == 1
    assert digests[0] in bench.target.holdings.repository("a/one").manifests


def test_a_signature_whose_tag_is_gone_from_the_target_is_written_again(bench: Bench) -> None:
    image, signature = bench.image("a/one", b"layer"), bench.image("a/one", b"signature", tag=None, config="s")
    root = bench.root("a/one", image, referrers=(Referrer(signature.descriptor, "sha256-x.sig"),))
    bench.copy([root])
    del bench.target.holdings.repository("a/one").tags["sha256-x.sig"]
    bench.copy([root])
    assert bench.tag("a/one", "sha256-x.sig") == signature.descriptor.digest


def test_only_the_manifests_that_a_lock_knows_of_are_copied(bench: Bench) -> None:
    bench.renew_target(Features(sparse_indexes=True))
    index = bench.multi("a/one")
    wanted = index.children()[0].digest
    bench.copy([bench.root("a/one", index, manifests=(wanted, index.descriptor.digest))])
    held = bench.target.holdings.repository("a/one")
    assert set(held.manifests) == {wanted, index.descriptor.digest}
    assert bench.source.requests.count("GET", f"*/blobs/{Digest.of(b'arm64 layer')}") == 0


def test_a_moved_tag_at_the_target_is_put_right(bench: Bench) -> None:
    old, new = bench.image("a/one", b"old", config="old"), bench.image("a/one", b"new", config="new")
    bench.copy([bench.root("a/one", old)])
    bench.copy([bench.root("a/one", new)])
    assert bench.tag("a/one") == new.descriptor.digest


def test_an_estimate_says_what_copying_then_sends(bench: Bench) -> None:
    bench.copy([bench.root("a/one", bench.image("a/one", SHARED, config="first"))])
    roots = [
        bench.root("a/one", bench.image("a/one", SHARED, config="first")),
        bench.root("a/two", bench.image("a/two", SHARED, b"second")),
        bench.root("b/three", bench.multi("b/three")),
    ]
    before = bench.estimate(roots)
    assert (before.artifacts, before.up_to_date, before.pending) == (3, 1, ["a/two:v1", "b/three:v1"])
    bench.target.requests.clear()
    report = bench.copy(roots)
    assert report.artifacts_done == 2
    sent = sum(entry.received for entry in bench.sent("PUT", "*"))
    assert before.bytes == sent
    after = bench.estimate(roots)
    assert (after.bytes, after.blobs, after.up_to_date) == (0, 0, 3)


def test_an_estimate_changes_nothing(bench: Bench) -> None:
    bench.estimate([bench.root("a/one", bench.image("a/one", SHARED))])
    assert bench.target.holdings.names() == []
    assert {entry.method for entry in bench.target.requests.entries()} <= {"GET", "HEAD"}


def test_a_large_blob_streams_through(bench: Bench) -> None:
    root = bench.root("a/one", bench.image("a/one", bytes(24 * 1024 * 1024)))
    tracemalloc.start()
    try:
        bench.copy([root], jobs=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The source and the target live in this process too, and hold blocks of a megabyte.
    assert peak < 12 * 1024 * 1024


def test_no_roots_are_done_at_once(bench: Bench) -> None:
    report = bench.copy([])
    assert (report.exit_code, report.artifacts_total) == (0, 0)


def test_the_descriptor_of_a_root_needs_no_more_than_a_digest(bench: Bench) -> None:
    image = bench.image("a/one", b"layer")
    root = bench.root("a/one", image)
    assert root.descriptor == Descriptor("", image.descriptor.digest, 0)
    assert bench.copy([root]).exit_code == 0


def test_two_roots_of_one_repository_share_a_child(bench: Bench) -> None:
    child = bench.image("a/one", b"child", tag=None)
    first = bench.index("a/one", (child, AMD64), tag="v1")
    second = bench.index("a/one", (child, AMD64), (bench.image("a/one", b"x", tag=None, config="x"), ARM64), tag="v2")
    report = bench.copy([bench.root("a/one", first), bench.root("a/one", second, tags=("v2",))])
    assert report.artifacts_done == 2
    assert len(bench.sent("PUT", f"*/manifests/{child.descriptor.digest}")) == 1
