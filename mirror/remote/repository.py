"""A registry over HTTP, and its repositories, as copying sees them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError
from mirror.http.ranges import range_header, ranged_reader
from mirror.oci.reference import check_repository, check_tag
from mirror.remote.connection import Address, Call, Connection
from mirror.remote.manifests import delete_reference, get_manifest, head_manifest, put_manifest
from mirror.remote.pagination import pages
from mirror.remote.probing import Probe
from mirror.remote.referrers import add_to_fallback, list_referrers, remove_from_fallback
from mirror.remote.tokens import CATALOG_SCOPE
from mirror.remote.upload import begin_blob, has_blob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.http.client import HttpClient
    from mirror.http.response import Response
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader, BlobUpload, Present
    from mirror.profiles import RegistryProfile
    from mirror.remote.auth import Credential, CredentialStore
    from mirror.remote.harbor import HarborApi

__all__ = ["RemoteRegistry", "RemoteRepository"]

_OK: Final = 200
_NOT_FOUND: Final = 404
_REFUSED: Final = frozenset({401, 403})
_PAGE_SIZE: Final = 1000


class RemoteRegistry:
    """One registry. Thread-safe: its tokens are shared by all repositories and threads.

    Args:
        host: the name recorded in messages and references, ``host[:port]``.
        client: sends the requests.
        credentials: looked up for the host that is contacted.
        origin: ``HOST[/PREFIX]`` contacted in place of ``host`` (``--origin``).
        push: this registry is a target: tokens are asked for with the right to write at once.
    """

    def __init__(
        self,
        host: str,
        *,
        client: HttpClient,
        credentials: CredentialStore,
        origin: str | None = None,
        push: bool = False,
    ) -> None:
        self.host = host
        self._connection = Connection(host, client, credentials, origin)
        self._push = push

    @property
    def requests(self) -> int:
        """Requests sent so far, tokens not counted."""
        return self._connection.requests

    @property
    def profile(self) -> RegistryProfile:
        """The product, as far as it can be told by reading; asked for once.

        Raises:
            TransportError: no answer.
        """
        return self._connection.profile

    @property
    def harbor(self) -> HarborApi | None:
        """The management API of a Harbor; None for every other product.

        Raises:
            TransportError: no answer.
        """
        return self._connection.harbor

    def credential(self, repository: str = "") -> Credential | None:
        """Who we are for a repository of it; None when no credentials are known.

        Raises:
            ConfigError: credentials cannot be read.
        """
        return self._connection.credential(self._connection.prefix + repository)

    @property
    def challenged(self) -> bool:
        """Whether it has asked for a login so far; credentials were not tried before."""
        return self._connection.challenged

    def list_tags(self, wanted: Mapping[str, int]) -> Mapping[tuple[str, str], Digest]:
        """What tags point at, by repository and tag, as far as the product lists many of them in one request.

        A tag that is not listed may exist nevertheless: a project may be hidden from us, and Harbor does
        not list those of cosign's scheme.

        Args:
            wanted: by repository of this registry, as ``RemoteRepository.name`` has it, how many tags there are
                to be asked for.

        Raises:
            TransportError, RegistryError, ContentError: it does not answer, or not with a list.
        """
        prefix = self._connection.prefix
        by_project: dict[str, dict[str, int]] = {}
        for name, count in wanted.items():
            path = prefix + name.partition("/")[2]
            by_project.setdefault(path.partition("/")[0], {})[path] = count
        found: dict[tuple[str, str], Digest] = {}
        for project, paths in sorted(by_project.items()):
            # Without credentials there is nothing that Harbor would list.
            harbor = self.harbor if self._connection.credential(project) else None
            for (path, tag), digest in (harbor.tags(project, paths) if harbor else {}).items():
                found[f"{self.host}/{path.removeprefix(prefix)}", tag] = digest
        return found

    def repository(self, name: str) -> RemoteRepository:
        """One repository of it; nothing is asked yet.

        Raises:
            UsageError: ``name`` is not a repository name.
        """
        return RemoteRepository(Address(self._connection, check_repository(name), push=self._push))

    def probe(self, name: str) -> Probe:
        """Tries out what can be done in a repository.

        Raises:
            UsageError: ``name`` is not a repository name.
        """
        return Probe(Address(self._connection, check_repository(name), push=self._push))

    def repositories(self, under: str = "") -> list[str]:
        """The names of all repositories (below the origin's prefix) that are ``under`` or lie below it, sorted.

        Harbor has a catalogue for administrators only; its management API lists to everyone what they may see.

        Raises:
            RegistryError: the registry does not list them.
        """
        prefix = self._connection.prefix
        try:
            found = self._catalog()
        except RegistryError as error:
            harbor = self.harbor if error.status in _REFUSED else None
            listed = harbor.repositories((prefix + under).partition("/")[0]) if harbor else None
            if listed is None:
                raise
            found = listed
        names = (name.removeprefix(prefix) for name in found if name.startswith(prefix))
        return sorted(name for name in names if f"{name}/".startswith(f"{under}/" if under else ""))

    def _catalog(self) -> list[str]:
        connection = self._connection
        getter = _ListPage(connection, (CATALOG_SCOPE,), f"{self.host}/v2/_catalog")
        found: set[str] = set()
        for page in pages(getter, f"{connection.base}_catalog?n={_PAGE_SIZE}"):
            found.update(_names(page, "repositories"))
        if getter.absent:
            raise RegistryError(
                "the registry does not list its repositories",
                status=_NOT_FOUND,
                artifact=self.host,
                hint="name the repositories one by one",
            )
        return sorted(found)

    def ping(self) -> None:
        """Check that this is a registry and that it lets us in.

        Raises:
            RegistryError: it does not.
            TransportError: it cannot be reached.
        """
        connection = self._connection
        response = connection.send(Call(method="GET", url=connection.base))
        if response.status == _NOT_FOUND:
            raise RegistryError(
                "this host is no registry (no /v2/)", status=_NOT_FOUND, artifact=self.host, hint="check host and port"
            )
        if response.status != _OK:
            raise connection.refusal(response, self.host, ())


class RemoteRepository:
    """One repository of a registry: implements ``Repository`` and ``Deletable``. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @property
    def name(self) -> str:
        """``host/path``."""
        return self._address.name

    def resolve(self, tag: str) -> Descriptor:
        """What a tag points at.

        Raises:
            MissingError: no such tag.
            RegistryError: the registry refuses.
            ContentError: what it sent is no manifest.
        """
        found = head_manifest(self._address, check_tag(tag))
        if found is None:
            raise MissingError("the registry has no such tag", artifact=self._address.artifact(tag))
        return found

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest by digest; ``descriptor.size`` 0 means unknown.

        Raises:
            MissingError: it is not there.
            RegistryError: the registry refuses.
            ContentError: it is not what the descriptor says.
        """
        manifest = get_manifest(self._address, str(descriptor.digest))
        if descriptor.size and descriptor.size != len(manifest.raw):
            raise ContentError(
                f"should have {descriptor.size} bytes and has {len(manifest.raw)}",
                artifact=self._address.artifact(str(descriptor.digest)),
            )
        return manifest

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob at ``offset``.

        Raises:
            MissingError: it is not there.
            RegistryError: the registry refuses.
            ContentError: it sent another range than it was asked for.
        """
        if 0 < descriptor.size <= offset:
            return io.BytesIO()
        call = Call(
            method="GET",
            url=self._address.url(f"blobs/{descriptor.digest}"),
            scopes=self._address.pull,
            headers=range_header(offset, None),
            stream=True,
        )
        response = self._address.connection.send(call)
        reader = ranged_reader(response, offset)
        if reader is None:
            raise self._address.refusal(response, self._address.artifact(str(descriptor.digest)))
        return reader

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob or manifest of this digest is there.

        Raises:
            RegistryError: the registry refuses.
        """
        if descriptor.is_manifest or not descriptor.media_type:
            return head_manifest(self._address, str(descriptor.digest)) is not None
        if self._address.project in self._address.connection.absent_projects:
            return False
        return has_blob(self._address, descriptor)

    def tags(self) -> list[str]:
        """All tags, sorted; empty when the repository does not exist.

        Raises:
            RegistryError: the registry refuses.
        """
        getter = _ListPage(self._address.connection, self._address.pull, self.name)
        found: set[str] = set()
        for page in pages(getter, self._address.url(f"tags/list?n={_PAGE_SIZE}")):
            found.update(_names(page, "tags"))
        return sorted(found)

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Manifests whose subject is ``subject``: from the API, else from the fallback tag.

        Raises:
            RegistryError: the registry refuses.
            ContentError: its list is malformed.
        """
        return list_referrers(self._address, subject)

    def begin_blob(self, descriptor: Descriptor, *, mount_from: str | None = None) -> Present | BlobUpload:
        """Check for a blob, mount it, or start its upload, in one request where the registry can.

        Args:
            descriptor: of the blob.
            mount_from: a repository of this registry that holds it (a path, without host).

        Raises:
            RegistryError: the registry refuses.
        """
        source = self._address
        if mount_from is not None:
            source = Address(self._address.connection, check_repository(mount_from))
        return begin_blob(self._address, descriptor, source)

    def put_manifest(self, manifest: Manifest, *, tag: str | None = None) -> None:
        """Store a manifest, and point ``tag`` at it. Its children must be there first.

        A registry that takes no notice of a subject gets the fallback tag maintained.

        Raises:
            RegistryError: the registry refuses.
            ContentError: it stored something else.
        """
        digest = manifest.descriptor.digest
        reference = check_tag(tag) if tag else str(digest)
        if tag and digest.algorithm != "sha256":
            # By tag alone a registry would file it under its sha256.
            put_manifest(self._address, manifest, str(digest))
        listed = put_manifest(self._address, manifest, reference)
        subject = manifest.subject
        if subject is not None and not listed:
            add_to_fallback(self._address, manifest, subject.digest)

    def delete_manifest(self, digest: Digest) -> None:
        """Delete a manifest and every tag that points at it.

        Raises:
            MissingError: it is not there.
            RegistryError: the registry refuses.
        """
        subject = get_manifest(self._address, str(digest)).subject
        delete_reference(self._address, str(digest))
        if subject is not None:
            remove_from_fallback(self._address, digest, subject.digest)

    def delete_tag(self, tag: str) -> None:
        """Delete one tag, leaving the manifest.

        Raises:
            MissingError: it is not there.
            RegistryError: the registry refuses, or cannot do that.
        """
        delete_reference(self._address, check_tag(tag))


class _ListPage:
    """Gets pages of a list; a 404 is an empty list."""

    def __init__(self, connection: Connection, scopes: tuple[str, ...], artifact: str) -> None:
        self._connection = connection
        self._scopes = scopes
        self._artifact = artifact
        self.absent = False

    def get(self, url: str, /) -> Response | None:
        response = self._connection.send(Call(method="GET", url=url, scopes=self._scopes))
        if response.status == _NOT_FOUND:
            self.absent = True
            return None
        if response.status != _OK:
            raise self._connection.refusal(response, self._artifact, self._scopes)
        return response

    def resolve(self, base: str, link: str, /) -> str:
        return self._connection.resolve(base, link)


def _names(page: dict[str, Any], key: str) -> list[str]:
    """The names of a page; ``null`` is how some registries write an empty list."""
    names = page.get(key) or []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
