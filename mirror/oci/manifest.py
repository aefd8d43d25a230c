"""OCI manifests and indexes: raw bytes, and a view of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bundlectl.errors import ContentError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import HELM_CONFIG, INDEX_TYPES, MANIFEST_LIMIT, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST

__all__ = ["Manifest", "canonical_json"]


def canonical_json(value: object) -> bytes:
    """Render what bundlectl itself writes: sorted keys, no white space, UTF-8, no trailing newline."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest or an index. ``raw`` is its identity; the rest is read from it."""

    raw: bytes = field(repr=False)
    descriptor: Descriptor
    document: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, raw: bytes, media_type: str = "", *, expected: Digest | None = None) -> Manifest:
        """Read a manifest, checking its digest first.

        Args:
            raw: the bytes as received, at most 4 MiB.
            media_type: what the server called it; the document's own ``mediaType`` must agree,
                and stands in when this is empty (Helm charts have no ``mediaType`` field).
            expected: the digest it was asked for by.

        Raises:
            ContentError: too large, another digest, not JSON, not a manifest, or two types.
        """
        algorithm = expected.algorithm if expected else "sha256"
        if len(raw) > MANIFEST_LIMIT:
            raise ContentError(f"the manifest is larger than {MANIFEST_LIMIT} bytes")
        digest = Digest.of(raw, algorithm)
        if expected and digest != expected:
            raise ContentError(
                f"the manifest should have digest {expected} but has {digest}",
                hint="the server or a proxy altered it; nothing was stored",
            )
        document = _parse(raw)
        media_type = media_type.partition(";")[0].strip()
        declared = "" if document.get("mediaType") is None else document["mediaType"]
        if not isinstance(declared, str):
            raise ContentError("the manifest's mediaType is not text")
        if declared and media_type in MANIFEST_TYPES and declared != media_type:
            raise ContentError(f"the manifest says it is {declared!r:.100}, the server says {media_type}")
        kind = declared or (media_type if media_type in MANIFEST_TYPES else _guess(document))
        if kind not in MANIFEST_TYPES:
            raise ContentError(
                f"{str(kind)[:100]!r} is not a manifest type that bundlectl copies",
                hint="Docker schema 1 and OCI artifact manifests were withdrawn; rebuild it",
            )
        artifact_type = document.get("artifactType")
        if not isinstance(artifact_type, str):
            artifact_type = ""
        manifest = cls(raw, Descriptor(kind, digest, len(raw), artifact_type=artifact_type), document)
        manifest.children()
        manifest.subject  # noqa: B018 -- a malformed subject is found here, not in the middle of a copy
        return manifest

    @classmethod
    def render(cls, document: dict[str, Any]) -> Manifest:
        """Make a manifest of our own from ``document`` (which carries its ``mediaType``)."""
        return cls.from_bytes(canonical_json(document))

    @property
    def is_index(self) -> bool:
        """Whether its children are manifests."""
        return self.descriptor.media_type in INDEX_TYPES

    @property
    def is_chart(self) -> bool:
        """Whether it is a Helm chart: an image manifest with Helm's config. What an index holds makes it none."""
        return not self.is_index and self._config_type == HELM_CONFIG

    def children(self) -> tuple[Descriptor, ...]:
        """Descriptors of what this manifest needs: manifests of an index, else config and layers.

        Raises:
            ContentError: the lists are not lists of descriptors.
        """
        if self.is_index:
            return tuple(Descriptor.from_json(item) for item in _list(self.document, "manifests"))
        found = [Descriptor.from_json(item) for item in _list(self.document, "layers")]
        if self.document.get("config") is not None:
            found.insert(0, Descriptor.from_json(self.document["config"]))
        return tuple(found)

    @property
    def subject(self) -> Descriptor | None:
        """The manifest that this one refers to (OCI 1.1), if any."""
        value = self.document.get("subject")
        return None if value is None else Descriptor.from_json(value)

    @property
    def artifact_type(self) -> str:
        """``artifactType``, else the config's media type (distribution-spec, "Listing Referrers")."""
        if self.descriptor.artifact_type or self.is_index:
            return self.descriptor.artifact_type
        return self._config_type

    @property
    def _config_type(self) -> str:
        config = self.document.get("config")
        media_type = config.get("mediaType") if isinstance(config, dict) else None
        return media_type if isinstance(media_type, str) else ""

    @property
    def annotations(self) -> dict[str, str]:
        """The manifest's own annotations; entries that are not text are left out."""
        value = self.document.get("annotations")
        return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ContentError("the manifest is not JSON") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:  # noqa: PLR2004 -- the spec's version
        raise ContentError("the manifest is not a schema 2 document")
    return document


def _guess(document: dict[str, Any]) -> str:
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ContentError(f"{key!r} of the manifest is not a list")
    return value
