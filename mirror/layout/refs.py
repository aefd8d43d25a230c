"""What the log of refs adds up to: a table in memory, and the rules of trust.

Nothing here touches the disk. `RefTable.apply` takes records as they were logged; the ``plan_``
functions decide what a change has to log, given the table as it is under the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, StoreError, UsageError
from mirror.layout.records import OPERATIONS
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.reference import by_digest_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.layout.records import Record

__all__ = [
    "TRUST_LEVELS",
    "ProtectedError",
    "Ref",
    "RefTable",
    "check_trust",
    "forget_record",
    "plan_delete_manifest",
    "plan_delete_tag",
    "plan_put",
    "plan_restore",
]

TRUST_LEVELS: Final = ("signed", "declared", "resolved", "pushed", "off")
"""How content came to be believed (``cli.md``, "Trust level")."""

_RANK: Final = {"signed": 0, "declared": 1, "resolved": 2, "off": 3, "pushed": 4}
_TYPE_LIMIT: Final = 255


class ProtectedError(StoreError):
    """A push would move or delete what a release put into the store."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A name in the store: a tag, or (``tag`` None) content kept by its digest."""

    repository: str
    tag: str | None
    descriptor: Descriptor
    trust: str

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """By repository, then tag, then digest."""
        return (self.repository, self.tag or "", str(self.descriptor.digest))

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.descriptor.digest}"


def check_trust(trust: str) -> str:
    """Return ``trust`` if it is a trust level.

    Raises:
        UsageError: it is not.
    """
    if trust not in TRUST_LEVELS:
        raise UsageError(f"{trust[:100]!r} is not a trust level", hint=f"one of {', '.join(TRUST_LEVELS)}")
    return trust


class RefTable:
    """Refs, referrers and deletions of all repositories, as the log says. Not thread-safe."""

    def __init__(self) -> None:
        # Content kept by digest lies under the tag it would have, `by-digest-...`, with tag None.
        self._tags: dict[str, dict[str, Ref]] = {}
        self._referrers: dict[str, dict[Digest, dict[Digest, Ref]]] = {}
        self._forgotten: dict[str, set[Digest]] = {}
        self.changes = 0
        """How many records were applied."""

    def apply(self, record: Record) -> None:
        """Carry out one record.

        Raises:
            StoreError: the op is one that this version does not know.
            ContentError, KeyError, TypeError: a field is absent or malformed; nothing changed.
        """
        self.changes += 1
        operation = record["op"]
        if operation not in OPERATIONS:
            raise StoreError(
                f"its log has an entry {operation[:50]!r} that this version does not know",
                hint="a newer bundlectl wrote this store: upgrade bundlectl",
            )
        if operation == "log":
            return
        repository = _text(record, "repository")
        if operation == "untag":
            self._drop_tag(repository, _text(record, "tag"))
        elif operation == "forget":
            self._forget(repository, Digest.parse(_text(record, "digest")))
        elif operation == "restore":
            self._forgotten.get(repository, set()).discard(Digest.parse(_text(record, "digest")))
        else:
            self._put(operation, record, repository)

    def _put(self, operation: str, record: Record, repository: str) -> None:
        tag = _text(record, "tag") if operation == "tag" else None
        ref = Ref(repository, tag, Descriptor.from_json(record["descriptor"]), _text(record, "trust"))
        digest = ref.descriptor.digest
        if operation == "refer":
            subject = Digest.parse(_text(record, "subject"))
            self._referrers.setdefault(repository, {}).setdefault(subject, {})[digest] = ref
        else:
            self._tags.setdefault(repository, {})[tag or by_digest_tag(digest)] = ref
        if forgotten := self._forgotten.get(repository):
            forgotten.discard(digest)

    def _drop_tag(self, repository: str, tag: str) -> None:
        tags = self._tags.get(repository, {})
        tags.pop(tag, None)
        if not tags:
            self._tags.pop(repository, None)

    def _forget(self, repository: str, digest: Digest) -> None:
        for tag in [tag for tag, ref in self._tags.get(repository, {}).items() if ref.descriptor.digest == digest]:
            self._drop_tag(repository, tag)
        subjects = self._referrers.get(repository, {})
        for subject in [subject for subject, found in subjects.items() if digest in found]:
            del subjects[subject][digest]
            if not subjects[subject]:
                del subjects[subject]
        if not subjects:
            self._referrers.pop(repository, None)
        self._forgotten.setdefault(repository, set()).add(digest)

    def repositories(self) -> list[str]:
        """Names of the repositories that hold a ref or a referrer, sorted."""
        return sorted(self._tags.keys() | self._referrers.keys())

    def released(self) -> set[str]:
        """Names of the repositories that hold more than what was pushed."""
        return {name for name in self.repositories() if any(ref.trust != "pushed" for ref in self.owned(name))}

    def refs(self) -> list[Ref]:
        """All refs, sorted."""
        return sorted(self.named(), key=lambda ref: ref.sort_key)

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted, those of content kept by digest included."""
        return sorted(self._tags.get(repository, ()))

    def refs_of(self, repository: str) -> list[Ref]:
        """All refs of one repository, sorted by tag."""
        return [ref for _, ref in sorted(self._tags.get(repository, {}).items())]

    def ref(self, repository: str, tag: str) -> Ref | None:
        """The ref of a tag, or of a ``by-digest-...`` tag."""
        return self._tags.get(repository, {}).get(tag)

    def ref_of(self, repository: str, digest: Digest) -> Ref | None:
        """The ref that keeps a digest: the one without a tag, else the first tag."""
        tags = self._tags.get(repository, {})
        kept = tags.get(by_digest_tag(digest))
        if kept and kept.descriptor.digest == digest:
            return kept
        return next((tags[tag] for tag in sorted(tags) if tags[tag].descriptor.digest == digest), None)

    def referrers(self, repository: str, subject: Digest) -> list[Ref]:
        """Referrers of a manifest, sorted by digest; each as a ref without tag."""
        found = self._referrers.get(repository, {}).get(subject, {})
        return [found[digest] for digest in sorted(found)]

    def all_referrers(self) -> list[tuple[Digest, Ref]]:
        """Every referrer with its subject, sorted by repository, subject and digest."""
        return [
            (subject, found[digest])
            for _, subjects in sorted(self._referrers.items())
            for subject, found in sorted(subjects.items())
            for digest in sorted(found)
        ]

    def owned(self, repository: str) -> Iterator[Ref]:
        """The refs and referrers of a repository, in no order."""
        yield from self._tags.get(repository, {}).values()
        for found in self._referrers.get(repository, {}).values():
            yield from found.values()

    def names(self, repository: str, digest: Digest) -> bool:
        """Whether a ref or a referrer of the repository is the manifest of this digest."""
        return any(ref.descriptor.digest == digest for ref in self.owned(repository))

    def vouches(self, repository: str, digest: Digest, *, tag: str | None, trust: str) -> bool:
        """Whether ``tag``, or without one a referrer, names the manifest with at least this trust."""
        if tag:
            known = self.ref(repository, tag)
            return known is not None and known.descriptor.digest == digest and _RANK[known.trust] <= _RANK[trust]
        subjects = self._referrers.get(repository, {}).values()
        return any(digest in found and _RANK[found[digest].trust] <= _RANK[trust] for found in subjects)

    def is_forgotten(self, repository: str, digest: Digest) -> bool:
        """Whether the manifest or blob was deleted from this repository, though its file may be there."""
        return digest in self._forgotten.get(repository, ())

    def has_forgotten(self, repository: str) -> bool:
        """Whether anything was deleted from this repository."""
        return bool(self._forgotten.get(repository))

    def forgotten(self) -> Iterator[tuple[str, Digest]]:
        """Every repository with each digest that was deleted from it."""
        return ((repository, digest) for repository, digests in self._forgotten.items() for digest in digests)

    def named(self) -> Iterator[Ref]:
        """All refs, in no order."""
        return (ref for tags in self._tags.values() for ref in tags.values())

    def referring(self) -> Iterator[tuple[Digest, Ref]]:
        """Every referrer with its subject, in no order."""
        return (
            (subject, ref)
            for subjects in self._referrers.values()
            for subject, found in subjects.items()
            for ref in found.values()
        )

    def live(self) -> int:
        """The number of records that say what this table says."""
        return sum(
            sum(len(group) for group in groups)
            for groups in (
                self._tags.values(),
                [found for subjects in self._referrers.values() for found in subjects.values()],
                self._forgotten.values(),
            )
        )

    def records(self) -> Iterator[Record]:
        """The fewest records that say what this table says, without sequence."""
        for repository, digests in sorted(self._forgotten.items()):
            for digest in sorted(digests):
                yield forget_record(repository, digest)
        for ref in self.refs():
            yield _ref_record(ref)
        for subject, ref in self.all_referrers():
            yield _refer_record(ref, subject)


def forget_record(repository: str, digest: Digest) -> Record:
    """What says that a manifest or blob was deleted from a repository."""
    return {"op": "forget", "repository": repository, "digest": str(digest)}


def plan_put(table: RefTable, ref: Ref, *, subject: Digest | None, named: bool) -> list[Record]:
    """What to log when a manifest was stored.

    Args:
        table: the state under the lock.
        ref: repository, tag (None: by digest), descriptor and the writer's trust.
        subject: of the manifest, if it has one.
        named: whether to record ``ref`` itself; otherwise the manifest is stored only.

    Raises:
        ProtectedError: a push would move a tag that a release put there.
    """
    digest = ref.descriptor.digest
    ref = Ref(ref.repository, ref.tag, _slim(ref.descriptor), ref.trust)
    records: list[Record] = []
    if named:
        known = table.ref(ref.repository, ref.tag or by_digest_tag(digest))
        wanted = _merge(known, ref)
        if wanted != known:
            records.append(_ref_record(wanted))
    if subject:
        found = next((r for r in table.referrers(ref.repository, subject) if r.descriptor.digest == digest), None)
        wanted = _merge(found, Ref(ref.repository, None, ref.descriptor, ref.trust))
        if wanted != found:
            records.append(_refer_record(wanted, subject))
    return records or plan_restore(table, ref.repository, [digest])


def plan_delete_tag(table: RefTable, repository: str, tag: str, *, trust: str) -> list[Record]:
    """What to log to delete a tag; nothing when it is not there.

    Raises:
        ProtectedError: a push would delete what a release put there.
    """
    known = table.ref(repository, tag)
    if known is None:
        return []
    _protect(known, trust, "delete")
    return [{"op": "untag", "repository": repository, "tag": tag}]


def plan_delete_manifest(table: RefTable, repository: str, digest: Digest, *, trust: str) -> list[Record]:
    """What to log to delete a manifest with its tags; nothing when it was deleted before.

    Raises:
        ProtectedError: a push would delete what a release put there.
    """
    for ref in table.owned(repository):
        if ref.descriptor.digest == digest:
            _protect(ref, trust, "delete")
    if table.is_forgotten(repository, digest):
        return []
    return [forget_record(repository, digest)]


def plan_restore(table: RefTable, repository: str, digests: Iterable[Digest]) -> list[Record]:
    """What to log so that none of these counts as deleted from the repository any more."""
    return [
        {"op": "restore", "repository": repository, "digest": str(digest)}
        for digest in dict.fromkeys(digests)
        if table.is_forgotten(repository, digest)
    ]


def _merge(known: Ref | None, new: Ref) -> Ref:
    if known is None:
        return new
    if known.descriptor.digest != new.descriptor.digest:
        _protect(known, new.trust, "move")
        return new
    # What was believed on good grounds stays believed. A push of the same digest is no grounds at
    # all: were it recorded, the next push could move the tag.
    trust = known.trust if _RANK[known.trust] <= _RANK[new.trust] else new.trust
    return Ref(new.repository, new.tag, new.descriptor, trust)


def _protect(known: Ref, trust: str, verb: str) -> None:
    if trust == "pushed" and known.trust != "pushed":
        raise ProtectedError(
            f"a push cannot {verb} it: a download put it there (trust {known.trust!r})",
            artifact=str(known),
            hint="push under another tag, or change the store with `bundlectl download`",
        )


def _slim(descriptor: Descriptor) -> Descriptor:
    """Keep what an index entry shows; an artifact type that is no media type is left out."""
    kind = descriptor.artifact_type
    if len(kind) > _TYPE_LIMIT or not kind.isascii() or not kind.isprintable():
        kind = ""
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, artifact_type=kind)


def _ref_record(ref: Ref) -> Record:
    record: Record = {
        "op": "tag" if ref.tag else "keep",
        "repository": ref.repository,
        "descriptor": ref.descriptor.to_json(),
        "trust": ref.trust,
    }
    if ref.tag:
        record["tag"] = ref.tag
    return record


def _refer_record(ref: Ref, subject: Digest) -> Record:
    return _ref_record(ref) | {"op": "refer", "subject": str(subject)}


def _text(record: Record, key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise ContentError(f"{key!r} of an entry in the log is not text")
    return value
