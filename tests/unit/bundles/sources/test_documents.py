from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError, ContentError, MissingError, TransportError, UsageError, VerificationError
from bundles.belief import Belief
from bundles.lock import Lock, LockedSource
from bundles.selection import Selection
from bundles.sources import read_source
from mirror.http import HttpClient, Transport
from tests.unit.bundles.signed_documents import BY_KEY

from .documents import SHA, bundles, eksd, package_bundle, release_index

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

    from .conftest import Site

EKSD = "/distro.eks.amazonaws.com/kubernetes-1-33/kubernetes-1-33-eks-12.yaml"


@pytest.mark.parametrize(
    ("document", "kind", "name", "number"),
    [
        (bundles(), "Bundles", "bundles-7", 7),
        (eksd(), "Release", "kubernetes-1-33-eks-12", 12),
        (package_bundle(), "PackageBundle", "v1-33-120", None),
        (release_index(), "Release", "eks-anywhere", None),
    ],
)
def test_a_document_on_disk_says_what_it_is(
    document: bytes, kind: str, name: str, number: int | None, tmp_path: Path, context: SourceContext
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_bytes(document)

    loaded = read_source(str(path), replace(context, follow=False))

    assert (loaded.kind, loaded.name, loaded.number) == (kind, name, number)
    assert loaded.documents[0].url == str(path)
    assert loaded.documents[0].verified.document.raw == document
    assert loaded.contents.artifacts


def test_a_document_is_followed_when_asked(tmp_path: Path, context: SourceContext, site: Site) -> None:
    path = tmp_path / "bundles.yaml"
    path.write_bytes(bundles())
    site.files[EKSD] = eksd()

    followed = read_source(str(path), context)
    alone = read_source(str(path), replace(context, follow=False))

    assert [len(loaded.documents) for loaded in (followed, alone)] == [2, 1]
    assert {a.followed for a in followed.contents.artifacts if a.document} == {True}
    assert {a.followed for a in alone.contents.artifacts if a.document} == {False}


def test_a_document_that_two_others_name_is_fetched_once_and_held_against_both(
    tmp_path: Path, context: SourceContext, site: Site
) -> None:
    path = tmp_path / "bundles.yaml"
    twice = bundles().decode()
    second = twice.partition("versionsBundles:\n")[2]
    path.write_text(twice + second.replace('"1.33"', '"1.34"'))
    site.files[EKSD] = eksd()

    assert len(read_source(str(path), context).documents) == 2
    assert site.requests == [EKSD]

    path.write_text(twice + second.replace("name: kubernetes-1-33-eks-12", "name: kubernetes-1-33-eks-13"))
    with pytest.raises(VerificationError):
        read_source(str(path), context)


def test_a_document_at_a_url_is_fetched_whatever_its_content_type(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/b.yaml"] = bundles()

    loaded = read_source("https://docs.example/b.yaml", replace(context, follow=False))

    assert loaded.documents[0].url == "https://docs.example/b.yaml"


@pytest.mark.parametrize(("status", "error"), [(404, MissingError), (403, TransportError), (500, TransportError)])
def test_a_refused_document_is_an_error_and_not_a_document(
    status: int, error: type[Exception], context: SourceContext, site: Site
) -> None:
    site.files["/docs.example/b.yaml"] = status

    with pytest.raises(error):
        read_source("https://docs.example/b.yaml", context)


def test_an_error_page_is_no_document(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/b.yaml"] = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"

    with pytest.raises(ContentError):
        read_source("https://docs.example/b.yaml", context)


def test_a_document_beyond_16_mib_is_refused(tmp_path: Path, context: SourceContext) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (16 * 1024 * 1024 + 1))

    with pytest.raises(ContentError, match="larger than"):
        read_source(str(path), context)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, context: SourceContext) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    with pytest.raises(UsageError, match="regular file"):
        read_source(str(path), context)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_configuration_error(tmp_path: Path, context: SourceContext) -> None:
    path = tmp_path / "secret.yaml"
    path.write_bytes(bundles())
    path.chmod(0)

    with pytest.raises(ConfigError):
        read_source(str(path), context)


@pytest.mark.parametrize("belief", [Belief(), BY_KEY])
def test_an_unsigned_document_ends_it_unless_that_is_asked_for(
    belief: Belief, tmp_path: Path, context: SourceContext, site: Site
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_bytes(bundles())

    with pytest.raises(VerificationError, match="is not signed"):
        read_source(str(path), replace(context, belief=belief))

    assert site.requests == []


@pytest.fixture
def lock() -> bytes:
    return Lock(
        sources=(LockedSource("eks-a:v1", "Release", "v1", 1),),
        selection=Selection().to_json(),
        manifests=(),
        artifacts=(),
        blobs={},
    ).to_bytes()


def test_a_lock_is_pinned_already(tmp_path: Path, context: SourceContext, lock: bytes) -> None:
    path = tmp_path / "site.lock.json"
    path.write_bytes(lock)

    loaded = read_source(str(path), context)

    assert loaded.lock is not None
    assert (loaded.kind, loaded.name, loaded.store) == ("Lock", "v1", "")
    assert not loaded.contents.artifacts


def test_a_damaged_or_edited_lock_is_refused(tmp_path: Path, context: SourceContext, lock: bytes) -> None:
    path = tmp_path / "site.lock.json"
    for raw in (lock[:-10], b" " + lock):
        path.write_bytes(raw)

        with pytest.raises(ContentError):
            read_source(str(path), context)


def collection(*sources: str) -> str:
    listed = "".join(f"  - {source!r}\n" for source in sources)
    return (
        f"apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nmetadata: {{name: site}}\nspec:\n  sources:\n{listed}"
    )


def test_a_collection_gives_what_its_sources_give(
    tmp_path: Path, context: SourceContext, site: Site, lock: bytes
) -> None:
    site.files[EKSD] = eksd()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bundles.yaml").write_bytes(bundles())
    (tmp_path / "a.lock.json").write_bytes(lock)
    path = tmp_path / "sub" / "site.yaml"
    path.write_text(collection("bundles.yaml", "../a.lock.json", "image:r.example/x:1", "./bundles.yaml"))

    loaded = read_source(str(path), context)

    assert (loaded.kind, loaded.name) == ("Collection", "site")
    assert [part.kind for part in loaded.parts] == ["Bundles", "Lock", "image"]
    assert [entry.name for entry in loaded.documents] == ["bundles-7", "kubernetes-1-33-eks-12"]
    assert {"r.example/x:1", "public.ecr.aws/eks-distro/etcd:v3"} <= {
        artifact.reference for artifact in loaded.contents.artifacts
    }
    assert loaded.collection is not None


def test_a_collection_at_a_url_names_its_neighbours(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/a/site.yaml"] = collection("sub/b.yaml", "https://docs.example/c.yaml").encode()
    site.files["/docs.example/a/sub/b.yaml"] = bundles()
    site.files["/docs.example/c.yaml"] = eksd()

    loaded = read_source("https://docs.example/a/site.yaml", replace(context, follow=False))

    assert [entry.url for entry in loaded.documents] == [
        "https://docs.example/a/sub/b.yaml",
        "https://docs.example/c.yaml",
    ]


@pytest.mark.parametrize("source", ["store:/srv/store", "archive:/srv/archive"])
def test_a_collection_from_elsewhere_cannot_name_what_is_here(source: str, context: SourceContext, site: Site) -> None:
    site.files["/docs.example/site.yaml"] = collection(source).encode()

    with pytest.raises(ContentError, match="on this machine"):
        read_source("https://docs.example/site.yaml", context)


def test_a_path_in_a_collection_from_elsewhere_stays_there(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/site.yaml"] = collection("/etc/hostname").encode()

    with pytest.raises(MissingError):
        read_source("https://docs.example/site.yaml", context)

    assert site.requests[-1] == "/docs.example/etc/hostname"


def test_a_collection_that_names_itself_is_refused(tmp_path: Path, context: SourceContext) -> None:
    (tmp_path / "a.yaml").write_text(collection("b.yaml"))
    (tmp_path / "b.yaml").write_text(collection("./a.yaml"))

    with pytest.raises(ContentError, match="names itself"):
        read_source(str(tmp_path / "a.yaml"), context)


def test_one_reference_with_two_digests_in_a_collection_is_refused(tmp_path: Path, context: SourceContext) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(collection(f"image:r.example/x:1@{SHA}", f"image:r.example/x:1@{SHA.replace('1', '2')}"))

    with pytest.raises(ContentError, match="two digests"):
        read_source(str(path), context)


def test_s3_is_not_reached_offline(context: SourceContext) -> None:
    with HttpClient(Transport(offline_hosts=frozenset())) as client, pytest.raises(TransportError, match="--offline"):
        read_source("s3://bucket/key.yaml", replace(context, connect=lambda: client, offline=True))


def test_a_path_is_relative_to_the_working_directory(
    tmp_path: Path, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundles.yaml").write_bytes(bundles())
    monkeypatch.chdir(tmp_path)

    assert read_source("bundles.yaml", replace(context, follow=False)).documents[0].url == "bundles.yaml"
    assert Path("bundles.yaml").exists()


def test_a_key_is_never_ignored_for_a_lock(tmp_path: Path, context: SourceContext, lock: bytes) -> None:
    (tmp_path / "a.lock.json").write_bytes(lock)

    with pytest.raises(VerificationError, match=r"is not signed: there is no a\.lock\.json\.sigstore\.json beside it"):
        read_source(str(tmp_path / "a.lock.json"), replace(context, belief=BY_KEY))


def test_a_collection_in_a_collection_gives_what_it_selects(tmp_path: Path, context: SourceContext) -> None:
    inner = collection("image:r.example/a/x:1", "image:r.example/b/y:1")
    (tmp_path / "inner.yaml").write_text(f"{inner}  components: {{exclude: ['*/b/*']}}\n")
    (tmp_path / "outer.yaml").write_text(collection("inner.yaml", "image:r.example/b/z:1"))

    loaded = read_source(str(tmp_path / "outer.yaml"), context)

    assert [item.reference for item in loaded.contents.artifacts] == ["r.example/a/x:1", "r.example/b/z:1"]
    assert [item.reference for item in loaded.contents.excluded] == ["r.example/b/y:1"]


@pytest.mark.parametrize("field", ["platforms: [linux/amd64]", "referrers: false"])
def test_a_collection_in_a_collection_cannot_choose_what_is_chosen_once(
    field: str, tmp_path: Path, context: SourceContext
) -> None:
    (tmp_path / "inner.yaml").write_text(f"{collection('image:r.example/a/x:1')}  {field}\n")
    (tmp_path / "outer.yaml").write_text(collection("inner.yaml"))

    with pytest.raises(UsageError, match="other platforms or referrers"):
        read_source(str(tmp_path / "outer.yaml"), context)

    (tmp_path / "outer.yaml").write_text(f"{collection('inner.yaml')}  {field}\n")
    assert read_source(str(tmp_path / "outer.yaml"), context).contents.artifacts
