"""The lock format (docs/adr/0002-lock-format.md)."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.artifact import Excluded
from bundles.lock import Lock, LockedArtifact, LockedManifest, LockedReferrer, LockedSource
from bundles.selection import Selection
from mirror.oci.artifact import wrap_file
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.platform import Platform

ROOT, LAYER, SIGNATURE = (Digest.of(name) for name in (b"root", b"layer", b"signature"))
TAG = f"sha256-{ROOT.encoded}.sig"


def artifact(reference: str = "public.ecr.aws/a/b:1", **more: object) -> LockedArtifact:
    return LockedArtifact(
        type="image",
        name="b",
        reference=reference,
        digest=ROOT,
        size=12,
        media_type="application/vnd.oci.image.index.v1+json",
        trust="off",
        platforms=(Platform("linux", "arm64", "v8"), Platform("linux", "amd64")),
        components=("b", "a"),
        kube_versions=("1.33",),
        found_in=("x#y",),
        manifests=(ROOT,),
        blobs=(LAYER,),
        referrers=(LockedReferrer(digest=SIGNATURE, media_type="m", tag=TAG, manifests=(SIGNATURE,)),),
        **more,  # type: ignore[arg-type]
    )


def lock(*artifacts: LockedArtifact) -> Lock:
    return Lock(
        sources=(LockedSource("eks-a:v0.24.1", "Bundles", "bundles-122", 122),),
        selection=Selection().to_json(),
        manifests=(
            LockedManifest(kind="Bundles", name="bundles-122", url="https://x/y", digest=LAYER, size=3, trust="off"),
        ),
        artifacts=artifacts or (artifact(),),
        blobs={ROOT: 5, LAYER: 7, SIGNATURE: 2},
        excluded=(Excluded("<placeholder>", "is a placeholder"),),
        weakened=("verification off",),
    )


def test_a_lock_survives_being_written_and_read() -> None:
    raw = lock().to_bytes()
    assert Lock.from_bytes(raw, origin="x").to_bytes() == raw


def test_the_order_in_which_things_were_found_does_not_show() -> None:
    one, two = artifact("public.ecr.aws/a/b:1"), artifact("public.ecr.aws/a/c:1")
    turned = replace(one, components=("a", "b"), platforms=tuple(reversed(one.platforms)))
    assert lock(one, two).to_bytes() == lock(two, turned).to_bytes()


def test_a_lock_is_canonical_json() -> None:
    raw = lock().to_bytes()
    again = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert raw == again


def test_a_digest_without_a_size_is_refused() -> None:
    with pytest.raises(ContentError, match="has no size"):
        replace(lock(), blobs={ROOT: 5}).to_bytes()


def test_one_reference_is_locked_once() -> None:
    with pytest.raises(ContentError, match="twice"):
        lock(artifact(), artifact()).to_bytes()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "Bundle"),
        (("apiVersion",), "bundlectl.dev/v2"),
        (("extra",), 1),
        (("artifacts", 0, "unknown"), 1),
        (("artifacts", 0, "digest"), "sha256:short"),
        (("artifacts", 0, "type"), "tarball"),
        (("artifacts", 0, "size"), -1),
        (("blobs", "not-a-digest"), 1),
        (("blobs", str(ROOT)), 1.5),
    ],
)
def test_what_the_schema_does_not_know_is_refused_and_named(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(lock().to_bytes())
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(ContentError) as caught:
        Lock.from_bytes(canonical_json(document), origin="my.lock")
    assert "my.lock" in str(caught.value)


@pytest.mark.parametrize(
    "alter",
    [
        lambda raw: raw + b"\n",
        lambda raw: raw.replace(b'"size":12', b'"size":12.0'),
        lambda raw: raw.replace(b'{"apiVersion', b'{"kind":"x","apiVersion'),
    ],
)
def test_a_lock_that_is_not_canonical_is_refused(alter: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ContentError, match=r"canonical|whole number"):
        Lock.from_bytes(alter(lock().to_bytes()), origin="x")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_lock_or_a_content_error(raw: bytes) -> None:
    with pytest.raises(ContentError):
        Lock.from_bytes(raw, origin="x")


def test_what_is_left_out_in_two_places_stands_once_so_that_the_bytes_survive_reading() -> None:
    twice = (Excluded("<placeholder>", "a placeholder", "x#a"), Excluded("<placeholder>", "a placeholder", "x#b"))
    raw = replace(lock(), excluded=twice).to_bytes()
    assert len(json.loads(raw)["excluded"]) == 1
    assert Lock.from_bytes(raw, origin="x").to_bytes() == raw


def test_a_platform_that_an_index_states_by_half_does_not_make_a_lock_that_cannot_be_read() -> None:
    raw = lock(replace(artifact(), platforms=(Platform("linux", ""),))).to_bytes()
    assert Lock.from_bytes(raw, origin="x").artifacts[0].platforms == ()


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda found: found["blobs"].append(found["blobs"][0]), "canonical form"),
        (lambda found: found["components"].reverse(), "canonical form"),
        (lambda found: found.update(digest=str(Digest.of(b"another"))), "its own digest"),
        (lambda found: found.update(reference="b"), "names no registry"),
        (lambda found: found.update(type="file", reference="file:///etc/passwd"), "not the URL"),
        (lambda found: found.update(platforms=["linux"]), "platforms"),
        (lambda found: found["referrers"][0].update(digest=str(ROOT)), "its own digest"),  # type: ignore[index]
    ],
)
def test_a_lock_whose_artifact_was_altered_is_refused(alter: Callable[[dict[str, object]], None], told: str) -> None:
    document = json.loads(lock().to_bytes())
    alter(document["artifacts"][0])
    with pytest.raises(ContentError, match=told):
        Lock.from_bytes(canonical_json(document), origin="x")


@pytest.mark.parametrize("subject", [ROOT, SIGNATURE])
@pytest.mark.parametrize("suffix", ["sig", "att", "sbom"])
def test_what_is_attached_to_the_artifact_or_to_a_referrer_keeps_its_tag(subject: Digest, suffix: str) -> None:
    tag = f"sha256-{subject.encoded}.{suffix}"
    referrer = replace(artifact().referrers[0], tag=tag)
    raw = lock(replace(artifact(), referrers=(referrer,))).to_bytes()
    assert Lock.from_bytes(raw, origin="x").artifacts[0].referrers[0].tag == tag


@pytest.mark.parametrize(
    "tag", ["v2", "latest", f"sha256-{ROOT.encoded}", f"sha256-{LAYER.encoded}.sig", f"sha512-{ROOT.encoded}.sig"]
)
def test_a_referrer_with_a_tag_of_any_other_form_is_refused(tag: str) -> None:
    document = json.loads(lock().to_bytes())
    document["artifacts"][0]["referrers"][0]["tag"] = tag
    with pytest.raises(ContentError, match="is no tag of a signature"):
        Lock.from_bytes(canonical_json(document), origin="x")


@pytest.mark.parametrize("url", ["https://h\u2100/x", "https://[/x", "https://[1.2]/x"])
def test_a_url_that_is_none_is_refused_in_files_and_documents(url: str) -> None:
    document = json.loads(lock().to_bytes())
    document["artifacts"][0].update(type="file", reference=url, digest=str(LAYER))
    with pytest.raises(ContentError, match="is not a URL"):
        Lock.from_bytes(canonical_json(document), origin="x")
    document = json.loads(lock().to_bytes())
    document["manifests"][0]["url"] = url
    with pytest.raises(ContentError, match="is not a URL"):
        Lock.from_bytes(canonical_json(document), origin="x")


def file(*manifests: Digest, sha512: str | None = None) -> LockedArtifact:
    url = "https://files.example/tool"
    wrapped = wrap_file(url, LAYER, 7, sha512=sha512)
    return LockedArtifact(
        type="file",
        name="tool",
        reference=url,
        digest=LAYER,
        size=7,
        media_type="application/octet-stream",
        trust="off",
        manifests=manifests or (wrapped.manifest.descriptor.digest,),
        blobs=(LAYER, *wrapped.blobs),
        sha512=sha512,
    )


def lock_of_file(item: LockedArtifact) -> Lock:
    return replace(lock(item), blobs=dict.fromkeys(item.all_digests(), 7))


def test_a_file_travels_in_the_manifest_that_is_made_of_it_and_in_no_other() -> None:
    (own,) = file().manifests
    raw = lock_of_file(file()).to_bytes()
    assert Lock.from_bytes(raw, origin="x").artifacts[0].manifests == (own,)
    for manifests in ((ROOT,), (ROOT, own), (own, ROOT)):
        with pytest.raises(ContentError, match="another manifest"):
            lock_of_file(file(*manifests)).to_bytes()
    document = json.loads(raw)
    document["artifacts"][0]["sha512"] = "0" * 128
    with pytest.raises(ContentError, match="another manifest"):
        Lock.from_bytes(canonical_json(document), origin="x")


def test_a_file_of_two_locks_is_one_file_with_the_sha512_that_either_states() -> None:
    plain, checked = file(), file(sha512="0" * 128)
    for one, other in ((plain, checked), (checked, plain)):
        joined = one.joined(other, {})
        assert (joined.manifests, joined.sha512, joined.size) == (checked.manifests, checked.sha512, 7)
        assert lock_of_file(joined).to_bytes()


def test_a_lock_with_half_of_a_surrogate_pair_is_refused() -> None:
    raw = lock().to_bytes().replace(b'"name":"b"', b'"name":"\\ud800"')
    with pytest.raises(ContentError, match="not JSON"):
        Lock.from_bytes(raw, origin="x")


def test_a_lock_nested_without_end_is_refused() -> None:
    raw = b'{"sources":' + b"[" * 600 + b"]" * 600 + b"}"
    with pytest.raises(ContentError):
        Lock.from_bytes(raw, origin="x")
