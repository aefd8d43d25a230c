"""Referrers: the API, and the fallback tag where a registry has none (``wire.md`` 2.2 items 7 to 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError
from mirror.oci.descriptor import Descriptor
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_INDEX
from mirror.remote.connection import Call
from mirror.remote.errors import explain
from mirror.remote.manifests import get_manifest, put_manifest
from mirror.remote.pagination import pages

if TYPE_CHECKING:
    from mirror.http.response import Response
    from mirror.oci.digest import Digest
    from mirror.remote.connection import Address

__all__ = ["add_to_fallback", "fallback_tag", "list_referrers", "remove_from_fallback"]

_OK: Final = 200
_NO_API: Final = frozenset({400, 404, 405, 406, 501})
_NO_SUCH_PATH: Final = frozenset({404, 405, 501})
_NO_SUCH_CONTENT: Final = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN"})
"""A 404 of the repository or the subject; it tells nothing of the API."""
_TRIES: Final = 4


def fallback_tag(subject: Digest) -> str:
    """The tag under which a registry without the API keeps the referrers of ``subject``."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def list_referrers(address: Address, subject: Digest) -> list[Descriptor]:
    """All referrers of ``subject``: from the API, else from the fallback tag; each once.

    A registry that said of a repository that there is no such API is not asked for it again.

    Raises:
        RegistryError: the registry refuses.
        ContentError: its list is malformed.
    """
    entries = _listed(address, subject) if address.path not in address.connection.without_referrers else None
    if entries is None:
        document = _fallback(address, fallback_tag(subject))
        entries = document["manifests"] if document else []
    found = {item.digest: item for item in map(Descriptor.from_json, entries)}
    return list(found.values())


def add_to_fallback(address: Address, manifest: Manifest, subject: Digest) -> None:
    """Enter a manifest under its subject's fallback tag, keeping what others entered.

    The tag is read, merged, written and read again: two writers at once cannot lock it.

    Raises:
        RegistryError: the registry refuses, or others keep overwriting the tag (retryable).
        ContentError: the tag is taken by something else.
    """
    entry = Descriptor(
        manifest.descriptor.media_type,
        manifest.descriptor.digest,
        manifest.descriptor.size,
        annotations=manifest.annotations,
        artifact_type=manifest.artifact_type,
    ).to_json()
    tag = fallback_tag(subject)
    with address.connection.lock_for(f"{address.path}:{tag}"):
        for _ in range(_TRIES):
            document = _fallback(address, tag) or {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
            if any(_digest(item) == entry["digest"] for item in document["manifests"]):
                return
            merged = {**document, "manifests": [*document["manifests"], entry]}
            put_manifest(address, Manifest.render(merged), tag)
    raise RegistryError(
        "other writers keep overwriting the list of referrers",
        status=409,
        artifact=address.artifact(tag),
        retryable=True,
    )


def remove_from_fallback(address: Address, digest: Digest, subject: Digest) -> None:
    """Take a deleted manifest out of its subject's fallback tag, where there is one.

    Raises:
        RegistryError: the registry refuses.
    """
    tag = fallback_tag(subject)
    with address.connection.lock_for(f"{address.path}:{tag}"):
        try:
            document = _fallback(address, tag)
        except ContentError:
            return
        if document is None:
            return
        kept = [item for item in document["manifests"] if _digest(item) != str(digest)]
        if len(kept) == len(document["manifests"]):
            return
        put_manifest(address, Manifest.render({**document, "manifests": kept}), tag)


def _listed(address: Address, subject: Digest) -> list[Any] | None:
    """What the API lists; None where there is none."""
    getter = _ReferrersPage(address, subject)
    entries: list[Any] = []
    for page in pages(getter, address.url(f"referrers/{subject}")):
        manifests = page.get("manifests") or []
        if not isinstance(manifests, list):
            raise ContentError("the list of referrers is not a list", artifact=address.artifact(str(subject)))
        entries += manifests
    return None if getter.absent else entries


def _fallback(address: Address, tag: str) -> dict[str, Any] | None:
    """The index under a fallback tag; None when there is none."""
    try:
        manifest = get_manifest(address, tag)
    except MissingError:
        return None
    if not manifest.is_index:
        raise ContentError(
            "is no list of referrers, though its name is reserved for one", artifact=address.artifact(tag)
        )
    return {**manifest.document, "manifests": manifest.document.get("manifests") or []}


def _digest(entry: object) -> object:
    return entry.get("digest") if isinstance(entry, dict) else None


class _ReferrersPage:
    """Gets pages of the API, and notices at the first that there is none."""

    def __init__(self, address: Address, subject: Digest) -> None:
        self._address = address
        self._subject = subject
        self._begun = False
        self.absent = False

    def get(self, url: str, /) -> Response | None:
        call = Call(method="GET", url=url, scopes=self._address.pull, headers={"Accept": OCI_INDEX})
        response = self._address.connection.send(call)
        first, self._begun = not self._begun, True
        is_list = response.status == _OK and "json" in response.headers.get("Content-Type", "json")
        if first and (response.status in _NO_API or (response.status == _OK and not is_list)):
            self.absent = True
            told = explain(response.excerpt(), response.headers.get("Content-Type", ""))
            if response.status in _NO_SUCH_PATH and told.code not in _NO_SUCH_CONTENT:
                self._address.connection.without_referrers.add(self._address.path)
            return None
        if not is_list:
            raise self._address.refusal(response, self._address.artifact(str(self._subject)))
        return response

    def resolve(self, base: str, link: str, /) -> str:
        return self._address.connection.resolve(base, link)
