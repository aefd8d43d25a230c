"""What finished runs confirmed about a target registry, kept for the next run (docs/how-to/sync-again.md)."""

from __future__ import annotations

import hashlib
import json
import time
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bundlectl.errors import ContentError
from bundlectl.events import Listener, ignore
from mirror.copying.recordfile import RecordFile
from mirror.oci.closing import Closing
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.copying.root import Root

__all__ = ["TargetMemory"]

_TABLE: Final = (
    "confirmed (repository TEXT, tag TEXT, contents BLOB, tagged TEXT, at INTEGER, PRIMARY KEY (repository, tag))"
    " WITHOUT ROWID"
)
_FIND: Final = "SELECT contents, tagged FROM confirmed WHERE repository = ? AND tag = ?"
_CONFIRM: Final = (
    "INSERT INTO confirmed VALUES (?, ?, ?, ?, ?) ON CONFLICT (repository, tag) DO UPDATE"
    " SET contents = excluded.contents, tagged = excluded.tagged, at = excluded.at"
    " WHERE confirmed.tagged != '' OR confirmed.at < ?"
)
_DOUBT: Final = "INSERT OR REPLACE INTO confirmed VALUES (?, ?, ?, ?, ?)"
_DROP: Final = "DELETE FROM confirmed WHERE repository = ? AND tag = ? AND tagged != ''"
_DOUBTED: Final = (b"", "")
_BATCH: Final = 256
_EVERY: Final = 5.0
"""Seconds after which records are written though a batch is not full: a killed run loses no more."""


class TargetMemory(Closing):
    """Which tags of one registry were confirmed to lead to whole artifacts. Thread-safe, a context manager.

    A record is a tag, what it pointed at, and a digest over everything that was wanted below it: manifests,
    referrers, platforms. It counts only for exactly that. To lose it costs requests, nothing else. A doubt
    (of ``verify``) that arose after this was opened outlasts what is confirmed here: who confirms may have
    looked before.

    Args:
        directory: of the user's, with one file a registry; None remembers nothing.
        host: the registry, ``host[:port]``.
        listener: told when the file cannot be used.
    """

    def __init__(self, directory: Path | None, host: str, *, listener: Listener = ignore) -> None:
        path = directory / f"{quote(host, safe='')}.sqlite" if directory else None
        self._file = RecordFile(path, table=_TABLE, listener=listener)
        self._lock = Lock()
        self._changed: dict[tuple[str, str], tuple[bytes, str] | None] = {}
        self._written = time.monotonic()
        self._opened = time.time_ns()

    def close(self) -> None:
        """Write what is not written yet, and let go of the file."""
        with self._lock:
            self._write()
        self._file.close()

    def recall(self, root: Root) -> Digest | None:
        """What all tags of ``root`` pointed at when it was confirmed whole, wanted exactly as it is now."""
        contents = _contents(root)
        found: set[str] = set()
        for tag in root.tags:
            record = self._find(root.target.name, tag)
            if record is None or record[0] != contents:
                return None
            found.add(record[1])
        try:
            return Digest.parse(found.pop()) if len(found) == 1 else None
        except ContentError:
            return None

    def confirm(self, root: Root, tagged: Digest) -> None:
        """Keep that the tags of ``root`` point at ``tagged``, and that all it needs is at its target."""
        record = (_contents(root), str(tagged))
        self._change({(root.target.name, tag): record for tag in root.tags})

    def forget(self, root: Root) -> None:
        """Drop what is remembered of the tags of ``root``."""
        name = root.target.name
        self._change({(name, tag): None for tag in root.tags if self._find(name, tag) is not None})

    def doubt(self, repository: str, tag: str) -> None:
        """Keep that something below a tag of ``repository`` (``host/path``) is missing or wrong."""
        self._change({(repository, tag): _DOUBTED})

    def doubts(self, root: Root) -> bool:
        """Whether something of ``root`` was found missing or wrong, and it was not confirmed since."""
        return any(self._find(root.target.name, tag) == _DOUBTED for tag in root.tags)

    def _find(self, repository: str, tag: str) -> tuple[bytes, str] | None:
        with self._lock:
            if (repository, tag) in self._changed:
                return self._changed[repository, tag]
        row = self._file.select(_FIND, (repository, tag))
        return (row[0], row[1]) if row and isinstance(row[0], bytes) and isinstance(row[1], str) else None

    def _change(self, records: dict[tuple[str, str], tuple[bytes, str] | None]) -> None:
        with self._lock:
            self._changed.update(records)
            if len(self._changed) >= _BATCH or time.monotonic() - self._written > _EVERY:
                self._write()

    def _write(self) -> None:
        now = time.time_ns()
        records = [(*key, *record, now) for key, record in self._changed.items() if record]
        self._file.change(_DOUBT, [record for record in records if record[2:4] == _DOUBTED])
        self._file.change(_CONFIRM, [(*record, self._opened) for record in records if record[2:4] != _DOUBTED])
        self._file.change(_DROP, [key for key, record in self._changed.items() if not record])
        self._changed.clear()
        self._written = time.monotonic()


def _contents(root: Root) -> bytes:
    """A digest over all that is wanted of ``root`` at its target."""
    wanted = [
        str(root.descriptor.digest),
        sorted(root.tags),
        sorted(map(str, root.platforms)),
        sorted(map(str, root.manifests)),
        sorted([str(item.descriptor.digest), item.tag or ""] for item in root.referrers),
    ]
    return hashlib.sha256(json.dumps(wanted).encode()).digest()
