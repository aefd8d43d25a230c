"""References to content in a registry (OCI distribution-spec, "Pulling manifests"; no defaults)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from bundlectl.errors import ContentError, UsageError
from mirror.oci.digest import Digest

__all__ = ["Reference", "attached_to", "by_digest_tag", "check_repository", "check_tag", "is_attached"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_ATTACHED: Final = re.compile(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})\.[A-Za-z0-9._-]+")
_RESERVED: Final = re.compile(r"sha(?:256|512)-[0-9a-f]{64,128}(?:\..+)?")
_NAME_MAX: Final = 255


def check_repository(name: str) -> str:
    """Return ``name`` if it is a repository name (distribution-spec grammar).

    Raises:
        UsageError: it is not.
    """
    if len(name) > _NAME_MAX or not _REPOSITORY.fullmatch(name):
        raise UsageError(
            f"{name[:300]!r} is not a repository name", hint="lower-case letters, digits and . _ - between slashes"
        )
    return name


def check_tag(tag: str) -> str:
    """Return ``tag`` if it is a tag (distribution-spec grammar).

    Raises:
        UsageError: it is not.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{tag[:200]!r} is not a tag", hint="up to 128 letters, digits and . _ -, not beginning with . or -"
        )
    return tag


def by_digest_tag(digest: Digest) -> str:
    """The tag that content named by digest alone gets on a target (``cli.md``, REF).

    Never ``sha256-<hex>``: that form belongs to referrers and signatures.
    """
    return f"by-digest-{digest.algorithm}-{digest.encoded[:64]}"


def attached_to(tag: str) -> Digest | None:
    """The manifest that a tag of cosign's scheme (``sha256-<hex>.sig``) speaks of; None for any other tag."""
    match = _ATTACHED.fullmatch(tag)
    return Digest.parse(match[1].replace("-", ":")) if match else None


def is_attached(tag: str) -> bool:
    """Whether a tag names no artifact of its own: it is of cosign's scheme, or lists referrers (OCI fallback tag)."""
    return _RESERVED.fullmatch(tag) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """``registry/repository[:tag][@digest]``, nothing filled in and nothing implied."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a full reference (``cli.md``, REF).

        The host must contain ``.`` or ``:`` or be ``localhost``: a name without a host would
        need a default registry, and in an air-gapped tool every default points at the internet.

        Raises:
            UsageError: the text is not a full reference.
        """
        name, _, digest_text = text.partition("@")
        host, slash, path = name.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            raise UsageError(
                f"{text[:300]!r} names no registry",
                hint="write HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]; no registry is implied",
            )
        if not _HOST.fullmatch(host):
            raise UsageError(
                f"{host[:200]!r} is not a registry host", hint="write HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]"
            )
        repository, colon, tag = path.partition(":")
        digest = None
        if "@" in text:
            try:
                digest = Digest.parse(digest_text)
            except ContentError as error:
                raise UsageError(error.message, artifact=text[:300]) from error
        return cls(host, check_repository(repository), check_tag(tag) if colon else None, digest)

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    def pinned(self, digest: Digest) -> Reference:
        """Return the same reference with ``digest``."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"
