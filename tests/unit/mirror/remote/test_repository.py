"""Reading from and writing to a registry."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, RegistryError, TransportError, UsageError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT, OCI_INDEX, OCI_MANIFEST
from mirror.oci.repository import Deletable
from mirror.remote.referrers import fallback_tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mirror.remote import RemoteRegistry, RemoteRepository
    from tests.unit.mirror.conftest import Asked, Web
    from tests.unit.mirror.remote.conftest import FakeRegistry

DATA = bytes(range(256)) * 5000
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


@pytest.fixture
def repository(registry: RemoteRegistry) -> Any:
    return registry.repository("team/app")


def opener() -> Any:
    return io.BytesIO(DATA)


def test_a_repository_is_named_by_host_and_path(repository: RemoteRepository, web: Web) -> None:
    assert repository.name == f"{web.host}/team/app"
    assert isinstance(repository, Deletable)


def test_a_bad_name_or_tag_never_reaches_the_wire(registry: RemoteRegistry, web: Web) -> None:
    with pytest.raises(UsageError):
        registry.repository("Team/../x")
    with pytest.raises(UsageError):
        registry.repository("team/app").resolve("../../_catalog")
    assert web.asked == []


def test_a_manifest_is_put_resolved_and_fetched(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest], registry: RemoteRegistry
) -> None:
    manifest = image()
    repository.put_manifest(manifest, tag="v1")
    found = repository.resolve("v1")
    assert found == manifest.descriptor
    assert repository.manifest(found).raw == manifest.raw
    assert repository.has(found)
    digest = manifest.descriptor.digest
    assert fake.lines == [
        "PUT /v2/team/app/manifests/v1",
        "HEAD /v2/team/app/manifests/v1",
        f"GET /v2/team/app/manifests/{digest}",
        f"HEAD /v2/team/app/manifests/{digest}",
    ]
    assert registry.requests == 4


def test_a_head_without_digest_or_length_falls_back_to_get_and_hashes(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    manifest = image()
    for missing in ("Docker-Content-Digest", "Content-Length", "Content-Type"):
        head = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(manifest.descriptor.digest)}
        head.pop(missing, None)

        def before(asked: Asked, head: Any = head, missing: Any = missing) -> Any:
            if asked.method == "HEAD":
                return 200, {**head, "Content-Length": "0" if missing == "Content-Length" else "5"}, b""
            return 200, {k: v for k, v in head.items() if k != "Content-Length"}, manifest.raw

        fake.before = before
        assert repository.resolve("v1") == manifest.descriptor


def test_a_head_that_is_refused_is_explained_by_a_get(repository: RemoteRepository, fake: FakeRegistry) -> None:
    body = json.dumps({"errors": [{"code": "PROJECTPOLICYVIOLATION", "message": "The image is not signed by cosign."}]})
    fake.before = lambda _asked: (412, {}, body.encode())
    with pytest.raises(RegistryError, match="not signed by cosign") as caught:
        repository.resolve("v1")
    assert (caught.value.status, caught.value.error_code) == (412, "PROJECTPOLICYVIOLATION")
    assert caught.value.hint


def test_what_is_not_there_is_missing(repository: RemoteRepository) -> None:
    with pytest.raises(MissingError, match="no such tag"):
        repository.resolve("v1")
    with pytest.raises(MissingError):
        repository.manifest(BLOB)
    with pytest.raises(MissingError):
        repository.open_blob(BLOB)
    assert not repository.has(BLOB)
    assert not repository.has(replace(BLOB, media_type=""))


def test_a_manifest_of_another_digest_or_size_is_refused(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    manifest = image()
    fake.before = lambda _asked: (200, {"Content-Type": OCI_MANIFEST}, image(x=1).raw)
    with pytest.raises(ContentError, match="should have digest"):
        repository.manifest(manifest.descriptor)
    fake.before = lambda _asked: (200, {"Content-Type": OCI_MANIFEST}, manifest.raw)
    with pytest.raises(ContentError, match="should have 7 bytes"):
        repository.manifest(replace(manifest.descriptor, size=7))
    assert repository.manifest(replace(manifest.descriptor, size=0)).raw == manifest.raw


def test_a_manifest_over_four_mebibytes_is_refused(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    fake.before = lambda _asked: (200, {"Content-Type": OCI_MANIFEST}, b" " * (MANIFEST_LIMIT + 1))
    with pytest.raises(ContentError, match="larger than") as caught:
        repository.manifest(image().descriptor)
    assert "team/app@sha256:" in caught.value.artifact


def test_a_registry_that_alters_a_manifest_is_found_out(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    fake.before = lambda _asked: (201, {"Docker-Content-Digest": str(Digest.of(b"other"))}, b"")
    with pytest.raises(ContentError, match="in place of"):
        repository.put_manifest(image(), tag="v1")


def test_a_sha512_manifest_is_stored_by_digest_before_its_tag(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    raw = image().raw
    manifest = Manifest.from_bytes(raw, expected=Digest.of(raw, "sha512"))
    repository.put_manifest(manifest, tag="v1")
    assert [line.rpartition("/")[2][:7] for line in fake.lines] == ["sha512:", "v1"]


def test_an_immutable_tag_that_points_there_already_is_fine(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    manifest = image()
    repository.put_manifest(manifest, tag="v1")
    body = b'{"errors":[{"code":"PRECONDITION","message":"configured as immutable."}]}'
    fake.before = lambda asked: (412, {}, body) if asked.method == "PUT" else None
    repository.put_manifest(manifest, tag="v1")
    with pytest.raises(RegistryError, match="immutable"):
        repository.put_manifest(image(x=1), tag="v1")


def test_tags_come_sorted_over_all_pages(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    for number in range(7):
        repository.put_manifest(image(), tag=f"v{number}")
    fake.page = 3
    assert repository.tags() == [f"v{number}" for number in range(7)]


def test_tags_of_nothing_are_none(repository: RemoteRepository, fake: FakeRegistry) -> None:
    assert repository.tags() == []
    fake.before = lambda _asked: (200, {}, b'{"name":"team/app","tags":null}')
    assert repository.tags() == []


def test_pages_that_go_in_a_circle_end(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.before = lambda asked: (200, {"Link": f'<{asked.path}>; rel="next"'}, b'{"tags":["a"]}')
    with pytest.raises(ContentError, match="no end"):
        repository.tags()


def test_the_catalog_lists_below_the_prefix_of_the_origin(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], image: Callable[..., Manifest], web: Web
) -> None:
    registry = make_registry(host="public.ecr.aws", origin=f"{web.host}/cache")
    registry.repository("a/b").put_manifest(image(), tag="v1")
    fake.manifests["other/x", "v1"] = (OCI_MANIFEST, b"{}")
    fake.page = 1
    assert registry.repositories() == ["a/b"]
    assert registry.repository("a/b").name == "public.ecr.aws/a/b"
    assert fake.lines[0] == "PUT /v2/cache/a/b/manifests/v1"


def test_ping_tells_a_registry_from_another_server(registry: RemoteRegistry, fake: FakeRegistry) -> None:
    registry.ping()
    fake.before = lambda _asked: (404, {}, b"<html>")
    with pytest.raises(RegistryError, match="no registry"):
        registry.ping()


def test_a_blob_opens_at_an_offset(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.blobs["team/app", str(BLOB.digest)] = DATA
    assert repository.has(BLOB)
    with repository.open_blob(BLOB) as reader:
        assert reader.read() == DATA
    with repository.open_blob(BLOB, 1_000_000) as reader:
        assert reader.read() == DATA[1_000_000:]
    before = len(fake.lines)
    assert repository.open_blob(BLOB, len(DATA)).read() == b""
    assert len(fake.lines) == before


def test_a_new_blob_costs_two_requests_and_a_present_one_one(repository: RemoteRepository, fake: FakeRegistry) -> None:
    upload = repository.begin_blob(BLOB)
    assert upload.offset() == 0
    upload.write(opener)
    assert fake.blobs["team/app", str(BLOB.digest)] == DATA
    put = fake.web.asked[1]
    assert put.headers["Content-Length"] == str(len(DATA))
    assert put.path == f"/upload/0?_state=0%2b%2F&name=team/app&digest={BLOB.digest}"
    assert len(fake.lines) == 2
    assert repository.begin_blob(BLOB) == "present"
    assert len(fake.lines) == 3


def test_a_blob_of_a_sibling_is_mounted_in_one_request(registry: RemoteRegistry, fake: FakeRegistry) -> None:
    fake.blobs["base/os", str(BLOB.digest)] = DATA
    assert registry.repository("team/app").begin_blob(BLOB, mount_from="base/os") == "mounted"
    assert fake.lines == [f"POST /v2/team/app/blobs/uploads/?mount={BLOB.digest}&from=base/os"]


def test_a_refused_mount_becomes_a_check_and_an_upload(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.before = lambda asked: (401, {"WWW-Authenticate": ""}, b"") if "mount=" in asked.path else None
    upload = repository.begin_blob(BLOB, mount_from="secret/os")
    upload.write(opener)
    assert [line.split()[0] for line in fake.lines] == ["POST", "HEAD", "POST", "PUT"]
    assert repository.begin_blob(BLOB, mount_from="secret/os") == "present"


@pytest.mark.parametrize("data", [b"", b"x"])
def test_tiny_blobs_are_uploaded(repository: RemoteRepository, fake: FakeRegistry, data: bytes) -> None:
    descriptor = Descriptor("application/octet-stream", Digest.of(data), len(data))
    repository.begin_blob(descriptor).write(lambda: io.BytesIO(data))
    assert fake.blobs["team/app", str(descriptor.digest)] == data


def test_a_sha512_blob_is_uploaded(repository: RemoteRepository, fake: FakeRegistry) -> None:
    descriptor = replace(BLOB, digest=Digest.of(DATA, "sha512"))
    repository.begin_blob(descriptor).write(opener)
    assert ("team/app", str(descriptor.digest)) in fake.blobs


def test_a_source_with_other_bytes_commits_nothing(repository: RemoteRepository, fake: FakeRegistry) -> None:
    with pytest.raises(ContentError, match="has digest"):
        repository.begin_blob(BLOB).write(lambda: io.BytesIO(DATA[:-1] + b"x"))
    with pytest.raises(TransportError, match="ended after"):
        repository.begin_blob(BLOB).write(lambda: io.BytesIO(DATA[:-1]))
    assert fake.blobs == {}


def test_a_wrong_digest_at_the_registry_is_tried_again(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.before = lambda asked: (400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}') if asked.method == "PUT" else None
    with pytest.raises(RegistryError) as caught:
        repository.begin_blob(BLOB).write(opener)
    assert caught.value.retryable


def test_a_lost_session_is_retryable_and_the_next_try_begins_anew(
    repository: RemoteRepository, fake: FakeRegistry
) -> None:
    lost = b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'
    fake.before = lambda asked: (404, {}, lost) if asked.method == "PUT" else None
    upload = repository.begin_blob(BLOB)
    with pytest.raises(RegistryError) as caught:
        upload.write(opener)
    assert caught.value.retryable
    fake.before = lambda _asked: None
    upload.write(opener)
    assert [line.split()[0] for line in fake.lines] == ["POST", "PUT", "HEAD", "POST", "PUT"]


def test_a_put_whose_answer_was_lost_is_not_sent_again(repository: RemoteRepository, fake: FakeRegistry) -> None:
    def before(asked: Asked) -> Any:
        if asked.method != "PUT":
            return None
        fake.blobs["team/app", str(BLOB.digest)] = asked.body
        return "raw"

    fake.before = before
    upload = repository.begin_blob(BLOB)
    with pytest.raises(TransportError) as caught:
        upload.write(opener)
    assert caught.value.retryable
    upload.write(opener)
    assert [line.split()[0] for line in fake.lines] == ["POST", "PUT", "HEAD"]


def test_a_body_limit_before_the_registry_is_met_with_chunks(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.refuse_large = 600_000
    repository.begin_blob(BLOB).write(opener)
    assert fake.blobs["team/app", str(BLOB.digest)] == DATA
    methods = [line.split()[0] for line in fake.lines]
    assert methods == ["POST", "PUT", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_chunk_that_was_taken_is_not_yet_a_blob(
    repository: RemoteRepository, fake: FakeRegistry, status: int
) -> None:
    fake.refuse_large = 600_000
    fake.before = lambda asked: (
        (status, *fake.admitted(asked)[1:]) if asked.method == "PATCH" and len(asked.body) <= 600_000 else None
    )
    repository.begin_blob(BLOB).write(opener)
    assert fake.blobs["team/app", str(BLOB.digest)] == DATA
    assert fake.lines[-1].startswith("PUT ")


def test_a_registry_does_not_decide_how_much_is_held_in_memory(
    repository: RemoteRepository, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.remote.chunking._CHUNK", 100_000)
    monkeypatch.setattr("mirror.remote.chunking._LARGEST_CHUNK", 400_000)
    fake.refuse_large = 500_000

    def before(asked: Asked) -> Any:
        if asked.method != "POST":
            return None
        status, head, body = fake.admitted(asked)
        return status, {**head, "OCI-Chunk-Min-Length": "9" * 18}, body

    fake.before = before
    repository.begin_blob(BLOB).write(opener)
    assert {len(asked.body) for asked in fake.web.asked if asked.method == "PATCH"} == {400_000, len(DATA) % 400_000}


def test_a_second_broken_put_is_met_with_chunks(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.before = lambda asked: "raw" if asked.method == "PUT" and len(asked.body) > 0 else None
    upload = repository.begin_blob(BLOB)
    for _ in range(2):
        with pytest.raises(TransportError):
            upload.write(opener)
    upload.write(opener)
    assert fake.blobs["team/app", str(BLOB.digest)] == DATA
    assert [line.split()[0] for line in fake.lines][-3:] == ["POST", "PATCH", "PUT"]


def test_a_failing_source_does_not_count_against_the_registry(repository: RemoteRepository, fake: FakeRegistry) -> None:
    upload = repository.begin_blob(BLOB)
    for _ in range(3):
        with pytest.raises(TransportError):
            upload.write(lambda: io.BytesIO(DATA[:100]))
    upload.write(opener)
    assert "PATCH" not in " ".join(fake.lines)


def test_quota_is_refused_for_good_with_a_hint(repository: RemoteRepository, fake: FakeRegistry) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"will exceed the configured upper limit of 97.7 KiB."}]}'
    fake.before = lambda asked: (403, {}, body) if asked.method == "PUT" else None
    with pytest.raises(RegistryError, match="upper limit") as caught:
        repository.begin_blob(BLOB).write(opener)
    assert (caught.value.status, caught.value.retryable) == (403, False)
    assert "quota" in caught.value.hint


def test_an_upload_without_a_location_is_an_error(repository: RemoteRepository, fake: FakeRegistry) -> None:
    fake.before = lambda asked: (202, {}, b"") if asked.method == "POST" else None
    with pytest.raises(RegistryError, match="without saying where"):
        repository.begin_blob(BLOB)


def test_cancelling_an_upload_asks_nothing(repository: RemoteRepository, fake: FakeRegistry) -> None:
    repository.begin_blob(BLOB).cancel()
    assert len(fake.lines) == 1


def test_referrers_come_from_the_api(repository: RemoteRepository, image: Callable[..., Manifest]) -> None:
    subject = image()
    signature = image(subject, artifactType="application/vnd.test.signature")
    repository.put_manifest(subject, tag="v1")
    repository.put_manifest(signature)
    found = repository.referrers(subject.descriptor.digest)
    assert [(item.digest, item.artifact_type) for item in found] == [
        (signature.descriptor.digest, "application/vnd.test.signature")
    ]
    assert repository.referrers(Digest.of(b"nothing")) == []


def test_without_the_api_the_fallback_tag_is_kept_and_merged(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    fake.referrers_api = False
    subject = image()
    repository.put_manifest(subject, tag="v1")
    digest = subject.descriptor.digest
    assert repository.referrers(digest) == []
    signatures = [image(subject, artifactType=f"application/vnd.test.{n}", annotations={"n": str(n)}) for n in range(6)]
    threads = [threading.Thread(target=repository.put_manifest, args=(item,)) for item in signatures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = repository.referrers(digest)
    assert {item.digest for item in found} == {item.descriptor.digest for item in signatures}
    assert {item.annotations["n"] for item in found} == set("012345")
    assert fake.manifests["team/app", fallback_tag(digest)][0] == OCI_INDEX
    repository.put_manifest(signatures[0])
    assert len(repository.referrers(digest)) == 6
    repository.delete_manifest(signatures[0].descriptor.digest)
    assert len(repository.referrers(digest)) == 5


def test_a_registry_without_the_api_is_asked_for_it_once_a_repository(
    registry: RemoteRegistry, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    fake.referrers_api = False
    subject = image()
    signature = image(subject, artifactType="application/vnd.test.signature")
    for name in ("team/app", "team/other"):
        repository = registry.repository(name)
        repository.put_manifest(subject, tag="v1")
        repository.put_manifest(signature)
        for digest in (subject.descriptor.digest, signature.descriptor.digest, subject.descriptor.digest):
            found = [item.digest for item in repository.referrers(digest)]
            assert found == ([signature.descriptor.digest] if digest == subject.descriptor.digest else [])
    assert sum("/referrers/" in line for line in fake.lines) == 2


@pytest.mark.parametrize("code", ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])
def test_that_a_repository_or_a_subject_is_unknown_says_nothing_of_the_api(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest], code: str
) -> None:
    subject = image()
    body = json.dumps({"errors": [{"code": code}]}).encode()
    fake.before = lambda asked: (404, {}, body) if "/referrers/" in asked.path else None
    assert repository.referrers(subject.descriptor.digest) == []
    fake.before = lambda _: None
    repository.put_manifest(subject, tag="v1")
    repository.put_manifest(image(subject))
    assert len(repository.referrers(subject.descriptor.digest)) == 1


def test_a_list_of_referrers_that_breaks_off_is_not_taken_for_no_list(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    subject = image()
    page = json.dumps({"manifests": [image(subject).descriptor.to_json()]}).encode()
    path = f"/v2/team/app/referrers/{subject.descriptor.digest}"
    pages = iter([(200, {"Content-Type": OCI_INDEX, "Link": f'<{path}?last=1>; rel="next"'}, page), (404, {}, b"")])
    fake.before = lambda asked: next(pages) if "/referrers/" in asked.path else None
    with pytest.raises(MissingError):
        repository.referrers(subject.descriptor.digest)


def test_an_image_under_the_fallback_tag_is_never_overwritten(
    repository: RemoteRepository, fake: FakeRegistry, image: Callable[..., Manifest]
) -> None:
    fake.referrers_api = False
    subject = image()
    repository.put_manifest(image(y=1), tag=fallback_tag(subject.descriptor.digest))
    with pytest.raises(ContentError, match="reserved"):
        repository.put_manifest(image(subject))


def test_a_manifest_is_deleted_with_its_tags_and_a_tag_alone(
    repository: RemoteRepository, image: Callable[..., Manifest]
) -> None:
    one, other = image(n=1), image(n=2)
    for manifest, tags in ((one, ("a", "b")), (other, ("c", "d"))):
        for tag in tags:
            repository.put_manifest(manifest, tag=tag)
    repository.delete_manifest(one.descriptor.digest)
    repository.delete_tag("c")
    assert repository.tags() == ["d"]
    assert repository.has(other.descriptor)
    with pytest.raises(MissingError):
        repository.delete_tag("c")


def test_a_registry_that_cannot_delete_tags_says_so(repository: RemoteRepository, fake: FakeRegistry) -> None:
    body = b'{"errors":[{"code":"UNSUPPORTED","message":"unsupported digest v1"}]}'
    fake.before = lambda _asked: (400, {}, body)
    with pytest.raises(RegistryError, match="unsupported digest"):
        repository.delete_tag("v1")


def test_errors_in_html_braces_or_nothing_are_still_told(repository: RemoteRepository, fake: FakeRegistry) -> None:
    for body in (b"<html><h1>502 Bad Gateway</h1></html>", b"{}", b"", b"[]", b'{"errors":null}', b"\xff\xfe"):
        fake.before = lambda _asked, body=body: (502, {"Content-Type": "text/html", "X-Request-Id": "r-1"}, body)
        with pytest.raises(RegistryError, match="502 Bad Gateway") as caught:
            repository.tags()
        assert caught.value.retryable
        assert "html" not in str(caught.value)
        assert "r-1" in caught.value.hint


def test_a_server_cannot_write_to_the_terminal(repository: RemoteRepository, fake: FakeRegistry) -> None:
    body = json.dumps({"errors": [{"code": "X\x1b[2J", "message": "\x1b]0;evil\x07 text" + "y" * 5000}]})
    fake.before = lambda _asked: (400, {}, body.encode())
    with pytest.raises(RegistryError) as caught:
        repository.tags()
    assert "\x1b" not in f"{caught.value}{caught.value.error_code}"
    assert len(str(caught.value)) < 700


def test_a_link_or_location_to_another_host_carries_no_credentials(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], make_web: Callable[..., Web]
) -> None:
    fake.auth = "basic"
    other = make_web()
    other.answer = lambda asked: (
        201 if asked.method == "PUT" else 200,
        {},
        b'{"tags":["b"]}'[: 0 if asked.body else 99],
    )
    repository = make_registry(user="robot").repository("team/app")

    def before(asked: Asked) -> Any:
        if "tags/list" in asked.path and asked.headers.get("Authorization"):
            return 200, {"Link": f'<{other.url("/next")}>; rel="next"'}, b'{"tags":["a"]}'
        if asked.method == "POST" and asked.headers.get("Authorization"):
            return 202, {"Location": other.url("/put?x=1")}, b""
        return None

    fake.before = before
    assert repository.tags() == ["a", "b"]
    repository.begin_blob(BLOB).write(opener)
    assert other.lines == ["GET /next", f"PUT /put?x=1&digest={BLOB.digest}"]
    assert not any(asked.headers.get("Authorization") for asked in other.asked)
