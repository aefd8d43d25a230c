"""What the page of ``serve`` tells of releases, packages and signatures."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError
from bundlectl.operations.configuring import MirrorForm, SiteRegistry, configure_clusters
from bundles.lock import Lock
from bundles.lock_signature import SIGNATURE_LIMIT, as_unsigned
from bundles.plan import Naming
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING
from mirror.oci.reference import Reference
from mirror.server.describing import CollectionView, Command, DocumentView, PackageView, SignatureView
from signing.cosign import CERTIFICATE_ANNOTATION, LAYER_LIMIT, SIGNATURE_ARTIFACT
from signing.envelope import BUNDLE_TYPES
from signing.stated import signer_of_bundle, signer_of_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundles.lock import LockedArtifact
    from mirror.layout import Ref, Store
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository
    from mirror.server.describing import Allowance

__all__ = ["StoreDescription"]

_AGE: Final = 30.0
"""Seconds that the size of the store is remembered."""

_FORMS: Final[dict[MirrorForm, str]] = {
    "eks-a": "EKS Anywhere",
    "containerd": "containerd",
    "registries-yaml": "k3s and RKE2",
}
_ATTACHED_MAX: Final = 20
_KEPT_MAX: Final = 10_000
_KIND_SHOWN: Final = 100
_COSIGN_TAGS: Final = {".att": "attestation (cosign)", ".sbom": "SBOM (cosign)"}


class StoreDescription:
    """Implements ``mirror.server.describing.Description`` over a store. Thread-safe.

    Collections are read when one changed. What was found of an attached manifest is kept by digest:
    it never changes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = Mutex()
        self._views: tuple[object, list[CollectionView]] = (None, [])
        self._attached: dict[Digest, SignatureView] = {}
        self._size = 0
        self._measured_at = float("-inf")

    def collections(self) -> Sequence[CollectionView]:
        """All collections, sorted by name."""
        try:
            # Before they are read: what changes meanwhile is seen the next time.
            state = self._store.collections_state()
            with self._mutex:
                if self._views[0] != state:
                    self._views = (state, self._read_collections())
                return self._views[1]
        except BundlectlError as error:
            return [CollectionView(name="collections", problem=f"cannot be read: {error}")]

    def _read_collections(self) -> list[CollectionView]:
        return [
            _view(name, raw, self._store.collection_signature(name))
            for name, raw in sorted(self._store.collections().items())
        ]

    def signatures(self, repository: str, subject: Digest, allowance: Allowance) -> Sequence[SignatureView]:
        """What is attached to a manifest, by a referrer or by cosign's tags, in the words of whoever attached it."""
        attached = {ref.descriptor.digest: (ref, "") for ref in self._store.referrers(repository, subject)}
        if subject.algorithm == "sha256":
            for suffix in (".sig", *_COSIGN_TAGS):
                ref = self._store.ref(repository, f"sha256-{subject.encoded}{suffix}")
                if ref is not None:
                    attached.setdefault(ref.descriptor.digest, (ref, suffix))
        # What a release brought comes first: nobody can push it out of sight.
        shown = sorted(attached.values(), key=lambda item: item[0].trust == "pushed")[:_ATTACHED_MAX]
        views = [replace(self._known(ref, suffix, allowance), trust=ref.trust) for ref, suffix in shown]
        if len(attached) > len(shown):
            views.append(SignatureView(kind=f"and {len(attached) - len(shown):,} more"))
        return views

    def _known(self, ref: Ref, suffix: str, allowance: Allowance) -> SignatureView:
        digest = ref.descriptor.digest
        found = self._attached.get(digest)
        if found is None:
            found = _attached_view(self._store.repository(ref.repository), ref.descriptor, suffix, allowance)
            if found is None:
                return SignatureView(kind="too large to look into here")
            with self._mutex:
                if len(self._attached) >= _KEPT_MAX:
                    self._attached.clear()
                self._attached[digest] = found
        return found

    def commands(self, url: str) -> Sequence[Command]:
        """How a site is pointed at this registry."""
        return _commands(url)

    def stored_bytes(self) -> int:
        """Bytes of all blobs, as of half a minute ago at most."""
        with self._mutex:
            if time.monotonic() - self._measured_at > _AGE:
                with suppress(BundlectlError):
                    self._size = self._store.stored_bytes()
                self._measured_at = time.monotonic()
            return self._size


def _view(name: str, raw: bytes, signature: bytes | None) -> CollectionView:
    signed_by = None
    if signature is not None:
        signed_by = signer_of_bundle(signature, limit=SIGNATURE_LIMIT) or "a signature that cannot be read"
    try:
        lock = Lock.from_bytes(raw, origin=name)
    except BundlectlError as error:
        return CollectionView(name=name, signed_by=signed_by, problem=f"cannot be read: {error.message}")
    if signature is not None:
        # Kept as somebody signed it, checked or not: what it says was verified is its signer's word, as for
        # whoever reads the store (`believe_collection`). An unsigned lock is what this store wrote down itself.
        lock = as_unsigned(lock)
    kinds = [item.type for item in lock.artifacts]
    return CollectionView(
        name=name,
        sources=tuple(source.source for source in lock.sources),
        documents=tuple(
            DocumentView(
                kind=item.kind,
                name=item.name,
                trust=item.trust,
                verified_by=item.verified_by if signature is None else None,
            )
            for item in lock.manifests
        ),
        packages=tuple(sorted(map(_package, _charts(lock)), key=lambda package: (package.name, package.tag))),
        images=kinds.count("image"),
        charts=kinds.count("chart"),
        files=kinds.count("file"),
        size=lock.unique_bytes(),
        signed_by=signed_by,
    )


def _charts(lock: Lock) -> list[LockedArtifact]:
    return [item for item in lock.artifacts if item.type == "chart" and Reference.parse(item.reference).tag]


def _package(artifact: LockedArtifact) -> PackageView:
    reference = Reference.parse(artifact.reference)
    return PackageView(name=artifact.name, repository=Naming("").repository(reference.name), tag=reference.tag or "")


def _attached_view(
    repository: ReadRepository, descriptor: Descriptor, suffix: str, allowance: Allowance
) -> SignatureView | None:
    """What is attached; None when that is more than the page may read."""
    if not allowance.take(descriptor.size):
        return None
    try:
        manifest = repository.manifest(descriptor)
        kind = _COSIGN_TAGS.get(suffix) or _kind(manifest)
        bundle = next((layer for layer in manifest.children() if layer.media_type in BUNDLE_TYPES), None)
        if bundle is None:
            return SignatureView(kind=kind, signer=_signer_of_layers(manifest))
        if bundle.size > LAYER_LIMIT or not allowance.take(bundle.size):
            return None
        with repository.open_blob(bundle) as reader:
            return SignatureView(kind=kind, signer=signer_of_bundle(reader.read(LAYER_LIMIT)))
    except BundlectlError:
        return SignatureView(kind="something that cannot be read")


def _kind(manifest: Manifest) -> str:
    kind = manifest.artifact_type
    layers = {child.media_type for child in manifest.children()}
    if kind == SIGNATURE_ARTIFACT or COSIGN_SIMPLE_SIGNING in layers:
        return "signature (cosign)"
    if kind in BUNDLE_TYPES:
        return "signature or attestation (sigstore bundle)"
    if kind == "application/vnd.cncf.notary.signature":
        return "signature (Notation)"
    if "spdx" in kind or "cyclonedx" in kind or "sbom" in kind:
        return f"SBOM ({kind[:_KIND_SHOWN]})"
    return kind[:_KIND_SHOWN] or "attached manifest"


def _signer_of_layers(manifest: Manifest) -> str | None:
    certificates = (layer.annotations.get(CERTIFICATE_ANNOTATION) for layer in manifest.children())
    found = next(filter(None, certificates), None)
    return signer_of_certificate(found) if found else None


def _commands(url: str) -> list[Command]:
    scheme, _, host = url.partition("://")
    plain = "" if scheme == "https" else " --plain-http"
    return [
        Command(
            title="Helm",
            text=f"helm pull oci://{host}/CHART --version VERSION{plain}\n"
            f"helm install NAME oci://{host}/CHART --version VERSION{plain}",
        ),
        *(
            Command(title=title, text=_configuration(host, form, plain_http=scheme == "http"))
            for form, title in _FORMS.items()
        ),
        Command(title="Check what is here against a lock", text=f"bundlectl verify registry:{host} --against LOCK"),
    ]


def _configuration(host: str, form: MirrorForm, *, plain_http: bool) -> str:
    """What ``registry config`` prints, or why there is nothing to print."""
    try:
        found = configure_clusters(Naming(host), form, site=SiteRegistry(plain_http=plain_http))
    except BundlectlError as error:
        return f"# {error.message}" + (f": {error.hint}" if error.hint else "")
    return "\n".join(f"# {file.path}\n{file.content.rstrip()}\n" for file in found.files)
