"""``packages:1-33`` and ``packages:v1-33-120``: a bundle of curated packages."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError, VerificationError
from bundles.document import parse_document
from bundles.packages import PACKAGE_REGISTRY
from bundles.sources.context import DOCUMENT_LIMIT, Loaded
from bundles.sources.following import Reading, believe
from bundles.sources.layers import read_layer
from mirror.oci.reference import Reference
from mirror.oci.view import RepositoryView

if TYPE_CHECKING:
    from bundles.lock import LockedManifest
    from bundles.sources.context import SourceContext
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository

__all__ = ["PACKAGE_BUNDLES", "BundleRepository", "check_package_bundle", "pull_package_bundle", "read"]

_HINT: Final = "it is not a bundle of packages; check --package-registry and --origin"
PACKAGE_BUNDLES: Final = "eks-anywhere-packages-bundles"
"""The repository of package bundles, below the package registry (``domain.md`` 1.7)."""

_CHANNEL: Final = re.compile(r"[1-9][0-9]{0,2}-[1-9][0-9]{0,3}", re.ASCII)
_LATEST: Final = re.compile(r"v([1-9][0-9]{0,2}-[1-9][0-9]{0,3})-latest(?:-[a-z]+)?", re.ASCII)
_NAME: Final = re.compile(r"v([1-9][0-9]{0,2}-[1-9][0-9]{0,3})-[0-9]+(?:-[0-9]+)*", re.ASCII)


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read a package bundle out of its registry.

    The document keeps the registry's manifest beside it (``oci_digest``, ``tags``), so that it
    can be mirrored as the artifact that it is.

    Raises:
        UsageError: neither a channel nor the name of a bundle.
        MissingError: there is no such tag.
        VerificationError: the tag leads to another bundle than the one asked for.
        ContentError: what the tag leads to is not a package bundle.
        RegistryError, TransportError: the registry cannot be asked.
    """
    channel, tag = _tag(rest, text)
    name = f"{context.package_registry or PACKAGE_REGISTRY}/{PACKAGE_BUNDLES}"
    Reference.parse(name)
    place = f"{name}:{tag}"
    repository = context.open_repository(name)
    descriptor = repository.resolve(tag)
    document = parse_document(pull_package_bundle(repository, descriptor, place), origin=place)
    if document.type != "PackageBundle":
        raise ContentError(f"a PackageBundle was expected, this is a {document.kind}", artifact=place, hint=_HINT)
    wanted = rest if tag == rest else f"v{channel}-…"
    found = _NAME.fullmatch(document.name)
    if document.name != rest and (tag == rest or not found or found[1] != channel):
        raise _moved(wanted, document.name, place)
    tags = tuple(sorted({document.name, tag}))
    entry = replace(believe(document, name, context), oci_digest=descriptor.digest, tags=tags)
    reading = Reading(context)
    reading.add(entry, follow=context.follow)
    return Loaded(
        source=text,
        kind=document.kind,
        name=document.name,
        documents=tuple(reading.documents),
        contents=reading.joined(),
    )


def _tag(rest: str, text: str) -> tuple[str, str]:
    """The channel and the tag to ask for."""
    if _CHANNEL.fullmatch(rest):
        return rest, f"v{rest}-latest"
    match = _NAME.fullmatch(rest)
    if not match:
        raise UsageError(
            f"{text[:200]!r} is not a bundle of packages",
            hint="write packages:1-33 for the newest, or a bundle's name such as packages:v1-33-120",
        )
    return match[1], rest


class BundleRepository(RepositoryView):
    """A repository in which one manifest must carry the release document that a lock pins.

    The lock says two digests, of the document and of the manifest around it, and only together
    are they what a registry has: otherwise any image could travel as a document, which no
    policy over images judges.

    Args:
        repository: where the package bundle lies.
        locked: the document, with ``oci_digest``.

    Raises:
        ContentError: the lock names another place than package bundles have.
    """

    def __init__(self, repository: ReadRepository, locked: LockedManifest) -> None:
        if locked.kind != "PackageBundle" or locked.url.rpartition("/")[2] != PACKAGE_BUNDLES:
            raise ContentError(
                f"a {locked.kind} in a registry lies in no repository but {PACKAGE_BUNDLES}",
                artifact=locked.url,
                hint="the lock was written by hand; make it anew",
            )
        super().__init__(repository)
        self._locked = locked

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest by digest.

        Raises:
            ContentError: it does not carry the document.
        """
        found = super().manifest(descriptor)
        if found.is_index or self._locked.digest not in {child.digest for child in found.children()}:
            raise ContentError(
                f"{descriptor.digest} does not carry the document {self._locked.digest}",
                artifact=self._locked.url,
                hint=_HINT,
            )
        return found


def check_package_bundle(raw: bytes, reference: Reference) -> None:
    """Refuse a document that is not the package bundle that its tag says.

    Raises:
        ContentError: not a package bundle.
        VerificationError: the tag leads to another bundle than it names.
    """
    document = parse_document(raw, origin=str(reference))
    if document.type != "PackageBundle":
        raise ContentError(
            f"a PackageBundle was expected, this is a {document.kind}", artifact=str(reference), hint=_HINT
        )
    tag = reference.tag or ""
    latest = _LATEST.fullmatch(tag)
    found = _NAME.fullmatch(document.name)
    if latest and (not found or found[1] != latest[1]):
        raise _moved(f"v{latest[1]}-…", document.name, str(reference))
    if _NAME.fullmatch(tag) and document.name != tag:
        raise _moved(tag, document.name, str(reference))


def _moved(wanted: str, found: str, place: str) -> VerificationError:
    return VerificationError(
        f"metadata.name should be {wanted} but is {found[:100] or 'missing'}",
        artifact=place,
        hint="the tag was moved to another bundle; nothing of it was used",
    )


def pull_package_bundle(repository: ReadRepository, descriptor: Descriptor, place: str) -> bytes:
    """The document in a package bundle: the first layer, whatever its media type.

    AWS's is called a tar and holds plain YAML.

    Raises:
        ContentError: it has no layer, or is larger than a document may be.
    """
    manifest = repository.manifest(descriptor)
    config = manifest.document.get("config")
    layers = manifest.children()[1 if config is not None else 0 :]
    if manifest.is_index or not layers:
        raise ContentError("is not a package bundle: its manifest has no layer", artifact=place, hint=_HINT)
    return read_layer(repository, layers[0], limit=DOCUMENT_LIMIT, place=place)
