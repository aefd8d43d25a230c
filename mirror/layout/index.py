"""``index.json``: the refs as other tools read them, derived from the log (ADR 1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, UsageError
from mirror.filesystem import store_error, write_atomically
from mirror.layout.refs import Ref, RefTable, plan_put
from mirror.oci.descriptor import Descriptor
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_INDEX
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mirror.layout.records import Record

__all__ = ["ADOPTED", "CONTAINERD_NAME", "INDEX_LIMIT", "REF_NAME", "IndexFile", "adopted_records", "foreign_entries"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"

ADOPTED: Final = "index.json.adopted"
"""How the name of a file begins that keeps the index another tool wrote, as it was when the store was made of it."""

INDEX_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of an index of another tool that are read."""

_STATE: Final = "dev.bundlectl.store.state"


class IndexFile:
    """The file ``index.json`` of a store.

    Args:
        path: of the file.
        scratch: a directory in the same file system for its temporary name.
    """

    def __init__(self, path: Path, *, scratch: Path) -> None:
        self.path = path
        self._scratch = scratch

    def render(self, table: RefTable, state: str) -> bytes:
        """Render all refs, then the referrers that no ref names.

        Args:
            table: the refs.
            state: the name of the log's last record, by which `is_current` knows the file again.
        """
        entries = []
        named = set()
        for ref in table.refs():
            name = str(ref)
            named.add(ref.descriptor.digest)
            entries.append(ref.descriptor.to_json() | {"annotations": {CONTAINERD_NAME: name, REF_NAME: name}})
        for _, ref in table.all_referrers():
            if ref.descriptor.digest not in named:
                named.add(ref.descriptor.digest)
                entries.append(ref.descriptor.to_json())
        return canonical_json(
            {
                "annotations": {_STATE: state},
                "manifests": entries,
                "mediaType": OCI_INDEX,
                "schemaVersion": 2,
            }
        )

    def write(self, rendered: bytes) -> None:
        """Replace the file.

        Raises:
            StoreError: the disk is full, or refuses.
        """
        write_atomically(self.path, rendered, scratch=self._scratch)

    @staticmethod
    def is_ours(raw: bytes) -> bool:
        """Whether the bytes of an index were written by us, at whatever state."""
        return raw.startswith(canonical_json({"annotations": {_STATE: ""}})[:-3])

    def is_current(self, state: str) -> bool:
        """Whether the file shows the state of that name, and was written by us.

        Other tools order the fields differently when they rewrite an index, so comparing its
        first bytes tells both.

        Raises:
            StoreError: the file cannot be read.
        """
        wanted = canonical_json({"annotations": {_STATE: state}})[:-1]
        try:
            with self.path.open("rb") as file:
                return file.read(len(wanted)) == wanted
        except FileNotFoundError:
            return False
        except OSError as error:
            raise store_error(error, self.path, action="read") from error


def foreign_entries(raw: bytes) -> list[dict[str, Any]]:
    """The descriptors of an image layout's index; empty when it is none."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return []
    entries = document.get("manifests") if isinstance(document, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def adopted_records(raw: bytes, load: Callable[[Descriptor], Manifest]) -> Iterator[Record]:
    """The records for those entries of a foreign index that have a full reference and are intact.

    Args:
        raw: the bytes of ``index.json``.
        load: reads a manifest out of the layout, checking its digest.
    """
    table = RefTable()
    for entry in foreign_entries(raw):
        try:
            manifest = load(Descriptor.from_json(entry))
            ref = _adopted_ref(entry, manifest)
            subject = manifest.subject
        except BundlectlError:
            continue
        if ref is None or table.ref(ref.repository, ref.tag or ""):
            continue
        for record in plan_put(table, ref, subject=subject.digest if subject else None, named=True):
            table.apply(record)
            yield record


def _adopted_ref(entry: dict[str, Any], manifest: Manifest) -> Ref | None:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    for key in (REF_NAME, CONTAINERD_NAME):
        try:
            reference = Reference.parse(str(annotations.get(key, "")))
        except UsageError:
            continue
        if reference.tag or reference.digest:
            return Ref(reference.name, reference.tag, manifest.descriptor, "off")
    return None
