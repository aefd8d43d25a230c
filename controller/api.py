"""The API server of one cluster: JSON in, JSON out. The official client's transport, and nothing else of it."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlencode

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from bundlectl.errors import BundlectlError
from controller.encoding import encode_json
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kubernetes.client import ApiClient

__all__ = [
    "APPLY",
    "JSON_PATCH",
    "MERGE",
    "Api",
    "ClusterError",
    "pages_of",
    "path_of",
]

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
PatchType = Literal["application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"]

_METADATA: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_ADDRESS: Final = re.compile(r"<[^<>]* at 0x[0-9a-f]+>:? ?")
_CONNECT: Final = 5.0
_READ: Final = 30.0
_WATCH: Final = 90
"""Seconds of one watch. Where nothing changes nothing is said on it, not even a bookmark before its end: so soon it is
noticed that a server is there, and says nothing any more."""
_BODY_LIMIT: Final = 64 * 1024 * 1024
_PAGE: Final = "40"
"""Objects of an answer: of the largest that etcd keeps (1.5 MiB), so many are still within an answer's bounds."""
_LINE_LIMIT: Final = 8 * 1024 * 1024
_TOLD_TO_WAIT: Final = 10.0
"""Seconds that a busy API server is waited for altogether, before it is an error."""
_SHORTEST: Final = 0.2
_DIGITS: Final = 4
_BUSY: Final = frozenset({429, 503})
_FORBIDDEN, _NOT_FOUND, _CONFLICT, _GONE = 403, 404, 409, 410


class ClusterError(BundlectlError):
    """An API server refused, or did not answer. ``status`` is that of HTTP, 0 where there was no answer.

    ``again_after`` are the seconds after which it wants to be asked again, None where it does not say.
    """

    code = "cluster"
    again_after: float | None = None

    def __init__(self, message: str, *, artifact: str, status: int, hint: str | None = None) -> None:
        super().__init__(message, artifact=artifact, hint=hint, retryable=status in (0, 429, 500, 503, 504))
        self.status = status

    @property
    def missing(self) -> bool:
        """Whether there is no such object."""
        return self.status == _NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """Whether that user may not do it."""
        return self.status == _FORBIDDEN

    @property
    def conflict(self) -> bool:
        """Whether the object was changed meanwhile, or exists already."""
        return self.status == _CONFLICT

    @property
    def gone(self) -> bool:
        """Whether a watch asked for versions that are not kept any more."""
        return self.status == _GONE


class Api(Closing):
    """One cluster. Thread-safe.

    Args:
        client: of the official library.
        name: of the cluster, for messages.
        patience: seconds without a word after which an answer is given up.
    """

    def __init__(self, client: ApiClient, name: str, patience: float = _READ) -> None:
        self._client = client
        self.name = name
        self._patience = patience

    def within(self, seconds: float) -> Api:
        """The same cluster and connections, for who cannot wait long for an answer."""
        return Api(self._client, self.name, seconds)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._client.configuration.host)

    def get(self, path: str, *, as_user: str = "", **query: str) -> dict[str, Any]:
        """Read an object or a list.

        Args:
            path: below the server's URL.
            as_user: whom to impersonate.
            query: parameters.

        Raises:
            ClusterError: refused, or no answer.
        """
        return self._call("GET", path, None, as_user, query)

    def find(self, path: str, *, as_user: str = "") -> dict[str, Any] | None:
        """Read an object; None when there is none.

        Raises:
            ClusterError: refused, or no answer.
        """
        try:
            return self.get(path, as_user=as_user)
        except ClusterError as error:
            if error.missing:
                return None
            raise

    def list_metadata(self, path: str, *, as_user: str = "", **query: str) -> list[dict[str, Any]]:
        """The metadata of the objects of a collection, without the objects.

        Raises:
            ClusterError: refused, or no answer.
        """
        return list(self._call("GET", path, None, as_user, query, accept=_METADATA).get("items") or ())

    def create(self, path: str, body: Mapping[str, Any], *, as_user: str = "") -> dict[str, Any]:
        """Create an object in the collection ``path``.

        Raises:
            ClusterError: refused (``conflict`` where it is there already), or no answer.
        """
        return self._call("POST", path, body, as_user, {})

    def replace(self, path: str, body: Mapping[str, Any], *, as_user: str = "") -> dict[str, Any]:
        """Replace an object, if it is still of the version that ``body`` says.

        Raises:
            ClusterError: refused, or no answer.
        """
        return self._call("PUT", path, body, as_user, {})

    def patch(
        self,
        path: str,
        body: object,
        kind: PatchType = MERGE,
        *,
        as_user: str = "",
        **query: str,
    ) -> dict[str, Any]:
        """Patch an object.

        Raises:
            ClusterError: refused, or no answer.
        """
        return self._call("PATCH", path, body, as_user, query, content_type=kind)

    def delete(self, path: str, *, as_user: str = "") -> None:
        """Delete an object; harmless when there is none.

        Raises:
            ClusterError: refused, or no answer.
        """
        try:
            self._call("DELETE", path, None, as_user, {})
        except ClusterError as error:
            if not error.missing:
                raise

    def watch(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        """Follow the changes of a collection since a version, with bookmarks, for a minute and a half.

        Raises:
            ClusterError: refused (``gone`` where the version is too old), or the connection broke.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH),
        }
        with self._mapped("GET", path), self._sent("GET", path, None, {}, query, read=_WATCH + 10) as answer:
            for line in _lines(answer):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    said = str(status.get("message", "the watch ended"))[:500]
                    raise ClusterError(said, artifact=f"{self.name}{path}", status=int(status.get("code") or 0))
                yield event

    def close(self) -> None:
        """Close all connections on which nothing is waited for."""
        self._client.rest_client.pool_manager.clear()

    def _call(
        self,
        method: str,
        path: str,
        body: object,
        as_user: str,
        query: Mapping[str, str],
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        headers = {"Accept": accept, "Content-Type": content_type, **({"Impersonate-User": as_user} if as_user else {})}
        left = min(self._patience, _TOLD_TO_WAIT)
        while True:
            try:
                return self._asked(method, path, body, headers, query)
            except ClusterError as error:
                # It has done nothing, and is busy: that is no reason to tell people of a failure.
                if error.again_after is None or error.again_after > left:
                    raise
                pause = max(error.again_after, _SHORTEST)
            left -= pause
            time.sleep(pause)

    def _asked(
        self, method: str, path: str, body: object, headers: dict[str, str], query: Mapping[str, str]
    ) -> dict[str, Any]:
        with self._mapped(method, path), self._sent(method, path, body, headers, query, read=self._patience) as answer:
            raw = answer.read(_BODY_LIMIT + 1)
            if len(raw) > _BODY_LIMIT:
                raise ClusterError("the answer is too large", artifact=f"{self.name}{path}", status=0)
            found = json.loads(raw)
        return found if isinstance(found, dict) else {}

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        body: object,
        headers: dict[str, str],
        query: Mapping[str, str],
        *,
        read: float,
    ) -> Iterator[Any]:
        """The answer of urllib3. The library's own way would keep every answer and load a model of it."""
        headers = {"Accept": "application/json", "User-Agent": self._client.user_agent, **headers}
        self._authenticate(headers)
        url = self._client.configuration.host + quote(path, safe="/:") + (f"?{urlencode(query)}" if query else "")
        answer = self._client.rest_client.pool_manager.request(
            method,
            url,
            body=None if body is None else encode_json(body),
            headers=headers,
            timeout=Timeout(connect=min(_CONNECT, read), read=read),
            preload_content=False,
            retries=False,
            redirect=False,
        )
        whole = False
        try:
            if not 200 <= answer.status < 300:  # noqa: PLR2004 -- what HTTP calls success
                error = ClusterError(_told(answer), artifact=f"{self.name}{path}", status=answer.status)
                after = answer.headers.get("Retry-After", "")
                if answer.status in _BUSY and after.isdecimal() and len(after) <= _DIGITS:
                    error.again_after = float(after)
                raise error
            yield answer
            whole = True
        finally:
            if whole:
                answer.drain_conn()
                answer.release_conn()
            else:
                answer.close()

    def _authenticate(self, headers: dict[str, str]) -> None:
        """Add the token; this is what reads or asks for a new one where the old one has expired."""
        from kubernetes.config import ConfigException  # noqa: PLC0415 -- loaded by whoever made the client

        try:
            self._client.update_params_for_auth(headers, [], ["BearerToken"])
        except ConfigException as error:
            raise ClusterError(f"there is no token: {error}"[:300], artifact=self.name, status=0) from error

    @contextmanager
    def _mapped(self, method: str, path: str) -> Iterator[None]:
        artifact = f"{self.name}{path}"
        try:
            yield
        except (HTTPError, OSError) as error:
            raise ClusterError(
                f"the API server does not answer to {method}: {_plainly(error)}", artifact=artifact, status=0
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise ClusterError("the answer is not JSON", artifact=artifact, status=0) from error


def pages_of(api: Api, path: str) -> Iterator[dict[str, Any]]:
    """A collection, some objects at a time; the last page has the version of them all.

    Raises:
        ClusterError: refused, or no answer.
    """
    query = {"limit": _PAGE}
    while True:
        page = api.get(path, **query)
        yield page
        following = (page.get("metadata") or {}).get("continue")
        if not following:
            return
        query = {"limit": _PAGE, "continue": str(following)}


def path_of(api_version: str, plural: str, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Where objects of a kind stand in the API."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    parts = [root, *(("namespaces", namespace) if namespace else ()), plural]
    return "/".join([*parts, *filter(None, (name, subresource))])


def _plainly(error: Exception) -> str:
    """What urllib3 says, the same each time: without the addresses of objects in memory."""
    return _ADDRESS.sub("", str(error))[:300]


def _told(answer: Any) -> str:  # noqa: ANN401 -- urllib3's response
    try:
        said = json.loads(answer.read(_LINE_LIMIT)).get("message")
    except (ValueError, AttributeError):
        said = None
    return str(said or answer.reason or "refused")[:1000]


def _lines(answer: Any) -> Iterator[bytes]:  # noqa: ANN401 -- urllib3's response
    rest = b""
    for block in answer.stream(amt=None, decode_content=False):
        *whole, rest = (rest + block).split(b"\n")
        yield from filter(None, whole)
        if len(rest) > _LINE_LIMIT:
            raise ValueError("a line of the watch is too long")
