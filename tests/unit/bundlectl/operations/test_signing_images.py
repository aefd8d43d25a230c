"""Images and charts are signed by digest, in each form, without disturbing what is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, RegistryError, UsageError
from bundlectl.events import Event, Notice
from bundlectl.operations import Connection, Session
from bundlectl.operations.signatures import gather_evidence
from bundlectl.operations.signing_images import ImageSignatureFormat, sign_reference, verify_reference
from mirror.http import Transport
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import HELM_CONFIG, OCI_INDEX
from mirror.oci.reference import Reference
from mirror.remote import RemoteRepository
from registry_fixtures.features import Features
from signing.cosign import signature_tag
from signing.identity import NamedKey, TrustAnchors
from tests.unit.bundlectl.operations.signed import (
    ANCHORS,
    NAMED,
    OTHER,
    SIGNER,
    attach_bundle,
    bundle,
    layer,
    push_image,
    put_tag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.oci.repository import Repository
    from registry_fixtures.registry import ServedRegistry

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
FORMATS: tuple[ImageSignatureFormat, ...] = ("tag", "bundle", "both")


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def session(heard: list[Event]) -> Iterator[Session]:
    with Session(Connection(transport=Transport(retries=0)), listener=heard.append) as opened:
        yield opened


@pytest.fixture(params=[True, False], ids=["referrers API", "fallback tag"])
def registry(request: pytest.FixtureRequest, registry_factory: Callable[..., ServedRegistry]) -> ServedRegistry:
    return registry_factory(features=Features(referrers_api=request.param))


@pytest.fixture
def repository(session: Session, registry: ServedRegistry) -> Repository:
    return session.target(registry.host).repository("a/b")


@pytest.fixture
def image(repository: Repository) -> Descriptor:
    return push_image(repository)


def tagged(registry: ServedRegistry, tag: str = "v1") -> Reference:
    return Reference(registry.host, "a/b", tag)


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_signed_is_verified(
    registry: ServedRegistry, image: Descriptor, session: Session, form: ImageSignatureFormat
) -> None:
    before = verify_reference(tagged(registry), ANCHORS, session=session)
    assert (before.verified, before.reason, before.signed_by) == (False, "has no signature", ())
    signed = sign_reference(tagged(registry), SIGNER, session=session, form=form)
    assert signed.reference == tagged(registry).pinned(image.digest)
    assert [item.format for item in signed.signatures] == (["bundle", "tag"] if form == "both" else [form])
    assert all(item.written for item in signed.signatures)
    verdict = verify_reference(tagged(registry), ANCHORS, session=session)
    assert (verdict.verified, verdict.kind, verdict.digest) == (True, "image", image.digest)
    assert (verdict.signed_by, verdict.reason, verdict.exit_code) == ((NAMED,), None, 0)
    other = TrustAnchors(keys=(NamedKey("other.pub", OTHER.public_key),))
    refused = verify_reference(tagged(registry), other, session=session)
    assert (refused.verified, refused.exit_code) == (False, 3)
    assert refused.reason is not None
    assert "none of the given keys" in refused.reason


def test_the_bundle_is_stored_as_cosign_stores_it(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    [stored] = sign_reference(tagged(registry), SIGNER, session=session, form="bundle").signatures
    document = json.loads(repository.manifest(Descriptor("", stored.digest, 0)).raw)
    created = document["annotations"].pop("org.opencontainers.image.created")
    assert len(created) == len("2026-01-01T00:00:00Z")
    assert [item["mediaType"] for item in document.pop("layers")] == [BUNDLE]
    assert document == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": BUNDLE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "subject": {"mediaType": image.media_type, "digest": str(image.digest), "size": image.size},
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
        },
    }
    assert [item.digest for item in repository.referrers(image.digest)] == [stored.digest]


def test_the_tag_holds_an_image_whose_config_names_its_layers(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    [stored] = sign_reference(tagged(registry), SIGNER, session=session).signatures
    assert (stored.format, stored.tag) == ("tag", signature_tag(image.digest))
    manifest = repository.manifest(repository.resolve(signature_tag(image.digest)))
    assert manifest.descriptor.digest == stored.digest
    [only] = manifest.document["layers"]
    config = Descriptor.from_json(manifest.document["config"])
    assert config.media_type == "application/vnd.oci.image.config.v1+json"
    with repository.open_blob(config) as reader:
        assert json.loads(reader.read())["rootfs"] == {"type": "layers", "diff_ids": [only["digest"]]}
    with repository.open_blob(Descriptor.from_json(only)) as reader:
        payload = json.loads(reader.read())
    assert payload["critical"]["identity"] == {"docker-reference": f"{registry.host}/a/b"}
    assert payload["critical"]["image"] == {"docker-manifest-digest": str(image.digest)}


@pytest.mark.parametrize("form", FORMATS)
def test_signing_again_with_the_same_key_adds_nothing(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session, form: ImageSignatureFormat
) -> None:
    first = sign_reference(tagged(registry), SIGNER, session=session, form=form)
    second = sign_reference(tagged(registry), SIGNER, session=session, form=form)
    assert [item.digest for item in second.signatures] == [item.digest for item in first.signatures]
    assert not any(item.written for item in second.signatures)
    assert len(gather_evidence(repository, image.digest, ANCHORS).proofs) == len(first.signatures)


def test_signatures_of_others_are_kept(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    theirs = put_tag(repository, image.digest, layer(repository, image.digest, OTHER)).document["layers"]
    sign_reference(tagged(registry), OTHER, session=session, form="bundle")
    sign_reference(tagged(registry), SIGNER, session=session, form="both")
    both = TrustAnchors(keys=(NAMED, NamedKey("other.pub", OTHER.public_key)))
    evidence = gather_evidence(repository, image.digest, both)
    assert len(evidence.proofs) == 4
    under_tag = repository.manifest(repository.resolve(signature_tag(image.digest))).document["layers"]
    assert under_tag[:1] == theirs
    assert len(under_tag) == 2


def test_who_signs_at_the_same_moment_loses_nothing(
    registry: ServedRegistry,
    repository: Repository,
    image: Descriptor,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = RemoteRepository.put_manifest
    written: list[Manifest] = []

    def put(self: RemoteRepository, manifest: Manifest, *, tag: str | None = None) -> None:
        real(self, manifest, tag=tag)
        written.append(manifest)
        if len(written) == 1:
            # Another had read the tag before this was written, and now overwrites it.
            theirs = {**manifest.document, "layers": [layer(repository, image.digest, OTHER)]}
            real(self, Manifest.render(theirs), tag=tag)

    monkeypatch.setattr(RemoteRepository, "put_manifest", put)
    sign_reference(tagged(registry), SIGNER, session=session)
    assert len(written) == 2
    both = TrustAnchors(keys=(NAMED, NamedKey("other.pub", OTHER.public_key)))
    assert len(gather_evidence(repository, image.digest, both).proofs) == 2


def test_who_is_overwritten_again_and_again_is_told(
    registry: ServedRegistry, image: Descriptor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RemoteRepository.put_manifest

    def put(self: RemoteRepository, manifest: Manifest, *, tag: str | None = None) -> None:
        real(self, Manifest.render({**manifest.document, "layers": []}), tag=tag)

    monkeypatch.setattr(RemoteRepository, "put_manifest", put)
    with pytest.raises(RegistryError, match="keep overwriting") as caught:
        sign_reference(tagged(registry).pinned(image.digest), SIGNER, session=session)
    assert caught.value.retryable


def test_a_tag_is_signed_by_what_it_stands_for_and_the_user_is_told(
    registry: ServedRegistry, image: Descriptor, session: Session, heard: list[Event]
) -> None:
    sign_reference(tagged(registry), SIGNER, session=session)
    told = [event for event in heard if isinstance(event, Notice)]
    assert [event.level for event in told] == ["warning"]
    assert str(image.digest) in told[0].message
    heard.clear()
    sign_reference(Reference(registry.host, "a/b", None, image.digest), SIGNER, session=session)
    assert heard == []


def test_of_tag_and_digest_the_digest_counts(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    other = push_image(repository, b"another image", tag="v1")
    named = tagged(registry).pinned(image.digest)
    assert sign_reference(named, SIGNER, session=session).reference.digest == image.digest
    assert verify_reference(named, ANCHORS, session=session).verified
    moved = verify_reference(tagged(registry), ANCHORS, session=session)
    assert (moved.verified, moved.digest) == (False, other.digest)


def test_by_default_the_tag_is_written_and_a_bundle_too_where_cosign_would_look_at_bundles_alone(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session, heard: list[Event]
) -> None:
    named = tagged(registry).pinned(image.digest)
    assert [item.format for item in sign_reference(named, OTHER, session=session).signatures] == ["tag"]
    attach_bundle(repository, image, bundle(image.digest, OTHER, predicate="https://spdx.dev/Document"))
    assert [item.format for item in sign_reference(named, SIGNER, session=session).signatures] == ["bundle", "tag"]
    assert heard == []
    sign_reference(named, SIGNER, session=session, form="tag")
    [notice] = heard
    assert isinstance(notice, Notice)
    assert notice.level == "warning"
    assert "cosign overlooks the tag" in notice.message


def test_a_list_of_referrers_that_is_none_does_not_keep_an_image_from_being_signed(
    session: Session, registry_factory: Callable[..., ServedRegistry]
) -> None:
    registry = registry_factory(features=Features(referrers_api=False))
    repository = session.target(registry.host).repository("a/b")
    image = push_image(repository)
    push_image(repository, b"in the way", tag=str(image.digest).replace(":", "-"))
    assert [item.format for item in sign_reference(tagged(registry), SIGNER, session=session).signatures] == ["tag"]


def test_an_index_is_signed_as_a_whole(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [image.to_json()]})
    repository.put_manifest(index, tag="all")
    sign_reference(tagged(registry, "all"), SIGNER, session=session, form="both")
    assert verify_reference(tagged(registry, "all"), ANCHORS, session=session).digest == index.descriptor.digest
    assert verify_reference(tagged(registry, "all"), ANCHORS, session=session).verified
    assert not verify_reference(tagged(registry), ANCHORS, session=session).verified


def test_a_chart_is_told_from_an_image(registry: ServedRegistry, repository: Repository, session: Session) -> None:
    push_image(repository, b"a chart", tag="1.0.0", config=HELM_CONFIG)
    sign_reference(tagged(registry, "1.0.0"), SIGNER, session=session)
    verdict = verify_reference(tagged(registry, "1.0.0"), ANCHORS, session=session)
    assert (verdict.kind, verdict.verified) == ("chart", True)


def test_a_name_without_tag_and_digest_is_wrong_usage(registry: ServedRegistry, session: Session) -> None:
    for attempt in (
        lambda: sign_reference(Reference(registry.host, "a/b"), SIGNER, session=session),
        lambda: verify_reference(Reference(registry.host, "a/b"), ANCHORS, session=session),
    ):
        with pytest.raises(UsageError, match="neither tag nor digest"):
            attempt()


def test_what_is_absent_is_missing(registry: ServedRegistry, image: Descriptor, session: Session) -> None:
    absent = Reference(registry.host, "a/b", None, Digest.of(b"absent"))
    for reference in (tagged(registry, "v9"), absent):
        with pytest.raises(MissingError):
            sign_reference(reference, SIGNER, session=session)
        with pytest.raises(MissingError):
            verify_reference(reference, ANCHORS, session=session)
    assert image


@pytest.mark.parametrize("form", ["tag", "both"])
def test_a_sha512_digest_cannot_be_signed_in_the_tag_scheme(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session, form: ImageSignatureFormat
) -> None:
    raw = repository.manifest(image).raw
    digest = Digest.of(raw, "sha512")
    repository.put_manifest(Manifest.from_bytes(raw, expected=digest), tag="v3")
    reference = Reference(registry.host, "a/b", None, digest)
    with pytest.raises(UsageError, match="sha256 digests only"):
        sign_reference(reference, SIGNER, session=session, form=form)
    assert [item.format for item in sign_reference(reference, SIGNER, session=session).signatures] == ["bundle"]
    assert verify_reference(reference, ANCHORS, session=session).verified


def test_a_tag_that_is_taken_by_something_else_is_left_alone(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    repository.put_manifest(index, tag=signature_tag(image.digest))
    with pytest.raises(ContentError, match="reserved for signatures"):
        sign_reference(tagged(registry), SIGNER, session=session)
    assert repository.resolve(signature_tag(image.digest)).digest == index.descriptor.digest


def test_a_hundredth_and_first_signature_is_not_added(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    put_tag(repository, image.digest, *[layer(repository, image.digest, OTHER)] * 100)
    with pytest.raises(ContentError, match="100 signatures"):
        sign_reference(tagged(registry), SIGNER, session=session)


def test_many_reasons_are_cut_short(
    registry: ServedRegistry, repository: Repository, image: Descriptor, session: Session
) -> None:
    put_tag(repository, image.digest, *[layer(repository, image.digest, OTHER)] * 20)
    reason = verify_reference(tagged(registry), ANCHORS, session=session).reason
    assert reason is not None
    assert reason.startswith("no signature counts: ")
    assert reason.endswith("; and 15 more")


def test_the_result_says_what_was_written_and_where(
    registry: ServedRegistry, image: Descriptor, session: Session
) -> None:
    signed = sign_reference(tagged(registry), SIGNER, session=session).to_json()
    [stored] = signed.pop("signatures")
    assert signed == {
        "target": f"{registry.host}/a/b:v1@{image.digest}",
        "kind": "image",
        "digest": str(image.digest),
        "key": {"fingerprint": SIGNER.public_key.fingerprint},
        "out": None,
    }
    assert (stored["format"], stored["tag"], stored["written"]) == ("tag", signature_tag(image.digest), True)
