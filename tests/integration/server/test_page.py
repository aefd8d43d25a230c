"""The page: what a reader sees of a store, and what a hostile name cannot do to the reader."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from bundlectl.operations.configuring import configure_clusters
from bundlectl.operations.presenting import StoreDescription
from bundles.lock import Lock, LockedManifest, LockedSource
from bundles.plan import Naming
from bundles.selection import Selection
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\u202egpj\x1b[31m"


@pytest.fixture
def told(tmp_path: Path, running: Any) -> Iterator[Any]:
    """A site whose page knows what `bundlectl serve` tells it."""
    with running(tmp_path, describe=StoreDescription) as site:
        yield site


class Elements(HTMLParser):
    """The elements and attributes that a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


ELEMENTS = {
    "a",
    "b",
    "body",
    "button",
    "code",
    "details",
    "div",
    "form",
    "h1",
    "h2",
    "head",
    "html",
    "input",
    "li",
    "meta",
    "p",
    "pre",
    "section",
    "span",
    "style",
    "summary",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
}
ATTRIBUTES = {
    "action",
    "charset",
    "class",
    "content",
    "href",
    "lang",
    "maxlength",
    "method",
    "name",
    "placeholder",
    "title",
    "type",
    "value",
}


def text_of(client: Any, url: str = "/", **headers: str) -> str:
    """A page; whatever is in it, it has none but our own elements and attributes."""
    answer = client.ask("GET", url, **headers)
    assert answer.status == 200
    text: str = answer.body.decode()
    found = Elements(text)
    assert found.names <= ELEMENTS
    assert found.attributes <= ATTRIBUTES
    return text


def test_the_page_shows_what_is_here_and_how_to_use_it(told: Any) -> None:
    with told.client() as client:
        client.push_image()
        text = text_of(client)
        host = f"127.0.0.1:{told.server.port}"
        assert "test/repo" in text
        assert f"helm pull oci://{host}/CHART" in text
        assert f'[host."http://{host}/v2"]' in text
        assert "EKS Anywhere reaches a registry mirror by TLS only" in text
        detail = text_of(client, "/?repository=test/repo")
        assert f"crictl pull {host}/test/repo:v1" in detail
        assert '<span class="trust pushed"' in detail


def test_what_is_to_be_pasted_is_what_registry_config_prints(told: Any) -> None:
    found = {command.title: command.text for command in StoreDescription(told.store).commands("https://site.test:5000")}
    config = configure_clusters(Naming("site.test:5000"), "eks-a")
    assert config.files[0].content.rstrip() in found["EKS Anywhere"]
    assert 'endpoint: "site.test"' in found["EKS Anywhere"]
    assert '[host."https://site.test:5000/v2"]' in found["containerd"]


def test_the_page_allows_itself_nothing_but_its_own_style(told: Any) -> None:
    with told.client() as client:
        client.push_image()
        for url in ("/", "/?repository=test/repo"):
            answer = client.ask("GET", url)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            text = answer.body.decode()
            style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
            assert style
            digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
            assert not re.search(r"<script|<link|<iframe|src=|style=|url\(|@import", text)
            assert not re.search(r"""(href|action)=["'](?!/)""", text)
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_somebody_pushed_cannot_break_out_of_the_page(told: Any) -> None:
    config = json.dumps({"os": HOSTILE, "architecture": "amd64"}).encode()
    with told.client() as client:
        client.push(config)
        client.push(b"layer")
        image = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": client.descriptor(config, OCI_CONFIG),
            "layers": [client.descriptor(b"layer")],
        }
        raw = json.dumps(image).encode()
        assert client.put(raw, "v1").status == 201
        subject = client.descriptor(raw, OCI_MANIFEST)
        client.attach(subject, HOSTILE, title=HOSTILE)
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{**subject, "platform": {"os": HOSTILE, "architecture": HOSTILE}}],
        }
        assert client.put(index, "v2", kind=OCI_INDEX).status == 201
        told.store.put_collection("release", json.dumps({"kind": HOSTILE}).encode(), HOSTILE.encode())
        for url in ("/", "/?repository=test/repo"):
            text = text_of(client, url)
            assert not re.search("[\u202a-\u202e\x00-\x08\x0b-\x1f]", text)
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("host", ["<i>", 'a"onmouseover="x', "evil/../..", "a b", "x" * 300])
def test_a_host_header_that_is_none_is_not_repeated(told: Any, host: str) -> None:
    with told.client() as client:
        text = text_of(client, Host=host)
        assert host not in text
        assert "HOST:PORT" in text


@pytest.mark.parametrize("query", ["q=%3Cscript%3E", "q=%22%3E%3Cscript%3E", "after=%3Cscript%3E", "q=" + "a" * 5000])
def test_a_search_is_not_repeated_as_markup(told: Any, query: str) -> None:
    with told.client() as client:
        client.push_image()
        for url in (f"/?{query}", f"/?repository=test/repo&{query}"):
            assert "test/repo" in text_of(client, url) or "0 repositories" in text_of(client, url)


@pytest.mark.parametrize("name", ["..", "../etc", "A", "<b>", "", "a" * 300])
def test_a_repository_that_cannot_be_or_is_not_there_is_refused(told: Any, name: str) -> None:
    with told.client() as client:
        client.push_image()
        assert client.ask("GET", f"/?repository={quote(name)}").status == 400
        assert client.ask("GET", "/?repository=test/none").status == 404


def test_long_lists_are_paged_and_searched(told: Any) -> None:
    with told.client() as client:
        client.push_image()
    image = told.store.repository("test/repo").resolve("v1")
    manifest = told.store.repository("test/repo").manifest(image)
    with told.store.batch():
        for number in range(250):
            told.store.repository(f"many/r{number:03}").put_manifest(manifest, tag="v1")
            told.store.repository("many/tags").put_manifest(manifest, tag=f"t{number:03}")
    with told.client() as client:
        seen: list[str] = []
        url = "/?q=many/r"
        for _ in range(3):
            text = text_of(client, url)
            seen += re.findall(r"repository=many%2F(r\d+)", text)
            following = re.search(r'href="(/\?after=[^"]+)"', text)
            url = following[1].replace("&amp;", "&") if following else ""
        assert seen == [f"r{number:03}" for number in range(250)]
        assert url == ""
        page = text_of(client, "/?repository=many/tags&after=t199")
        assert re.findall(r"<code>(t\d+)</code>", page) == [f"t{number}" for number in range(200, 250)]
        assert "more tags" not in page
        assert re.findall(r"<code>(t\d+)</code>", text_of(client, "/?repository=many/tags&q=t12")) == [
            f"t{number}" for number in range(120, 130)
        ]


def test_the_page_of_an_empty_store_says_so(told: Any) -> None:
    with told.client() as client:
        assert "The store is empty." in text_of(client)


def test_sizes_and_platforms_are_those_of_what_is_here(told: Any) -> None:
    config = json.dumps({"os": "linux", "architecture": "arm64"}).encode()
    with told.client() as client:
        client.push(config)
        client.push(b"x" * 5000)
        image = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": client.descriptor(config, OCI_CONFIG),
            "layers": [client.descriptor(b"x" * 5000)],
        }
        raw = json.dumps(image).encode()
        assert client.put(raw, "one").status == 201
        absent = client.descriptor(b"absent", OCI_MANIFEST)
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {**client.descriptor(raw, OCI_MANIFEST), "platform": {"os": "linux", "architecture": "arm64"}},
                {**absent, "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        }
        assert client.put(index, "both", kind=OCI_INDEX).status == 201
        text = text_of(client, "/?repository=test/repo")
    assert "linux/arm64" in text
    assert "linux/amd64 (not here)" in text
    image_size = 5000 + len(config) + len(raw)
    assert f"{image_size / 1000:.1f} kB" in text
    assert f"{(image_size + len(json.dumps(index))) / 1000:.1f} kB" in text


def test_who_signed_is_told_in_the_signers_words(told: Any) -> None:
    with told.client() as client:
        digest = client.push_image()
    raw = told.store.repository("test/repo").manifest(told.store.repository("test/repo").resolve("v1")).raw
    bundle = json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "the release key"}},
        }
    ).encode()
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    with told.client() as client:
        client.push(bundle)
        client.push(b"{}")
        referrer = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": client.descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [client.descriptor(bundle, kind)],
            "subject": {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(raw)},
        }
        assert client.put(referrer).status == 201
        text = text_of(client, "/?repository=test/repo")
    assert "signature or attestation (sigstore bundle) by key the release key" in text


def test_what_is_attached_is_shown_with_how_far_it_is_itself_trusted(told: Any) -> None:
    """A release's image, and something beside it that calls itself a signature: anyone who may push may do that."""
    manifest = told.preload()
    subject = {"mediaType": OCI_MANIFEST, "digest": str(manifest.descriptor.digest), "size": len(manifest.raw)}
    with told.client() as client:
        client.attach(subject, "application/vnd.cncf.notary.signature", name="eks/tool")
        text = text_of(client, "/?repository=eks/tool")
    assert re.search(r'class="trust signed"[^<]*>signed<.*class="trust pushed"[^<]*>pushed</span> signature', text)


def test_a_page_costs_no_more_than_it_may_whatever_somebody_pushed(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = told.store
    repository = store.repository("test/repo", trust="pushed")
    with told.client() as client:
        client.push_image()
    image = repository.manifest(repository.resolve("v1"))

    def large(number: int, **more: Any) -> Manifest:
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "artifactType": "x" * 1_000_000}
        return Manifest.render({**document, "annotations": {"n": str(number)}, **more})

    subject = image.descriptor.to_json()
    manifests = [large(number, subject=subject) for number in range(30)]
    platforms = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": str(item.descriptor.digest),
            "size": len(item.raw),
            "platform": {"os": "y" * 3000, "architecture": str(number)},
        }
        for number, item in enumerate(manifests)
    ]
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": platforms})
    with store.batch():
        for item in manifests:
            repository.put_manifest(item)
        for number in range(5):
            repository.put_manifest(index, tag=f"i{number}")
    read: list[int] = []
    parse = Manifest.from_bytes
    monkeypatch.setattr(
        Manifest, "from_bytes", lambda raw, *args, **more: read.append(len(raw)) or parse(raw, *args, **more)
    )
    with told.client() as client:
        text = text_of(client, "/?repository=test/repo")
        assert sum(read) <= 17 * 1024 * 1024
        read.clear()
        assert "too large to look into here" in text
        assert "and 10 more" in text
        assert len(text) < 1_000_000
        text_of(client)
        assert sum(read) == 0


def test_a_collection_that_cannot_be_read_does_not_hide_the_rest(told: Any) -> None:
    with told.client() as client:
        client.push_image()
        assert "collection" in text_of(client)
        folder = told.store.path / "bundlectl" / "collections"
        (folder / "release.json").symlink_to(folder)
        text = text_of(client)
        assert "cannot be read" in text
        assert "test/repo" in text
        (folder / "release.json").unlink()
        assert "cannot be read" not in text_of(client)


def test_a_collection_is_read_again_when_its_signature_changes(told: Any) -> None:
    hint = '{"verificationMaterial":{"publicKey":{"hint":"%s"}}}'
    with told.client() as client:
        for name in ("first key", "other key"):
            told.store.put_collection("release", b'{"blobs":{}}', (hint % name).encode())
            assert name in text_of(client)
        told.store.put_collection("release", b'{"blobs":{}}')
        assert "other key" not in text_of(client)


def test_a_signed_lock_does_not_say_on_the_page_what_was_verified(told: Any) -> None:
    """Its signature may be anybody's; an unsigned lock is what the store wrote down itself."""
    lock = Lock(
        sources=(LockedSource("eks-a:v1", "Release", "v1", 1),),
        selection=Selection().to_json(),
        manifests=(
            LockedManifest(
                kind="Release", name="v1", url="https://a.b/c", digest=Digest.of(b"x"), size=1, trust="signed",
                verified_by="the vendor's key",
            ),
        ),
        artifacts=(),
        blobs={},
    )  # fmt: skip
    with told.client() as client:
        told.store.put_collection("release", lock.to_bytes())
        text = text_of(client).partition("What the trust levels mean")[0]
        assert '<span class="trust signed"' in text
        assert "verified by the vendor's key" in text
        told.store.put_collection("release", lock.to_bytes(), b"{}")
        text = text_of(client).partition("What the trust levels mean")[0]
        assert '<span class="trust declared"' in text
        assert '<span class="trust signed"' not in text
        assert "the vendor" not in text


def test_a_damaged_manifest_spoils_its_line_and_not_the_page(told: Any) -> None:
    with told.client() as client:
        digest = client.push_image()
        told.store.blob_path(digest).write_bytes(b"damaged")
        text = text_of(client, "/?repository=test/repo")
    assert "unreadable, damaged" in text


def test_a_manifest_is_described_without_its_config_where_that_is_too_large(tmp_path: Path) -> None:
    from mirror.server.contents import read_contents  # noqa: PLC0415
    from mirror.server.describing import Allowance  # noqa: PLC0415

    with Store.open(tmp_path / "store", create=True) as store:
        store.put(b"{}")
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": str(store.put(b"{}")), "size": 2},
            "layers": [],
        }
        manifest = Manifest.render(document)
        store.repository("a/b").put_manifest(manifest, tag="v1")
        contents = read_contents(store, "a/b", manifest.descriptor, Allowance())
        assert (contents.kind, contents.platforms, contents.whole) == ("image", (), True)
        gone = replace(manifest.descriptor, size=1)
        assert read_contents(store, "a/b", gone, Allowance()).kind == "unreadable"
