"""Talking to one registry: where it is, who we are there, and counting what we ask."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.http.redirects import same_origin
from mirror.remote.errors import refusal
from mirror.remote.tokens import Authorizer, pull_scope, push_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundlectl.errors import BundlectlError
    from mirror.http.client import HttpClient
    from mirror.http.response import Response
    from mirror.oci.repository import BlobReader
    from mirror.remote.auth import CredentialStore

__all__ = ["Address", "Call", "Connection"]

_UNAUTHORIZED: Final = 401
_API_HOSTS: Final = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a registry; the fields are those of ``HttpClient.request``, and its scopes."""

    method: str
    url: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | BlobReader | None = None
    length: int | None = None
    stream: bool = False
    retry: bool | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent a second time."""
        return self.body is None or isinstance(self.body, bytes)


class Connection:
    """One registry. Thread-safe.

    Args:
        host: the name recorded, ``host[:port]``.
        client: sends the requests.
        credentials: asked for the host that is contacted.
        origin: ``HOST[/PREFIX]`` contacted in place of ``host``.
    """

    def __init__(self, host: str, client: HttpClient, credentials: CredentialStore, origin: str | None) -> None:
        self.host = host
        self.client = client
        contacted, _, prefix = (origin or host).rstrip("/").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self._contacted = _API_HOSTS.get(contacted, contacted)
        self._login = contacted
        self._authorizer = Authorizer(contacted, client, credentials)
        self._lock = threading.Lock()
        self._count = 0
        self._tag_locks: dict[str, threading.Lock] = {}

    @property
    def base(self) -> str:
        """The URL of the API, ending in ``/v2/``."""
        return f"{self.client.scheme(self._contacted)}://{self._contacted}/v2/"

    @property
    def requests(self) -> int:
        """Requests sent so far, tokens not counted."""
        with self._lock:
            return self._count

    def lock_for(self, reference: str) -> threading.Lock:
        """The lock under which this process changes what ``reference`` points at."""
        with self._lock:
            return self._tag_locks.setdefault(reference, threading.Lock())

    def refusal(
        self, response: Response, artifact: str, scopes: tuple[str, ...], *, reading: bool = True
    ) -> BundlectlError:
        """The error for an answer that is not what was hoped for."""
        known = self._authorizer.credential(scopes) is not None
        return refusal(response, artifact=artifact, host=self._login, known=known, reading=reading)

    def resolve(self, base: str, link: str) -> str:
        """Resolve and check a ``Location`` or ``Link``.

        Raises:
            TransportError: it is not one to go to.
        """
        return self.client.resolve(base, link)

    def send(self, call: Call) -> Response:
        """Send a request with what authorizes it, and once more if the registry says 401.

        Only the registry itself is shown credentials, and only its own challenges are answered:
        an upload's Location or a redirect may lead elsewhere. A body that streams cannot be sent
        again: a 401 to it is returned, and new credentials are at hand for who begins anew.

        Raises:
            TransportError: no answer.
            RegistryError: the token service refused.
        """
        own = same_origin(call.url, self.base)
        used = self._authorizer.header(call.scopes) if own else None
        response = self._sent(call, used)
        if response.status != _UNAUTHORIZED or not own or not same_origin(response.url, self.base):
            return response
        response.excerpt()
        better = self._authorizer.answer(response, self.base, call.scopes, used)
        if better is None or not call.repeatable:
            return response
        return self._sent(call, better)

    def _sent(self, call: Call, authorization: str | None) -> Response:
        headers = dict(call.headers)
        if authorization:
            headers["Authorization"] = authorization
        with self._lock:
            self._count += 1
        return self.client.request(
            call.method,
            call.url,
            headers=headers,
            body=call.body,
            length=call.length,
            stream=call.stream,
            retry=call.retry,
        )


class Address:
    """One repository of a registry.

    Args:
        connection: to the registry.
        name: path of the repository as it is recorded.
        push: ask for tokens that may also write, where reading would do (a target is written
            to soon enough, and one token is cheaper than two).
    """

    def __init__(self, connection: Connection, name: str, *, push: bool = False) -> None:
        self.connection = connection
        self.path = connection.prefix + name
        self.name = f"{connection.host}/{name}"
        self.push = (push_scope(self.path),)
        self.pull = self.push if push else (pull_scope(self.path),)

    def url(self, tail: str) -> str:
        """A URL below this repository: ``manifests/latest``."""
        return f"{self.connection.base}{self.path}/{tail}"

    def artifact(self, reference: str) -> str:
        """The name of a tag or digest in it, for messages."""
        return f"{self.name}{'@' if ':' in reference else ':'}{reference}"

    def refusal(self, response: Response, artifact: str, *, reading: bool = True) -> BundlectlError:
        """The error for an answer that is not what was hoped for."""
        return self.connection.refusal(response, artifact, self.pull, reading=reading)
