"""What the page tells beyond names and sizes, as values: the server knows nothing of releases and keys.

Whoever does (``bundlectl.operations``) hands the server a `Description`. All text in these values
may come from someone hostile: it is escaped where it is rendered, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.oci.digest import Digest

__all__ = ["Allowance", "CollectionView", "Command", "Description", "DocumentView", "PackageView", "SignatureView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    """A release document of a collection: its trust level, and the key that vouched for it when it was fetched."""

    kind: str
    name: str
    trust: str
    verified_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageView:
    """A Helm chart of a collection, by the name that it is pulled by here."""

    name: str
    repository: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionView:
    """What one run brought: sizes in bytes, each blob once. ``problem`` where its lock cannot be read."""

    name: str
    sources: tuple[str, ...] = ()
    documents: tuple[DocumentView, ...] = ()
    packages: tuple[PackageView, ...] = ()
    images: int = 0
    charts: int = 0
    files: int = 0
    size: int = 0
    signed_by: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureView:
    """Something attached to a manifest: what it is, and whom it names as its signer (not checked here).

    ``trust``: the level of the attachment itself, which anybody who may push may have attached.
    """

    kind: str
    signer: str | None = None
    trust: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to copy and paste: what it is for, and the text."""

    title: str
    text: str


class Allowance:
    """What one page may still read: it must not cost whatever somebody pushed. Used by one thread.

    Args:
        left: bytes.
    """

    def __init__(self, left: int = 16 * 1024 * 1024) -> None:
        self._left = left

    def take(self, size: int) -> bool:
        """Whether ``size`` more bytes may be read, which then are."""
        if size > self._left:
            return False
        self._left -= size
        return True


class Description(Protocol):
    """Answers for the page; called by any thread, for each page anew. Implementations keep what is slow to find."""

    def collections(self) -> Sequence[CollectionView]:
        """All collections, sorted by name."""
        ...

    def signatures(self, repository: str, subject: Digest, allowance: Allowance) -> Sequence[SignatureView]:
        """What is attached to a manifest of one repository of the store, as far as the allowance goes."""
        ...

    def commands(self, url: str) -> Sequence[Command]:
        """How a site is pointed at this registry.

        Args:
            url: ``http[s]://HOST[:PORT]``, as the browser knows it.
        """
        ...

    def stored_bytes(self) -> int:
        """Bytes of all blobs, as of a moment ago."""
        ...
