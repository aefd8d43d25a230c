"""Finding the signatures of an image or chart, and checking each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, VerificationError
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import EMPTY
from mirror.verifying import VerifyingReader
from signing.cosign import LAYER_LIMIT, SIGN_PREDICATE, SIGNATURE_ARTIFACT, open_layer, signature_tag
from signing.envelope import BUNDLE_LIMIT, BUNDLE_TYPES, IN_TOTO_TYPE, open_dsse, parse_statement
from signing.identity import Evidence, Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository
    from signing.identity import SignatureFormat, TrustAnchors

__all__ = ["PREDICATE_ANNOTATION", "gather_evidence", "has_bundles"]

PREDICATE_ANNOTATION: Final = "dev.sigstore.bundle.predicateType"
"""What a bundle's manifest says is in it, which may be wrong."""

_MOST: Final = 100
"""Signatures checked for one artifact, as many as cosign does."""
_MOST_REFERRERS: Final = 1000
"""Manifests looked into for these: most may be of attestations, or of other platforms."""

_KINDS: Final = frozenset({SIGNATURE_ARTIFACT, *BUNDLE_TYPES})
_UNTOLD: Final = frozenset({"", EMPTY})
"""Types in a list of referrers that say nothing of what is there; cosign 2 has its bundles listed as empty."""


def gather_evidence(repository: ReadRepository, subject: Digest, anchors: TrustAnchors) -> Evidence:
    """Check everything that says it is a signature of ``subject``.

    Looked for are cosign's tag, and referrers with a sigstore bundle or with cosign's layers. What
    is there proves nothing: each must hold, and be of this digest. An attestation (a bundle of
    another predicate than cosign's for signing) is no signature, whoever signed it.

    Args:
        repository: a registry's or a store's, which holds the signatures beside the subject.
        subject: of the manifest that should be signed.
        anchors: whose signatures count.

    Raises:
        TransportError, RegistryError, StoreError: the repository cannot be asked; that is not
            the same as unsigned.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    gathering = _Gathering(repository, subject, anchors)
    gathering.look_at_tag()
    gathering.look_at_referrers()
    return Evidence(tuple(gathering.proofs), tuple(gathering.rejected))


def has_bundles(repository: ReadRepository, subject: Digest) -> bool:
    """Whether there are bundles beside an artifact, signatures or attestations, by whomever.

    Where there are, cosign 2.6 and 3 look at nothing else.

    Raises:
        TransportError, RegistryError: the repository cannot be asked.
    """
    try:
        referrers = _listed(repository, subject, BUNDLE_TYPES)
    except ContentError:
        return False
    return any(_kind_of(repository, descriptor) in BUNDLE_TYPES for descriptor in referrers[:_MOST_REFERRERS])


def _listed(repository: ReadRepository, subject: Digest, kinds: frozenset[str]) -> list[Descriptor]:
    """Referrers that are of one of these types, or may be; those that are first."""
    found = [item for item in repository.referrers(subject) if item.is_manifest]
    stated = [item for item in found if item.artifact_type in kinds]
    return stated + [item for item in found if item.artifact_type in _UNTOLD]


def _kind_of(repository: ReadRepository, descriptor: Descriptor) -> str:
    if descriptor.artifact_type not in _UNTOLD:
        return descriptor.artifact_type
    try:
        return repository.manifest(descriptor).artifact_type
    except (ContentError, MissingError):
        return ""


class _Gathering:
    def __init__(self, repository: ReadRepository, subject: Digest, anchors: TrustAnchors) -> None:
        self.proofs: list[Proof] = []
        self.rejected: list[str] = []
        self._repository = repository
        self._subject = subject
        self._anchors = anchors
        self._looked = 0

    def look_at_referrers(self) -> None:
        self._looked = 0  # what is under the tag leaves as much room for these
        try:
            referrers = _listed(self._repository, self._subject, _KINDS)
        except ContentError as error:
            self.rejected.append(f"the list of referrers: {error.message}")
            return
        for descriptor in referrers[:_MOST_REFERRERS]:
            with self._noting(str(descriptor.digest)):
                self._look_at_referrer(self._repository.manifest(descriptor))
        if len(referrers) > _MOST_REFERRERS:
            self.rejected.append(f"there are more than {_MOST_REFERRERS:,} referrers; the others were not looked at")

    def look_at_tag(self) -> None:
        if self._subject.algorithm != "sha256":
            return
        tag = signature_tag(self._subject)
        try:
            manifest = self._repository.manifest(self._repository.resolve(tag))
        except MissingError:
            return
        except ContentError as error:
            self.rejected.append(f"{tag}: {error.message}")
            return
        self._layers(manifest, "tag")

    def _look_at_referrer(self, manifest: Manifest) -> None:
        """Check a referrer, unless it says itself that it is no signature of the subject."""
        if manifest.artifact_type not in _KINDS:
            return
        if manifest.subject is None or manifest.subject.digest != self._subject:
            raise VerificationError("is listed here, but refers to another artifact")
        if manifest.artifact_type == SIGNATURE_ARTIFACT:
            self._layers(manifest, "referrer")
            return
        stated = manifest.annotations.get(PREDICATE_ANNOTATION, SIGN_PREDICATE)
        if stated != SIGN_PREDICATE:
            raise VerificationError(f"is an attestation ({stated[:100]!r}), not a signature")
        self._attempt(str(manifest.descriptor.digest), lambda: self.proofs.append(self._bundle(manifest)))

    def _bundle(self, manifest: Manifest) -> Proof:
        layers = _layers_of(manifest)
        if len(layers) != 1 or layers[0].media_type not in BUNDLE_TYPES:
            raise VerificationError("does not consist of one sigstore bundle")
        raw = self._read(layers[0], BUNDLE_LIMIT)
        opened = open_dsse(raw, self._anchors, where=str(manifest.descriptor.digest))
        if opened.payload_type != IN_TOTO_TYPE:
            raise VerificationError(f"signs a payload of type {opened.payload_type[:100]!r}, not a statement")
        statement = parse_statement(opened.payload)
        if statement.predicate_type != SIGN_PREDICATE:
            raise VerificationError(f"is an attestation ({statement.predicate_type[:100]!r}), not a signature")
        if self._subject not in {digest for _, digest in statement.subjects}:
            raise VerificationError("signs another image")
        return opened.proof

    def _layers(self, manifest: Manifest, kind: SignatureFormat) -> None:
        where = str(manifest.descriptor.digest)
        if manifest.is_index:
            self.rejected.append(f"{where}: is an index, where signatures are expected")
            return
        for number, layer in enumerate(_layers_of(manifest), start=1):

            def check(layer: Descriptor = layer) -> None:
                payload = self._read(layer, LAYER_LIMIT)
                proof = open_layer(
                    payload,
                    layer.annotations,
                    media_type=layer.media_type,
                    subject=self._subject,
                    anchors=self._anchors,
                    kind=kind,
                    where=where,
                )
                self.proofs.append(proof)

            if not self._attempt(f"{where}, layer {number}", check):
                return

    def _attempt(self, where: str, check: Callable[[], None]) -> bool:
        """Look at one candidate, and note why it does not count; false when no more will be looked at."""
        if self._looked >= _MOST:
            if self._looked == _MOST:
                self.rejected.append(f"there are more than {_MOST} signatures; the others were not looked at")
            self._looked = _MOST + 1
            return False
        self._looked += 1
        with self._noting(where):
            check()
        return True

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        try:
            yield
        except (VerificationError, ContentError, MissingError) as error:
            self.rejected.append(f"{where}: {error.message}")

    def _read(self, layer: Descriptor, limit: int) -> bytes:
        if layer.size > limit:
            raise ContentError(f"is larger than {limit:,} bytes")
        with VerifyingReader(self._repository.open_blob(layer), layer) as reader:
            return reader.read()


def _layers_of(manifest: Manifest) -> list[Descriptor]:
    """The layers alone, without the config that is among the manifest's children; an index has none."""
    layers = [] if manifest.is_index else manifest.document.get("layers") or []
    return [Descriptor.from_json(item) for item in layers]
