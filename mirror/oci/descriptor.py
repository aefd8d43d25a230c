"""Content descriptors (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from mirror.oci.digest import Digest
from mirror.oci.mediatype import INDEX_TYPES, MANIFEST_TYPES
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Descriptor"]

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names a piece of content: media type, digest, size in bytes.

    Two descriptors are equal, and hash alike, when these three are: annotations, artifact
    type, platform and URLs say more about the content, they do not identify it.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)
    artifact_type: str = field(default="", compare=False)
    platform: Platform | None = field(default=None, compare=False)
    urls: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Read a descriptor out of a manifest.

        Raises:
            ContentError: a field is absent or of the wrong type.
        """
        if not isinstance(value, dict):
            raise ContentError(f"a descriptor must be an object, not {type(value).__name__}")
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str):
            raise ContentError("a descriptor needs a mediaType and a digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ContentError(f"the descriptor of {digest[:150]} has no valid size")
        platform = value.get("platform")
        artifact_type = value.get("artifactType")
        annotations = value.get("annotations")
        urls = value.get("urls")
        return cls(
            # A plan has tens of thousands of descriptors, of few types and mostly without annotations.
            sys.intern(media_type),
            Digest.parse(digest),
            size,
            annotations=_text_map(annotations) if isinstance(annotations, dict) else _NONE,
            artifact_type=artifact_type if isinstance(artifact_type, str) else "",
            platform=Platform.from_json(platform) if isinstance(platform, dict) else None,
            urls=tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Render as the object that ``from_json`` reads; empty fields are left out."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            platform = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            if self.platform.os_version:
                platform["os.version"] = self.platform.os_version
            value["platform"] = platform
        if self.urls:
            value["urls"] = list(self.urls)
        return value

    @property
    def is_manifest(self) -> bool:
        """Whether the content is an image manifest or an index."""
        return self.media_type in MANIFEST_TYPES

    @property
    def is_index(self) -> bool:
        """Whether the content is an index (or a Docker manifest list)."""
        return self.media_type in INDEX_TYPES


def _text_map(value: dict[Any, Any]) -> Mapping[str, str]:
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}
