"""``image:REF``: one container image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import UsageError
from bundles.artifact import Artifact, ArtifactType
from bundles.release import Contents
from bundles.sources.context import Loaded
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["read", "reference_artifact"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Name one image; nothing is fetched.

    Raises:
        UsageError: not a REF, or without tag and digest.
    """
    del context
    artifact = reference_artifact("image", rest, text)
    contents = Contents(artifacts=(artifact,), excluded=(), named=())
    return Loaded(source=text, kind="image", name=artifact.reference, contents=contents)


def reference_artifact(kind: ArtifactType, reference: str, source: str) -> Artifact:
    """The artifact that a REF names.

    With tag and digest, the digest is what is fetched, and the tag its name on the target.

    Raises:
        UsageError: not a REF, or without tag and digest.
    """
    parsed = Reference.parse(reference)
    if not parsed.tag and not parsed.digest:
        raise UsageError(
            f"{reference!r} has neither a tag nor a digest", hint="write REF:TAG or REF@sha256:…; latest is not implied"
        )
    return Artifact(
        type=kind,
        name=parsed.repository.rpartition("/")[2],
        reference=f"{parsed.name}:{parsed.tag}" if parsed.tag else str(parsed),
        digest=parsed.digest,
        found_in=frozenset({source}),
        trust="declared" if parsed.digest else "resolved",
    )
