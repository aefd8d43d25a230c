"""What ``verify`` says of one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundlectl.errors import BundlectlError
    from mirror.oci.digest import Digest
    from signing.identity import Identity

__all__ = ["Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the signature of one target holds (``cli.md``, "Trust").

    ``digest`` is that of what was signed: the canonical bytes of a manifest, the manifest of an
    image, the bytes of a file. ``uncovered`` are paths that the signature does not protect;
    ``explained`` says of each, in the same order, what an attacker could do there. ``canonical``
    are the exact signed bytes of a manifest. ``warnings`` are told, and leave ``verified`` as it is.
    """

    target: str
    kind: str
    name: str
    verified: bool
    digest: Digest | None = None
    signed_by: tuple[Identity, ...] = ()
    reason: str | None = None
    uncovered: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    canonical: bytes | None = None
    warnings: tuple[str, ...] = ()
    failure: int = 3
    """The exit code when ``verified`` is false: another one where nothing could be found out."""

    @classmethod
    def undecided(cls, target: str, error: BundlectlError) -> Verdict:
        """What there is to say of a target among several that could not be looked at."""
        return cls(
            target=target, kind="unknown", name=target, verified=False, reason=str(error), failure=error.exit_code
        )

    @property
    def exit_code(self) -> int:
        """0 when it holds, 3 when it does not, another one when that is not known."""
        return 0 if self.verified else self.failure

    def to_json(self) -> dict[str, Any]:
        """Render as ``cli.md`` says."""
        identity = self.signed_by[0] if self.signed_by else None
        return {
            "target": self.target,
            "verified": self.verified,
            "kind": self.kind,
            "name": self.name,
            "digest": str(self.digest) if self.digest else None,
            "key": _key(identity) if identity else None,
            "reason": self.reason,
            "uncovered": list(self.uncovered),
            "gaps": [{"path": path, "allows": text} for path, text in zip(self.uncovered, self.explained, strict=True)],
            "warnings": list(self.warnings),
        }


def _key(identity: Identity) -> dict[str, Any]:
    from signing.identity import NamedKey  # noqa: PLC0415 -- not for --help

    if isinstance(identity, NamedKey):
        return {"source": identity.source, "fingerprint": identity.key.fingerprint}
    return {"source": str(identity), "fingerprint": None}
