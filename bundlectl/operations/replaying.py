"""Whether an archive would move names back: the memory of a target (ADR 4, "What is believed").

An old archive is as validly signed as a new one. So a target remembers of each name which inventory moved it last, and
an older one may not move it to something else.
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError, VerificationError
from bundlectl.events import Notice
from bundles.sources.layers import read_layer
from mirror.filesystem import locked, mapped_errors, read_small, write_atomically
from mirror.oci.artifact import IMPORTS_REPOSITORY
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import EMPTY, EMPTY_DIGEST, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bundlectl.operations.session import Session
    from bundles.inventory import Inventory
    from bundles.plan import Naming, TargetPlan
    from mirror.layout import Store
    from mirror.remote import RemoteRegistry

__all__ = ["IMPORTS_REPOSITORY", "ImportMemory", "RegistryMemory", "StoreMemory", "hold_forward", "names_of"]

_TAG: Final = "latest"
_TYPE: Final = "application/vnd.bundlectl.imports.v1+json"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_LIMIT: Final = 32 * 1024 * 1024
"""Bytes; of 150,000 names. Whoever may push to the registry can make JSON that takes twenty times as much."""
_SHOWN: Final = 5
_EMPTY_JSON: Final = b"{}"


@dataclass(frozen=True, slots=True)
class ImportMemory:
    """By name at the target, ``repository:tag``: the digest it got, and when the inventory that said so was issued.

    ``unsigned`` are names that an inventory gave whose signature nobody checked: anybody may have dated it.
    """

    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unsigned: frozenset[str] = frozenset()

    @classmethod
    def from_bytes(cls, raw: bytes | None, *, origin: str) -> ImportMemory:
        """Read it; nothing is remembered where there is none.

        Raises:
            ContentError: it is damaged.
        """
        if raw is None:
            return cls()
        try:
            found = json.loads(raw)
            names = {
                str(name): (str(Digest.parse(item[0])), str(item[1])) for name, item in dict(found["names"]).items()
            }
            return cls(names, frozenset(map(str, found["unsigned"])))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, ContentError) as error:
            raise ContentError(
                "what is remembered of imports is damaged",
                artifact=origin,
                hint="remove it; then see to it that no older archive than the last one is imported",
            ) from error

    def to_bytes(self) -> bytes:
        """Render as canonical JSON."""
        names = {name: list(item) for name, item in self.names.items()}
        return canonical_json({"names": names, "unsigned": sorted(self.unsigned)})

    def joined(self, other: ImportMemory) -> ImportMemory:
        """Of each name what was signed before what was not, and then what was said later."""
        later = {name for name in other.names if name not in self.names or other._rank(name) >= self._rank(name)}
        return self.changed(ImportMemory({name: other.names[name] for name in later}, other.unsigned & later))

    def changed(self, other: ImportMemory) -> ImportMemory:
        """What ``other`` says, and of all other names what this does."""
        return ImportMemory({**self.names, **other.names}, (self.unsigned - other.names.keys()) | other.unsigned)

    def forbids(self, name: str, fresh: ImportMemory) -> bool:
        """Whether a name would get other content than it has by a word that counts as much, or more."""
        return (
            name in self.names and self.names[name][0] != fresh.names[name][0] and self._rank(name) >= fresh._rank(name)
        )

    def _rank(self, name: str) -> tuple[bool, str]:
        return name not in self.unsigned, self.names[name][1]


def hold_forward(
    inventory: Inventory, names: Mapping[str, Digest], known: ImportMemory, *, signed: bool, allowed: bool
) -> ImportMemory:
    """Refuse an archive that would move a name back; say what is to be remembered of one that would not.

    Of the same second, neither is known to be the later one.

    Args:
        inventory: of the archive.
        names: what gets which name (`names_of`).
        known: what the target remembers.
        signed: whether its signature was checked. Otherwise anybody may have dated it: it moves nothing that a
            signed one brought, and what it brings keeps no signed one out.
        allowed: let it be older; then that is remembered of what it moves back.

    Raises:
        VerificationError: it is not later than what moved a name before.
    """
    issued = inventory.issued.strftime(_TIME)
    fresh = ImportMemory(
        {name: (str(digest), issued) for name, digest in names.items()},
        frozenset() if signed else frozenset(names),
    )
    back = sorted(name for name in names if known.forbids(name, fresh))
    if allowed or not back:
        moved = ImportMemory({name: fresh.names[name] for name in back}, fresh.unsigned.intersection(back))
        return known.joined(fresh).changed(moved)
    more = f" and {len(back) - _SHOWN} more" if len(back) > _SHOWN else ""
    if signed:
        told = f"was issued {issued}, and would move back what a later archive, or one of the same second, brought"
    else:
        told = "has nobody's signature that was checked, and would move back what a signed or later archive brought"
    raise VerificationError(
        f"{told}: {', '.join(back[:_SHOWN])}{more}",
        artifact=inventory.name,
        hint="somebody may be playing back an old archive; if it is meant, say --allow-rollback, or keep its "
        "collection (#NAME) beside the one that is there: --name",
    )


def names_of(plan: TargetPlan) -> dict[str, Digest]:
    """All names that a plan gives at a target, ``repository:tag``, and what they are of."""
    names = {f"{planned.repository}:{planned.tag}": planned.digest for planned in plan.artifacts}
    for document in plan.manifests:
        names.update((f"{document.repository}:{tag}", document.manifest.digest) for tag in document.tags)
    return names


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

    Each is held against an import by itself. Whoever may push to the registry may change what it remembers, and
    what this machine remembers is only what was imported from here.

    Args:
        registry: the target.
        naming: how things are called there.
        session: its state directory is the second place; told where the first cannot be used.
        create_projects: make the project that the first place lies in (Harbor), if it is missing; for nobody to see.
    """

    def __init__(
        self, registry: RemoteRegistry, naming: Naming, session: Session, *, create_projects: bool = False
    ) -> None:
        self._registry = registry
        self._create_projects = create_projects
        self._repository = registry.repository(naming.own(IMPORTS_REPOSITORY))
        self._session = session
        folder = session.connection.memory
        place = hashlib.sha256(registry.host.encode()).hexdigest()[:40]
        self._path: Path | None = folder / "imports" / f"{place}.json" if folder else None

    def read(self) -> ImportMemory:
        """What is remembered in either place.

        Raises:
            ContentError: it is damaged.
            TransportError, RegistryError: the registry does not answer.
        """
        return self._own().joined(self._shared())

    def change(self, change: Callable[[ImportMemory], ImportMemory]) -> None:
        """Remember what ``change`` makes of what is remembered; in one place where the other refuses it.

        Raises:
            ContentError, TransportError, RegistryError: see `read`.
            StoreError: the state directory cannot be written.
            BundlectlError: what ``change`` raises; nothing is changed then.
        """
        own, shared = change(self._own()), change(self._shared())
        if self._path is not None:
            self._make(self._path.parent)
            write_atomically(self._path, own.to_bytes(), scratch=self._path.parent)
        try:
            self._session.persist(lambda: self._push(own.joined(shared).to_bytes()))
        except (RegistryError, MissingError, ContentError) as error:
            left = "only this machine remembers it" if self._path else "nobody remembers it"
            told = f"the registry does not keep what was imported ({error.message}); {left}"
            self._session.listener(Notice("warning", told, self._repository.name))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other imports into the registry out, as far as they run on this machine.

        Raises:
            StoreError: there is another one.
        """
        if self._path is None:
            yield
            return
        self._make(self._path.parent)
        with locked(self._path.with_suffix(".lock"), wait=False):
            yield

    @staticmethod
    def _make(folder: Path) -> None:
        with mapped_errors(folder, action="make"):
            folder.mkdir(parents=True, exist_ok=True)

    def _own(self) -> ImportMemory:
        raw = None
        if self._path is not None:
            with suppress(MissingError):
                raw = read_small(self._path, limit=_LIMIT, artifact=str(self._path))
        return ImportMemory.from_bytes(raw, origin=str(self._path))

    def _shared(self) -> ImportMemory:
        try:
            manifest = self._session.persist(lambda: self._repository.manifest(self._repository.resolve(_TAG)))
        except MissingError:
            return ImportMemory()
        except RegistryError as error:
            if error.status not in (401, 403):
                raise
            return ImportMemory()
        layer = next((child for child in manifest.children() if child.media_type == _TYPE), None)
        if layer is None:
            raise ContentError("is not what bundlectl remembers of imports", artifact=self._repository.name)
        raw = self._session.persist(
            lambda: read_layer(self._repository, layer, limit=_LIMIT, place=self._repository.name)
        )
        return ImportMemory.from_bytes(raw, origin=self._repository.name)

    def _make_project(self) -> None:
        harbor = self._registry.harbor
        if self._create_projects and harbor is not None:
            project = self._registry.profile.project_of(self._repository.name.partition("/")[2])
            if not harbor.has_project(project):
                harbor.create_project(project)

    def _push(self, raw: bytes) -> None:
        self._make_project()
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
