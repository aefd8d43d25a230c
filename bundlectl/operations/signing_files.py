"""Signing files as ``cosign sign-blob`` does, and saying whether one is signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, MissingError, VerificationError
from bundlectl.operations.verdict import Verdict
from mirror.oci.digest import Digest
from signing.cosign import open_detached
from signing.envelope import BUNDLE_LIMIT, open_message, sign_message

if TYPE_CHECKING:
    from pathlib import Path

    from signing.identity import Proof, TrustAnchors
    from signing.signature import PublicKey, Signer

__all__ = ["BUNDLE_SUFFIX", "SignedFile", "check_readable", "sign_file", "verify_file"]

BUNDLE_SUFFIX: Final = ".sigstore.json"
"""Added to a file's name it is that of its bundle."""


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file's digest and the sigstore bundle that signs it; nothing was written yet."""

    path: Path
    digest: Digest
    key: PublicKey
    bundle: bytes

    def to_json(self, out: str) -> dict[str, Any]:
        """Render as the command shows it; ``out`` is where the bundle went."""
        return {
            "target": str(self.path),
            "kind": "blob",
            "digest": str(self.digest),
            "key": {"fingerprint": self.key.fingerprint},
            "out": out,
            "signatures": [],
        }


def check_readable(path: Path) -> None:
    """Make sure that a file can be read, before anybody is asked for a password to sign it.

    Raises:
        MissingError: there is no such file.
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def sign_file(path: Path, signer: Signer) -> SignedFile:
    """Sign a file of any size, by its sha256.

    Raises:
        MissingError: there is no such file.
        ConfigError: it cannot be read.
        KeyProviderError: the key cannot be used now.
    """
    digest = _digest_of(path)
    return SignedFile(path, digest, signer.public_key, sign_message(digest, signer))


def verify_file(path: Path, bundle_path: Path | None, anchors: TrustAnchors) -> Verdict:
    """Say whether a file is signed by someone who counts.

    Args:
        path: of the file.
        bundle_path: of its signature: a sigstore bundle, or what cosign 2 writes (JSON with
            ``base64Signature``, or base64 alone). None: the bundle beside the file.
        anchors: whose signature counts.

    Raises:
        MissingError: there is no such file, or no signature file where one was named.
        ConfigError: one of them cannot be read, or the package that checks certificates is absent.
    """
    beside = bundle_path or path.with_name(f"{path.name}{BUNDLE_SUFFIX}")
    digest = _digest_of(path)
    proof: Proof | None = None
    reason: str | None = None
    if bundle_path is None and not beside.exists():
        reason = f"has no signature: there is no {beside}"
    else:
        try:
            proof = _open(_read_signature(beside), digest, anchors, str(beside))
        except VerificationError as error:
            reason = f"{beside}: {error.message}"
    return Verdict(
        target=str(path),
        kind="blob",
        name=path.name,
        verified=proof is not None,
        digest=digest,
        signed_by=(proof.identity,) if proof else (),
        reason=reason,
    )


def _open(raw: bytes, digest: Digest, anchors: TrustAnchors, where: str) -> Proof:
    if b"verificationMaterial" in raw:
        return open_message(raw, digest=digest, anchors=anchors, where=where)
    return open_detached(raw, digest=digest, anchors=anchors, where=where)


def _read_signature(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(BUNDLE_LIMIT + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(raw) > BUNDLE_LIMIT:
        raise VerificationError(f"is larger than {BUNDLE_LIMIT:,} bytes, which no signature is")
    return raw


def _digest_of(path: Path) -> Digest:
    try:
        with path.open("rb") as file:
            return Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> MissingError | ConfigError:
    # A name that no file can have is a ValueError.
    if isinstance(error, FileNotFoundError | ValueError):
        return MissingError("there is no such file", artifact=str(path), hint="check the path")
    return ConfigError(f"cannot be read: {error.strerror}", artifact=str(path), hint="check its kind and rights")
