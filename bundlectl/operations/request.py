"""What a command asks for, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from bundles.belief import Belief
from bundles.selection import Selection
from bundles.sources.context import RELEASE_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundles.archive import CarriedArchive
    from bundles.policy_file import LoadKey
    from mirror.oci.repository import ReadRepository
    from signing.policy import Policy

__all__ = ["RELEASE_URL", "Beside", "SourceRequest"]


Beside: TypeAlias = "Callable[[str], ReadRepository]"
"""Opens a repository by its upstream name, ``registry/repository``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """Sources, and how they are read.

    ``belief`` says how documents are believed. ``follow`` None means what the
    command does by itself (``cli.md``, "A document that names others"). ``allow_rollback`` lets
    ``latest`` be older than what a store has seen. ``policies`` are met in addition to those of
    Collections, whose keys ``load_key`` reads. ``weakened`` says in words which of it decides what
    is trusted and where that came from; it is recorded. ``beside`` opens, by its upstream name, the repository of
    the target: what an archive left out because the site has it is read there. ``archives`` are sources that are open
    already, by how they are written: what was checked of a medium must be what is used of it.
    """

    sources: tuple[str, ...]
    selection: Selection = field(default_factory=Selection)
    belief: Belief = field(default_factory=Belief)
    follow: bool | None = None
    allow_rollback: bool = False
    policies: tuple[Policy, ...] = ()
    weakened: tuple[str, ...] = ()
    load_key: LoadKey | None = field(default=None, repr=False)
    beside: Beside | None = field(default=None, repr=False)
    archives: Mapping[str, CarriedArchive] = field(default_factory=dict, repr=False)
    release_url: str = RELEASE_URL
    package_registry: str | None = None
    package_image_registry: str | None = None
