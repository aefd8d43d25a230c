"""The embedded OCI registry: a WSGI callable over a store.

HTTP itself is the server's business (``serving``). Here a request becomes a route, is authorized,
answered, counted.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import BundlectlError, MissingError, StoreError, TransportError
from bundlectl.events import Listener, Notice, ignore
from mirror.server import files, manifests, page, pull, upload
from mirror.server.auth import Access, AccessPolicy
from mirror.server.limits import Limits, StoreGuard
from mirror.server.message import BlobBody, RefusedError, Request, Response, json_response, refusal
from mirror.server.metrics import CONTENT_TYPE, Metrics
from mirror.server.paths import Kind, Route, parse_path
from mirror.server.remembered import ReadManifests
from mirror.server.service import FindFile, ListNames, Names, ResolveName, Service

if TYPE_CHECKING:
    from mirror.layout.store import Store
    from mirror.server.describing import Description

__all__ = ["AccessRecord", "Registry", "Sending", "ServerOptions"]

StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], object]
_Answer: TypeAlias = Callable[[Service, Request, Route], Response]

_STATUS: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
_OPEN: Final = AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True)


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One answered request, for an access log: ``seconds`` until its last byte, bytes of both bodies."""

    request_id: str
    client: str
    user: str | None
    method: str
    path: str
    status: int
    received: int
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What seldom changes.

    Args:
        access_log: called once for each answered request, from any thread.
        limits: on uploads.
        metrics: where requests are counted; by default in this process alone.
        description: what the page tells of releases and signatures.
    """

    access_log: Callable[[AccessRecord], None] | None = None
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    description: Description | None = None


@dataclass(slots=True)
class _Exchange:
    """A request while it is being answered."""

    environ: dict[str, Any] = field(repr=False)
    started: float
    request: Request | None = None
    kind: str = "none"
    user: str | None = None
    identifier: str = ""

    def name(self) -> str:
        """The request's id, made when first needed; it appears in logs only."""
        self.identifier = self.identifier or secrets.token_hex(8)
        return self.identifier


class Sending:
    """A blob on its way out: what the server iterates, and closes when it is sent or cut.

    A server that can may send ``length`` bytes of ``fileno()`` from ``offset`` itself, and then
    sets ``sent``.
    """

    def __init__(self, body: BlobBody, finish: Callable[[int], None], fail: Callable[[BundlectlError], None]) -> None:
        self._body = body
        self._finish = finish
        self._fail = fail
        self._closed = False
        self.length = body.length
        self.offset = body.offset

    @property
    def sent(self) -> int:
        """Bytes handed to the client."""
        return self._body.sent

    @sent.setter
    def sent(self, count: int) -> None:
        self._body.sent = count

    def fileno(self) -> int | None:
        """The file's descriptor, when the blob is a plain file."""
        return self._body.fileno()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except BundlectlError as error:
            self._fail(error)
            # Headers are out: all that is left is to cut the connection, which the client notices.
            raise ConnectionAbortedError(errno.ECONNABORTED, error.message) from error

    def close(self) -> None:
        """Release the file and count the request; harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._body.close()
            self._finish(self.sent)


class Registry:
    """An OCI registry (distribution-spec 1.1) with files, a page and metrics, as a WSGI callable.

    Args:
        store: where everything is.
        resolve_name: repository path in a URL and ``ns`` query, to repositories of the store.
        list_names: the names under which clients can pull.
        files: path behind ``/files/`` to digest, size and media type or title.
        access: who may do what; everyone everything by default.
        options: see there.
        listener: told about failures inside the server; nothing else is reported.
    """

    def __init__(
        self,
        store: Store,
        *,
        resolve_name: ResolveName,
        list_names: ListNames,
        files: FindFile,
        access: Access | None = None,
        options: ServerOptions | None = None,
        listener: Listener = ignore,
    ) -> None:
        self._options = options or ServerOptions()
        self._access = access or Access(_OPEN)
        self._listener = listener
        self._service = Service(
            store=store,
            names=Names(resolve_name, list_names),
            files=files,
            manifests=ReadManifests(store),
            guard=StoreGuard(store.path, self._options.limits),
            metrics=self._options.metrics,
            description=self._options.description,
        )

    @property
    def metrics(self) -> Metrics:
        """The counters behind ``/metrics``."""
        return self._service.metrics

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        self._service.metrics.begin()
        exchange = _Exchange(environ, time.monotonic())
        response = self._answer(exchange)
        headers = response.headers
        body = response.body
        if exchange.kind in _API:
            headers.append(("Docker-Distribution-Api-Version", "registry/2.0"))
        headers.append(("X-Content-Type-Options", "nosniff"))
        if response.status not in _BODILESS and response.header("Content-Length") is None:
            headers.append(("Content-Length", str(body.length if isinstance(body, BlobBody) else len(body))))
        start_response(_STATUS[response.status], headers)
        if isinstance(body, BlobBody):
            return Sending(
                body,
                finish=lambda sent: self._finished(exchange, response.status, sent),
                fail=lambda error: self._failed(exchange, error),
            )
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        self._finished(exchange, response.status, len(body))
        return [body] if body else []

    def refused(self, client: str, method: str, path: str, status: int) -> None:
        """Count and log a request that the server answered by itself: it was none, too large or too late."""
        metrics = self._service.metrics
        metrics.begin()
        metrics.finish(method, "none", status, sent=0, received=0)
        if self._options.access_log:
            record = AccessRecord(secrets.token_hex(8), client, None, method, path, status, 0, 0, 0.0)
            self._options.access_log(record)

    def _answer(self, exchange: _Exchange) -> Response:
        try:
            request = exchange.request = Request.from_environ(exchange.environ)
            route = parse_path(request.path)
            exchange.kind = route.kind
            return self._dispatch(exchange, request, route)
        except RefusedError as error:
            return refusal(error)
        except TransportError as error:
            return refusal(RefusedError(400, "SIZE_INVALID", error.message))
        except StoreError as error:
            self._failed(exchange, error)
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                return refusal(RefusedError(507, "UNKNOWN", "the disk of this registry is full"))
            return refusal(RefusedError(500, "UNKNOWN", "the store cannot be used; see the log of the server"))
        except Exception as error:  # noqa: BLE001 -- no request, however odd, may end the server
            self._failed(exchange, error)
            return refusal(RefusedError(500, "UNKNOWN", "internal error; see the log of the server"))

    def _dispatch(self, exchange: _Exchange, request: Request, route: Route) -> Response:
        methods = _ROUTES[route.kind]
        found = methods.get(request.method)
        if found is None:
            allowed = ", ".join(methods)
            raise RefusedError(
                405, "UNSUPPORTED", f"{request.method[:20]} is not possible here", headers=[("Allow", allowed)]
            )
        action, answer = found
        if action:
            exchange.user = self._access.authorize(request, action)
        if route.kind in _UPLOADING and request.method in _SENDING:
            self._admit(request, route)
        response = answer(self._service, request, route)
        if route.kind == "api" and exchange.user is None and self._access.ping_challenge:
            response.headers.append(self._access.ping_challenge)
        return response

    def _admit(self, request: Request, route: Route) -> None:
        arrived = 0
        if route.kind == "upload":
            with suppress(MissingError):
                arrived = self._service.store.session_size(route.leaf)
        self._service.guard.admit_upload(request, opens=route.kind == "uploads", arrived=arrived)

    def _finished(self, exchange: _Exchange, status: int, sent: int) -> None:
        request = exchange.request
        received = request.input.received if request and request.input else 0
        method = exchange.environ["REQUEST_METHOD"]
        seconds = time.monotonic() - exchange.started
        self._service.metrics.finish(method, exchange.kind, status, sent=sent, received=received, seconds=seconds)
        if self._options.access_log:
            self._options.access_log(
                AccessRecord(
                    exchange.name(),
                    str(exchange.environ.get("REMOTE_ADDR", "")),
                    exchange.user,
                    method,
                    request.path if request else "",
                    status,
                    received,
                    sent,
                    seconds,
                )
            )

    def _failed(self, exchange: _Exchange, error: Exception) -> None:
        request = exchange.request
        what = f"{request.method} {request.path}"[:500] if request else "a request"
        why = str(error) if isinstance(error, BundlectlError) else f"{type(error).__name__}: {error}"
        self._listener(Notice("warning", f"request {exchange.name()} ({what!a}) failed: {why}"))


def _ping(service: Service, request: Request, route: Route) -> Response:
    del service, request, route
    return json_response({})


def _health(service: Service, request: Request, route: Route) -> Response:
    del request, route
    ailment = service.guard.ailment(writable=not service.store.read_only)
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    return Response(503, headers, ailment.encode()) if ailment else Response(200, headers, b"ok")


def _metrics(service: Service, request: Request, route: Route) -> Response:
    del request, route
    gauges = {"upload_sessions": ("Uploads that are open.", service.guard.sessions())}
    free = service.guard.free_bytes()
    if free is not None:
        gauges["store_free_bytes"] = ("Bytes that the disk of the store has left.", free)
    return Response(200, [("Content-Type", CONTENT_TYPE)], service.metrics.render(gauges))


def _reading(answer: _Answer) -> dict[str, tuple[Literal["pull", "push"] | None, _Answer]]:
    return {"GET": ("pull", answer), "HEAD": ("pull", answer)}


_UPLOADING: Final = frozenset({"uploads", "upload"})
_SENDING: Final = frozenset({"POST", "PATCH", "PUT"})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_API: Final = frozenset({"api", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers"})
_ROUTES: Final[dict[Kind, dict[str, tuple[Literal["pull", "push"] | None, _Answer]]]] = {
    "page": _reading(page.get_page),
    "health": {"GET": (None, _health), "HEAD": (None, _health)},
    "metrics": _reading(_metrics),
    "file": _reading(files.get_file),
    "api": _reading(_ping),
    "catalog": _reading(pull.get_catalog),
    "tags": _reading(pull.get_tags),
    "referrers": _reading(pull.get_referrers),
    "manifest": {
        **_reading(pull.get_manifest),
        "PUT": ("push", manifests.put_manifest),
        "DELETE": ("push", manifests.delete_manifest),
    },
    "blob": {**_reading(pull.get_blob), "DELETE": ("push", manifests.delete_blob)},
    "uploads": {"POST": ("push", upload.post_upload)},
    "upload": {
        "GET": ("push", upload.get_upload),
        "PATCH": ("push", upload.patch_upload),
        "PUT": ("push", upload.put_upload),
        "DELETE": ("push", upload.delete_upload),
    },
}
