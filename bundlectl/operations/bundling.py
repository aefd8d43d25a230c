"""``package-bundle build``: a PackageBundle of the charts that a registry holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ContentError
from bundlectl.events import Notice
from bundlectl.operations.resolving_packages import BundleRequest, PackageResolver
from bundlectl.operations.signing_documents import sign_manifest
from bundles.annotating import annotate
from bundles.canonical import canonical_bytes
from bundles.document import parse_document
from bundles.package_bundle import check_dependencies, render_package_bundle
from bundles.package_input import parse_package_input
from bundles.schema import parse_model
from bundles.schema.package_bundle import PackageBundle
from bundles.signatures import SignedManifest, check_signature
from bundles.sources.context import DOCUMENT_LIMIT
from bundles.sources.local import read_local
from mirror.oci.digest import Digest
from signing.identity import NamedKey

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from bundles.artifact import Excluded
    from bundles.schema.package_bundle import BundledPackage
    from signing.signature import PublicKey, Signer

__all__ = ["BuiltBundle", "BundleRequest", "build_package_bundle"]

_OBJECT_LIMIT: Final = 1_500_000
"""Bytes that etcd takes for one object, as Kubernetes sets it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltBundle:
    """A bundle: its text, what is in it, and who signed it.

    ``unchanged`` where the text is the one that there was before, with its signature. ``excluded``
    are images that charts name and that could not be told.
    """

    text: bytes = field(repr=False)
    bundle: PackageBundle = field(repr=False)
    key: PublicKey | None
    unchanged: bool
    excluded: tuple[Excluded, ...]

    def to_json(self, target: str, out: str) -> dict[str, Any]:
        """Render as the command shows it; ``target`` is the input, ``out`` where the bundle went."""
        return {
            "target": target,
            "name": self.bundle.metadata.name,
            "digest": str(Digest.of(self.text)),
            "size": len(self.text),
            "key": {"fingerprint": self.key.fingerprint} if self.key else None,
            "out": out,
            "unchanged": self.unchanged,
            "packages": [
                {
                    "name": package.name,
                    "repository": package.source.repository,
                    "workloadonly": package.workloadonly,
                    "versions": [
                        {
                            "name": version.name,
                            "digest": version.digest,
                            "images": [f"{image.repository}@{image.digest}" for image in version.images],
                            "dependencies": list(version.dependencies),
                        }
                        for version in package.source.versions
                    ],
                }
                for package in self.bundle.spec.packages
            ],
            "excluded": [
                {"reference": item.reference, "reason": item.reason, "foundIn": item.found_in} for item in self.excluded
            ],
        }


def build_package_bundle(
    request: BundleRequest, *, session: Session, signer: Signer | None = None, earlier: bytes = b""
) -> BuiltBundle:
    """Build a bundle: every version of every package, from charts read by the digest that goes into it.

    Args:
        request: what of.
        session: to reach the registries.
        signer: signs it; None leaves it unsigned.
        earlier: a bundle that was built before. Where only the signature would differ, and that is
            the signer's, it is the result: each signature has other bytes.

    Raises:
        MissingError: there is no such file, or a chart, version or image is not in its registry.
        ContentError: the input, or a chart, is not what it should be.
        UsageError: no registry is named, or a ``latest`` could be either of two versions.
        RegistryError, TransportError: a registry refuses or cannot be reached.
        ConfigError: charts are to be rendered, and there is no helm.
        KeyProviderError: the key cannot be used.
    """
    origin = str(request.input)
    raw = read_local(request.input, limit=DOCUMENT_LIMIT)
    wanted = parse_package_input(raw, origin=origin, name=request.name)
    for warning in wanted.warnings:
        session.listener(Notice("warning", warning))
    resolver = PackageResolver(request, wanted, session)
    packages = resolver.packages()
    check_dependencies(packages, origin=origin)
    text = render_package_bundle(wanted.name.text, packages, min_controller_version=wanted.min_controller_version)
    kept = _still_signed(text, earlier, signer, origin) if signer else None
    if kept is not None:
        text = kept
    elif signer is not None:
        text = sign_manifest(text, origin=origin, signer=signer).text
    bundle = _read_again(text, packages, signer, origin)
    if len(text) > _OBJECT_LIMIT:
        session.listener(
            Notice("warning", f"the bundle has {len(text):,} bytes, and clusters take objects of {_OBJECT_LIMIT:,}")
        )
    return BuiltBundle(
        text=text,
        bundle=bundle,
        key=signer.public_key if signer else None,
        unchanged=text == earlier,
        excluded=resolver.excluded(),
    )


def _still_signed(text: bytes, earlier: bytes, signer: Signer, origin: str) -> bytes | None:
    """The earlier bundle, if it is ``text`` with a signature of the signer's and nothing else."""
    if not earlier:
        return None
    try:
        held = SignedManifest.of(parse_document(earlier, origin=origin).root, "PackageBundle", origin=origin)
        check_signature(held, (NamedKey("the signing key", signer.public_key),))
        return earlier if annotate(text, {held.place: held.signature}, origin=origin) == earlier else None
    except BundlectlError:
        return None


def _read_again(text: bytes, packages: tuple[BundledPackage, ...], signer: Signer | None, origin: str) -> PackageBundle:
    """Read the bundle as its readers will, and hold it against what it was made of.

    Raises:
        ContentError: it is another.
        VerificationError: its signature does not hold.
    """
    document = parse_document(text, origin=origin)
    bundle = parse_model(document)
    if not isinstance(bundle, PackageBundle) or bundle.unknown or bundle.spec.packages != packages:
        raise ContentError("the bundle that was written reads otherwise", artifact=origin, hint="report this")
    manifest = SignedManifest.of(document.root, "PackageBundle", origin=origin)
    if signer is not None:
        check_signature(manifest, (NamedKey("the signing key", signer.public_key),))
    else:
        canonical_bytes(document.root, "PackageBundle", origin=origin)
    return bundle
