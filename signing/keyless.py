"""Signatures by identity: sigstore bundles with a certificate, checked offline.

What Fulcio issued, what the transparency log witnessed, and when, is checked by the package
``sigstore`` (extra ``keyless``) against the trusted root that is given: nothing is fetched.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from bundlectl.errors import ConfigError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    from mirror.oci.digest import Digest
    from signing.identity import CertificateIdentity, TrustAnchors

__all__ = ["CertifiedEnvelope", "verify_artifact", "verify_envelope"]

_SHOWN: Final = 300

_Found = TypeVar("_Found")


class CertifiedEnvelope(NamedTuple):
    """What an envelope held, and whose certificate signed it."""

    identity: CertificateIdentity
    payload_type: str
    payload: bytes


def verify_envelope(raw: bytes, anchors: TrustAnchors) -> CertifiedEnvelope:
    """Check a bundle whose DSSE envelope a certificate signed.

    Raises:
        VerificationError: it does not hold, or for none of the identities; it says why.
        ConfigError: the package is absent, or the trusted root is none.
    """

    def check(verifier: Verifier, bundle: Bundle, policy: Identity) -> tuple[str, bytes]:
        return verifier.verify_dsse(bundle, policy)

    identity, (payload_type, payload) = _verify(raw, anchors, check)
    return CertifiedEnvelope(identity, payload_type, payload)


def verify_artifact(raw: bytes, digest: Digest, anchors: TrustAnchors) -> CertificateIdentity:
    """Check a bundle whose message signature a certificate made.

    Args:
        raw: the bundle.
        digest: sha256 of the bytes that should be signed.
        anchors: who counts, and the trusted root.

    Raises:
        VerificationError: it does not hold, or for none of the identities; it says why.
        ConfigError: the package is absent, or the trusted root is none.
    """

    def check(verifier: Verifier, bundle: Bundle, policy: Identity) -> None:
        from sigstore.hashes import Hashed  # noqa: PLC0415 -- an extra
        from sigstore_models.common.v1 import HashAlgorithm  # noqa: PLC0415 -- an extra

        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest.encoded))
        verifier.verify_artifact(hashed, bundle, policy)

    if digest.algorithm != "sha256":
        raise VerificationError("is signed by a certificate, which is only checked over sha256")
    return _verify(raw, anchors, check)[0]


def _verify(
    raw: bytes, anchors: TrustAnchors, check: Callable[[Verifier, Bundle, Identity], _Found]
) -> tuple[CertificateIdentity, _Found]:
    if not anchors.certificates:
        raise VerificationError("is signed by a certificate, and no identity was given to compare it with")
    if anchors.trusted_root is None:
        raise VerificationError("is signed by a certificate, and no trusted root was given to check it against")
    try:
        from sigstore.models import Bundle  # noqa: PLC0415 -- an extra
        from sigstore.verify.policy import Identity  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise ConfigError(
            "signatures by certificates need the package sigstore", hint="pip install 'bundlectl[keyless]'"
        ) from error
    verifier = _verifier(anchors.trusted_root)
    try:
        bundle = Bundle.from_json(raw)
    except Exception as error:
        raise VerificationError(f"is a bundle that sigstore cannot read: {str(error)[:_SHOWN]}") from error
    reasons: list[str] = []
    for wanted in anchors.certificates:
        if not wanted.subject or not wanted.issuer:
            # To sigstore an empty issuer would be any issuer.
            raise ConfigError(
                "an identity needs both a subject and an issuer",
                hint="write them as they stand in the certificate, `openssl x509 -text` shows both",
            )
        try:
            return wanted, check(verifier, bundle, Identity(identity=wanted.subject, issuer=wanted.issuer))
        except Exception as error:  # noqa: BLE001 -- of many libraries, over bytes of others
            reasons.append(f"{wanted}: {str(error)[:_SHOWN]}")
    raise VerificationError(f"its certificate does not hold for {'; '.join(reasons)}")


def _verifier(trusted_root: bytes) -> Verifier:
    from sigstore.models import TrustedRoot  # noqa: PLC0415 -- an extra
    from sigstore.verify import Verifier  # noqa: PLC0415 -- an extra

    try:
        # A path is the only way in that sigstore calls public.
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(trusted_root)
            file.flush()
            return Verifier(trusted_root=TrustedRoot.from_file(file.name))
    except Exception as error:
        raise ConfigError(
            f"the trusted root cannot be used: {str(error)[:_SHOWN]}",
            hint="a file as `cosign trusted-root create` writes it is meant",
        ) from error
