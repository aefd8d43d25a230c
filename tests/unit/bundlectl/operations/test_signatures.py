"""Signatures of every form are found in registries and stores, and none counts by being there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import BundlectlError, ConfigError
from bundlectl.operations import Connection, Session
from bundlectl.operations.signatures import gather_evidence, has_bundles
from mirror.http import Transport
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_INDEX
from registry_fixtures.faults import Fault, FlipByte, Refuse
from registry_fixtures.features import Features
from signing.cosign import SIGNATURE_ARTIFACT, signature_tag, simple_signing
from signing.envelope import BUNDLE_LIMIT, BUNDLE_TYPE, sign_message
from signing.identity import CertificateIdentity, NamedKey, Proof, TrustAnchors
from tests.unit.bundlectl.operations.signed import (
    ANCHORS,
    NAMED,
    OTHER,
    SIGNER,
    attach,
    attach_bundle,
    bundle,
    layer,
    push,
    push_image,
    put_tag,
)
from tests.unit.signing.sigstore_instance import SigstoreInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mirror.oci.repository import Repository
    from registry_fixtures.registry import ServedRegistry

OLD_BUNDLE = "application/vnd.dev.sigstore.bundle+json;version=0.2"


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(Connection(transport=Transport(retries=0))) as opened:
        yield opened


@pytest.fixture(params=["referrers API", "fallback tag", "store"])
def repository(
    request: pytest.FixtureRequest, session: Session, registry_factory: Callable[..., ServedRegistry], tmp_path: Path
) -> Iterator[Repository]:
    if request.param == "store":
        with Store.open(tmp_path / "store", create=True) as store:
            yield store.repository("registry.test/a/b")
        return
    registry = registry_factory(features=Features(referrers_api=request.param == "referrers API"))
    yield session.target(registry.host).repository("a/b")


@pytest.fixture
def registry(registry_factory: Callable[..., ServedRegistry]) -> ServedRegistry:
    return registry_factory()


@pytest.fixture
def remote(session: Session, registry: ServedRegistry) -> Repository:
    return session.target(registry.host).repository("a/b")


@pytest.fixture
def image(repository: Repository) -> Descriptor:
    return push_image(repository)


def rejected(repository: Repository, image: Descriptor, anchors: TrustAnchors = ANCHORS) -> tuple[str, ...]:
    evidence = gather_evidence(repository, image.digest, anchors)
    assert evidence.proofs == ()
    return evidence.rejected


def test_an_image_without_signatures_has_no_proof_and_nothing_to_reject(
    repository: Repository, image: Descriptor
) -> None:
    assert rejected(repository, image) == ()


def test_signatures_of_every_form_are_found_each_with_the_manifest_that_carries_it(
    repository: Repository, image: Descriptor
) -> None:
    tag = put_tag(repository, image.digest, layer(repository, image.digest))
    old = attach(repository, image, layer(repository, image.digest), artifact_type=SIGNATURE_ARTIFACT)
    new = attach_bundle(repository, image, bundle(image.digest))
    older = attach_bundle(repository, image, bundle(image.digest), artifact_type=OLD_BUNDLE)
    evidence = gather_evidence(repository, image.digest, ANCHORS)
    assert set(evidence.proofs) == {
        Proof(NAMED, "tag", str(tag.descriptor.digest)),
        Proof(NAMED, "referrer", str(old.descriptor.digest)),
        Proof(NAMED, "bundle", str(new.descriptor.digest)),
        Proof(NAMED, "bundle", str(older.descriptor.digest)),
    }
    assert evidence.rejected == ()


def test_signatures_by_several_keys_under_one_tag_are_all_looked_at(repository: Repository, image: Descriptor) -> None:
    stranger = layer(repository, image.digest, OTHER)
    put_tag(repository, image.digest, stranger, layer(repository, image.digest))
    evidence = gather_evidence(repository, image.digest, ANCHORS)
    assert [proof.identity for proof in evidence.proofs] == [NAMED]
    assert len(evidence.rejected) == 1
    assert ", layer 1: is signed with none of the given keys" in evidence.rejected[0]
    both = TrustAnchors(keys=(NAMED, NamedKey("other.pub", OTHER.public_key)))
    assert len(gather_evidence(repository, image.digest, both).proofs) == 2


def test_signatures_of_another_image_do_not_count(repository: Repository, image: Descriptor) -> None:
    other = push_image(repository, b"another image", tag="v2")
    put_tag(repository, image.digest, layer(repository, other.digest))
    attach_bundle(repository, image, bundle(other.digest))
    attach(repository, image, layer(repository, other.digest), artifact_type=SIGNATURE_ARTIFACT)
    reasons = rejected(repository, image)
    assert len(reasons) == 3
    assert all("signs another image" in reason for reason in reasons)


def test_signatures_by_another_key_do_not_count(repository: Repository, image: Descriptor) -> None:
    put_tag(repository, image.digest, layer(repository, image.digest, OTHER))
    attach_bundle(repository, image, bundle(image.digest, OTHER))
    reasons = rejected(repository, image)
    assert len(reasons) == 2
    assert all("none of the given keys" in reason for reason in reasons)


def test_an_attestation_does_not_count_whatever_its_manifest_says(repository: Repository, image: Descriptor) -> None:
    raw = bundle(image.digest, predicate="https://slsa.dev/provenance/v1")
    attach_bundle(repository, image, raw)
    attach_bundle(
        repository, image, raw, annotations={"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}
    )
    attach_bundle(
        repository, image, raw, annotations={"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}
    )
    reasons = rejected(repository, image)
    assert len(reasons) == 3
    assert all("is an attestation" in reason for reason in reasons)


def test_bundles_of_another_content_do_not_count(repository: Repository, image: Descriptor) -> None:
    attach_bundle(repository, image, sign_message(image.digest, SIGNER))
    attach_bundle(repository, image, bundle(image.digest, kind="application/json"))
    attach_bundle(repository, image, b"{}")
    two = [push(repository, bundle(image.digest), BUNDLE_TYPE).to_json() for _ in range(2)]
    attach(repository, image, *two, artifact_type=BUNDLE_TYPE)
    attach(repository, image, push(repository, bundle(image.digest), "text/plain").to_json(), artifact_type=BUNDLE_TYPE)
    reasons = " ".join(rejected(repository, image))
    for reason in (
        "signs a file, where a DSSE envelope is expected",
        "signs a payload of type 'application/json'",
        "is not the type of a sigstore bundle",
        "does not consist of one sigstore bundle",
    ):
        assert reason in reasons


def test_layers_that_are_no_signatures_do_not_count(repository: Repository, image: Descriptor) -> None:
    good = layer(repository, image.digest)
    put_tag(
        repository,
        image.digest,
        {**good, "annotations": {}},
        {**good, "mediaType": "application/vnd.dsse.envelope.v1+json"},
        layer(repository, image.digest, payload=b"signed, but not a payload"),
        layer(repository, image.digest, annotations={"dev.cosignproject.cosign/signature": "AAAA"}),
    )
    assert len(rejected(repository, image)) == 4


def test_other_referrers_are_passed_over(repository: Repository, image: Descriptor) -> None:
    attach(repository, image, layer(repository, image.digest), artifact_type="application/spdx+json")
    assert rejected(repository, image) == ()


def test_what_is_too_large_is_not_fetched(repository: Repository, image: Descriptor) -> None:
    large = push(repository, b"x" * (BUNDLE_LIMIT + 1), BUNDLE_TYPE).to_json()
    attach(repository, image, large, artifact_type=BUNDLE_TYPE)
    put_tag(repository, image.digest, {**layer(repository, image.digest), **large})
    assert [reason.partition(": ")[2] for reason in rejected(repository, image)] == [
        "is larger than 1,048,576 bytes",
        "is larger than 4,194,304 bytes",
    ]


def test_an_index_under_the_tag_is_no_signature(remote: Repository) -> None:
    image = push_image(remote)
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    remote.put_manifest(index, tag=signature_tag(image.digest))
    assert rejected(remote, image) == (f"{index.descriptor.digest}: is an index, where signatures are expected",)


def test_an_index_that_calls_itself_a_bundle_is_no_signature(remote: Repository) -> None:
    image = push_image(remote)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": BUNDLE_TYPE,
        "manifests": [],
        "layers": 5,
        "subject": image.to_json(),
    }
    remote.put_manifest(Manifest.render(document))
    [reason] = rejected(remote, image)
    assert "does not consist of one sigstore bundle" in reason


def test_manifests_of_signatures_that_arrive_altered_do_not_count(remote: Repository, registry: ServedRegistry) -> None:
    image = push_image(remote)
    manifests = [
        put_tag(remote, image.digest, layer(remote, image.digest)),
        attach_bundle(remote, image, bundle(image.digest)),
    ]
    for manifest in manifests:
        registry.faults.add(Fault(FlipByte(20), method="GET", path=f"*/manifests/{manifest.descriptor.digest}"))
    reasons = rejected(remote, image)
    assert len(reasons) == 2
    assert all("should have digest" in reason for reason in reasons)


def test_at_most_a_hundred_signatures_are_looked_at_and_the_user_is_told(remote: Repository) -> None:
    image = push_image(remote)
    strangers = [layer(remote, image.digest, OTHER)] * 100
    put_tag(remote, image.digest, *strangers, layer(remote, image.digest), *strangers)
    reasons = rejected(remote, image)
    assert len(reasons) == 101
    assert reasons[-1] == "there are more than 100 signatures; the others were not looked at"


def attestations(repository: Repository, image: Descriptor, count: int) -> None:
    for number in range(count):
        stated = {"dev.sigstore.bundle.predicateType": f"https://slsa.dev/provenance/v{number}"}
        attach(repository, image, artifact_type=BUNDLE_TYPE, annotations=stated)


def test_attestations_do_not_use_up_the_room_of_signatures(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        repository = store.repository("registry.test/a/b")
        image = push_image(repository)
        attestations(repository, image, 120)
        put_tag(repository, image.digest, layer(repository, image.digest))
        attach_bundle(repository, image, bundle(image.digest))
        assert {proof.format for proof in gather_evidence(repository, image.digest, ANCHORS).proofs} == {
            "tag",
            "bundle",
        }


def test_signatures_of_strangers_under_the_tag_leave_room_for_a_bundle(remote: Repository) -> None:
    image = push_image(remote)
    put_tag(remote, image.digest, *[layer(remote, image.digest, OTHER)] * 101)
    attach_bundle(remote, image, bundle(image.digest))
    assert [proof.format for proof in gather_evidence(remote, image.digest, ANCHORS).proofs] == ["bundle"]


def test_referrers_of_other_platforms_do_not_use_up_the_room_of_signatures(remote: Repository) -> None:
    image, other = push_image(remote), push_image(remote, b"another image", tag="v2")
    strangers = [
        attach_bundle(remote, other, bundle(other.digest), annotations={"n": str(number)}).descriptor
        for number in range(101)
    ]
    own = attach_bundle(remote, image, bundle(image.digest)).descriptor
    pinned = Pinned(remote, [*(replace(item, artifact_type=BUNDLE_TYPE) for item in strangers), own])
    evidence = gather_evidence(pinned, image.digest, ANCHORS)
    assert len(evidence.proofs) == 1
    assert len(evidence.rejected) == 101


def test_the_work_for_one_artifact_is_bounded_however_much_is_listed(remote: Repository) -> None:
    image = push_image(remote)
    stated = {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
    attested = attach(remote, image, artifact_type=BUNDLE_TYPE, annotations=stated).descriptor
    pinned = Pinned(remote, [replace(attested, artifact_type="")] * 5000)
    evidence = gather_evidence(pinned, image.digest, ANCHORS)
    assert len(evidence.rejected) == 1001
    assert evidence.rejected[-1] == "there are more than 1,000 referrers; the others were not looked at"


class Pinned:
    """A repository with a list of referrers of its own, as a lock has one."""

    def __init__(self, repository: Repository, listed: list[Descriptor]) -> None:
        self.name = repository.name
        self.resolve, self.open_blob = repository.resolve, repository.open_blob
        self.has, self.tags = repository.has, repository.tags
        self._listed = listed
        self._manifest = cache(repository.manifest)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        return self._manifest(Descriptor(descriptor.media_type, descriptor.digest, descriptor.size))

    def referrers(self, subject: Digest) -> list[Descriptor]:
        del subject
        return self._listed


def test_what_a_stranger_wrote_does_not_begin_a_line_of_a_reason(remote: Repository) -> None:
    image = push_image(remote)
    forged = "https://x)\nregistry.example/app:v1: verified, signed by site.pub (image"
    attach(remote, image, artifact_type=BUNDLE_TYPE, annotations={"dev.sigstore.bundle.predicateType": forged})
    attach_bundle(remote, image, bundle(image.digest, predicate=forged))
    attach_bundle(remote, image, bundle(image.digest, kind="a\nb"))
    reasons = rejected(remote, image)
    assert len(reasons) == 3
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("artifact_type", "listed", "expected"),
    [
        (BUNDLE_TYPE, BUNDLE_TYPE, True),
        (OLD_BUNDLE, EMPTY, True),
        (BUNDLE_TYPE, "", True),
        ("application/spdx+json", "", False),
        ("application/spdx+json", EMPTY, False),
        ("application/spdx+json", "application/spdx+json", False),
        (SIGNATURE_ARTIFACT, SIGNATURE_ARTIFACT, False),
    ],
)
def test_bundles_are_told_from_other_referrers_whatever_the_list_calls_them(
    remote: Repository, artifact_type: str, listed: str, *, expected: bool
) -> None:
    image = push_image(remote)
    referrer = attach(remote, image, artifact_type=artifact_type).descriptor
    pinned = Pinned(remote, [replace(referrer, artifact_type=listed)])
    assert has_bundles(pinned, image.digest) is expected
    gone = Descriptor(referrer.media_type, Digest.of(b"gone"), 1)
    assert not has_bundles(Pinned(remote, [gone]), image.digest)


def test_a_list_of_referrers_that_names_a_stranger_is_not_believed(
    session: Session, registry_factory: Callable[..., ServedRegistry]
) -> None:
    registry = registry_factory(features=Features(referrers_api=False))
    repository = session.target(registry.host).repository("a/b")
    image, other = push_image(repository), push_image(repository, b"another image", tag="v2")
    moved = attach_bundle(repository, other, bundle(image.digest))
    entry = moved.descriptor.to_json()
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    repository.put_manifest(index, tag=str(image.digest).replace(":", "-"))
    assert rejected(repository, image) == (
        f"{moved.descriptor.digest}: is listed here, but refers to another artifact",
    )


def test_a_list_that_calls_a_bundle_empty_as_cosign_2_writes_it_is_read(
    session: Session, registry_factory: Callable[..., ServedRegistry]
) -> None:
    registry = registry_factory(features=Features(referrers_api=False))
    repository = session.target(registry.host).repository("a/b")
    image = push_image(repository)
    attached = attach_bundle(repository, image, bundle(image.digest))
    for listed_type in ("application/vnd.oci.empty.v1+json", ""):
        entry = {**attached.descriptor.to_json(), "artifactType": listed_type}
        index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
        repository.put_manifest(index, tag=str(image.digest).replace(":", "-"))
        assert len(gather_evidence(repository, image.digest, ANCHORS).proofs) == 1


def test_a_malformed_list_of_referrers_does_not_hide_the_tag(
    session: Session, registry_factory: Callable[..., ServedRegistry]
) -> None:
    registry = registry_factory(features=Features(referrers_api=False))
    repository = session.target(registry.host).repository("a/b")
    image = push_image(repository)
    push_image(repository, b"in the way", tag=str(image.digest).replace(":", "-"))
    put_tag(repository, image.digest, layer(repository, image.digest))
    evidence = gather_evidence(repository, image.digest, ANCHORS)
    assert len(evidence.proofs) == 1
    assert "is no list of referrers" in evidence.rejected[0]


@pytest.mark.parametrize("path", ["*/referrers/*", "*/manifests/*.sig", "*/blobs/*"])
@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_registry_that_cannot_be_asked_is_not_taken_for_one_without_signatures(
    remote: Repository, registry: ServedRegistry, path: str, status: int
) -> None:
    image = push_image(remote)
    put_tag(remote, image.digest, layer(remote, image.digest))
    registry.faults.add(Fault(Refuse(status), method="GET|HEAD", path=path))
    with pytest.raises(BundlectlError) as caught:
        gather_evidence(remote, image.digest, ANCHORS)
    assert caught.value.code in ("registry", "transport")


def test_a_signature_whose_bytes_are_gone_or_altered_does_not_count(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        repository = store.repository("registry.test/a/b")
        image = push_image(repository)
        signature = layer(repository, image.digest)
        put_tag(repository, image.digest, signature)
        path = store.blob_path(Digest.parse(signature["digest"]))
        content = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(content.replace(b"a/b", b"a/c"))
        assert len(rejected(repository, image)) == 1
        path.unlink()
        assert len(rejected(repository, image)) == 1


def test_a_sha512_image_is_signed_by_a_bundle(remote: Repository) -> None:
    found = push_image(remote)
    raw = remote.manifest(found).raw
    digest = Digest.of(raw, "sha512")
    remote.put_manifest(Manifest.from_bytes(raw, expected=digest), tag="v3")
    image = remote.manifest(type(found)("", digest, 0)).descriptor
    assert image.digest == digest
    attach_bundle(remote, image, bundle(digest))
    assert len(gather_evidence(remote, digest, ANCHORS).proofs) == 1


def test_signatures_by_identity_are_found_beside_those_by_key(repository: Repository, image: Descriptor) -> None:
    pytest.importorskip("sigstore", reason="the extra keyless is not installed")
    from signing.cosign import SIGN_PREDICATE  # noqa: PLC0415
    from signing.envelope import IN_TOTO_TYPE, statement  # noqa: PLC0415

    sigstore = SigstoreInstance()
    who = CertificateIdentity("builder@site.test", "https://login.site.test")
    payload = statement([("", image.digest)], SIGN_PREDICATE, {})
    attach_bundle(repository, image, sigstore.sign_dsse(payload, IN_TOTO_TYPE, who.subject, who.issuer))
    anchors = TrustAnchors(keys=(NAMED,), certificates=(who,), trusted_root=sigstore.trusted_root())
    assert [proof.identity for proof in gather_evidence(repository, image.digest, anchors).proofs] == [who]
    assert "no identity was given" in rejected(repository, image)[0]
    broken = TrustAnchors(certificates=(who,), trusted_root=b"{}")
    with pytest.raises(ConfigError):
        gather_evidence(repository, image.digest, broken)


def test_cosigns_own_payload_with_optional_claims_counts(repository: Repository, image: Descriptor) -> None:
    payload: Any = simple_signing("registry.test/a/b", image.digest).replace(b"null", b'{"by":"site"}')
    put_tag(repository, image.digest, layer(repository, image.digest, payload=payload))
    assert len(gather_evidence(repository, image.digest, ANCHORS).proofs) == 1
