"""Every kind of content: pushed, listed, read, referred to, deleted (end-3, 7, 8, 9, 10, 12)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.content import KINDS, SBOM, SIGNATURE, Content, Part, content_of
from tests.conformance.driver import ACCEPT, IMAGE, INDEX, Answer, Repository, digest_of, made_up

LIMIT = 4 * 1024 * 1024  # what every registry should take, in bytes
every_kind = pytest.mark.parametrize("kind", KINDS)
both = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def pushed(answer: Answer, repository: Repository, part: Part) -> Answer:
    """Hold the answer to a manifest that was pushed."""
    repository.registry.expect(answer, 201)
    assert repository.registry.ask("GET", answer.location, Accept=ACCEPT).body == part.raw
    if repository.registry.strict:
        assert answer.headers["Docker-Content-Digest"] == part.digest
    subject = part.document.get("subject")
    if subject and (repository.registry.strict or answer.headers["OCI-Subject"]):
        assert answer.headers["OCI-Subject"] == subject["digest"]
    elif not subject:
        assert answer.headers["OCI-Subject"] is None
    return answer


def push_all(repository: Repository, content: Content) -> None:
    for data in content.blobs.values():
        repository.push(data, content.algorithm)
    for part in content.manifests:
        pushed(repository.put(part.raw, part.digest, part.kind), repository, part)


def expected_referrers(content: Content) -> dict[str, list[dict[str, Any]]]:
    """What the specification says of each subject's referrers."""
    found: dict[str, list[dict[str, Any]]] = {}
    for part in content.manifests:
        document = part.document
        if "subject" not in document:
            continue
        kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
        descriptor = part.descriptor(artifactType=kind)
        if "annotations" in document:
            descriptor["annotations"] = document["annotations"]
        found.setdefault(document["subject"]["digest"], []).append(descriptor)
    return found


def by_digest(descriptors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(descriptors, key=lambda descriptor: descriptor["digest"])


@both
@every_kind
def test_content_lives_and_goes(repository: Repository, kind: str, algorithm: str) -> None:
    content = content_of(kind, algorithm)
    push_all(repository, content)
    assert repository.tags() == []
    root = content.root
    if algorithm == "sha256":
        pushed(repository.put(root.raw, "latest", root.kind), repository, root)
    else:
        answer = repository.ask("PUT", f"manifests/{root.digest}?tag=latest", root.raw, Content_Type=root.kind)
        pushed(answer, repository, root)
    assert repository.tags() == ["latest"]
    repository.holds_manifest(root.raw, "latest", root.digest, root.kind)
    for part in content.manifests:
        repository.holds_manifest(part.raw, part.digest, part.digest, part.kind)
    for digest, data in content.blobs.items():
        repository.holds_blob(data, digest)
    referrers = expected_referrers(content)
    for subject, wanted in referrers.items():
        assert by_digest(repository.referrers(subject)) == by_digest(wanted)
    repository.delete_manifest("latest")
    assert repository.tags() == []
    repository.holds_manifest(root.raw, root.digest, root.digest, root.kind)
    for part in reversed(content.manifests):
        repository.delete_manifest(part.digest)
    for subject in referrers:
        assert repository.referrers(subject) == []
    for digest in content.blobs:
        repository.delete_blob(digest)


@both
def test_a_manifest_by_digest_may_bring_its_tags(repository: Repository, algorithm: str) -> None:
    content = content_of("image", algorithm)
    push_all(repository, content)
    root = content.root
    tags = [f"tag-{number:02}" for number in range(10)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = repository.ask("PUT", f"manifests/{root.digest}?{query}", root.raw, Content_Type=root.kind)
    repository.registry.expect(answer, 201)
    if not repository.registry.strict and answer.headers["OCI-Tag"] is None:
        pytest.skip("tag parameters are optional")
    accepted = [tag.strip() for value in answer.headers.get_all("OCI-Tag", []) for tag in value.split(",")]
    assert sorted(accepted) == tags
    assert repository.tags() == tags
    for tag in (tags[0], tags[-1]):
        repository.holds_manifest(root.raw, tag, root.digest, root.kind)


def test_a_tag_parameter_that_is_no_tag_is_refused(repository: Repository) -> None:
    content = content_of("image")
    push_all(repository, content)
    url = f"manifests/{content.root.digest}?tag=good&tag=-bad"
    answer = repository.ask("PUT", url, content.root.raw, Content_Type=content.root.kind)
    repository.registry.expect(answer, 400, refusals=(201,))
    assert repository.tags() == []


@both
def test_a_manifest_of_another_digest_than_it_says_is_refused(repository: Repository, algorithm: str) -> None:
    content = content_of("image", algorithm)
    push_all(repository, content)
    wrong = digest_of(b"another", algorithm)
    answer = repository.registry.expect(repository.put(content.root.raw, wrong, IMAGE), 400)
    assert set(answer.codes) <= {"DIGEST_INVALID", "MANIFEST_INVALID"}
    repository.lacks(f"manifests/{wrong}")


def test_a_tag_moves_to_what_is_pushed_under_it(repository: Repository) -> None:
    for kind in ("image", "index"):
        content = content_of(kind)
        push_all(repository, content)
        pushed(repository.put(content.root.raw, "moving", content.root.kind), repository, content.root)
        repository.holds_manifest(content.root.raw, "moving", content.root.digest, content.root.kind)
    assert repository.tags() == ["moving"]
    repository.delete_manifest(content.root.digest)
    repository.lacks("manifests/moving")
    assert repository.tags() == []


def test_an_image_whose_layer_is_not_here_may_be_refused(repository: Repository) -> None:
    content = Content("incomplete")
    content.image(layers=[content.blob(made_up("absent"), "application/vnd.oci.image.layer.v1.tar", pushed=False)])
    for data in content.blobs.values():
        repository.push(data)
    answer = repository.registry.expect(repository.put(content.root.raw, "incomplete", IMAGE), 400, refusals=(201, 404))
    assert answer.codes == ["MANIFEST_BLOB_UNKNOWN"]
    repository.lacks("manifests/incomplete")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"schemaVersion":1}', b'{"schemaVersion":2,"layers":7}', b"\xff"])
def test_what_is_no_manifest_is_refused(repository: Repository, raw: bytes) -> None:
    answer = repository.registry.expect(repository.put(raw, "broken", IMAGE), 400)
    assert set(answer.codes) <= {"MANIFEST_INVALID", "UNSUPPORTED"}
    repository.lacks("manifests/broken")


def test_a_manifest_of_four_mebibytes_is_taken_and_a_larger_one_is_not(repository: Repository) -> None:
    frame = len(
        Content("frame").manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "x": ""}, INDEX).raw
    )
    for size, status in ((LIMIT, 201), (LIMIT + 1, 413)):
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "x": "x" * (size - frame)}
        part = Content("large").manifest(document, INDEX)
        assert len(part.raw) == size
        answer = repository.put(part.raw, part.digest, INDEX)
        repository.registry.expect(answer, status, refusals=(201, 400) if status == 413 else ())
    assert repository.registry.ask("GET", "/v2/").status == 200


# Listing tags


@pytest.fixture
def tagged(repository: Repository) -> list[str]:
    content = content_of("image")
    push_all(repository, content)
    tags = ["1.0", "1.1", "2.0", "alpha", "beta", "v1"]
    for tag in tags:
        pushed(repository.put(content.root.raw, tag, IMAGE), repository, content.root)
    return tags


@pytest.mark.parametrize("size", range(1, 8))
def test_tags_come_in_pages_of_the_size_that_was_asked_for(
    repository: Repository, tagged: list[str], size: int
) -> None:
    answer = repository.ask("GET", f"tags/list?n={size}")
    assert answer.json()["tags"] == tagged[:size]
    assert (answer.next is not None) == (size < len(tagged))
    assert repository.tags(f"?n={size}") == tagged


def test_no_tags_are_listed_when_none_are_asked_for(repository: Repository, tagged: list[str]) -> None:
    assert tagged
    answer = repository.registry.expect(repository.ask("GET", "tags/list?n=0"), 200, refusals=(400,))
    assert answer.json()["tags"] in ([], None)
    assert answer.next is None


@pytest.mark.parametrize("last", ["1.1", "1.15", "0", "zzz"])
def test_tags_are_listed_behind_the_last_one_even_if_it_does_not_exist(
    repository: Repository, tagged: list[str], last: str
) -> None:
    assert repository.tags(f"?last={last}") == [tag for tag in tagged if tag > last]
    assert repository.tags(f"?n=1&last={last}") == [tag for tag in tagged if tag > last]


# Referrers


def test_referrers_are_filtered_by_their_artifact_type(repository: Repository) -> None:
    content = content_of("artifacts_with_subject")
    push_all(repository, content)
    subject = content.manifests[0].digest
    for kind in (SBOM, SIGNATURE, "application/vnd.example.none"):
        for answer in repository.referrer_pages(subject, f"?artifactType={kind}"):
            if not repository.registry.strict and answer.headers["OCI-Filters-Applied"] is None:
                pytest.skip("filters are optional")
            assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        found = repository.referrers(subject, f"?artifactType={kind}")
        assert [item["artifactType"] for item in found] == ([kind] if kind in (SBOM, SIGNATURE) else [])


def test_an_artifact_type_that_is_absent_is_the_type_of_the_config(repository: Repository) -> None:
    content = Content("typed by config")
    subject = content.image("amd64")
    content.image("arm64", subject=subject.descriptor())
    push_all(repository, content)
    assert [item["artifactType"] for item in repository.referrers(subject.digest)] == [
        "application/vnd.oci.image.config.v1+json"
    ]


def test_referrers_may_be_pushed_before_their_subject(repository: Repository) -> None:
    content = content_of("artifacts_with_subject")
    for data in content.blobs.values():
        repository.push(data)
    subject, *referrers = content.manifests
    for part in (*referrers, subject):
        pushed(repository.put(part.raw, part.digest, part.kind), repository, part)
    assert len(repository.referrers(subject.digest)) == 2
    repository.delete_manifest(referrers[0].digest)
    assert [item["digest"] for item in repository.referrers(subject.digest)] == [referrers[1].digest]


def test_many_large_referrers_come_in_pages(repository: Repository) -> None:
    content = Content("pages")
    subject = content.image()
    for number in range(6):
        content.artifact(SBOM, subject=subject, annotations={"n": str(number), "large": "x" * 1_000_000})
    push_all(repository, content)
    pages = list(repository.referrer_pages(subject.digest))
    assert all(len(page.body) <= LIMIT for page in pages)
    if repository.registry.strict:
        assert len(pages) > 1
    found = [item for page in pages for item in page.json()["manifests"]]
    assert by_digest(found) == by_digest(expected_referrers(content)[subject.digest])


def test_referrers_belong_to_their_repository(repository: Repository, other: Repository) -> None:
    content = content_of("artifacts_with_subject")
    push_all(repository, content)
    assert other.referrers(content.manifests[0].digest) == []
