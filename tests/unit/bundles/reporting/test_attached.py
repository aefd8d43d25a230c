"""What is attached says one thing, and what was checked is another: the report keeps them apart."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import pytest

from bundles.lock import LockedArtifact, LockedReferrer
from bundles.reporting import attached as module
from bundles.reporting.attached import read_attached
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from signing.cosign import SIGN_PREDICATE, SIGNATURE_ARTIFACT
from signing.envelope import BUNDLE_TYPE, IN_TOTO_TYPE, sign_dsse, statement
from tests.unit.bundlectl.operations.signed import (
    ANCHORS,
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
from tests.unit.bundles.reporting.test_summaries import SPDX, TRIVY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundles.reporting.attached import Attached
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import Repository
    from signing.identity import TrustAnchors

COSIGN_VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
DSSE = "application/vnd.dsse.envelope.v1+json"


class Place:
    """An image in a repository, and what is attached to it."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.image: Descriptor = push_image(repository)

    def read(self, carrier: Manifest, anchors: TrustAnchors | None = ANCHORS, tag: str | None = None) -> list[Attached]:
        found = carrier.descriptor
        referrer = LockedReferrer(
            digest=found.digest, media_type=found.media_type, artifact_type=carrier.artifact_type, tag=tag
        )
        artifact = LockedArtifact(
            type="image",
            name="b",
            reference="registry.test/a/b:v1",
            digest=self.image.digest,
            size=1,
            media_type=self.image.media_type,
            trust="declared",
            manifests=(self.image.digest,),
            referrers=(referrer,),
        )
        return list(read_attached(self.repository, artifact, referrer, anchors))

    def document(self, content: object, media_type: str) -> Manifest:
        """Attach a JSON document as it is."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        described = push(self.repository, raw, media_type).to_json()
        return attach(self.repository, self.image, described, artifact_type=media_type)

    def attestation(self, predicate_type: str, predicate: dict[str, Any], *, signer: Any = SIGNER) -> bytes:
        return sign_dsse(statement([("", self.image.digest)], predicate_type, predicate), IN_TOTO_TYPE, signer)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Store.open(tmp_path / "store", create=True) as store:
        yield Place(store.repository("registry.test/a/b", trust="declared"))


def test_one_document_at_a_time_is_parsed_for_it_may_be_made_to_take_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = place.document(SPDX, "application/spdx+json")
    busy = Lock()

    def summarised(_: object) -> tuple[()]:
        assert busy.acquire(blocking=False), "two are parsed at a time"
        time.sleep(0.02)
        busy.release()
        return ()

    monkeypatch.setattr(module, "summarise", summarised)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: place.read(carrier), range(4)))
    assert [item.problem for (item,) in found] == [None] * 4


def test_a_cosign_signature_is_verified_only_with_a_key_that_made_it(place: Place) -> None:
    carrier = put_tag(place.repository, place.image.digest, layer(place.repository, place.image.digest))
    tag = f"sha256-{place.image.digest.encoded}.sig"
    (held,) = place.read(carrier, tag=tag)
    assert (held.kind, held.verified_by) == ("signature", f"key {SIGNER.public_key.fingerprint}")
    (unchecked,) = place.read(carrier, None, tag=tag)
    assert (unchecked.verified_by, unchecked.unverified) == (None, None)
    other = replace(ANCHORS, keys=(replace(ANCHORS.keys[0], key=OTHER.public_key),))
    (refused,) = place.read(carrier, other, tag=tag)
    assert refused.verified_by is None
    assert "signed with none of the given keys" in (refused.unverified or "")


def test_a_sigstore_bundle_names_its_signer_and_is_verified_only_over_this_image(place: Place) -> None:
    (held,) = place.read(attach_bundle(place.repository, place.image, bundle(place.image.digest)))
    assert held.what == "cosign signature (sigstore bundle)"
    assert held.verified_by == f"key {SIGNER.public_key.fingerprint}"
    assert held.says == f"key {SIGNER.public_key.hint}"
    (unchecked,) = place.read(attach_bundle(place.repository, place.image, bundle(place.image.digest)), None)
    assert (unchecked.verified_by, unchecked.says) == (None, held.says)
    (elsewhere,) = place.read(attach_bundle(place.repository, place.image, bundle(Digest.of(b"another"))))
    assert elsewhere.verified_by is None
    assert elsewhere.unverified == "its signature holds, but is over another artifact"


def test_a_signature_that_was_altered_is_not_verified(place: Place) -> None:
    raw = json.loads(bundle(place.image.digest))
    forged = statement([("", place.image.digest)], SIGN_PREDICATE, {"more": True})
    raw["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
    (found,) = place.read(attach_bundle(place.repository, place.image, json.dumps(raw).encode()))
    assert found.verified_by is None
    assert "does not hold" in (found.unverified or "")


@pytest.mark.parametrize("form", ["bundle", "envelope"])
def test_a_vulnerability_attestation_of_cosign_is_summed_up(place: Place, form: str) -> None:
    raw = place.attestation(COSIGN_VULN, {"scanner": {"uri": "pkg:trivy", "result": TRIVY}})
    if form == "bundle":
        carrier = attach_bundle(place.repository, place.image, raw)
    else:
        envelope = json.dumps(json.loads(raw)["dsseEnvelope"]).encode()
        carrier = attach(
            place.repository, place.image, push(place.repository, envelope, DSSE).to_json(), artifact_type=DSSE
        )
    (found,) = place.read(carrier)
    assert found.kind == "vulnerabilities"
    assert found.what == "vulnerability attestation (cosign)"
    (scan,) = found.scans
    assert (scan.counts["critical"], scan.counts["low"]) == (1, 1)
    assert bool(found.verified_by) == (form == "bundle")


def test_an_sbom_is_summed_up_plain_attested_and_as_older_cosign_wraps_it(place: Place) -> None:
    plain = place.document(SPDX, "application/spdx+json")
    attested = attach_bundle(place.repository, place.image, place.attestation("https://spdx.dev/Document", SPDX))
    wrapped = attach_bundle(
        place.repository, place.image, place.attestation("https://spdx.dev/Document", {"Data": json.dumps(SPDX)})
    )
    for carrier in (plain, attested, wrapped):
        (found,) = place.read(carrier)
        assert found.kind == "sbom"
        assert [bill.packages for bill in found.bills] == [4]
    assert place.read(plain)[0].unverified == "is not signed"
    assert place.read(attested)[0].verified_by


def test_a_statement_about_something_else_says_nothing_of_this_image(place: Place) -> None:
    raw = sign_dsse(statement([("", Digest.of(b"other"))], COSIGN_VULN, {}), IN_TOTO_TYPE, SIGNER)
    (found,) = place.read(attach_bundle(place.repository, place.image, raw))
    assert found.problem == "is a statement about something else"
    assert (found.verified_by, found.summaries) == (None, ())


def test_what_refers_to_another_image_is_told_as_that(place: Place) -> None:
    other = push_image(place.repository, b"another", tag="v2")
    carrier = attach_bundle(place.repository, other, bundle(place.image.digest))
    (found,) = place.read(carrier)
    assert found.problem == "is attached to something else"
    assert found.verified_by is None


@pytest.mark.parametrize(
    ("content", "media_type", "problem"),
    [
        (b"{", "application/spdx+json", "is not JSON"),
        (b"[" * 100_000, "application/spdx+json", "is not JSON"),
        (b"SPDXVersion: SPDX-2.3", "text/spdx", "is not JSON"),
        (b"{", BUNDLE_TYPE, "not read: the bundle is not JSON of the plain kind that is read here"),
        (b'{"a":1,"a":2}', DSSE, "not read: the attestation is not JSON of the plain kind that is read here"),
        (b"{}", DSSE, "not read: the payload is missing"),
    ],
)
def test_what_cannot_be_read_is_listed_with_the_reason(
    place: Place, content: bytes, media_type: str, problem: str
) -> None:
    (found,) = place.read(place.document(content, media_type))
    assert found.problem == problem
    assert found.to_json()["digest"] == str(found.digest)


def test_what_is_too_large_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOCUMENT_LIMIT", 10)
    (found,) = place.read(place.document(SPDX, "application/spdx+json"))
    assert found.problem == "not read: larger than 10 bytes"


def test_what_is_not_there_is_listed_and_hides_nothing(place: Place) -> None:
    carrier = place.document(SPDX, "application/spdx+json")
    gone = replace(carrier, descriptor=replace(carrier.descriptor, digest=Digest.of(b"gone")))
    (found,) = place.read(gone)
    assert (found.problem or "").startswith("not read: ")


def test_layers_of_one_carrier_are_told_one_by_one_up_to_a_bound(place: Place) -> None:
    layers = [push(place.repository, b"{}", f"application/x{number}+json").to_json() for number in range(60)]
    found = place.read(attach(place.repository, place.image, *layers, artifact_type="application/x"))
    assert len(found) == 51
    assert found[-1].what == "and 10 more"


def test_layers_in_the_older_form_of_a_signature_are_read_as_a_referrer(place: Place) -> None:
    made = layer(place.repository, place.image.digest)
    (found,) = place.read(attach(place.repository, place.image, made, artifact_type=SIGNATURE_ARTIFACT))
    assert found.verified_by


def test_half_a_surrogate_pair_is_made_visible_before_it_is_written(place: Place) -> None:
    creators = {"creators": ["Tool: \ud800"]}
    packages = [{"licenseDeclared": "\udfff\u202e"}]
    (found,) = place.read(place.document({**SPDX, "creationInfo": creators, "packages": packages}, "application/json"))
    raw = json.loads(bundle(place.image.digest))
    raw["verificationMaterial"]["publicKey"]["hint"] = "\ud800"
    (signed,) = place.read(attach_bundle(place.repository, place.image, json.dumps(raw).encode()))
    (odd,) = place.read(attach_bundle(place.repository, place.image, place.attestation("https://x.test/\u202e", {})))
    assert canonical_json([item.to_json() for item in (found, signed, odd)]).count("\ufffd".encode()) >= 4
