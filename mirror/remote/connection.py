"""Talking to one registry: where it is, who we are there, and counting what we ask."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from mirror.http.failures import RETRYABLE_STATUSES
from mirror.http.redirects import same_origin
from mirror.remote.call import Call
from mirror.remote.chunking import BodyLimits
from mirror.remote.errors import refusal
from mirror.remote.harbor import HarborApi
from mirror.remote.tokens import CATALOG_SCOPE, Authorizer, pull_scope, push_scope

if TYPE_CHECKING:
    from bundlectl.errors import BundlectlError
    from mirror.http.client import HttpClient
    from mirror.http.response import Response
    from mirror.profiles import RegistryProfile
    from mirror.remote.auth import Credential, CredentialStore

__all__ = ["Address", "Call", "Connection"]

_UNAUTHORIZED: Final = 401
_TELLING: Final = frozenset({200, _UNAUTHORIZED, 404})
"""Answers to a request without credentials that tell whether it is a Harbor: that always answers 401."""
_API_HOSTS: Final = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


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
        self.body_limits = BodyLimits()
        contacted, _, prefix = (origin or host).rstrip("/").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self._contacted = _API_HOSTS.get(contacted, contacted)
        self._login = contacted
        self._authorizer = Authorizer(contacted, client, credentials)
        self._lock = threading.Lock()
        self._count = 0
        self._tag_locks: dict[str, threading.Lock] = {}
        self._asked = threading.Lock()
        self._harbor: HarborApi | None = None
        self._recognized = False
        self._first = threading.Lock()
        self._begun = False
        self._told = False
        self.without_referrers: set[str] = set()
        """Paths of repositories whose registry said that it has no referrers API."""
        self.absent_projects: set[str] = set()
        """Projects that were just asked for in vain: nothing can be in them."""

    @property
    def base(self) -> str:
        """The URL of the API, ending in ``/v2/``."""
        return f"{self.client.scheme(self._contacted)}://{self._contacted}/v2/"

    @property
    def requests(self) -> int:
        """Requests sent so far, tokens not counted."""
        with self._lock:
            return self._count

    @property
    def profile(self) -> RegistryProfile:
        """The product, as its first answer tells; asked for with a request that changes nothing if there was none yet.

        Raises:
            TransportError: no answer.
            RegistryError: the answer is that of something that is out of order.
        """
        self._recognize()
        return self._authorizer.profile

    @property
    def harbor(self) -> HarborApi | None:
        """Its management API, where it is a Harbor.

        Raises:
            TransportError, RegistryError: see ``profile``.
        """
        self._recognize()
        return self._harbor

    def _recognize(self) -> None:
        with self._asked:
            if self._recognized:
                return
            if not self._told:
                response = self._sent(Call(method="GET", url=self.base), None)
                if response.status in RETRYABLE_STATUSES:
                    raise self.refusal(response, self.host, ())
                if response.status == _UNAUTHORIZED and same_origin(response.url, self.base):
                    self._authorizer.learn(response, self.base)
                self._told = True
            if self._authorizer.profile.api == "harbor":
                self._harbor = HarborApi(self)
            self._recognized = True

    def credential(self, repository: str = "") -> Credential | None:
        """Who we are for a repository (a path as the registry has it), or for the registry as such.

        Raises:
            ConfigError: credentials cannot be read.
        """
        return self._authorizer.credential((pull_scope(repository),) if repository else ())

    @property
    def challenged(self) -> bool:
        """Whether it has asked for a login so far."""
        return self._authorizer.challenged

    def forget_tokens(self) -> None:
        """Have new tokens made from now on."""
        self._authorizer.forget()

    def send_password(self, call: Call, project: str = "") -> Response:
        """Send a request to an API that takes passwords and no tokens.

        Args:
            call: the request; its scopes do not matter.
            project: whose credentials to show; of the registry as such when empty.

        Raises:
            TransportError: no answer.
            ConfigError: credentials cannot be read.
        """
        credential = self.credential(project)
        return self._sent(call, credential.basic if credential else None)

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

        The first request goes alone: its answer may be the challenge that all others would get, too.

        Raises:
            TransportError: no answer.
            RegistryError: the token service refused.
        """
        own = same_origin(call.url, self.base)
        if own and not self._begun:
            with self._first:
                if not self._begun:
                    try:
                        return self._exchange(call, own=own)
                    finally:
                        self._begun = True
        return self._exchange(call, own=own)

    def _exchange(self, call: Call, *, own: bool) -> Response:
        used = self._authorizer.header(call.scopes) if own else None
        response = self._sent(call, used)
        # Harbor's challenge to whoever wants its catalogue does not tell that it is one.
        tells = own and used is None and response.status in _TELLING and CATALOG_SCOPE not in call.scopes
        if response.status != _UNAUTHORIZED or not own or not same_origin(response.url, self.base):
            self._told = self._told or tells
            return response
        response.excerpt()
        better = self._authorizer.answer(response, self.base, call.scopes, used)
        self._told = self._told or tells
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
        self.project = self.path.partition("/")[0]
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
