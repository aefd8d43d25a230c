"""A target that loses something between a blob's arrival and the manifest that names it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from registry_fixtures.exchange import Answer
from registry_fixtures.faults import Fault

if TYPE_CHECKING:
    from registry_fixtures.holdings import Holdings
    from tests.unit.mirror.copying.bench import Bench

LAYER = b"a layer" * 1000
DIGEST = Digest.of(LAYER)
MANIFESTS = "*/manifests/*"


@dataclass(frozen=True)
class Collected:
    """A garbage collection takes something just before a manifest is put."""

    holdings: Holdings
    digest: Digest

    def apply(self, request: Any, handler: Any) -> Any:
        held = self.holdings.repository("a/one")
        held.blobs.discard(self.digest)
        held.manifests.pop(self.digest, None)
        return handler(request)


@dataclass(frozen=True)
class Says:
    """Refuse a manifest in the words of one registry or another."""

    status: int
    errors: tuple[dict[str, Any], ...]

    def apply(self, _request: Any, _handler: Any) -> Any:
        return Answer.of(self.status, json.dumps({"errors": self.errors}).encode())


def test_a_blob_that_was_collected_is_brought_again_and_nothing_else(bench: Bench) -> None:
    image = bench.image("a/one", LAYER, b"another")
    bench.target.faults.add(Fault(Collected(bench.target.holdings, DIGEST), method="PUT", path=MANIFESTS, count=1))
    report = bench.copy([bench.root("a/one", image)])
    assert report.exit_code == 0, report.failed
    assert bench.tag("a/one") == image.descriptor.digest
    assert DIGEST in bench.target.holdings.repository("a/one").blobs
    assert bench.source.requests.count("GET", f"*/blobs/{DIGEST}") == 2
    assert bench.source.requests.count("GET", "*/blobs/*") == 4
    assert report.bytes_transferred == sum(child.size for child in image.children()) + len(LAYER)


def test_a_child_that_was_deleted_is_stored_again(bench: Bench) -> None:
    index = bench.multi("a/one")
    child = index.children()[1].digest
    bench.target.faults.add(
        Fault(Collected(bench.target.holdings, child), method="PUT", path="*/manifests/v1", count=1)
    )
    assert bench.copy([bench.root("a/one", index)]).exit_code == 0
    assert bench.tag("a/one") == index.descriptor.digest
    assert len(bench.sent("PUT", f"*/manifests/{child}")) == 2


def test_what_harbor_says_of_a_deleted_child_is_understood(bench: Bench) -> None:
    index = bench.multi("a/one")
    child = index.children()[0].digest
    gone = {"code": "NOT_FOUND", "message": f"artifact a/one@{child} not found"}
    bench.target.faults.add(Fault(Says(404, (gone,)), method="PUT", path="*/manifests/v1", count=1))
    assert bench.copy([bench.root("a/one", index)]).exit_code == 0
    assert [len(bench.sent("PUT", f"*/manifests/{item.digest}")) for item in index.children()] == [2, 1]


def test_a_target_that_does_not_say_what_it_lacks_is_brought_everything(bench: Bench) -> None:
    image = bench.image("a/one", LAYER)
    untold = {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": {}}
    bench.target.faults.add(Fault(Says(400, (untold,)), method="PUT", path=MANIFESTS, count=1))
    report = bench.copy([bench.root("a/one", image)])
    assert report.exit_code == 0, report.failed
    # Both are there already: asked for, and not sent.
    assert bench.source.requests.count("GET", "*/blobs/*") == 2


@pytest.mark.parametrize("times", [2, None])
def test_a_target_that_says_so_again_is_believed(bench: Bench, times: int | None) -> None:
    image = bench.image("a/one", LAYER)
    lost = {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": str(DIGEST)}
    bench.target.faults.add(Fault(Says(400, (lost,)), method="PUT", path=MANIFESTS, count=times))
    report = bench.copy([bench.root("a/one", image)])
    assert (report.exit_code, len(bench.sent("PUT", MANIFESTS))) == (4, 2)
    assert "garbage collection" in (report.failed[0].hint or "")
    assert bench.tag("a/one") is None


def test_what_was_left_out_on_purpose_is_not_brought(bench: Bench) -> None:
    index = bench.multi("a/one")
    report = bench.copy([bench.root("a/one", index, platforms=(Platform.parse("linux/amd64"),))])
    assert report.exit_code == 0
    assert bench.tag("a/one") == index.children()[0].digest
    assert len(bench.sent("PUT", f"*/manifests/{index.children()[0].digest}")) == 1


def test_a_repository_that_is_not_there_is_no_lost_content(bench: Bench) -> None:
    image = bench.image("a/one", LAYER)
    unknown = {"code": "NAME_UNKNOWN", "message": "The repository with name 'a/one' does not exist"}
    bench.target.faults.add(Fault(Says(404, (unknown,)), method="PUT", path=MANIFESTS))
    report = bench.copy([bench.root("a/one", image)])
    assert (report.exit_code, len(bench.sent("PUT", MANIFESTS))) == (4, 1)
