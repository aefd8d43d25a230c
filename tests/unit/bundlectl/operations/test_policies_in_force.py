"""Policies over a whole run: what is refused is refused before anything moves, and nothing can claim its way past."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import BundlectlError, ContentError, UsageError, VerificationError
from bundlectl.events import Notice
from bundlectl.operations import inspect
from bundlectl.operations.verifying import locks_of
from bundlectl.operations.verifying_documents import verify_image, verify_manifest
from bundles.belief import Belief
from bundles.lock import Lock
from bundles.policy_file import parse_policy
from bundles.sources.packages import BundleRepository
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.platform import Platform
from mirror.oci.reference import Reference
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from tests.unit.bundlectl.operations.site import Site
from tests.unit.bundles.documents import PACKAGES
from tests.unit.bundles.signed_documents import BY_KEY, KEY, OTHER_SIGNER, SIGNER, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_fixtures.registry import ServedRegistry
    from signing.policy import Policy

PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
SIGNED_KINDS = ("Bundles", "EksdRelease", "PackageBundle")


@pytest.fixture(scope="module")
def signed_upstream() -> Iterator[Upstream]:
    with Upstream.synthesise(
        sample_documents(), finish=lambda kind, raw: signed(raw) if kind in SIGNED_KINDS else raw
    ) as made:
        yield made


@pytest.fixture
def trusted(signed_upstream: Upstream, registry: ServedRegistry, tmp_path: Path) -> Iterator[Site]:
    with signed_upstream.serve() as served, Site(served, registry, tmp_path) as site:
        yield site


def policy(*rules: str, otherwise: str = "accept") -> Policy:
    text = "\n".join(
        [
            "apiVersion: bundlectl.dev/v1alpha1",
            "kind: Policy",
            "spec:",
            "  identities:",
            f"    site: {{key: 'base64:{KEY.key.base64()}'}}",
            f"    other: {{key: 'base64:{OTHER_SIGNER.public_key.base64()}'}}",
            "  rules:",
            *(f"  - {rule}" for rule in rules),
            f"  otherwise: {otherwise}",
        ]
    )
    keys = {f"base64:{signer.public_key.base64()}": signer.public_key for signer in (SIGNER, OTHER_SIGNER)}
    return parse_policy(text.encode(), origin="policy.yaml", load_key=lambda key: type(KEY)(key, keys[key]))


SIGNED = policy("{match: ['*'], trust: signed}")
DOCUMENTS_BY_OTHER = policy("{match: ['*'], types: [document], signedBy: [other]}")
LOCKS_BY_SITE = policy("{match: ['*'], types: [lock], signedBy: [site]}")


def blobs(site: Site) -> list[Path]:
    return [path for path in (site.store / "blobs").rglob("*") if path.is_file()]


def asked(site: Site) -> int:
    return site.source.requests.count("*", "/v2/*")


@pytest.mark.parametrize("what", [SIGNED, DOCUMENTS_BY_OTHER])
def test_what_documents_alone_decide_is_refused_before_a_registry_is_asked(trusted: Site, what: Policy) -> None:
    with pytest.raises(VerificationError):
        trusted.download("eks-a:latest", belief=BY_KEY, policies=(what,))
    assert asked(trusted) == 0
    assert blobs(trusted) == []
    with pytest.raises(VerificationError):
        trusted.mirror("eks-a:latest", belief=BY_KEY, policies=(what,))
    assert asked(trusted) == 0
    assert trusted.target.requests.count() == 0


def test_what_only_signatures_decide_is_refused_before_anything_is_kept(trusted: Site) -> None:
    with pytest.raises(VerificationError, match="not signed by site"):
        trusted.download("eks-a:latest", belief=BY_KEY, policies=(policy("{match: ['*'], signedBy: [site]}"),))
    assert blobs(trusted) == []


def test_what_a_policy_leaves_out_is_not_asked_for(trusted: Site) -> None:
    lock = trusted.lock(f"image:{PAUSE}", belief=Belief())
    pinned = f"image:{PAUSE.partition(':')[0]}@{lock.artifacts[0].digest}"
    before = asked(trusted)
    made = trusted.lock(pinned, policies=(policy("{match: ['*'], trust: signed, unsigned: leave-out}"),))
    assert made.artifacts == ()
    assert "left out by policy" in made.excluded[0].reason
    assert asked(trusted) == before


def test_a_look_at_a_release_is_held_against_the_policies_too(trusted: Site) -> None:
    for what in (SIGNED, DOCUMENTS_BY_OTHER):
        with trusted.session() as session, pytest.raises(VerificationError):
            inspect(trusted.request("eks-a:latest", belief=BY_KEY, policies=(what,)), session=session)


def test_a_lock_that_a_policy_wants_signed_counts_as_signed_once_it_is(trusted: Site) -> None:
    path = trusted.signed_lock(f"image:{PAUSE}")
    for belief in (Belief(), BY_KEY):
        made = trusted.lock(path, belief=belief, policies=(LOCKS_BY_SITE, SIGNED))
        assert [item.trust for item in made.artifacts] == ["signed"]
    other = trusted.signed_lock(f"image:{PAUSE}", signer=OTHER_SIGNER)
    with pytest.raises(VerificationError, match="not signed by site"):
        trusted.lock(other, belief=Belief(), policies=(LOCKS_BY_SITE,))


def test_a_store_cannot_call_itself_signed(trusted: Site) -> None:
    trusted.download(f"image:{PAUSE}", belief=Belief(), name="mine")
    kept = trusted.store / "bundlectl" / "collections" / "mine.json"
    raw = kept.read_bytes()
    assert b'"trust":"resolved"' in raw
    kept.write_bytes(raw.replace(b'"trust":"resolved"', b'"trust":"signed"'))
    for source in (f"store:{trusted.store}", f"store:{trusted.store}#mine"):
        with pytest.raises(VerificationError, match="trust level is"):
            trusted.lock(source, belief=Belief(), policies=(SIGNED,))
    # Where it changes nothing, what a store wrote down itself is carried on.
    made = trusted.lock(f"store:{trusted.store}#mine", belief=Belief())
    assert [item.trust for item in made.artifacts] == ["signed"]


def test_a_store_keeps_a_signature_that_nobody_asked_for(trusted: Site) -> None:
    path = trusted.signed_lock(f"image:{PAUSE}")
    trusted.download(path, belief=Belief(), name="mine")
    with Store.open(trusted.store, read_only=True) as kept:
        assert kept.collection_signature("mine") == Path(f"{path}.sigstore.json").read_bytes()
    made = trusted.lock(f"store:{trusted.store}#mine", belief=BY_KEY)
    assert [item.trust for item in made.artifacts] == ["signed"]
    trusted.heard.clear()
    unnamed = trusted.lock(f"store:{trusted.store}#mine", belief=Belief())
    assert [item.trust for item in unnamed.artifacts] != ["signed"]
    assert "its signature was not checked" in str([event for event in trusted.heard if isinstance(event, Notice)])


def test_the_moving_latest_of_a_development_build_is_held_against_the_store() -> None:
    from bundlectl.operations.rollback import _MOVING  # noqa: PLC0415 -- the forms themselves

    forms = [text for text in ("eks-a:latest", "eks-a:v0.26.0-dev+latest") if _MOVING[0][0].fullmatch(text)]
    assert forms == ["eks-a:latest", "eks-a:v0.26.0-dev+latest"]
    assert not _MOVING[0][0].fullmatch("eks-a:v0.26.0")


def test_what_a_store_has_seen_outlives_its_collections(trusted: Site) -> None:
    trusted.download("packages:1-33", belief=BY_KEY, name="prod", include=(PAUSE,))
    trusted.download(f"image:{PAUSE}", belief=Belief(), name="prod")
    with Store.open(trusted.store, read_only=True) as kept:
        assert [name for _, name in kept.newest().values()] == ["v1-33-120"]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"Bundles": 5}', b'{"Bundles": {"age": ["x"], "name": "y"}}'])
def test_a_memory_that_is_damaged_is_told(trusted: Site, text: bytes) -> None:
    trusted.download("packages:1-33", belief=BY_KEY, include=(PAUSE,))
    (trusted.store / "bundlectl" / "newest.json").write_bytes(text)
    with pytest.raises(Exception, match="is damaged") as caught:
        trusted.download("packages:1-33", belief=BY_KEY, include=(PAUSE,))
    assert "remove the file" in str(getattr(caught.value, "hint", ""))


def test_what_a_registry_is_held_against_is_told_when_nobody_vouches_for_it(trusted: Site) -> None:
    path = trusted.lock_file(f"image:{PAUSE}")
    with trusted.session() as session:
        locks_of(path, session.context(trusted.request(belief=Belief()), follow=False))
        with pytest.raises(UsageError, match="regular file"):
            locks_of("/dev/zero", session.context(trusted.request(belief=Belief()), follow=False))
    assert "it is not signed" in str(trusted.heard)


def verdict(site: Site, path: str, **more: Any) -> Any:
    with site.session() as session:
        return verify_manifest(path, site.request(**more), session=session)


def test_a_document_that_is_signed_must_meet_the_policy_as_well(trusted: Site) -> None:
    path = trusted.folder / "packages.yaml"
    path.write_bytes(signed(PACKAGES))
    assert verdict(trusted, str(path), belief=BY_KEY).verified
    refused = verdict(trusted, str(path), belief=BY_KEY, policies=(DOCUMENTS_BY_OTHER,))
    assert not refused.verified
    assert "not signed by other" in refused.reason
    assert verdict(trusted, str(path), belief=BY_KEY, policies=(SIGNED,)).verified


def test_a_lock_is_verified_by_the_policy_alone(trusted: Site) -> None:
    path = trusted.signed_lock(f"image:{PAUSE}")
    found = verdict(trusted, path, belief=Belief(), policies=(LOCKS_BY_SITE,))
    assert found.verified
    assert found.signed_by[0].key == KEY.key
    assert not verdict(trusted, path, belief=Belief(), policies=(SIGNED,)).verified
    unsigned = trusted.folder / "unsigned.json"
    unsigned.write_bytes(Path(path).read_bytes())
    assert not verdict(trusted, str(unsigned), belief=Belief(), policies=(LOCKS_BY_SITE,)).verified


def test_an_image_is_verified_by_the_policy_alone(trusted: Site) -> None:
    wanted = policy("{match: ['public.ecr.aws/*'], signedBy: [site]}")
    with trusted.session() as session:
        request = trusted.request(belief=Belief(), policies=(wanted,))
        found = verify_image(Reference.parse(PAUSE), request, session=session)
        assert not found.verified
        assert "not signed by site" in (found.reason or "")
        with pytest.raises(UsageError, match="nobody is named"):
            verify_image(Reference.parse(PAUSE), trusted.request(belief=Belief()), session=session)


def test_a_lock_written_by_hand_earns_nothing(trusted: Site) -> None:
    path = Path(trusted.lock_file(f"image:{PAUSE}"))
    document = json.loads(path.read_bytes())
    for artifact in document["artifacts"]:
        artifact["trust"] = "signed"
    path.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    assert {item.trust for item in Lock.from_bytes(path.read_bytes(), origin="x").artifacts} == {"signed"}
    assert {item.trust for item in trusted.lock(str(path), belief=Belief()).artifacts} == {"declared"}


@pytest.mark.parametrize("source", [f"image:{PAUSE}", "file:https://anywhere.example/x", "registry:r.example"])
def test_what_has_no_signature_to_look_at_is_refused_where_a_signer_is_named(trusted: Site, source: str) -> None:
    trusted.put_file("x", b"x")
    wanted = source if source.startswith("image:") else f"image:{PAUSE}"
    with pytest.raises(VerificationError, match="is no manifest and no lock"):
        trusted.mirror(wanted, belief=BY_KEY)
    assert trusted.target.requests.count() == 0
    collection = trusted.folder / "site.yaml"
    collection.write_text(
        f"apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nspec: {{sources: ['packages:1-33', {wanted!r}]}}\n"
    )
    with pytest.raises(VerificationError, match="is no manifest and no lock"):
        trusted.mirror(str(collection), belief=BY_KEY)
    # A policy says of each artifact who must have signed it.
    accepted = policy("{match: ['*'], always: accept}")
    assert [item.trust for item in trusted.lock(wanted, belief=BY_KEY, policies=(accepted,)).artifacts] == ["resolved"]


def test_a_store_beside_a_collection_with_a_policy_cannot_call_itself_signed(trusted: Site) -> None:
    trusted.download(f"image:{PAUSE}", belief=Belief(), name="mine")
    kept = trusted.store / "bundlectl" / "collections" / "mine.json"
    kept.write_bytes(kept.read_bytes().replace(b'"trust":"resolved"', b'"trust":"signed"'))
    collection = trusted.folder / "site.yaml"
    head = "apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nspec:\n"
    rule = "  policy: {rules: [{match: ['*'], trust: signed}], otherwise: accept}\n"
    collection.write_text(f"{head}  sources: ['packages:1-33']\n{rule}")
    outer = trusted.folder / "outer.yaml"
    outer.write_text(f"{head}  sources: ['store:store', site.yaml]\n")
    for sources in ([f"store:{trusted.store}", str(collection)], [str(outer)]):
        with pytest.raises(VerificationError, match="trust level is"):
            trusted.lock(*sources, belief=Belief(mode="off"), load_key=lambda _: KEY, include=(PAUSE,))


@pytest.mark.parametrize("way", ["lock", "store"])
def test_release_documents_that_a_lock_pins_are_judged_too(trusted: Site, way: str) -> None:
    if way == "store":
        trusted.download("packages:1-33", belief=BY_KEY, include=(PAUSE,))
        source = f"store:{trusted.store}"
    else:
        source = trusted.lock_file("packages:1-33", belief=BY_KEY, include=(PAUSE,))
    by_site = policy("{match: ['*'], types: [document], signedBy: [site]}")
    assert len(trusted.lock(source, belief=Belief(), policies=(by_site,)).manifests) == 1
    for refusing in (DOCUMENTS_BY_OTHER, policy("{match: ['*'], types: [document], always: refuse}")):
        with pytest.raises(VerificationError):
            trusted.mirror(source, belief=Belief(), policies=(refusing,))
    assert trusted.target.requests.count() == 0


def test_no_image_travels_as_a_package_bundle(trusted: Site) -> None:
    path = Path(trusted.lock_file("packages:1-33", belief=BY_KEY, include=(PAUSE,)))
    lock = Lock.from_bytes(path.read_bytes(), origin="lock")
    image = trusted.lock(f"image:{PAUSE}", belief=Belief()).artifacts[0]
    (bundle,) = lock.manifests
    repository = PAUSE.partition(":")[0]
    for forged in (
        replace(bundle, oci_digest=image.digest, digest=image.digest, url=repository),
        replace(bundle, oci_digest=image.digest, digest=image.digest),
        replace(bundle, digest=image.digest),
    ):
        path.write_bytes(replace(lock, manifests=(forged,)).to_bytes())
        assert outcome(trusted, str(path)) in (3, 4)
    assert trusted.target.requests.count("PUT", "*") == 0
    with trusted.session() as session:
        carrier = BundleRepository(session.repository(repository), bundle)
        with pytest.raises(ContentError, match="does not carry the document"):
            carrier.manifest(Descriptor("", image.digest, 0))


def outcome(site: Site, lock: str) -> int:
    try:
        return site.mirror(lock, belief=Belief()).exit_code
    except BundlectlError as error:
        return error.exit_code


def test_two_locks_keep_what_they_were_made_for(trusted: Site) -> None:
    locks = [
        trusted.lock_file(f"image:{name}", platforms=(Platform.parse("linux/amd64"),), referrers=False)
        for name in (PAUSE, "public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12")
    ]
    made = trusted.lock(*locks)
    assert made.selection["platforms"] == ["linux/amd64"]
    assert made.selection["referrers"] is False


def test_the_policy_of_a_collection_is_recorded(trusted: Site) -> None:
    collection = trusted.folder / "site.yaml"
    collection.write_text(
        "apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\n"
        f"spec: {{sources: ['image:{PAUSE}'], policy: {{rules: [{{match: ['*'], always: accept}}]}}}}\n"
    )
    made = trusted.lock(str(collection), belief=Belief(), load_key=lambda _: KEY)
    assert made.weakened == ("the policy site.yaml is met (Collection)",)
