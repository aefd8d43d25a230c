"""Whether an archive would move names back: the memory of a target (ADR 4, "What is believed").

An old archive is as validly signed as a new one. So a target remembers of each name which inventory moved it last, and
an older one may not move it to something else.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError, VerificationError
from bundlectl.events import Notice
from bundles.sources.layers import read_layer
from mirror.filesystem import mapped_errors, read_small, write_atomically
from mirror.oci.artifact import IMPORTS_REPOSITORY
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import EMPTY, EMPTY_DIGEST, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from bundlectl.operations.session import Session
    from bundles.inventory import Inventory
    from bundles.plan import Naming, TargetPlan
    from mirror.layout import Store
    from mirror.remote import RemoteRegistry

__all__ = ["IMPORTS_REPOSITORY", "ImportMemory", "RegistryMemory", "StoreMemory", "hold_forward"]

_TAG: Final = "latest"
_TYPE: Final = "application/vnd.bundlectl.imports.v1+json"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_LIMIT: Final = 256 * 1024 * 1024
_SHOWN: Final = 5
_EMPTY_JSON: Final = b"{}"


@dataclass(frozen=True, slots=True)
class ImportMemory:
    """By name at the target, ``repository:tag``: the digest it got, and when the inventory that said so was issued."""

    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, raw: bytes | None, *, origin: str) -> ImportMemory:
        """Read it; nothing is remembered where there is none.

        Raises:
            ContentError: it is damaged.
        """
        if raw is None:
            return cls()
        try:
            found = json.loads(raw)["names"]
            return cls({str(name): (str(Digest.parse(item[0])), str(item[1])) for name, item in found.items()})
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, ContentError) as error:
            raise ContentError(
                "what is remembered of imports is damaged",
                artifact=origin,
                hint="remove it; then see to it that no older archive than the last one is imported",
            ) from error

    def to_bytes(self) -> bytes:
        """Render as canonical JSON."""
        return canonical_json({"names": {name: list(item) for name, item in self.names.items()}})

    def joined(self, other: ImportMemory) -> ImportMemory:
        """Of each name what the later inventory said."""
        names = dict(self.names)
        for name, item in other.names.items():
            if name not in names or item[1] >= names[name][1]:
                names[name] = item
        return ImportMemory(names)


def hold_forward(inventory: Inventory, plan: TargetPlan, known: ImportMemory, *, allowed: bool) -> ImportMemory:
    """Refuse an archive that would move a name back; say what is to be remembered of one that would not.

    Args:
        inventory: of the archive.
        plan: what gets which name.
        known: what the target remembers.
        allowed: let it be older; then it is what is remembered.

    Raises:
        VerificationError: it is older than what moved a name before.
    """
    issued = inventory.issued.strftime(_TIME)
    wanted = dict(_names(plan))
    back = sorted(
        name for name, digest in wanted.items() if name in known.names and _is_back(known.names[name], digest, issued)
    )
    if back and not allowed:
        more = f" and {len(back) - _SHOWN} more" if len(back) > _SHOWN else ""
        raise VerificationError(
            f"was issued {issued}, and would move back what a later archive brought: {', '.join(back[:_SHOWN])}{more}",
            artifact=inventory.name,
            hint="somebody may be playing back an old archive; if it is meant, say --allow-rollback",
        )
    fresh = ImportMemory({name: (digest, issued) for name, digest in wanted.items()})
    if allowed:
        return ImportMemory({**known.names, **fresh.names})
    return known.joined(fresh)


def _is_back(known: tuple[str, str], digest: str, issued: str) -> bool:
    return known[0] != digest and known[1] > issued


def _names(plan: TargetPlan) -> Iterable[tuple[str, str]]:
    for planned in plan.artifacts:
        yield f"{planned.repository}:{planned.tag}", str(planned.digest)
    for document in plan.manifests:
        for tag in document.tags:
            yield f"{document.repository}:{tag}", str(document.manifest.digest)


class StoreMemory:
    """What a store remembers.

    Args:
        store: open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> ImportMemory:
        """What is remembered.

        Raises:
            ContentError: it is damaged.
        """
        return ImportMemory.from_bytes(self._store.imports(), origin=str(self._store.path))

    def change(self, change: Callable[[ImportMemory], ImportMemory]) -> None:
        """Remember what ``change`` makes of what is remembered, while no other import does.

        Raises:
            ContentError: it is damaged.
            StoreError: the store cannot be written.
            BundlectlError: what ``change`` raises; nothing is changed then.
        """
        origin = str(self._store.path)
        self._store.change_imports(lambda raw: change(ImportMemory.from_bytes(raw, origin=origin)).to_bytes())


class RegistryMemory:
    """What is remembered of a registry: in it, for everyone who imports into it, and in the state directory.

    Args:
        registry: the target.
        naming: how things are called there.
        session: its state directory is the second place; told where the first cannot be used.
    """

    def __init__(self, registry: RemoteRegistry, naming: Naming, session: Session) -> None:
        self._repository = registry.repository(naming.own(IMPORTS_REPOSITORY))
        self._session = session
        folder = session.connection.memory
        place = hashlib.sha256(self._repository.name.encode()).hexdigest()[:40]
        self._path: Path | None = folder / "imports" / f"{place}.json" if folder else None

    def read(self) -> ImportMemory:
        """What is remembered in either place.

        Raises:
            ContentError: it is damaged.
            TransportError, RegistryError: the registry does not answer.
        """
        own = None
        if self._path is not None and self._path.exists():
            own = read_small(self._path, limit=_LIMIT, artifact=str(self._path))
        memory = ImportMemory.from_bytes(own, origin=str(self._path))
        try:
            manifest = self._session.persist(lambda: self._repository.manifest(self._repository.resolve(_TAG)))
        except MissingError:
            return memory
        except RegistryError as error:
            if error.status not in (401, 403):
                raise
            return memory
        layer = next((child for child in manifest.children() if child.media_type == _TYPE), None)
        if layer is None:
            raise ContentError("is not what bundlectl remembers of imports", artifact=self._repository.name)
        raw = read_layer(self._repository, layer, limit=_LIMIT, place=self._repository.name)
        return memory.joined(ImportMemory.from_bytes(raw, origin=self._repository.name))

    def change(self, change: Callable[[ImportMemory], ImportMemory]) -> None:
        """Remember what ``change`` makes of what is remembered; on this machine alone where the registry refuses it.

        Raises:
            ContentError, TransportError, RegistryError: see `read`.
            StoreError: the state directory cannot be written.
            BundlectlError: what ``change`` raises; nothing is changed then.
        """
        self._write(change(self.read()).to_bytes())

    def _write(self, raw: bytes) -> None:
        if self._path is not None:
            with mapped_errors(self._path, action="write"):
                self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, raw, scratch=self._path.parent)
        try:
            self._push(raw)
        except (RegistryError, MissingError, ContentError) as error:
            told = f"the registry does not keep what was imported ({error.message}); only this machine remembers it"
            self._session.listener(Notice("warning", told, self._repository.name))

    def _push(self, raw: bytes) -> None:
        config = Descriptor(EMPTY, Digest.parse(EMPTY_DIGEST), len(_EMPTY_JSON))
        layer = Descriptor(_TYPE, Digest.of(raw), len(raw))
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": _TYPE,
            "config": config.to_json(),
            "layers": [layer.to_json()],
        }
        for descriptor, data in ((config, _EMPTY_JSON), (layer, raw)):
            upload = self._repository.begin_blob(descriptor)
            if not isinstance(upload, str):
                upload.write(lambda data=data, upload=upload: io.BytesIO(data[upload.offset() :]))  # type: ignore[misc]
        self._repository.put_manifest(Manifest.render(document), tag=_TAG)
