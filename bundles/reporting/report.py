"""The report as values: what crosses, who vouches for it, and what nobody vouches for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.artifact import TrustLevel
    from bundles.coverage import Gap
    from bundles.lock import Lock, LockedArtifact, LockedManifest
    from bundles.reporting.attached import Attached
    from bundles.reporting.carried import Carried
    from bundles.reporting.changes import Change, Since
    from bundles.reporting.summaries import Severity
    from mirror.oci.digest import Digest

__all__ = ["Report", "ReportedArtifact", "ReportedDocument", "Share", "Unpinned", "Vouching"]

_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+)+([-+][0-9A-Za-z.+-]+)?")
_TYPES: Final = ("image", "chart", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouching:
    """Who vouches for the whole.

    ``digest`` is the lock's sha256; ``made_here`` says that no lock was given, and it is that of the one that this run
    made. ``says`` is whom the lock's signature names, None where it has none; ``verified_by`` who signed it, or the
    inventory of the archive that it came in, checked here. ``checked`` says in a sentence what this run checked.
    """

    digest: Digest
    made_here: bool
    says: str | None
    verified_by: str | None
    checked: str

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "lock": str(self.digest),
            "madeHere": self.made_here,
            "says": self.says,
            "verifiedBy": self.verified_by,
            "checked": self.checked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the whole: ``size`` is its unique bytes, ``own`` those that nothing else needs."""

    name: str
    artifacts: int
    size: int
    own: int

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {"name": self.name, "artifacts": self.artifacts, "size": self.size, "own": self.own}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpinned:
    """What the sources name and could not be pinned, so that it does not cross."""

    reference: str
    code: str
    error: str
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {"reference": self.reference, "code": self.code, "error": self.error}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedDocument:
    """A release document. ``gaps`` is what its signature leaves out, ``problem`` why that is not known.

    ``recorded`` is the trust level that the lock itself states; the document's own is what this run believes.
    """

    document: LockedManifest
    recorded: TrustLevel
    gaps: tuple[Gap, ...] = ()
    problem: str | None = None
    change: Change | None = None

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            **self.document.to_json(),
            "recordedTrust": self.recorded,
            "uncovered": [{"path": gap.path, "allows": gap.allows} for gap in self.gaps],
            "problem": self.problem,
            "change": self.change.to_json() if self.change else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedArtifact:
    """An artifact, and everything that a reviewer wants to see beside it.

    ``release`` is the URL of the document that names it, empty where a source does; ``package`` the chart that does.
    ``volumes`` are those of the archive that it lies in.
    """

    artifact: LockedArtifact
    recorded: TrustLevel
    release: str = ""
    component: str = ""
    package: str = ""
    attached: tuple[Attached, ...] = ()
    change: Change | None = None
    volumes: tuple[int, ...] = ()

    @property
    def version(self) -> str:
        """The tag, or what looks like a version in a file's path."""
        if self.artifact.type == "file":
            parts = self.artifact.reference.partition("?")[0].split("/")
            return next((part for part in reversed(parts) if _VERSION.fullmatch(part)), "")
        return Reference.parse(self.artifact.reference).tag or ""

    @property
    def verified_by(self) -> tuple[str, ...]:
        """Whose signatures of the whole artifact held, checked here."""
        return tuple(
            dict.fromkeys(
                item.verified_by
                for item in self.attached
                if item.kind == "signature" and item.verified_by and item.subject == self.artifact.root
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        artifact = self.artifact.to_json()
        for left_out in ("manifests", "blobs", "referrers"):
            del artifact[left_out]
        return {
            **artifact,
            "version": self.version,
            "recordedTrust": self.recorded,
            "release": self.release,
            "component": self.component,
            "package": self.package,
            "verifiedBy": list(self.verified_by),
            "attached": [item.to_json() for item in self.attached],
            "change": self.change.to_json() if self.change else None,
            "volumes": list(self.volumes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it. ``artifacts`` are in the order in which they are shown.

    ``sources`` are those that were named, without the folders they lie in; ``made_from`` those that the lock says it
    was made from, where one was named.
    """

    lock: Lock = field(repr=False)
    sources: tuple[str, ...]
    made_from: tuple[str, ...] = ()
    vouching: Vouching
    documents: tuple[ReportedDocument, ...]
    artifacts: tuple[ReportedArtifact, ...]
    unpinned: tuple[Unpinned, ...] = ()
    since: Since | None = None
    archives: tuple[Carried, ...] = ()

    @property
    def name(self) -> str:
        """Of what crosses."""
        return self.archives[0].statement.inventory.name if self.archives else self.lock.name

    @property
    def size(self) -> int:
        """Unique bytes of artifacts and release documents."""
        return self.lock.unique_bytes() + sum(item.size for item in self.lock.manifests)

    @property
    def weakened(self) -> tuple[str, ...]:
        """What decided or weakened trust, in words, when lock, archives and the site's inventory were made."""
        found = {text for archive in self.archives for text in archive.statement.inventory.weakened}
        if self.since:
            found.update(f"the site's inventory: {text}" for text in self.since.statement.inventory.weakened)
        return tuple(sorted(found.union(self.lock.weakened)))

    @property
    def vulnerabilities(self) -> Counter[Severity]:
        """How many of each severity, as all attached reports together count them."""
        scans = (scan for item in self.artifacts for found in item.attached for scan in found.scans)
        return sum((Counter(scan.counts) for scan in scans), Counter())

    @property
    def exit_code(self) -> int:
        """0, or the worst of what could not be pinned, and of files of an archive that are not what they should be."""
        wrong = any(file.problem for archive in self.archives for file in archive.files)
        codes = [item.exit_code for item in self.unpinned]
        return min([*codes, *([ContentError.exit_code] if wrong else [])], default=0)

    def by_type(self) -> tuple[Share, ...]:
        """What images, charts and files come to."""
        return self.shares({kind: [item for item in self.artifacts if item.artifact.type == kind] for kind in _TYPES})

    def by_component(self) -> tuple[Share, ...]:
        """What components come to, the largest first; an artifact of several counts for the one it is shown under."""
        groups: dict[str, list[ReportedArtifact]] = {}
        for item in self.artifacts:
            groups.setdefault(item.component, []).append(item)
        return tuple(sorted(self.shares(groups), key=lambda share: (-share.size, share.name)))

    def shares(self, groups: Mapping[str, list[ReportedArtifact]]) -> tuple[Share, ...]:
        """Measure groups of artifacts; those without any are left out."""
        sizes = self.lock.blobs
        needed = {
            name: {digest for item in items for digest in item.artifact.all_digests()} for name, items in groups.items()
        }
        users: dict[Digest, int] = {}
        for digests in needed.values():
            for digest in digests:
                users[digest] = users.get(digest, 0) + 1
        return tuple(
            Share(
                name=name,
                artifacts=len(groups[name]),
                size=sum(sizes[digest] for digest in digests),
                own=sum(sizes[digest] for digest in digests if users[digest] == 1),
            )
            for name, digests in needed.items()
            if groups[name]
        )
