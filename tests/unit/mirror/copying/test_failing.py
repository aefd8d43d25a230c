"""What fails, what is tried again, and what is done nevertheless."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import InterruptError, StoreError
from bundlectl.events import BytesMoved, Event
from mirror.copying import Failure, Persistence, Referrer
from mirror.copying.engine import SparseIndexRefusedError
from mirror.layout import LayoutRepository, Store
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from mirror.oci.platform import Platform
from mirror.oci.reference import by_digest_tag
from registry_fixtures.faults import CutBody, CutUpload, Fault, FlipByte, HangUp, Refuse, SlowBody, Truncate
from registry_fixtures.features import Features
from tests.unit.mirror.copying.bench import AMD64 as AMD64_JSON
from tests.unit.mirror.copying.bench import ARM64 as ARM64_JSON

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.manifest import Manifest
    from registry_fixtures.faults import Action
    from tests.unit.mirror.copying.bench import Bench

LAYER = bytes(range(256)) * 40
DIGEST = Digest.of(LAYER)
BLOB = f"*/blobs/{DIGEST}"
AMD64 = (Platform.parse("linux/amd64"),)
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def test_a_blob_that_fails_fails_the_roots_that_need_it_and_no_others(bench: Bench) -> None:
    bench.source.faults.add(Fault(Refuse(404), path=BLOB))
    names = ("a/with", "b/with", "c/without")
    layers = {"a/with": LAYER, "b/with": LAYER, "c/without": b"another"}
    report = bench.copy([bench.root(name, bench.image(name, layers[name])) for name in names])
    assert bench.outcomes() == {"a/with:v1": "failed", "b/with:v1": "failed", "c/without:v1": "done"}
    assert sorted(failure.reference for failure in report.failed) == ["a/with:v1", "b/with:v1"]
    assert report.exit_code == 4
    assert [bench.tag(name) is None for name in names] == [True, True, False]


def test_wrong_bytes_are_exit_3_and_never_reach_the_target(bench: Bench) -> None:
    bench.source.faults.add(Fault(FlipByte(7), path=BLOB))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER))])
    assert (report.exit_code, report.failed[0].exit_code) == (3, 3)
    assert bench.tag("a/one") is None
    assert DIGEST not in bench.target.holdings.repository("a/one").blobs


def test_a_blob_that_one_source_lacks_is_taken_from_another(bench: Bench) -> None:
    roots = [bench.root(name, bench.image(name, LAYER)) for name in ("a/one", "a/two")]
    bench.source.faults.add(Fault(Refuse(404), path=f"/v2/a/one/blobs/{DIGEST}"))
    report = bench.copy(roots)
    assert (report.exit_code, report.artifacts_done) == (0, 2)
    assert bench.moved() == bench.planned()


@pytest.mark.parametrize("action", [Refuse(403), Refuse(500), FlipByte(3), HangUp(), Truncate(2)])
def test_a_blob_that_one_source_spoils_or_refuses_is_taken_from_another(bench: Bench, action: Action) -> None:
    roots = [bench.root(name, bench.image(name, LAYER)) for name in ("a/one", "a/two")]
    bench.source.faults.add(Fault(action, path=f"/v2/a/one/blobs/{DIGEST}"))
    report = bench.copy(roots)
    assert report.exit_code == 0, report.failed
    assert bench.moved() == bench.planned()


def test_a_repository_that_refuses_a_shared_blob_does_not_keep_it_from_the_others(bench: Bench) -> None:
    names = ("a/refused", "b/open", "c/open")
    roots = [bench.root(name, bench.image(name, LAYER, config=name)) for name in names]
    bench.target.faults.add(Fault(Refuse(403), path="/v2/a/refused/blobs/*"))
    report = bench.copy(roots)
    assert bench.outcomes() == {"a/refused:v1": "failed", "b/open:v1": "done", "c/open:v1": "done"}
    assert [failure.reference for failure in report.failed] == ["a/refused:v1"]
    assert (report.blobs_transferred, report.blobs_mounted) == (3, 1)


def test_a_blob_is_not_asked_of_another_source_when_the_target_refuses_it(bench: Bench) -> None:
    roots = [bench.root(name, bench.image(name, LAYER, config="same")) for name in ("a/one", "a/two")]
    bench.target.faults.add(Fault(Refuse(403), method="PUT", path="*/blobs/uploads/*"))
    assert bench.copy(roots).exit_code == 4
    assert len(bench.sent("PUT", "*/blobs/uploads/*")) == 4
    asked = {entry.path for entry in bench.source.requests.entries("GET", "/v2/*/blobs/*")}
    assert len(asked) == len({path.rpartition("/")[2] for path in asked}) == 2


def test_a_lie_about_a_size_fails_only_the_one_who_lies(bench: Bench) -> None:
    honest = bench.image("a/honest", LAYER, config="same")
    lie = {"mediaType": OCI_LAYER, "digest": str(DIGEST), "size": len(LAYER) - 5}
    config = honest.children()[0]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": str(config.digest), "size": config.size},
        "layers": [lie],
    }
    for digest in (DIGEST, config.digest):
        bench.source.holdings.link_blob("a/liar", digest)
    liar = bench.source.holdings.put_manifest("a/liar", canonical_json(document), tag="v1")
    report = bench.copy([bench.root("a/liar", liar), bench.root("a/honest", honest)])
    assert bench.outcomes() == {"a/honest:v1": "done", "a/liar:v1": "failed"}
    assert report.exit_code == 3


def test_a_stated_sha512_must_hold(bench: Bench) -> None:
    stating = bench.image("a/stating", LAYER, config="same")
    layer = {**stating.children()[1].to_json(), "annotations": {SHA512_ANNOTATION: "0" * 128}}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": stating.children()[0].to_json(),
        "layers": [layer],
    }
    wrong = bench.source.holdings.put_manifest("a/stating", canonical_json(document), tag="v2")
    report = bench.copy([bench.root("a/stating", wrong, tags=("v2",))])
    assert report.exit_code == 3
    assert bench.tag("a/stating", "v2") is None


@pytest.mark.parametrize("times", [1, 2])
def test_a_cut_is_tried_again_and_progress_counts_every_byte_once(bench: Bench, times: int) -> None:
    bench.source.faults.add(Fault(CutBody(3000), path=BLOB, count=times))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER, b"small"))])
    assert report.exit_code == 0
    assert bench.source.requests.count("GET", BLOB) == times + 1
    assert (
        bench.moved() == bench.planned() == report.bytes_total - len(bench.source.holdings.manifest("a/one", "v1").raw)
    )


def test_a_cut_download_into_a_store_resumes_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    bench.source.faults.add(Fault(CutBody(3000), path=BLOB, count=1))
    root = bench.root("a/one", bench.image("a/one", LAYER))
    with Store.open(tmp_path / "store", create=True) as store:
        into = replace(root, target=store.repository("host.example/a/one"))
        report = bench.copy([into])
        assert report.exit_code == 0, report.failed
        assert list(store.verify()) == []
    again = bench.source.requests.entries("GET", BLOB)[1]
    assert again.headers["range"] == "bytes=3000-"
    assert bench.moved() == bench.planned()


def test_the_tries_of_a_blob_are_counted(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(100), path=BLOB))
    report = bench.copy(
        [bench.root("a/one", bench.image("a/one", LAYER))], persistence=Persistence(tries=4, backoff=0.001)
    )
    assert report.exit_code == 4
    assert bench.source.requests.count("GET", BLOB) == 4
    assert bench.moved() == bench.planned() - len(LAYER)


def test_an_upload_that_breaks_twice_goes_in_chunks(bench: Bench) -> None:
    bench.target.faults.add(Fault(CutUpload(1000), method="PUT", path="*/blobs/uploads/*", count=2))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER))], jobs=1)
    assert report.exit_code == 0, report.failed
    assert bench.sent("PATCH", "*", status=202)
    assert bench.moved() == bench.planned()


def test_the_bytes_that_went_over_the_wire_are_counted_with_the_repeated_ones(bench: Bench) -> None:
    bench.target.faults.add(Fault(CutUpload(3000), method="PUT", path="*/blobs/uploads/*", count=1))
    report = bench.copy([bench.root("a/one", bench.image("a/one", LAYER))], jobs=1)
    config = bench.source.holdings.manifest("a/one", "v1").children()[0].size
    assert report.bytes_transferred == len(LAYER) + config + len(LAYER)
    assert bench.moved() == bench.planned() == len(LAYER) + config


def test_a_manifest_that_is_refused_for_a_moment_is_put_again(bench: Bench) -> None:
    bench.target.faults.add(Fault(Refuse(503, retry_after="0"), method="PUT", path="*/manifests/*", count=1))
    assert bench.copy([bench.root("a/one", bench.image("a/one", LAYER))]).exit_code == 0


def test_a_root_that_is_not_at_the_source_is_missing(bench: Bench) -> None:
    image = bench.image("a/one", LAYER)
    bench.source.holdings.repository("a/one").manifests.clear()
    report = bench.copy([bench.root("a/one", image), bench.root("a/two", bench.image("a/two", b"there"))])
    assert bench.outcomes() == {"a/one:v1": "failed", "a/two:v1": "done"}
    assert report.exit_code == 4


def test_a_referrer_that_cannot_be_had_keeps_its_subject_from_being_tagged(bench: Bench) -> None:
    image = bench.image("a/one", b"layer")
    signature = bench.image("a/one", LAYER, tag=None, subject=image.descriptor.to_json(), config="signature")
    bench.source.faults.add(Fault(Refuse(404), path=BLOB))
    report = bench.copy([bench.root("a/one", image, referrers=(Referrer(signature.descriptor),))])
    assert report.exit_code == 4
    assert bench.tag("a/one") is None


def test_what_refers_to_nothing_of_its_root_is_not_sent_along(bench: Bench) -> None:
    index = bench.multi("a/one")
    other = bench.image("a/one", LAYER, tag=None, config="other")
    stray = bench.image("a/one", LAYER, tag=None, subject=other.descriptor.to_json(), config="stray")
    below = bench.image("a/one", tag=None, subject=index.children()[0].to_json(), config="signature")
    above = bench.image("a/one", tag=None, subject=below.descriptor.to_json(), config="signature of a signature")
    for manifest in (other, stray):
        report = bench.copy([bench.root("a/one", index, referrers=(Referrer(manifest.descriptor),))])
        assert (report.exit_code, bench.sent("PUT", "*")) == (3, [])
        assert f"{manifest.descriptor.digest} is locked as its referrer" in report.failed[0].error
    referrers = (Referrer(above.descriptor), Referrer(below.descriptor))
    assert bench.copy([bench.root("a/one", index, referrers=referrers)]).exit_code == 0


def test_what_was_judged_as_a_chart_must_be_one_and_no_image_may(bench: Bench) -> None:
    image = bench.image("a/one", LAYER)
    for is_chart, exit_code in ((True, 3), (False, 0), (None, 0)):
        assert bench.copy([bench.root("a/one", image, is_chart=is_chart)]).exit_code == exit_code
        assert (bench.tag("a/one") is None) == (exit_code == 3)


def test_what_failed_before_is_counted_in_the_report(bench: Bench) -> None:
    report = bench.copy([], concluded=[Failure("x", "content", "wrong", exit_code=3)])
    assert (report.artifacts_total, report.exit_code) == (1, 3)


def test_cancelling_ends_the_run_and_the_next_one_completes_it(bench: Bench) -> None:
    bench.source.faults.add(Fault(SlowBody(chunk=200, seconds=0.02), path=BLOB))
    root, cancel = bench.root("a/one", bench.image("a/one", LAYER)), threading.Event()

    def stop_at_the_first_byte(event: Event) -> None:
        if isinstance(event, BytesMoved):
            cancel.set()

    with pytest.raises(InterruptError):
        bench.copy([root], cancel=cancel, listener=stop_at_the_first_byte)
    assert bench.tag("a/one") is None
    bench.source.faults.clear()
    assert bench.copy([root]).artifacts_done == 1


def test_a_run_that_was_cancelled_before_it_began_asks_nobody(bench: Bench) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InterruptError):
        bench.copy([bench.root("a/one", bench.image("a/one", LAYER))], cancel=cancel)
    assert bench.source.requests.count() == bench.target.requests.count() == 0


def test_a_run_that_ends_with_an_error_does_not_cancel_its_caller(bench: Bench, tmp_path: Path) -> None:
    cancel = threading.Event()
    root = bench.root("a/one", bench.image("a/one", LAYER))
    with Store.open(tmp_path / "store", create=True):
        pass
    with Store.open(tmp_path / "store", read_only=True) as store:
        into = replace(root, target=store.repository("host.example/a/one"))
        with pytest.raises(StoreError):
            bench.copy([into], cancel=cancel)
    assert not cancel.is_set()


def test_one_platform_at_a_target_without_sparse_indexes_takes_the_tag_itself(bench: Bench) -> None:
    index = bench.multi("a/one")
    report = bench.copy([bench.root("a/one", index, platforms=AMD64)])
    assert report.exit_code == 0
    assert bench.tag("a/one") == index.children()[0].digest
    assert report.not_addressable == [f"{bench.target.host}/a/one@{index.descriptor.digest}"]


def test_what_attests_to_the_one_platform_does_not_keep_it_from_the_tag(bench: Bench) -> None:
    amd64 = bench.image("a/one", b"amd64", tag=None, config="amd64")
    arm64 = bench.image("a/one", b"arm64", tag=None, config="arm64")
    attestation = bench.image("a/one", b"provenance", tag=None, config="attestation")
    index = bench.index("a/one", (amd64, AMD64_JSON), (arm64, ARM64_JSON), (attestation, UNKNOWN), tag=None)
    document = json.loads(index.raw)
    document["manifests"][2]["annotations"] = {"vnd.docker.reference.digest": str(amd64.descriptor.digest)}
    index = bench.source.holdings.put_manifest("a/one", canonical_json(document), tag="v1")
    assert bench.copy([bench.root("a/one", index, platforms=AMD64)]).exit_code == 0
    assert bench.tag("a/one") == amd64.descriptor.digest
    assert attestation.descriptor.digest in bench.target.holdings.repository("a/one").manifests


def test_the_one_platform_under_the_tag_is_up_to_date_the_next_time(bench: Bench) -> None:
    index = bench.multi("a/one")
    known = (index.children()[0].digest, index.descriptor.digest)
    root = bench.root("a/one", index, platforms=AMD64, manifests=known)
    first = bench.copy([root])
    bench.source.requests.clear()
    second = bench.copy([root])
    assert (second.artifacts_skipped, second.not_addressable) == (1, first.not_addressable)
    assert bench.source.requests.count() == 0


def test_what_the_target_knows_of_a_loss_is_asked_of_it(bench: Bench, tmp_path: Path) -> None:
    image = bench.image("a/one", LAYER)
    root = bench.root("a/one", image)
    with Store.open(tmp_path / "store", create=True) as store:
        into = replace(
            root,
            target=store.repository("host.example/a/one"),
            is_intact=lambda: store.size(DIGEST) is not None,
        )
        bench.copy([into])
        assert bench.copy([into]).artifacts_skipped == 1
        store.blob_path(DIGEST).unlink()
        assert bench.copy([into]).artifacts_done == 1
        assert list(store.verify()) == []


@pytest.mark.parametrize("method", ["open_blob", "manifest"])
def test_a_source_on_a_failing_disk_fails_what_cannot_be_read_and_nothing_else(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    roots = [bench.root(name, bench.image(name, name.encode())) for name in ("a/bad", "a/good")]
    with Store.open(tmp_path / "store", create=True) as store:
        names = ("host.example/a/bad", "host.example/a/good")
        bench.copy([replace(root, target=store.repository(n)) for root, n in zip(roots, names, strict=True)])
        usual = getattr(LayoutRepository, method)

        def broken(self: LayoutRepository, *args: object) -> object:
            if self.name == names[0]:
                raise StoreError("cannot read it: Input/output error", artifact="file", hint="check the disk")
            return usual(self, *args)

        monkeypatch.setattr(LayoutRepository, method, broken)
        report = bench.copy([replace(root, source=store.repository(n)) for root, n in zip(roots, names, strict=True)])
    assert (report.artifacts_done, report.exit_code, report.failed[0].hint) == (1, 4, "check the disk")


def test_a_target_with_sparse_indexes_keeps_the_index(bench: Bench) -> None:
    bench.renew_target(Features(sparse_indexes=True))
    index = bench.multi("a/one")
    report = bench.copy([bench.root("a/one", index, platforms=AMD64)])
    assert (report.not_addressable, bench.tag("a/one")) == ([], index.descriptor.digest)


def _three(bench: Bench, name: str) -> Manifest:
    platforms = [{"os": "linux", "architecture": arch} for arch in ("amd64", "arm64", "s390x")]
    children = [
        (bench.image(name, str(platform).encode(), tag=None, config=str(platform)), platform) for platform in platforms
    ]
    return bench.index(name, *children)


def test_several_platforms_at_a_target_without_sparse_indexes_end_the_run(bench: Bench) -> None:
    index = _three(bench, "a/one")
    two = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
    with pytest.raises(SparseIndexRefusedError) as caught:
        bench.copy([bench.root("a/one", index, platforms=two)])
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert bench.tag("a/one") is None


def test_what_is_pulled_by_the_digest_of_its_index_has_no_fallback(bench: Bench) -> None:
    index = bench.multi("a/one")
    root = bench.root("a/one", index, tags=(by_digest_tag(index.descriptor.digest),), platforms=AMD64)
    with pytest.raises(SparseIndexRefusedError):
        bench.copy([root])
