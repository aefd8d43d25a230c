"""A lock's signature: the one that covers everything (``docs/concepts/trust.md``).

It is an in-toto statement in a DSSE envelope in a sigstore bundle, in a file beside the lock. Its
subjects are the lock itself and each digest that it pins: a verifier of in-toto statements can so
tell from the bundle alone whether an image belongs to what was approved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import VerificationError
from mirror.oci.digest import Digest
from signing.envelope import IN_TOTO_TYPE, open_dsse, parse_statement, sign_dsse, statement

if TYPE_CHECKING:
    from bundles.lock import Lock
    from signing.identity import Proof, TrustAnchors
    from signing.signature import Signer

__all__ = [
    "LOCK_PREDICATE",
    "SIGNATURE_LIMIT",
    "SIGNATURE_SUFFIX",
    "SignedLock",
    "as_signed",
    "as_unsigned",
    "sign_lock",
    "verify_lock",
]

LOCK_PREDICATE: Final = "https://bundlectl.dev/lock/v1alpha1"
SIGNATURE_SUFFIX: Final = ".sigstore.json"
"""Of the file beside a lock that holds its signature."""

SIGNATURE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes; a lock of 20,000 artifacts needs 5 MB."""

_ITSELF: Final = "lock"
_HINT: Final = "nothing of the lock was used; take it and its signature from who made them again"


@dataclass(frozen=True, slots=True)
class SignedLock:
    """The bytes of a lock and of its signature. ``proof`` says who signed it, once that was checked."""

    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    proof: Proof | None = None


def sign_lock(raw: bytes, lock: Lock, signer: Signer) -> bytes:
    """Sign a lock; returns the sigstore bundle.

    Args:
        raw: the lock's bytes.
        lock: what they say.
        signer: the key.

    Raises:
        KeyProviderError: the key cannot be used.
    """
    payload = statement(_subjects(raw, lock), LOCK_PREDICATE, {})
    return sign_dsse(payload, IN_TOTO_TYPE, signer)


def verify_lock(raw: bytes, lock: Lock, signature: bytes, anchors: TrustAnchors, *, origin: str) -> Proof:
    """Check that a lock is the one that was signed.

    Args:
        raw: the lock's bytes.
        lock: what they say.
        signature: the sigstore bundle.
        anchors: who may have signed it.
        origin: of the lock, for messages.

    Raises:
        VerificationError: none of them signed it, it is another lock's, or the statement does not
            list what the lock pins.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    try:
        opened = open_dsse(signature, anchors, where=f"{origin}{SIGNATURE_SUFFIX}", limit=SIGNATURE_LIMIT)
        found = parse_statement(opened.payload)
    except VerificationError as error:
        raise VerificationError(
            f"the signature of the lock does not hold: {error.message}", artifact=origin, hint=error.hint or _HINT
        ) from error
    if opened.payload_type != IN_TOTO_TYPE or found.predicate_type != LOCK_PREDICATE:
        raise VerificationError(
            f"its signature is over something else ({found.predicate_type[:100]!r})", artifact=origin, hint=_HINT
        )
    if found.subjects[:1] != ((_ITSELF, Digest.of(raw)),):
        raise VerificationError(
            "its signature is that of another lock, or the lock was altered", artifact=origin, hint=_HINT
        )
    if list(found.subjects) != _subjects(raw, lock):
        raise VerificationError("the signed statement does not list what the lock pins", artifact=origin, hint=_HINT)
    return opened.proof


def as_signed(lock: Lock) -> Lock:
    """The lock once its own signature held: every digest in it is inside a verified signature."""
    return replace(
        lock,
        artifacts=tuple(replace(item, trust="signed") for item in lock.artifacts),
        manifests=tuple(replace(item, trust="signed") for item in lock.manifests),
    )


def as_unsigned(lock: Lock) -> Lock:
    """The lock when nobody vouches for it: what it calls signed is only declared, by itself."""
    return replace(
        lock,
        artifacts=tuple(replace(item, trust="declared") if item.trust == "signed" else item for item in lock.artifacts),
        manifests=tuple(replace(item, trust="declared") if item.trust == "signed" else item for item in lock.manifests),
    )


def _subjects(raw: bytes, lock: Lock) -> list[tuple[str, Digest]]:
    pinned = {(item.reference, item.digest) for item in lock.artifacts}
    pinned.update((item.url, item.digest) for item in lock.manifests)
    return [(_ITSELF, Digest.of(raw)), *sorted(pinned)]
