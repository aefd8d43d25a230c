"""Tags, the catalogue, referrers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    import pytest

BLOB = bytes(range(256)) * 12  # 3,072 bytes, as in conftest
ABSENT = f"sha256:{'0' * 64}"


def test_tags_are_listed_in_order_and_in_pages(client: Any) -> None:
    for tag in ("v10", "v2", "latest", "V1"):
        client.push_image(tag)
    everything = ["V1", "latest", "v10", "v2"]
    assert client.ask("GET", "/v2/test/repo/tags/list").json() == {"name": "test/repo", "tags": everything}
    url, seen = "/v2/test/repo/tags/list?n=3", []
    page = client.ask("GET", url)
    assert page.json()["tags"] == everything[:3]
    while True:
        seen += page.json()["tags"]
        link = page.headers["Link"]
        if link is None:
            break
        match = re.fullmatch(r'<([^>]+)>; rel="next"', link)
        assert match
        page = client.ask("GET", match[1])
    assert seen == everything
    assert client.ask("GET", "/v2/test/repo/tags/list?last=latest").json()["tags"] == ["v10", "v2"]
    assert client.ask("GET", "/v2/test/repo/tags/list?n=1&last=nosuchtag").json()["tags"] == ["v10"]
    none = client.ask("GET", "/v2/test/repo/tags/list?n=0")
    assert (none.status, none.json()["tags"], none.headers["Link"]) == (200, [], None)
    assert client.ask("GET", "/v2/test/repo/tags/list?n=4").headers["Link"] is None
    for bad in ("x", "-1", "1.5", "%D9%A1"):
        assert client.ask("GET", f"/v2/test/repo/tags/list?n={bad}").status == 400


def test_tags_of_an_unknown_repository_are_unknown(client: Any) -> None:
    answer = client.ask("GET", "/v2/no/such/tags/list")
    assert (answer.status, answer.codes) == (404, {"NAME_UNKNOWN"})


def test_the_catalogue_is_listed_in_pages(client: Any) -> None:
    for name in ("b/two", "a/one", "c/three"):
        client.push_image(name=name)
    assert client.ask("GET", "/v2/_catalog").json() == {"repositories": ["a/one", "b/two", "c/three"]}
    page = client.ask("GET", "/v2/_catalog?n=2")
    assert page.json() == {"repositories": ["a/one", "b/two"]}
    assert page.headers["Link"] == '</v2/_catalog?n=2&last=b%2Ftwo>; rel="next"'


def test_nothing_refers_to_an_unknown_subject(client: Any) -> None:
    answer = client.ask("GET", f"/v2/test/repo/referrers/{ABSENT}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI_INDEX)
    assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert client.ask("GET", "/v2/test/repo/referrers/sha256:x").status == 400


def test_referrers_are_listed_and_filtered(client: Any) -> None:
    subject = client.descriptor(b"missing subject", OCI_MANIFEST)
    sbom = client.attach(subject, "application/vnd.test.sbom", made="today")
    signature = client.attach(subject, "application/vnd.test.signature")
    url = f"/v2/test/repo/referrers/{subject['digest']}"
    everything = client.ask("GET", url)
    found = {entry["digest"]: entry for entry in everything.json()["manifests"]}
    assert set(found) == {str(sbom), str(signature)}
    assert found[str(sbom)]["artifactType"] == "application/vnd.test.sbom"
    assert found[str(sbom)]["annotations"] == {"made": "today"}
    assert found[str(sbom)]["mediaType"] == OCI_MANIFEST
    assert "OCI-Filters-Applied" not in everything.headers
    some = client.ask("GET", f"{url}?artifactType=application/vnd.test.sbom")
    assert [entry["digest"] for entry in some.json()["manifests"]] == [str(sbom)]
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    assert client.ask("DELETE", f"/v2/test/repo/manifests/{sbom}").status == 202
    assert [entry["digest"] for entry in client.ask("GET", url).json()["manifests"]] == [str(signature)]


def test_an_image_with_a_subject_refers_with_the_type_of_its_config(client: Any) -> None:
    subject = client.descriptor(b"subject", OCI_MANIFEST)
    client.push_image(subject=subject)
    entries = client.ask("GET", f"/v2/test/repo/referrers/{subject['digest']}").json()["manifests"]
    assert [entry["artifactType"] for entry in entries] == [OCI_CONFIG]


def test_many_referrers_come_in_pages_that_clients_can_read(client: Any) -> None:
    subject = client.descriptor(b"popular", OCI_MANIFEST)
    made = {str(client.attach(subject, "application/x", pad="x" * 1_500_000, number=str(n))) for n in range(4)}
    url, seen = f"/v2/test/repo/referrers/{subject['digest']}?artifactType=application/x", set[str]()
    pages = 0
    while url:
        answer = client.ask("GET", url)
        pages += 1
        seen |= {entry["digest"] for entry in answer.json()["manifests"]}
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        url = (answer.headers["Link"] or "").partition(">")[0].lstrip("<")
    assert seen == made
    assert pages == 2


def test_a_page_of_referrers_reads_no_more_than_is_soon_done(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may push makes 4 MiB of each, of which the list shows a line."""
    repository = site.store.repository("test/repo", trust="pushed")
    subject = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"popular")), "size": 7}
    made = set()
    for number in range(12):
        fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "subject": subject}
        manifest = Manifest.render({**fields, "artifactType": f"a/{number}", "padding": "x" * 4_000_000})
        repository.put_manifest(manifest)
        made.add(str(manifest.descriptor.digest))
    read: list[int] = []
    parse = Manifest.from_bytes
    monkeypatch.setattr(
        Manifest, "from_bytes", lambda raw, *args, **more: read.append(len(raw)) or parse(raw, *args, **more)
    )
    url, seen = f"/v2/test/repo/referrers/{subject['digest']}", list[str]()
    with site.client() as client:
        while url:
            answer = client.ask("GET", url)
            seen += [entry["digest"] for entry in answer.json()["manifests"]]
            assert sum(read) <= 32 * 1024 * 1024
            read.clear()
            url = (answer.headers["Link"] or "").partition(">")[0].lstrip("<")
        assert sorted(seen) == sorted(made)
        assert client.ask("GET", f"/v2/test/repo/referrers/{subject['digest']}?artifactType=a/none").status == 200


def test_nobody_can_push_a_releases_signature_off_the_first_page(site: Any) -> None:
    manifest = site.preload()
    subject = {"mediaType": OCI_MANIFEST, "digest": str(manifest.descriptor.digest), "size": len(manifest.raw)}
    fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "subject": subject}
    released = [Manifest.render({**fields, "artifactType": f"release/{number}"}) for number in range(4)]
    for signature in released:
        site.store.repository("public.ecr.aws/eks/tool", trust="signed").put_manifest(signature)
    wanted = {str(signature.descriptor.digest) for signature in released}
    url, pages = f"/v2/eks/tool/referrers/{subject['digest']}", []
    with site.client() as client:
        pushed = {str(client.attach(subject, "a/b", "eks/tool", pad="x" * 1_500_000, n=str(n))) for n in range(6)}
        while url:
            answer = client.ask("GET", url)
            pages.append([entry["digest"] for entry in answer.json()["manifests"]])
            url = (answer.headers["Link"] or "").partition(">")[0].lstrip("<")
        gone = client.ask("GET", f"/v2/eks/tool/referrers/{subject['digest']}?last={ABSENT}")
    assert set(pages[0][:4]) == wanted
    assert len(pages) > 1
    assert sorted(digest for page in pages for digest in page) == sorted(wanted | pushed)
    assert {entry["digest"] for entry in gone.json()["manifests"]} >= wanted
