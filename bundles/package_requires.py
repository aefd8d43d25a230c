"""What the chart of a package says of itself: ``requires.yaml``, and the schema of its values."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from bundlectl.errors import ContentError
from bundles.published import Located, PublishedSchema
from bundles.tree import parse_tree
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from jsonschema_rs import Validator

    from bundles.helm.archive import Chart

__all__ = ["RequiredImage", "Requires", "decode_schema", "encode_schema", "read_requires", "schema_validator"]

_SCHEMA: Final = PublishedSchema("package-requires.schema.json")
_REQUIRES: Final = "requires.yaml"
_VALUES_SCHEMA: Final = "values.schema.json"
_ANYTHING: Final = b'{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}'
_DECODED_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a schema; AWS's largest has some hundred thousand."""
_ENCODED_LIMIT: Final = 1024 * 1024
"""Characters of an encoded schema: etcd takes objects of 1.5 MiB, and a bundle is one object."""
_GZIP_HEADER: Final = bytes.fromhex("1f8b08000000000002ff")
"""Of deflate at its best, without a time and without the name of an operating system."""
_GZIP: Final = 31
_DRAFTS: Final = ("draft-04", "draft-06", "draft-07", "draft/2019-09", "draft/2020-12")


@dataclass(frozen=True, slots=True)
class RequiredImage:
    """An image in ``requires.yaml``; ``tag`` is only the name of the digest where there is one."""

    repository: str
    tag: str
    digest: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requires:
    """What a chart needs. ``schema`` is in the form that a bundle holds, and never empty.

    ``warnings`` say what installations would stumble over.
    """

    images: tuple[RequiredImage, ...]
    schema: str
    dependencies: tuple[str, ...]
    warnings: tuple[str, ...]


def read_requires(chart: Chart) -> Requires:
    """Read ``requires.yaml`` (``domain.md`` section 6), and the schema of the values where that has none.

    A chart without either needs nothing that it would say, and takes all values: AWS's controller
    refuses a package whose schema is empty.

    Raises:
        ContentError: one of them is malformed, told as ``CHART!FILE:LINE: FIELD: WHY``, or the schema
            is one with which nothing could be installed.
    """
    spec: dict[str, Any] = {}
    raw = chart.files.get(_REQUIRES)
    if raw is not None:
        place = f"{chart.label}!{_REQUIRES}"
        # Of its warnings, about text that looks like numbers, nothing is used.
        value, _ = _SCHEMA.read(Located(parse_tree(raw, origin=place).root, place))
        spec = value["spec"]
    schema, warnings = _schema_of(chart, _one_line(spec.get("schema", "")))
    return Requires(
        images=tuple(dict.fromkeys(_image(item) for item in spec.get("images", ()))),
        schema=schema,
        dependencies=tuple(dict.fromkeys(name for name in spec.get("dependencies", ()) if name)),
        warnings=warnings,
    )


def _image(item: dict[str, str]) -> RequiredImage:
    digest = item.get("digest")
    return RequiredImage(item["repository"], item.get("tag", ""), Digest.parse(digest) if digest else None)


def _schema_of(chart: Chart, encoded: str) -> tuple[str, tuple[str, ...]]:
    if encoded:
        place = f"{chart.label}!{_REQUIRES}"
        return encoded, _remarks(decode_schema(encoded, origin=place), place)
    raw = chart.files.get(_VALUES_SCHEMA)
    if raw is None:
        return encode_schema(_ANYTHING, origin=chart.label), (
            f"{chart.label} has no schema of its values: whatever they are will be accepted",
        )
    place = f"{chart.label}!{_VALUES_SCHEMA}"
    return encode_schema(raw, origin=place), _remarks(raw, place)


def _remarks(raw: bytes, place: str) -> tuple[str, ...]:
    try:
        schema_validator(raw)
    except ContentError as error:
        raise ContentError(
            error.message, artifact=place, hint="correct it in the chart: every package controller would refuse it"
        ) from error
    schema = json.loads(raw)
    closed = isinstance(schema, dict) and schema.get("additionalProperties") is False
    properties = schema.get("properties") if closed else None
    if not closed or (isinstance(properties, dict) and "sourceRegistry" in properties):
        return ()
    return (f"{place} does not allow sourceRegistry, which AWS's controller always sets: it would refuse all values",)


def schema_validator(raw: bytes, *, mask: str | None = None) -> Validator:
    """What holds values to a schema: by its declared draft, by 7 where it declares none. Nothing is fetched.

    Args:
        raw: the schema, as JSON.
        mask: what stands for a value in messages.

    Raises:
        ContentError: no values can be held to it: it is malformed, or refers to what is not in it.
    """
    from jsonschema_rs import Draft7Validator, validator_for  # noqa: PLC0415 -- only where something is checked

    schema = json.loads(raw)
    declared = str(schema.get("$schema", "")) if isinstance(schema, dict) else ""
    try:
        if any(draft in declared for draft in _DRAFTS):
            return validator_for(schema, retriever=_refuse, mask=mask)
        if isinstance(schema, dict):
            # AWS's own schemas say http://json-schema.org/schema#, which names no draft.
            schema = {**schema, "$schema": "http://json-schema.org/draft-07/schema#"}
        return Draft7Validator(schema, retriever=_refuse, mask=mask)
    except (ValueError, RecursionError) as error:
        raise ContentError(f"the schema cannot be used: {str(error).partition(chr(10))[0][:300]}") from error


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri[:200]} lies elsewhere, and nothing is fetched")


def encode_schema(raw: bytes, *, origin: str) -> str:
    """Write a JSON Schema as bundles hold it: base64 of its gzip.

    The gzip has no time and no name in it; the same version of zlib makes the same text of the same schema.

    Args:
        raw: the schema, as JSON.
        origin: for messages.

    Raises:
        ContentError: not a JSON Schema, or too large.
    """
    _check(raw, origin)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(raw) + packer.flush()
    trailer = zlib.crc32(raw).to_bytes(4, "little") + (len(raw) & 0xFFFFFFFF).to_bytes(4, "little")
    text = base64.b64encode(_GZIP_HEADER + packed + trailer).decode()
    if len(text) > _ENCODED_LIMIT:
        raise _too_long(origin)
    return text


def decode_schema(text: str, *, origin: str) -> bytes:
    """Read a schema that a bundle or ``requires.yaml`` holds.

    Args:
        text: base64 of the gzip of JSON; line breaks are dropped, as Go does.
        origin: for messages.

    Raises:
        ContentError: not that, or too large.
    """
    if len(text) > _ENCODED_LIMIT:
        raise _too_long(origin)
    try:
        packed = binascii.a2b_base64(_one_line(text).encode(), strict_mode=True)
        unpacker = zlib.decompressobj(wbits=_GZIP)
        raw = unpacker.decompress(packed, _DECODED_LIMIT + 1)
        if len(raw) <= _DECODED_LIMIT and (not unpacker.eof or unpacker.unused_data):
            raise ValueError("it is cut short, or something follows it")  # noqa: TRY301 -- told below like the others
    except (ValueError, zlib.error) as error:
        raise ContentError(
            f"the schema is not base64 of gzip: {error}",
            artifact=origin,
            hint="write base64 of the gzip of a JSON Schema, on one line",
        ) from error
    _check(raw, origin)
    return raw


def _one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")


def _too_long(origin: str) -> ContentError:
    return ContentError(
        f"the schema takes more than {_ENCODED_LIMIT} characters in a bundle",
        artifact=origin,
        hint="shorten it: descriptions and defaults are not needed to check values",
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check(raw: bytes, origin: str) -> None:
    if len(raw) > _DECODED_LIMIT:
        raise ContentError(f"the schema is larger than {_DECODED_LIMIT} bytes", artifact=origin)
    try:
        # As Go reads it: from bytes, json would take a byte order mark, UTF-16 and 32.
        found = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ContentError(f"the schema is not JSON: {str(error)[:200]}", artifact=origin) from error
    if not isinstance(found, dict | bool):
        raise ContentError("the schema is JSON, and not a JSON Schema", artifact=origin, hint="it must be an object")
