"""Manifests of a remote repository (``wire.md`` 1.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import ACCEPT_MANIFESTS, MANIFEST_LIMIT, MANIFEST_TYPES
from mirror.remote.connection import Call
from mirror.remote.errors import absent_content

if TYPE_CHECKING:
    from mirror.http.response import Response
    from mirror.remote.connection import Address

__all__ = ["delete_reference", "get_manifest", "head_manifest", "put_manifest"]

_OK: Final = 200
_NOT_FOUND: Final = 404
_POLICED: Final = 412
_ACCEPT: Final = {"Accept": ACCEPT_MANIFESTS}


def head_manifest(address: Address, reference: str) -> Descriptor | None:
    """What a tag or digest points at, None when there is nothing.

    A HEAD; where its answer lacks digest, size or type, or is a refusal (which a HEAD cannot
    explain), a GET. Of what a policy of Harbor withholds, the size is not told (0).

    Raises:
        RegistryError: the registry refuses.
        ContentError: what it sent is no manifest.
    """
    call = Call(method="HEAD", url=address.url(f"manifests/{reference}"), scopes=address.pull, headers=_ACCEPT)
    response = address.connection.send(call)
    if response.status == _NOT_FOUND:
        return None
    if response.status == _OK:
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = _stated_digest(response)
        size = response.number("Content-Length")
        if digest and media_type in MANIFEST_TYPES and size:
            if ":" in reference and str(digest) != reference:
                raise ContentError(f"the registry says it has digest {digest}", artifact=address.artifact(reference))
            return Descriptor(media_type, digest, size)
    if response.status == _POLICED:
        withheld = _withheld(address, reference)
        if withheld is not None:
            return withheld
    try:
        return get_manifest(address, reference).descriptor
    except MissingError:
        return None


def get_manifest(address: Address, reference: str) -> Manifest:
    """Fetch a manifest by tag or digest.

    Raises:
        MissingError: it is not there.
        RegistryError: the registry refuses.
        ContentError: larger than 4 MiB, another digest, or no manifest.
    """
    artifact = address.artifact(reference)
    call = Call(
        method="GET", url=address.url(f"manifests/{reference}"), scopes=address.pull, headers=_ACCEPT, stream=True
    )
    with address.connection.send(call) as response:
        if response.status != _OK:
            raise address.refusal(response, artifact)
        expected = Digest.parse(reference) if ":" in reference else _stated_digest(response)
        try:
            raw = response.read(MANIFEST_LIMIT)
            return Manifest.from_bytes(raw, response.headers.get("Content-Type", ""), expected=expected)
        except ContentError as error:
            raise ContentError(error.message, artifact=artifact, hint=error.hint) from error


def put_manifest(address: Address, manifest: Manifest, reference: str) -> bool:
    """Store a manifest under a tag or digest.

    Returns:
        Whether the registry lists it as a referrer of its subject (``OCI-Subject``).

    Raises:
        RegistryError: the registry refuses.
        ContentError: it stored something else.
    """
    artifact = address.artifact(reference)
    call = Call(
        method="PUT",
        url=address.url(f"manifests/{reference}"),
        scopes=address.push,
        headers={"Content-Type": manifest.descriptor.media_type},
        body=manifest.raw,
    )
    response = address.connection.send(call)
    if response.status not in (_OK, 201):
        error = absent_content(address.refusal(response, artifact, reading=False), response, manifest.descriptor.digest)
        # An immutable tag is refused even where it already points at this very manifest.
        immutable = response.status == 412 or "immutable" in error.message  # noqa: PLR2004
        if not (immutable and ":" not in reference and _points_at(address, reference, manifest)):
            raise error
        return True
    stored = _stated_digest(response)
    if stored and stored != Digest.of(manifest.raw, stored.algorithm):
        raise ContentError(
            f"the registry stored {stored} in place of {manifest.descriptor.digest}",
            artifact=artifact,
            hint="the registry or a proxy before it rewrites manifests; signatures would not survive that",
        )
    return bool(response.headers.get("OCI-Subject"))


def delete_reference(address: Address, reference: str) -> None:
    """Delete a tag or a manifest.

    Raises:
        MissingError: it is not there.
        RegistryError: the registry refuses, or cannot delete tags (Harbor over this API).
    """
    call = Call(
        method="DELETE",
        url=address.url(f"manifests/{reference}"),
        scopes=(f"repository:{address.path}:pull,push,delete",),
    )
    response = address.connection.send(call)
    if response.status not in (_OK, 202, 204):
        raise address.refusal(response, address.artifact(reference))


def _withheld(address: Address, reference: str) -> Descriptor | None:
    """What a policy of Harbor withholds (it is there all the same), as its management API knows it."""
    harbor = address.connection.harbor
    return harbor.artifact(address.path, reference) if harbor else None


def _stated_digest(response: Response) -> Digest | None:
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except ContentError:
        return None


def _points_at(address: Address, tag: str, manifest: Manifest) -> bool:
    current = head_manifest(address, tag)
    return current is not None and current.digest == Digest.of(manifest.raw, current.digest.algorithm)
