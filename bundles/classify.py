"""From what a document names to an artifact, or to the reason why it is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from bundles.artifact import Artifact, ArtifactType, Excluded
from bundles.schema.shared import Chart, NamesFile, NamesImage
from bundles.tree import Scalar, content_error
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from bundles.artifact import TrustLevel
    from bundles.verify import VerifiedDocument
    from bundles.walk import Found

__all__ = ["Classifier"]

_PLACEHOLDER: Final = re.compile(r"<[^<>]*>")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_URL: Final = re.compile(r"https?://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][\x21-\x7e]*)?")
_URLS: Final = ("https://", "http://")
_HEX512: Final = re.compile(r"[0-9a-f]{128}")
_CHART: Final = re.compile(r"helm[ _-]?chart|^chart$|Chart$", re.IGNORECASE)
_ARCHES: Final = frozenset({"amd64", "arm64"})
_SYSTEMS: Final = frozenset({"linux", "darwin", "windows"})
_HOOK_ARCHES: Final = {"amd": "amd64", "arm": "arm64"}

_LOCAL: Final = "names a file on the machine that made the document"
_SCHEMES: Final = {"embed": "is part of the eksctl-anywhere program", "file": _LOCAL}


class Classifier:
    """Settles the findings of one document.

    Args:
        verified: the document; its origin is for ``found_in`` and messages.
    """

    def __init__(self, verified: VerifiedDocument) -> None:
        self._origin = verified.document.origin
        self._verified = verified
        self._references: dict[str, Reference | str] = {}

    def settle(self, found: Found, *, document: bool = False) -> Artifact | Excluded:
        """Tell what a finding is.

        Args:
            found: the finding.
            document: whether the file is a release document that can be followed.

        Raises:
            ContentError: a digest or checksum is not one, or contradicts the reference.
        """
        if found.uri.startswith(_URLS) and _URL.fullmatch(found.uri):
            return self._file(found, document=document)
        reason = _no_artifact(found)
        if reason is None:
            kind = _kind(found)
            reference = _LOCAL if kind == "file" else self._reference(found.uri)
            if isinstance(reference, Reference):
                return self._image(found, reference, kind)
            reason = _LOCAL if _is_path(found) else reference
        return Excluded(found.uri, reason, self._place(found))

    def _reference(self, uri: str) -> Reference | str:
        """Read a reference, or tell why it is none; a document repeats most of them."""
        known = self._references.get(uri)
        if known is None:
            try:
                known = Reference.parse(uri)
            except UsageError as error:
                known = f"not a full reference: {error.message}"
            self._references[uri] = known
        return known

    def _place(self, found: Found) -> str:
        return f"{self._origin}#{found.path}"

    def trust(self, path: str, digest: Digest | None, *, known: bool) -> TrustLevel:
        """The level of an artifact; ``known`` says whether the field at ``path`` is one of AWS's types."""
        return self._verified.trust_of(path, known=known, pinned=digest is not None)

    def _image(self, found: Found, reference: Reference, kind: ArtifactType) -> Artifact | Excluded:
        digest = self._digest(found, "imageDigest", "")
        if digest and reference.digest and digest != reference.digest:
            raise content_error(
                self._origin, found.line, found.path, f"imageDigest is {digest}, uri says {reference.digest}"
            )
        digest = digest or reference.digest
        if reference.tag is None and digest is None:
            return Excluded(found.uri, "names neither a tag nor a digest", self._place(found))
        text = f"{reference.name}:{reference.tag}" if reference.tag else f"{reference.name}@{digest}"
        return Artifact(
            type=kind,
            name=_name(found) or reference.repository.rpartition("/")[2],
            reference=text,
            digest=digest,
            components=found.place.components,
            kube_versions=found.place.kube_versions,
            providers=found.place.providers,
            found_in=frozenset({self._place(found)}),
            trust=self.trust(found.path, digest, known=found.declared is not None),
            management=found.place.management,
        )

    def _file(self, found: Found, *, document: bool) -> Artifact:
        digest = None if found.plain else self._digest(found, "sha256", "sha256:")
        return Artifact(
            type="file",
            name=_name(found) or found.uri.partition("?")[0].rpartition("/")[2] or found.uri,
            reference=found.uri,
            digest=digest,
            sha512=None if found.plain else self._sha512(found),
            platforms=() if found.plain else _platforms(found),
            components=found.place.components,
            kube_versions=found.place.kube_versions,
            providers=found.place.providers,
            found_in=frozenset({self._place(found)}),
            trust=self.trust(found.path, digest, known=found.declared is not None),
            management=found.place.management,
            document=document,
        )

    def _digest(self, found: Found, field: str, prefix: str) -> Digest | None:
        text = _field(found, field)
        if not text:
            return None
        try:
            return Digest.parse(f"{prefix}{text}")
        except ContentError as error:
            line = found.holder.entries[field].line
            raise content_error(self._origin, line, f"{found.path}.{field}", error.message) from error

    def _sha512(self, found: Found) -> str | None:
        text = _field(found, "sha512")
        if text and not _HEX512.fullmatch(text):
            line = found.holder.entries["sha512"].line
            raise content_error(
                self._origin, line, f"{found.path}.sha512", f"{text[:140]!r} is not 128 lower-case hex digits"
            )
        return text or None


def _field(found: Found, key: str) -> str:
    return found.holder.text(key)


def _no_artifact(found: Found) -> str | None:
    """Why something cannot be an artifact, whatever its field is meant for."""
    uri = found.uri
    if not uri.strip():
        return "empty"
    if _PLACEHOLDER.fullmatch(uri):
        return "a placeholder of a deprecated component" if found.place.deprecated else "a placeholder"
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return None
    if scheme[1] in ("http", "https"):
        return "not a valid URL"
    return _SCHEMES.get(scheme[1], f"the scheme {scheme[1][:40]}:// is not supported")


def _kind(found: Found) -> ArtifactType:
    declared = found.declared
    if declared is not None and issubclass(declared, NamesImage):
        return "chart" if issubclass(declared, Chart) else "image"
    if declared is not None and issubclass(declared, NamesFile):
        return "file"
    if found.plain or _field(found, "sha256") or _field(found, "sha512"):
        return "file"
    key = found.path.rpartition(".")[2]
    hints = (key, _field(found, "name"), _field(found, "description"))
    return "chart" if any(_CHART.search(hint) for hint in hints) else "image"


def _is_path(found: Found) -> bool:
    """Whether something that is no reference reads as the path of a file."""
    uri = found.uri
    return uri.startswith(("/", "./", "../", "~")) or ("/" in uri and ":" not in uri and "@" not in uri)


def _name(found: Found) -> str:
    """The name given beside the URI, or (EKS-D) beside the image or archive that holds it."""
    if found.plain:
        return ""
    own = _field(found, "name")
    if own or found.parent is None:
        return own
    return found.parent.text("name") if "type" in found.parent.entries else ""


def _platforms(found: Found) -> tuple[Platform, ...]:
    """Platforms of a file: as stated, else as its place in the document says (``linux.amd64``)."""
    holder = found.holder
    if "os" not in holder.entries and found.parent is not None and "os" in found.parent.entries:
        holder = found.parent
    system = holder.text("os")
    arches = [item.text for item in holder.items("arch") if isinstance(item, Scalar)]
    parts = found.path.split(".")
    if not system:
        system = next((part for part in reversed(parts) if part in _SYSTEMS), "")
    if not arches:
        arches = [part for part in parts[-1:] if part in _ARCHES]
    if not system and "hook" in parts and parts[-1] in _HOOK_ARCHES:
        return (Platform("linux", _HOOK_ARCHES[parts[-1]]),)
    if not system:
        return ()
    return tuple(Platform(system, arch) for arch in arches)
