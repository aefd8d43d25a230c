"""A file on a web server, seen as a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import MissingError
from mirror.http import HttpClient
from mirror.oci.artifact import wrap_file
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.remote import UrlRepository

if TYPE_CHECKING:
    from typing import Any

    from mirror.oci.artifact import WrappedArtifact
    from tests.unit.mirror.conftest import Web

DATA = b"a kernel" * 1000


@pytest.fixture
def file(web: Web) -> Any:
    web.answer = lambda _asked: (200, {}, DATA)
    wrapped = wrap_file(web.url("/os/kernel?x=1"), Digest.of(DATA), len(DATA))
    with HttpClient() as client:
        yield UrlRepository(web.url("/os/kernel?x=1"), wrapped.manifest, wrapped.blobs, client), wrapped


def test_a_file_has_one_manifest_and_reads_its_layer_from_the_url(
    file: tuple[UrlRepository, WrappedArtifact], web: Web
) -> None:
    repository, wrapped = file
    assert repository.name == web.url("/os/kernel")
    assert repository.resolve("any") == wrapped.manifest.descriptor
    assert repository.manifest(wrapped.manifest.descriptor) is wrapped.manifest
    with repository.open_blob(wrapped.layer) as reader:
        assert reader.read() == DATA
    with repository.open_blob(wrapped.layer, 8) as reader:
        assert reader.read() == DATA[8:]
    assert repository.open_blob(wrapped.layer, len(DATA)).read() == b""
    assert web.lines == ["GET /os/kernel?x=1"] * 2


def test_the_other_blobs_cost_no_request(file: tuple[UrlRepository, WrappedArtifact], web: Web) -> None:
    repository, wrapped = file
    config = wrapped.manifest.children()[0]
    assert repository.open_blob(config).read() == b"{}"
    assert repository.open_blob(config, 1).read() == b"}"
    assert repository.has(config)
    assert web.asked == []
    assert (repository.tags(), repository.referrers(config.digest)) == ([], [])


def test_what_it_does_not_name_is_missing(file: tuple[UrlRepository, WrappedArtifact]) -> None:
    repository, _ = file
    other = Descriptor("application/octet-stream", Digest.of(b"other"), 5)
    assert not repository.has(other)
    with pytest.raises(MissingError):
        repository.open_blob(other)
    with pytest.raises(MissingError):
        repository.manifest(other)


def test_a_file_that_was_replaced_while_it_is_read_is_sent_whole(
    file: tuple[UrlRepository, WrappedArtifact], web: Web
) -> None:
    repository, wrapped = file
    web.answer = lambda _asked: (200, {"ETag": '"first"'}, DATA)
    repository.open_blob(wrapped.layer).close()
    repository.open_blob(wrapped.layer, 8).close()
    web.answer = lambda _asked: (200, {"ETag": 'W/"weak"'}, DATA)
    repository.open_blob(wrapped.layer).close()
    repository.open_blob(wrapped.layer, 8).close()
    assert [asked.headers.get("If-Range") for asked in web.asked] == [None, '"first"', None, None]
