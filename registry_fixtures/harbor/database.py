"""What Harbor keeps in its database beside the registry's storage: projects, artifacts, tags, accessories, blobs."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from registry_fixtures.harbor.clock import Clock

__all__ = ["Accessory", "Artifact", "BlobRecord", "Database", "Project", "Repository", "Scan", "Tag"]

UNLIMITED = -1

_RANK: Final = {"None": 0, "Low": 1, "Medium": 2, "High": 3, "Critical": 4}


@dataclass(slots=True)
class BlobRecord:
    """What core knows of a blob. ``touched`` is what garbage collection compares with its window."""

    size: int
    touched: float
    status: str = "none"
    """``none``, ``delete`` (marked by a collection, not begun), ``deleting`` or ``deletefailed``."""


@dataclass(slots=True)
class Scan:
    """What a scanner says of an image: the ``status`` of its run, and numbers of vulnerabilities by severity."""

    status: str = "Success"
    found: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many vulnerabilities there are."""
        return sum(self.found.values())

    def reaches(self, severity: str) -> bool:
        """Whether the worst is as bad as ``severity`` (``Low`` to ``Critical``)."""
        worst = max((_RANK.get(name, 0) for name, count in self.found.items() if count), default=-1)
        return worst >= _RANK.get(severity, 0)


@dataclass(slots=True, kw_only=True)
class Artifact:
    """A manifest that core knows. One that was deleted is not here, though storage may still have it."""

    number: int
    manifest: Manifest
    type: str
    """``IMAGE``, ``CHART``, …, ``UNKNOWN``."""
    media_type: str
    """The config's media type; an index has its own."""
    size: int
    blobs: frozenset[Digest]
    children: tuple[Digest, ...]
    extra_attrs: dict[str, Any]
    pushed: float
    pulled: float | None = None
    scan: Scan | None = None


@dataclass(slots=True)
class Tag:
    """A name for an artifact."""

    number: int
    name: str
    digest: Digest
    pushed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accessory:
    """An artifact that belongs to another: a signature, an SBOM, any referrer."""

    number: int
    digest: Digest
    subject: Digest
    type: str
    created: float


@dataclass(slots=True, kw_only=True)
class Repository:
    """A repository that an artifact was once pushed to. ``name`` has the project in front."""

    number: int
    name: str
    created: float
    artifacts: dict[Digest, Artifact] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    accessories: dict[Digest, Accessory] = field(default_factory=dict)
    """By the accessory's own digest."""
    description: str = ""
    pulls: int = 0

    @property
    def path(self) -> str:
        """The name without the project."""
        return self.name.partition("/")[2]

    def tags_of(self, digest: Digest) -> list[Tag]:
        """Tags of an artifact, by name."""
        return sorted((tag for tag in self.tags.values() if tag.digest == digest), key=lambda tag: tag.name)

    def accessories_of(self, digest: Digest) -> list[Accessory]:
        """Accessories of a subject, oldest first."""
        found = [accessory for accessory in self.accessories.values() if accessory.subject == digest]
        return sorted(found, key=lambda accessory: accessory.number)

    def parents(self, digest: Digest) -> list[Artifact]:
        """Indexes that name a manifest."""
        return [artifact for artifact in self.artifacts.values() if digest in artifact.children]


@dataclass(slots=True, kw_only=True)
class Project:
    """A project: who may do what, its rules, its quota, and the blobs that count against it."""

    number: int
    name: str
    created: float
    owner: str = "admin"
    metadata: dict[str, str] = field(default_factory=dict)
    storage_limit: int = UNLIMITED
    """Bytes; -1 is unlimited."""
    upstream: int = 0
    """The registry that a proxy-cache project stands for; 0 for an ordinary project."""
    members: dict[str, int] = field(default_factory=dict)
    """Role ids by user: 1 admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By full name."""
    blobs: dict[Digest, int] = field(default_factory=dict)
    """Sizes that count against the quota, as core recorded them."""
    immutable_rules: list[dict[str, Any]] = field(default_factory=list)
    retention: dict[str, Any] | None = None
    cve_allowlist: dict[str, Any] = field(default_factory=dict)

    @property
    def public(self) -> bool:
        """Whether anybody may pull."""
        return self.metadata.get("public") == "true"

    @property
    def used(self) -> int:
        """Bytes that count against the quota."""
        return sum(self.blobs.values())

    def needed(self) -> set[Digest]:
        """Blobs and manifests that the artifacts of this project consist of."""
        artifacts = [artifact for held in self.repositories.values() for artifact in held.artifacts.values()]
        return {digest for artifact in artifacts for digest in artifact.blobs}


class Database:
    """All of it, behind one lock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.projects: dict[str, Project] = {}
        self.blobs: dict[Digest, BlobRecord] = {}
        self.trash: set[tuple[str, Digest]] = set()
        """Deleted manifests by repository, until garbage is collected."""
        self._numbers: dict[str, itertools.count[int]] = {}

    def number(self, kind: str) -> int:
        """A fresh id of a ``kind`` (``project``, ``artifact``, …), from 1."""
        with self.lock:
            return next(self._numbers.setdefault(kind, itertools.count(1)))

    def project_of(self, repository: str) -> Project | None:
        """The project that a repository's full name begins with."""
        return self.projects.get(repository.partition("/")[0])

    def repositories(self) -> Iterator[Repository]:
        """Every repository, by name."""
        found = [held for project in self.projects.values() for held in project.repositories.values()]
        return iter(sorted(found, key=lambda held: held.name))

    def record_blob(self, project: Project, digest: Digest, size: int) -> None:
        """Note a blob that was just written, and count it against the project."""
        self.blobs[digest] = BlobRecord(size, self.clock.now())
        project.blobs.setdefault(digest, size)

    def touch(self, digest: Digest) -> bool:
        """Set back a blob's collection clock; False for one that is unknown or about to be removed."""
        record = self.blobs.get(digest)
        if record is None or record.status in ("deleting", "deletefailed"):
            return False
        record.status = "none"
        record.touched = self.clock.now()
        return True
