"""Harbor's management API v2.0, as far as filling it needs it (``wire.md`` 1.6 to 1.8, ``harbor-live.md``).

It takes passwords and no tokens, answers a wrong password like none at all wherever anybody may
look, and hides what may not be seen behind 403. So nothing is concluded from a 200 but what it
holds, and an empty list is never taken for "there is nothing".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from bundlectl.errors import ContentError, RegistryError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.remote.call import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.http.response import Response
    from mirror.remote.connection import Connection

__all__ = ["HarborApi", "HarborProject", "HarborSystem", "Quota"]

_API: Final = "api/v2.0/"
_OK: Final = 200
_CREATED: Final = 201
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_LIMIT: Final = 16 * 1024 * 1024
_PAGE_SIZE: Final = 100
_PAGES: Final = 10_000
_HIDDEN: Final = frozenset({401, 403, 404, 412})
"""What somebody sees who may not look."""
_BY_NAME: Final = {"X-Is-Resource-Name": "true"}
"""Else a project whose name is all digits would be taken for a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarborSystem:
    """What Harbor says about itself. All but the version is only told to whoever is logged in."""

    version: str = ""
    read_only: bool = False
    storage: str = ""
    """The driver that keeps the blobs: ``filesystem``, ``s3`` …"""


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that a project has used, and may use; a blob counts once a project."""

    used: int
    hard: int
    """-1 where there is no limit."""

    @property
    def left(self) -> int | None:
        """Bytes that still fit; None where there is no limit."""
        return None if self.hard < 0 else max(0, self.hard - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class HarborProject:
    """A project and its quota, as far as we may see them."""

    name: str
    proxied: str = ""
    """The registry that it caches; nothing can be pushed then."""
    quota: Quota | None = None


class HarborApi:
    """The management API of the Harbor at the other end of a connection. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._base = f"{connection.base.removesuffix('/v2/')}/{_API}"

    def system(self) -> HarborSystem | None:
        """What Harbor says about itself; None where whatever stands before it does not pass this API on.

        Raises:
            RegistryError, TransportError: it does not answer.
        """
        try:
            found = self._visible("systeminfo")
        except ContentError:
            return None
        if not isinstance(found, dict):
            return None
        return HarborSystem(
            version=_text(found, "harbor_version"),
            read_only=found.get("read_only") is True,
            storage=_text(found, "registry_storage_provider_name"),
        )

    def free_space(self) -> int | None:
        """Bytes free where blobs are kept; None unless we are an administrator.

        Raises:
            RegistryError, TransportError: it does not answer.
        """
        found = self._visible("systeminfo/volumes")
        volumes = found.get("storage") if isinstance(found, dict) else None
        sizes = [_number(item, "free") for item in _rows(volumes)]
        return min((size for size in sizes if size is not None), default=None)

    def knows_us(self) -> bool:
        """Whether our credentials are good: a 200 elsewhere would not say so.

        Raises:
            RegistryError, TransportError: it does not answer.
        """
        return self._head_project("library").status != _UNAUTHORIZED

    def is_person(self) -> bool:
        """Whether our credentials are a person's, whose password costs Harbor a tenth of a second at each look.

        Raises:
            RegistryError, TransportError: it does not answer.
        """
        return isinstance(self._visible("users/current"), dict)

    def has_project(self, name: str) -> bool:
        """Whether a project exists.

        Raises:
            RegistryError: it lets us know nothing.
            TransportError: it does not answer.
        """
        response = self._head_project(name)
        if response.status == _UNAUTHORIZED:
            raise self._refused_login(name)
        if response.status == _NOT_FOUND:
            self._connection.absent_projects.add(name)
            return False
        if response.status == _OK:
            return True
        raise self._connection.refusal(response, f"{self._connection.host}/{name}", ())

    def create_project(self, name: str, *, public: bool = False) -> bool:
        """Make a project, unless someone else just did.

        Returns:
            Whether it was made now.

        Raises:
            RegistryError: it is refused.
            TransportError: Harbor does not answer.
        """
        body = json.dumps({"project_name": name, "metadata": {"public": "true" if public else "false"}})
        response = self._send("POST", "projects", body=body.encode(), project=name)
        if response.status not in (_CREATED, _CONFLICT):
            error = self._connection.refusal(response, f"{self._connection.host}/{name}", (), reading=False)
            raise RegistryError(
                f"the project cannot be made: {error.message}",
                status=response.status,
                artifact=f"{self._connection.host}/{name}",
                hint="an administrator can make it, or give the account the right to create projects",
            )
        # A token that is older than the project is not taken for it.
        self._connection.forget_tokens()
        self._connection.absent_projects.discard(name)
        return response.status == _CREATED

    def project(self, name: str) -> HarborProject | None:
        """A project with its quota; None where it does not exist, or we may not see it.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        summary = self._visible(f"projects/{name}/summary")
        if not isinstance(summary, dict):
            return None
        registry = summary.get("registry")
        return HarborProject(
            name=name,
            proxied=_text(registry, "name") or "another registry" if isinstance(registry, dict) and registry else "",
            quota=_quota(summary.get("quota")),
        )

    def policies(self, name: str) -> Mapping[str, str]:
        """The metadata of a project; empty where we may not see it.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible(f"projects/{name}")
        metadata = found.get("metadata") if isinstance(found, dict) else None
        return {k: v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {}

    def immutable_rules(self, name: str) -> list[dict[str, Any]] | None:
        """The immutable-tag rules of a project; None where we may not see them.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible(f"projects/{name}/immutabletagrules?page_size={_PAGE_SIZE}")
        return _rows(found) if isinstance(found, list) else None

    def retention(self, number: str) -> dict[str, Any] | None:
        """A retention policy (its number is in a project's metadata); None where we may not see it.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible(f"retentions/{number}") if number.isdecimal() else None
        return found if isinstance(found, dict) else None

    def collects_untagged(self) -> bool | None:
        """Whether scheduled garbage collection deletes what has no tag; None unless we are an administrator.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible("system/gc/schedule")
        if not isinstance(found, dict):
            return None
        schedule = found.get("schedule")
        kind = _text(schedule, "type") if isinstance(schedule, dict) else ""
        stated = found.get("parameters") or found.get("job_parameters")
        try:
            parameters = json.loads(stated) if isinstance(stated, str) else stated
        except (ValueError, RecursionError):
            parameters = None
        wanted = isinstance(parameters, dict) and parameters.get("delete_untagged") is True
        return kind not in ("", "None") and wanted

    def artifact(self, repository: str, reference: str) -> Descriptor | None:
        """What a tag or digest points at, whatever policy withholds its content; size 0, for it is not told.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible(f"{_path(repository)}/artifacts/{quote(reference, safe='')}?with_tag=false")
        if not isinstance(found, dict):
            return None
        try:
            return Descriptor(_text(found, "manifest_media_type"), Digest.parse(_text(found, "digest")), 0)
        except ContentError:
            return None

    def accessories(self, repository: str, digest: Digest) -> list[tuple[str, str]]:
        """Type (``signature.cosign``, ``sbom.harbor`` …) and digest of what Harbor shows as belonging to an artifact.

        Raises:
            RegistryError, TransportError: Harbor does not answer.
        """
        found = self._visible(f"{_path(repository)}/artifacts/{digest}/accessories?page_size={_PAGE_SIZE}")
        return [(_text(row, "type"), _text(row, "digest")) for row in _rows(found)]

    def delete_repository(self, repository: str) -> None:
        """Delete a repository with everything in it.

        Raises:
            MissingError: there is none.
            RegistryError: it is refused.
            TransportError: Harbor does not answer.
        """
        response = self._send("DELETE", _path(repository))
        if response.status != _OK:
            raise self._connection.refusal(response, f"{self._connection.host}/{repository}", ())

    def repositories(self, project: str = "") -> list[str] | None:
        """The names of all repositories that we may see, of a project or of all; None where we may not list them.

        Raises:
            RegistryError: our credentials are refused, which would make the list that of a stranger; or it
                changed while it was read.
            TransportError, ContentError: Harbor does not answer, or not with a list.
        """
        if self._connection.credential(project) and not self.knows_us():
            raise self._refused_login(project)
        found: set[str] = set()
        most = 0
        # In this order something that is new meanwhile takes nothing out of the pages to come.
        for rows, total in self._pages(f"projects/{project}/repositories" if project else "repositories", sort="name"):
            if rows is None:
                return None
            found.update(name for row in rows if (name := _text(row, "name")))
            most = max(most, total or 0)
        if len(found) < most:
            raise RegistryError(
                f"listed {len(found)} of {most} repositories: something was deleted meanwhile",
                status=_CONFLICT,
                artifact=self._connection.host,
                hint="run the same command again",
                retryable=True,
            )
        return sorted(found)

    def tags(self, project: str, wanted: Mapping[str, int]) -> dict[tuple[str, str], Digest]:
        """What tags of these repositories point at, as far as lists tell it in fewer requests than tags would take.

        Lists the whole project, unless asking for each repository needs fewer pages. Tags of
        cosign's scheme (``sha256-<hex>.sig``) are missing: Harbor files them as accessories.

        Args:
            project: of all of them.
            wanted: by path, the project's name included, how many tags there are to be asked for.

        Raises:
            RegistryError, TransportError, ContentError: Harbor does not answer, or not with a list.
        """
        # A list costs a request for each hundred; so does a single tag, once.
        several = {repository: count for repository, count in wanted.items() if count > 1}
        found: dict[tuple[str, str], Digest] = {}
        if len(wanted) > 1:
            for rows, total in self._artifact_pages(f"projects/{project}/artifacts"):
                if rows is None or (total is not None and -(-total // _PAGE_SIZE) - 1 > len(wanted)):
                    break
                found.update((key, digest) for key, digest in _tagged(rows) if key[0] in wanted)
            else:
                return found
        for repository, count in sorted(several.items()):
            for rows, total in self._artifact_pages(f"{_path(repository)}/artifacts"):
                if rows is None:
                    return found
                found.update((key, digest) for key, digest in _tagged(rows, repository) if key[0] == repository)
                if total is not None and -(-total // _PAGE_SIZE) > count:
                    break
        return found

    def _artifact_pages(self, path: str) -> Iterator[tuple[list[dict[str, Any]] | None, int | None]]:
        """Pages of what has a tag; the oldest come first, so that what is pushed meanwhile shifts none of them."""
        return self._pages(path, q="tags=*", with_tag="true", sort="id")

    def _pages(self, path: str, **query: str) -> Iterator[tuple[list[dict[str, Any]] | None, int | None]]:
        """Rows page by page, with how many there are; None for a page that we may not see.

        Pages are counted, never followed by ``Link``.
        """
        for number in range(1, _PAGES):
            asked = urlencode({**query, "page_size": _PAGE_SIZE, "page": number})
            response = self._send("GET", f"{path}?{asked}")
            if response.status in _HIDDEN:
                yield None, None
                return
            rows = self._json(response, path)
            if not isinstance(rows, list):
                raise ContentError("Harbor's list is not a list", artifact=f"{self._connection.host}/{path}")
            total = response.number("X-Total-Count")
            yield _rows(rows), total
            if len(rows) < _PAGE_SIZE or (total is not None and number * _PAGE_SIZE >= total):
                return

    def _refused_login(self, project: str) -> RegistryError:
        credential = self._connection.credential(project)
        return RegistryError(
            f"refused the credentials of {credential.username}" if credential else "wants credentials",
            status=_UNAUTHORIZED,
            artifact=self._connection.host,
            hint=f"docker login {self._connection.host}",
        )

    def _head_project(self, name: str) -> Response:
        return self._send("HEAD", f"projects?{urlencode({'project_name': name})}", project=name)

    def _visible(self, path: str) -> object:
        """A document; None where it does not exist or is not for us."""
        response = self._send("GET", path)
        return None if response.status in _HIDDEN else self._json(response, path)

    def _json(self, response: Response, path: str) -> object:
        if response.status != _OK:
            raise self._connection.refusal(response, f"{self._connection.host}/{path.partition('?')[0]}", ())
        raw = response.read(_LIMIT)
        try:
            # What is not set, such as a schedule, is answered with nothing at all.
            found: object = json.loads(raw) if raw.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ContentError("Harbor's answer is not JSON", artifact=f"{self._connection.host}/{path}") from error
        return found

    def _send(self, method: str, path: str, *, body: bytes | None = None, project: str = "") -> Response:
        headers = {"Accept": "application/json", **_BY_NAME}
        if body is not None:
            headers["Content-Type"] = "application/json"
        call = Call(method=method, url=f"{self._base}{path}", headers=headers, body=body)
        named = path.split("/")[1].partition("?")[0] if path.startswith("projects/") else ""
        return self._connection.send_password(call, project or named)


def _path(repository: str) -> str:
    """The path of a repository: its name without the project, encoded twice, for a proxy decodes it once."""
    project, _, name = repository.partition("/")
    return f"projects/{project}/repositories/{quote(quote(name, safe=''), safe='')}"


def _tagged(rows: list[dict[str, Any]], repository: str = "") -> Iterator[tuple[tuple[str, str], Digest]]:
    """Repository and tag, and the digest, of every tag in a list of artifacts."""
    for row in rows:
        name = _text(row, "repository_name") or repository
        try:
            digest = Digest.parse(_text(row, "digest"))
        except ContentError:
            continue
        for tag in _rows(row.get("tags")):
            if _text(tag, "name"):
                yield (name, _text(tag, "name")), digest


def _quota(value: object) -> Quota | None:
    if not isinstance(value, dict):
        return None
    hard, used = (value.get(key) for key in ("hard", "used"))
    limit = _number(hard, "storage") if isinstance(hard, dict) else None
    taken = _number(used, "storage") if isinstance(used, dict) else None
    return None if limit is None or taken is None else Quota(taken, limit)


def _rows(value: object) -> list[dict[str, Any]]:
    """The objects of a list; Harbor writes an empty one as null, too."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], key: str) -> int | None:
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
