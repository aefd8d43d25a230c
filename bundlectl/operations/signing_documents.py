"""``sign MANIFEST``: AWS's signature annotations, made with a key of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bundlectl.errors import ContentError, KeyProviderError, UsageError
from bundles.annotating import annotate
from bundles.canonical import canonical_bytes, kind_of_root
from bundles.coverage import signature_annotation
from bundles.tree import parse_tree
from mirror.oci.digest import Digest
from signing.manifest import EXCLUDES_ANNOTATION, encode_excludes, encode_signature
from signing.selectors import parse_selectors

if TYPE_CHECKING:
    from signing.signature import PublicKey, Signer

__all__ = ["SignedDocument", "sign_manifest"]


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A manifest with its signature in it; ``digest`` is of the canonical bytes, which are what was signed."""

    text: bytes = field(repr=False)
    kind: str
    name: str
    digest: Digest
    key: PublicKey

    def to_json(self, target: str, out: str) -> dict[str, Any]:
        """Render as the command shows it; ``target`` is where the manifest came from, ``out`` where it went."""
        return {
            "target": target,
            "kind": "manifest",
            "digest": str(self.digest),
            "key": {"fingerprint": self.key.fingerprint},
            "out": out,
            "signatures": [],
        }


def sign_manifest(raw: bytes, *, origin: str, signer: Signer, excludes: tuple[str, ...] = ()) -> SignedDocument:
    """Sign a manifest as AWS signs its own; AWS's verifiers accept the result, given the public key.

    The annotations are written into the text, nothing else of which changes. A signature that is
    there is replaced. Without ``excludes`` those that the document has already stay.

    Args:
        raw: Bundles, an EKS-D release, a package bundle, or any other Kubernetes object.
        origin: for messages.
        signer: the key.
        excludes: jq paths that the signature shall not cover, for all kinds but Bundles and EKS-D
            releases, of which a fixed list is left out.

    Raises:
        UsageError: excludes for a kind that takes none.
        ContentError: no Kubernetes object, an exclude that is no path, or a text that cannot be edited.
        KeyProviderError: the key cannot be used.
    """
    tree = parse_tree(raw, origin=origin)
    kind = kind_of_root(tree.root)
    if kind == "object" and not (tree.root.text("apiVersion") and tree.root.text("kind")):
        raise ContentError(
            "is no Kubernetes object: it needs apiVersion and kind",
            artifact=origin,
            hint="to sign any file as it is: bundlectl sign --blob",
        )
    if excludes and kind in ("Bundles", "EksdRelease"):
        raise UsageError(
            f"--exclude is not for {tree.root.text('kind')}: what its signature leaves out is fixed in AWS's code",
            artifact=origin,
            hint="leave --exclude out",
        )
    added = {}
    if excludes:
        parse_selectors(excludes)
        added[EXCLUDES_ANNOTATION] = encode_excludes(excludes)
    annotation = signature_annotation(kind)
    # With the annotation in place: of annotations that were not there before, an empty map is signed.
    prepared = annotate(raw, {**added, annotation: ""}, origin=origin)
    canonical = canonical_bytes(parse_tree(prepared, origin=origin).root, kind, origin=origin)
    digest = Digest.of(canonical)
    signature = signer.sign_digest(digest)
    signed = annotate(raw, {**added, annotation: encode_signature(signature.value)}, origin=origin)
    # An annotation can only come out wrong here where an editor of text was mistaken; then nobody gets it.
    if not signature.key.verifies(
        canonical_bytes(parse_tree(signed, origin=origin).root, kind, origin=origin), signature.value
    ):
        raise KeyProviderError("the signature that was made does not hold", artifact=origin, hint="report this")
    metadata = tree.root.map("metadata")
    name = metadata.text("name") if metadata else ""
    return SignedDocument(signed, tree.root.text("kind"), name, digest, signature.key)
