"""Which path of the REST API is which call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.exchange import Answer, Request
    from registry_fixtures.harbor.database import Database
    from registry_fixtures.harbor.people import People
    from registry_fixtures.harbor.settings import Settings

__all__ = ["RestApi", "Routes"]

_Handler: TypeAlias = "Callable[[Call], Answer]"
Routes: TypeAlias = "dict[str, _Handler]"
"""Handlers by ``METHOD /path/{part}``."""

_BASE: Final = "/api/v2.0"


class RestApi:
    """Answers ``/api``.

    Args:
        database: what there is.
        people: who there is; bearer tokens are nobody here.
        settings: tell whether nginx is in front, which decodes paths once on the way.
        routes: all calls.
    """

    def __init__(self, database: Database, people: People, settings: Settings, routes: Routes) -> None:
        self._database = database
        self._people = people
        self._settings = settings
        self._routes = [(*key.partition(" ")[::2], handler) for key, handler in routes.items()]

    def answer(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            HarborError: it is refused.
        """
        if request.path == "/api/version":
            return json_answer({"version": "v2.0"})
        raw = (request.target or request.path).partition("?")[0]
        path = unquote(raw) if self._settings.nginx else raw
        parts = path.removeprefix(_BASE).strip("/").split("/")
        found: dict[str, tuple[_Handler, dict[str, str]]] = {}
        for method, template, handler in self._routes:
            values = _match(template, parts) if path.startswith(f"{_BASE}/") else None
            if values is not None:
                found.setdefault(method, (handler, values))
        method = request.method
        if method not in found:
            raise self._unrouted(request, path, sorted(found))
        handler, values = found[method]
        identity = self._people.identify(request.header("authorization"))
        with self._database.lock:
            return handler(Call(request, identity, self._database, values))

    def _unrouted(self, request: Request, path: str, methods: list[str]) -> HarborError:
        if not methods:
            return HarborError("NOT_FOUND", f"path {path} was not found")
        allowed = ",".join(methods)
        error = HarborError("METHOD_NOT_ALLOWED", f"method {request.method} is not allowed, but [{allowed}] are")
        error.answer.headers["Allow"] = allowed
        return error


def _match(template: str, parts: list[str]) -> dict[str, str] | None:
    wanted = template.strip("/").split("/")
    if len(wanted) != len(parts):
        return None
    values = {}
    for name, part in zip(wanted, parts, strict=True):
        if name.startswith("{"):
            # Once by the router and once by the handler: slashes inside a name are encoded twice.
            values[name[1:-1]] = unquote(unquote(part))
        elif name != part:
            return None
    return values
