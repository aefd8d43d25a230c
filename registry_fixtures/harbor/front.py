"""What stands before the registry API and the REST API alike: nginx, cookies, read-only mode, request ids."""

from __future__ import annotations

import re
import secrets
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from registry_fixtures.harbor.refusals import HarborError, page

if TYPE_CHECKING:
    from registry_fixtures.exchange import Answer, Handler, Request
    from registry_fixtures.harbor.settings import Settings

__all__ = ["Front"]

_LONGEST_LINE: Final = 8192
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_SESSION: Final = re.compile(r"(?:^|;)\s*sid=")


class Front:
    """Wraps the handler of core.

    Args:
        handler: answers what comes through.
        settings: read anew with each request.
    """

    def __init__(self, handler: Handler, settings: Settings) -> None:
        self._handler = handler
        self._settings = settings

    def answer(self, request: Request) -> Answer:
        """Answer one request, whoever in the chain it is that does."""
        refused = self._nginx(request) if self._settings.nginx else None
        if refused is not None:
            refused.headers["Server"] = "nginx"
            return refused
        try:
            self._check_session(request)
            self._check_read_only(request)
            answer = self._handler(request)
        except HarborError as error:
            answer = error.answer
        answer.headers["X-Request-Id"] = request.header("x-request-id") or str(uuid.uuid4())
        if not _SESSION.search(request.header("cookie")):
            answer.headers["Set-Cookie"] = f"sid={secrets.token_hex(16)}; Path=/; HttpOnly"
        if self._settings.nginx:
            answer.headers["Server"] = "nginx"
        return answer

    def _nginx(self, request: Request) -> Answer | None:
        """The page that nginx answers with, core being unreachable or unasked."""
        if len(f"{request.method} {request.target} HTTP/1.1") > _LONGEST_LINE:
            return page(HTTPStatus.REQUEST_URI_TOO_LONG)
        if any(len(f"{name}: {value}") > _LONGEST_LINE for name, value in request.headers.items()):
            return page(HTTPStatus.BAD_REQUEST)
        if self._settings.outage:
            return page(self._settings.outage)
        if request.path == "/v2":
            return page(HTTPStatus.MOVED_PERMANENTLY, {"Location": f"{request.url}/v2/"})
        return None

    def _check_session(self, request: Request) -> None:
        """Refuse what changes something and brings a session cookie, of whatever value."""
        if request.method not in _SAFE and _SESSION.search(request.header("cookie")):
            raise HarborError("FORBIDDEN", "CSRF token not found in request")

    def _check_read_only(self, request: Request) -> None:
        """In read-only mode refuse every change, before anybody is asked who they are."""
        exempt = request.path in ("/service/token", "/api/v2.0/configurations")
        if self._settings.read_only and request.method not in _SAFE and not exempt:
            raise HarborError("DENIED", "The system is in read only mode. Any modification is prohibited.")
