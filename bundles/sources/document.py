"""``path/to/manifest.yaml``, ``https://…``, ``s3://bucket/key``: a document, whatever its kind."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urljoin

from bundlectl.errors import ContentError, MissingError, TransportError, UsageError
from bundles.document import parse_document
from bundles.lock import BEGINNING, Lock
from bundles.lock_signature import SIGNATURE_LIMIT, SIGNATURE_SUFFIX
from bundles.schema import parse_model
from bundles.sources.context import DOCUMENT_LIMIT, Loaded, no_contents
from bundles.sources.following import Reading, believe, believe_lock, join_contents, number_of
from bundles.sources.local import read_local
from bundles.verify import accept

if TYPE_CHECKING:
    from bundles.collection import Collection
    from bundles.document import Document
    from bundles.release import Contents
    from bundles.sources.context import SourceContext

__all__ = ["LOCK_LIMIT", "read", "read_document", "read_signature"]

LOCK_LIMIT: Final = 256 * 1024 * 1024

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COLLECTION_DEPTH: Final = 8
_ON_THIS_MACHINE: Final = ("store", "archive")


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read a document; its kind decides what it means.

    Raises:
        UsageError: no such file here, and of no known form.
        MissingError, TransportError: a URL cannot be fetched.
        ContentError: malformed, or of an unknown kind.
        VerificationError: it cannot be believed.
    """
    raw = read_document(rest, context)
    if Lock.is_lock(raw):
        return _lock(raw, rest, text, context)
    document = parse_document(raw, origin=rest)
    if document.type == "Lock":
        return _lock(raw, rest, text, context)
    if document.type == "Collection":
        return _collection(document, rest, text, context)
    reading = Reading(context)
    entry = believe(document, rest, context)
    reading.add(entry, follow=context.follow)
    return Loaded(
        source=text,
        kind=document.kind,
        name=entry.name,
        number=number_of(document),
        documents=tuple(reading.documents),
        contents=reading.joined(),
    )


def read_document(location: str, context: SourceContext, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """The bytes of a document at a path or URL.

    Raises:
        UsageError: no such file, or a URL of another scheme.
        MissingError, TransportError: it cannot be fetched.
        ContentError: too large.
    """
    scheme = _SCHEME.match(location)
    if scheme is None:
        return _local(location)
    if scheme[1] == "s3":
        if context.offline:
            raise TransportError(
                "is not reached with --offline", artifact=location, hint="copy the document here, and name its path"
            )
        from bundles.sources.s3 import read_s3  # noqa: PLC0415 -- boto3, only where it is asked for

        return read_s3(location, limit=limit)
    if scheme[1] not in {"https", "http"}:
        raise UsageError(f"{scheme[1]}:// is not supported", artifact=location, hint=_hint())
    return context.fetch(location, limit=limit)


def _local(location: str) -> bytes:
    path = Path(location)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        is_folder, exists = False, False
    if is_folder:
        raise UsageError(
            "is a folder, not a document", artifact=location, hint=f"a store is named with store:{location}"
        )
    if not exists:
        raise UsageError(f"{location[:300]!r} is no file here and of no known form", hint=_hint())
    limit = LOCK_LIMIT if _begins_like_a_lock(path) else DOCUMENT_LIMIT
    return read_local(path, limit=limit)


def _begins_like_a_lock(path: Path) -> bool:
    try:
        return path.is_file() and _beginning(path) == BEGINNING
    except OSError:
        return False


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(BEGINNING))


def _hint() -> str:
    from bundles.sources import forms  # noqa: PLC0415 -- the package imports its modules late

    return f"write a path, https://…, s3://BUCKET/KEY, or one of {', '.join(f'{name}:' for name in forms())}"


def _lock(raw: bytes, location: str, text: str, context: SourceContext) -> Loaded:
    lock, signed = believe_lock(raw, read_signature(location, context), location, context)
    return Loaded(
        source=text,
        kind="Lock",
        name=lock.name or Path(location).stem,
        contents=no_contents(),
        lock=lock,
        signed=signed,
    )


def read_signature(location: str, context: SourceContext) -> bytes | None:
    """The signature of a lock, in a file beside it; None where there is none.

    Raises:
        ContentError: too large.
        TransportError: it cannot be fetched.
    """
    place = f"{location}{SIGNATURE_SUFFIX}"
    scheme = _SCHEME.match(location)
    if scheme is None:
        path = Path(place)
        return read_local(path, limit=SIGNATURE_LIMIT) if path.exists() else None
    try:
        return read_document(place, context, limit=SIGNATURE_LIMIT)
    except MissingError:
        return None
    except TransportError:
        # Some stores answer a stranger who asks for what is not there with a refusal.
        if context.belief.anchors is None:
            return None
        raise


def _collection(document: Document, location: str, text: str, context: SourceContext) -> Loaded:
    """Read every source that a Collection names, relative to where it lies itself."""
    from bundles.sources import read_source  # noqa: PLC0415 -- the package imports its modules late

    key = location if _SCHEME.match(location) else str(Path(location).resolve())
    if key in context.within or len(context.within) >= _COLLECTION_DEPTH:
        why = "names itself" if key in context.within else f"is nested more than {_COLLECTION_DEPTH} deep"
        raise ContentError(f"the Collection {why}", artifact=location, hint="take the loop out of the Collections")
    model = cast("Collection", parse_model(document))
    accept(document, model, belief=context.belief, listener=context.listener)
    inside = context.inside(key)
    sources = dict.fromkeys(_relative(source, location) for source in model.sources)
    parts = tuple(read_source(source, inside) for source in sources)
    return Loaded(
        source=text,
        kind=document.kind,
        name=document.name or Path(location).stem,
        documents=tuple(entry for part in parts for entry in part.documents),
        contents=join_contents(_wanted(part, model, location) for part in parts),
        collection=model,
        parts=parts,
    )


def _wanted(part: Loaded, outer: Collection, location: str) -> Contents:
    """What a source of a Collection contributes: of another Collection, what that one selects.

    Raises:
        UsageError: it selects platforms or referrers of its own, which are chosen once a run.
    """
    if part.collection is None:
        return part.contents
    inner = part.collection
    if (inner.platforms or outer.platforms) != outer.platforms or (outer.referrers and not inner.referrers):
        raise UsageError(
            f"names the Collection {part.source}, which selects other platforms or referrers",
            artifact=location,
            hint="say the same in both, or run them one after the other",
        )
    kept, left = inner.selection.part(part.contents.artifacts)
    return replace(part.contents, artifacts=tuple(kept), excluded=tuple(sorted({*part.contents.excluded, *left})))


def _relative(source: str, collection: str) -> str:
    """A source of a Collection, as seen from here."""
    from bundles.sources import form_of  # noqa: PLC0415 -- the package imports its modules late

    form, rest = form_of(source)
    remote = _SCHEME.match(collection)
    if form and form not in _ON_THIS_MACHINE:
        return source
    if form:
        if remote:
            raise ContentError(
                f"names {source[:200]!r}, which would be on this machine",
                artifact=collection,
                hint="a Collection from elsewhere can only name what is elsewhere; download it first",
            )
        return f"{form}:{Path(collection).parent / rest}"
    if _SCHEME.match(source):
        return source
    if not remote:
        return str(Path(collection).parent / source)
    if remote[1] == "s3":
        bucket, _, key = collection.removeprefix("s3://").partition("/")
        return f"s3://{bucket}{posixpath.normpath(posixpath.join('/', posixpath.dirname(key), source))}"
    return urljoin(collection, source)
