"""Inventories: what an archive carries, or a site has (``docs/adr/0004-archive-format.md``).

An inventory is an in-toto statement. Signed, it is kept in the DSSE envelope of a sigstore bundle, which is
then the only form of it: there is no second copy that could say something else.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from bundlectl.errors import ContentError, VerificationError
from mirror.archive.plan import ArchivePlan, Member
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from signing.envelope import IN_TOTO_TYPE, decode_base64, open_dsse, parse_object, parse_statement, sign_dsse, statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signing.identity import Proof, TrustAnchors
    from signing.signature import Signer

__all__ = [
    "INVENTORY_LIMIT",
    "INVENTORY_PREDICATE",
    "INVENTORY_SUFFIX",
    "ArchiveContents",
    "Inventory",
    "NamedFile",
    "looks_like_inventory",
    "open_inventory",
    "sign_inventory",
    "signed_bundle",
]

INVENTORY_PREDICATE: Final = "https://bundlectl.dev/inventory/v1alpha1"
INVENTORY_SUFFIX: Final = ".inventory.json"

INVENTORY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes; 50,000 blobs need 10 MB, with their signature. JSON that was made for it takes thirty times its bytes, and a
signature is inside of JSON."""

_NAME: Final = 255
"""Characters of a file's name."""

_SET: Final = 256
"""Volumes and parity volumes that can be one set."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_GZIP: Final = b"\x1f\x8b"
_STATEMENT: Final = b'{"_type":"https://in-toto.io/Statement/v1",'
_BEGINNING: Final = 512
"""Bytes."""
_HINT: Final = "take it from who made it again"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file beside the volumes: its path in the archive's folder, digest and bytes."""

    name: str
    digest: Digest
    size: int

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in an inventory."""
        return {"name": self.name, "digest": str(self.digest), "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveContents:
    """What lies in the volumes, and beside them.

    ``present`` are blobs that were left out because the site has them, ``since`` the digests of the
    inventories (statements) that said so. ``volume_size`` is a volume's capacity in bytes.
    """

    lock: NamedFile
    lock_signature: NamedFile | None = None
    members: tuple[Member, ...] = field(repr=False)
    volume_size: int
    parity: int = 0
    present: tuple[Digest, ...] = field(default=(), repr=False)
    since: tuple[Digest, ...] = ()
    tool: tuple[NamedFile, ...] = ()

    def blobs(self) -> frozenset[Digest]:
        """What a site has that imported it: the small files of the layout, which have names, are not kept."""
        return frozenset({item.digest for item in self.members if not item.name}.union(self.present))

    def plan(self) -> ArchivePlan:
        """Where everything lies.

        Raises:
            ContentError: it contradicts itself.
        """
        return ArchivePlan(self.members, self.volume_size)

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in an inventory."""
        return {
            "lock": self.lock.to_json(),
            "lockSignature": self.lock_signature.to_json() if self.lock_signature else None,
            "members": [
                {"digest": str(item.digest), "size": item.size, **({"name": item.name} if item.name else {})}
                for item in self.members
            ],
            "volumeSize": self.volume_size,
            "parity": self.parity,
            "present": [str(digest) for digest in sorted(self.present)],
            "since": [str(digest) for digest in sorted(self.since)],
            "tool": [item.to_json() for item in self.tool],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What an archive carries, or a site has.

    ``refs`` are digests by reference, or by URL for files and release documents; the name of a blob is its digest
    alone. Of an archive, ``blobs`` are what a site that imported it has. ``issued`` is aware, in UTC, of whole seconds.
    ``weakened`` says in words what weakened trust when it was made.
    """

    name: str
    issued: dt.datetime
    refs: Mapping[str, Digest] = field(repr=False)
    blobs: frozenset[Digest] = field(repr=False)
    archive: ArchiveContents | None = None
    weakened: tuple[str, ...] = ()

    @property
    def archive_id(self) -> Digest:
        """Of all but ``issued``: two exports of the same input have it in common, and nothing else has it."""
        predicate = {**self._predicate(), "issued": ""}
        return Digest.of(canonical_json({"subjects": self._subjects(), "predicate": predicate}))

    def to_bytes(self) -> bytes:
        """Render the statement."""
        subjects = [(name, Digest.parse(digest)) for name, digest in self._subjects()]
        return statement(subjects, INVENTORY_PREDICATE, self._predicate())

    def _subjects(self) -> list[tuple[str, str]]:
        named = {name: str(digest) for name, digest in self.refs.items()}
        if self.archive is not None:
            beside = (self.archive.lock, self.archive.lock_signature, *self.archive.tool)
            named.update((item.name, str(item.digest)) for item in beside if item)
        return sorted(named.items())

    def _predicate(self) -> dict[str, Any]:
        left = self.blobs - self.archive.blobs() if self.archive else self.blobs
        return {
            "name": self.name,
            "issued": self.issued.strftime(_TIME),
            "weakened": sorted(set(self.weakened)),
            "blobs": [str(digest) for digest in sorted(left)],
            "archive": self.archive.to_json() if self.archive else None,
        }

    @classmethod
    def from_bytes(cls, raw: bytes, *, origin: str) -> Inventory:
        """Read a statement, which must be in the form that this writes.

        Raises:
            ContentError: not an inventory, or one that contradicts itself.
        """
        try:
            found = parse_statement(raw)
        except VerificationError as error:
            raise ContentError(f"is not an inventory: {error.message}", artifact=origin, hint=_HINT) from error
        if found.predicate_type != INVENTORY_PREDICATE:
            raise ContentError(
                f"is not an inventory of this version but {found.predicate_type[:100]!r}",
                artifact=origin,
                hint="a newer bundlectl may have made it",
            )
        try:
            result = _parse(dict(found.subjects), found.predicate)
            # Anything that this does not write, two readers could understand differently.
            canonical = result.to_bytes()
        except (ContentError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ContentError(
                f"is not an inventory: {getattr(error, 'message', '') or 'a field of it is missing or malformed'}",
                artifact=origin,
                hint=_HINT,
            ) from error
        if canonical != raw:
            raise ContentError("is not in canonical form: it was altered", artifact=origin, hint=_HINT)
        return result


def _parse(subjects: dict[str, Digest], predicate: Mapping[str, Any]) -> Inventory:
    archive = _parse_archive(predicate["archive"]) if predicate["archive"] is not None else None
    blobs = {Digest.parse(text) for text in predicate["blobs"]}
    if archive is not None:
        for item in (archive.lock, archive.lock_signature, *archive.tool):
            if item is not None and subjects.pop(item.name, None) != item.digest:
                raise ContentError(f"{item.name[:200]!r} is not among its subjects")
        blobs |= archive.blobs()
    return Inventory(
        name=_text(predicate["name"]),
        issued=dt.datetime.strptime(predicate["issued"], _TIME).replace(tzinfo=dt.UTC),
        weakened=tuple(_text(item) for item in predicate["weakened"]),
        refs=subjects,
        blobs=frozenset(blobs),
        archive=archive,
    )


def _parse_archive(value: Mapping[str, Any]) -> ArchiveContents:
    signature = value["lockSignature"]
    contents = ArchiveContents(
        lock=_parse_file(value["lock"]),
        lock_signature=_parse_file(signature) if signature is not None else None,
        members=tuple(
            Member(Digest.parse(item["digest"]), _count(item["size"]), _path(item["name"]) if "name" in item else "")
            for item in value["members"]
        ),
        volume_size=_count(value["volumeSize"]),
        parity=_count(value["parity"]),
        present=tuple(Digest.parse(text) for text in value["present"]),
        since=tuple(Digest.parse(text) for text in value["since"]),
        tool=tuple(_parse_file(item) for item in value["tool"]),
    )
    volumes = len(contents.plan().volumes)
    if contents.parity and volumes + contents.parity > _SET:
        raise ContentError(f"has {contents.parity} parity volumes, and more than {_SET} volumes of both kinds")
    return contents


def _parse_file(value: Mapping[str, Any]) -> NamedFile:
    return NamedFile(_path(value["name"]), Digest.parse(value["digest"]), _count(value["size"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ContentError("a name is not text")
    return value


def _path(value: object) -> str:
    """A path below the archive's folder: whoever reads the file joins the two."""
    name = _text(value)
    if any(part in ("", ".", "..") or len(part) > _NAME for part in name.split("/")):
        raise ContentError(f"{name[:200]!r} does not lie in its folder")
    return name


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise ContentError("a number is none")
    return value


def sign_inventory(inventory: Inventory, signer: Signer) -> bytes:
    """Sign an inventory; returns the sigstore bundle, which carries it.

    Raises:
        KeyProviderError: the key cannot be used.
    """
    return sign_dsse(inventory.to_bytes(), IN_TOTO_TYPE, signer)


def open_inventory(raw: bytes, anchors: TrustAnchors | None, *, origin: str) -> tuple[Inventory, Proof | None]:
    """Read an inventory file, signed or not, compressed by gzip or not.

    Args:
        raw: its bytes.
        anchors: who must have signed it; None to look at no signature.
        origin: for messages.

    Returns:
        The inventory, and who signed it: None where nobody had to.

    Raises:
        VerificationError: none of them signed it.
        ContentError: not an inventory.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    raw = _unpacked(raw, origin)
    if anchors is None:
        return Inventory.from_bytes(_payload(raw, origin), origin=origin), None
    if not _is_bundle(raw):
        raise VerificationError(
            "is not signed", artifact=origin, hint="nothing was done; `--key KEY` of export and inventory signs one"
        )
    try:
        opened = open_dsse(raw, anchors, where=origin, limit=INVENTORY_LIMIT)
    except VerificationError as error:
        raise VerificationError(
            f"the signature of the inventory does not hold: {error.message}",
            artifact=origin,
            hint=error.hint or f"nothing of it was used; {_HINT}",
        ) from error
    if opened.payload_type != IN_TOTO_TYPE:
        raise VerificationError("its signature is over something else", artifact=origin, hint=_HINT)
    return Inventory.from_bytes(opened.payload, origin=origin), opened.proof


def signed_bundle(raw: bytes, *, origin: str) -> bytes | None:
    """The sigstore bundle that an inventory file holds, compressed or not; None where it is not signed.

    Raises:
        ContentError: it cannot be unpacked.
    """
    raw = _unpacked(raw, origin)
    return raw if _is_bundle(raw) else None


def looks_like_inventory(file: BinaryIO) -> bool:
    """Whether a file begins like an inventory, signed or not, compressed or not; it may still be none.

    Raises:
        OSError: it cannot be read.
    """
    beginning = file.read(_BEGINNING)
    if beginning.startswith(_GZIP):
        try:
            beginning = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(beginning, _BEGINNING)
        except zlib.error:
            return False
    return beginning.startswith(_STATEMENT) or _is_bundle(beginning)


def _is_bundle(raw: bytes) -> bool:
    return b'"dsseEnvelope"' in raw[:200]


def _payload(raw: bytes, origin: str) -> bytes:
    if not _is_bundle(raw):
        return raw
    try:
        envelope = parse_object(raw, "the inventory")["dsseEnvelope"]
        return decode_base64(envelope.get("payload") if isinstance(envelope, dict) else None, "the payload")
    except VerificationError as error:
        raise ContentError(f"is not an inventory: {error.message}", artifact=origin, hint=_HINT) from error


def _unpacked(raw: bytes, origin: str) -> bytes:
    if not raw.startswith(_GZIP):
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            unpacked = file.read(INVENTORY_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ContentError("is not what gzip writes", artifact=origin, hint=_HINT) from error
    if len(unpacked) > INVENTORY_LIMIT:
        raise ContentError(f"unpacks to more than {INVENTORY_LIMIT:,} bytes", artifact=origin, hint=_HINT)
    return unpacked
