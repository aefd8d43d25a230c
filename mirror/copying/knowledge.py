"""What is known of a target before it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from secrets import SystemRandom
from threading import Lock
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mirror.copying.remembered import TargetMemory
    from mirror.copying.root import Root
    from mirror.oci.digest import Digest
    from mirror.oci.repository import ReadRepository

__all__ = ["TargetKnowledge", "sample"]

_LEAST: Final = 10
_SHARE: Final = 0.01


@dataclass(slots=True, kw_only=True)
class TargetKnowledge:
    """What need not be asked of a target registry; one instance a run. Thread-safe once copying has begun.

    Without arguments it knows nothing at first.

    ``memory``: what earlier runs confirmed. ``listed``: what the target itself has just said that tags point
    at, by repository (``host/path``) and tag. ``trusting``: what is remembered is taken for
    granted, and nothing is asked about it. ``mistaken``: something was found not to be as remembered, so
    nothing that is remembered counts; what is confirmed from then on is kept all the same. ``doubted``: labels
    of roots that were just found not to be whole.
    """

    memory: TargetMemory | None = None
    listed: Mapping[tuple[str, str], Digest] = field(default_factory=dict)
    trusting: bool = False
    mistaken: bool = False
    doubted: Collection[str] = ()
    _asked: dict[tuple[str, str], Digest | None] = field(default_factory=dict, init=False)
    _turns: dict[tuple[str, str], Lock] = field(default_factory=dict, init=False)

    def tag(self, root: Root, tag: str) -> Digest | None:
        """What a tag at the target of ``root`` was said to point at; None where there is none, or it is to be asked."""
        place = (root.target.name, tag)
        return self.listed.get(place) or self._asked.get(place)

    def look(self, target: ReadRepository, tag: str) -> Digest | None:
        """What a tag of a target points at, None where there is none; either is kept for this run.

        Raises:
            RegistryError, TransportError, ContentError: the target does not say.
        """
        place = (target.name, tag)
        if place in self.listed:
            return self.listed[place]
        with self._turns.setdefault(place, Lock()):
            if place not in self._asked:
                try:
                    self._asked[place] = target.resolve(tag).digest
                except MissingError:
                    self._asked[place] = None
            return self._asked[place]

    def resolve(self, root: Root, tag: str) -> Digest:
        """What a tag at the target of ``root`` points at, asked for once: artifacts may share a signature.

        Raises:
            MissingError: no such tag.
            RegistryError, TransportError, ContentError: the target does not say.
        """
        found = self.look(root.target, tag)
        if found is None:
            raise MissingError("the registry has no such tag", artifact=f"{root.target.name}:{tag}")
        return found

    def recall(self, root: Root) -> Digest | None:
        """What the tags of ``root`` pointed at when all it needs was confirmed; None without a record that counts."""
        counts = self.memory is not None and not self.mistaken and root.label not in self.doubted
        return self.memory.recall(root) if self.memory and counts else None

    def confirm(self, root: Root, tagged: Digest) -> None:
        """Remember that all of ``root`` is at its target, and what its tags point at there."""
        if self.memory:
            self.memory.confirm(root, tagged)

    def forget(self, root: Root) -> None:
        """Remember nothing of ``root``: the target is not as it was."""
        if self.memory:
            self.memory.forget(root)

    def doubts(self, root: Root) -> bool:
        """Whether ``root`` is to be copied though its tags are right: something below them was found missing."""
        return root.label in self.doubted or (self.memory is not None and self.memory.doubts(root))


def sample(roots: Sequence[Root]) -> list[Root]:
    """A hundredth of ``roots``, at least ten where there are so many; others each time."""
    return SystemRandom().sample(roots, min(len(roots), max(_LEAST, ceil(len(roots) * _SHARE))))
