"""What the library reports while it works.

A listener is a plain callable. It may be called from any thread, must not block and must
not raise; the library neither prints nor logs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "ArtifactFinished",
    "BytesMoved",
    "Event",
    "Listener",
    "Notice",
    "PhaseStarted",
    "TransferPlanned",
    "Waiting",
    "ignore",
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should read: a warning, or a remark shown with ``--verbose``."""

    level: Literal["info", "warning"]
    message: str
    artifact: str | None = None


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A named stage of a command began (``resolving``, ``copying``); ``total`` units if known."""

    name: str
    total: int | None = None


@dataclass(frozen=True, slots=True)
class TransferPlanned:
    """More work became known: counts and bytes to add to the totals."""

    artifacts: int = 0
    blobs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BytesMoved:
    """Bytes that reached their target; negative when a broken transfer begins again."""

    count: int


@dataclass(frozen=True, slots=True)
class ArtifactFinished:
    """One artifact is settled."""

    reference: str
    outcome: Literal["done", "skipped", "failed"]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work for a host pauses for ``seconds`` (429, Retry-After, back-off)."""

    host: str
    seconds: float
    reason: str


Event: TypeAlias = Notice | PhaseStarted | TransferPlanned | BytesMoved | ArtifactFinished | Waiting
Listener: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event."""
