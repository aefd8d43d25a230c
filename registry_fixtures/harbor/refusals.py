"""How Harbor says no: its own errors, those of the registry behind it, and nginx's pages."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.exchange import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JSON_TYPE", "HarborError", "backend_error", "backend_errors", "json_answer", "page"]

JSON_TYPE: Final = "application/json; charset=utf-8"

_STATUS: Final = {
    "BAD_REQUEST": 400,
    "DIGEST_INVALID": 400,
    "MANIFEST_INVALID": 400,
    "UNSUPPORTED": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "PRECONDITION": 412,
    "VIOLATE_FOREIGN_KEY_CONSTRAINT": 412,
    "PROJECTPOLICYVIOLATION": 412,
    "REQUEST_ENTITY_TOO_LARGE": 413,
    "UNPROCESSABLE_ENTITY": 422,
    "TOO_MANY_REQUEST": 429,
    "UNKNOWN": 500,
}
_BACKEND: Final = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "BLOB_UPLOAD_INVALID": (404, "blob upload invalid"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (400, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "UNKNOWN": (500, "unknown error"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
}
_PAGE: Final = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_TITLES: Final = {
    400: "400 Request Header Or Cookie Too Large",
    414: "414 Request-URI Too Large",
    504: "504 Gateway Time-out",
}


class HarborError(Exception):
    """One error in the form of Harbor's core (wire reference of Harbor 2.16, "Errors").

    Whatever is 500 says ``internal server error`` and no more; core keeps the cause to its log.
    """

    def __init__(self, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        status = _STATUS[code]
        told = "internal server error" if status == HTTPStatus.INTERNAL_SERVER_ERROR else message
        self.answer = json_answer({"errors": [{"code": code, "message": told}]}, status, headers)

    @classmethod
    def answering(cls, answer: Answer) -> HarborError:
        """Raise an answer that was made elsewhere."""
        error = cls("UNKNOWN")
        error.answer = answer
        return error


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON and the newline that Go's encoder ends it with."""
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return Answer.of(status, body, {"Content-Type": JSON_TYPE, **(headers or {})})


def backend_errors(code: str, details: list[Any]) -> HarborError:
    """One error of the registry behind core (distribution 2.8) for each of ``details``."""
    status, message = _BACKEND[code]
    errors = [{"code": code, "message": message, "detail": detail} for detail in details]
    headers = {"Docker-Distribution-Api-Version": "registry/2.0"}
    return HarborError.answering(json_answer({"errors": errors}, status, headers))


def backend_error(code: str, detail: Any = None, message: str = "") -> HarborError:  # noqa: ANN401 -- JSON
    """An error of the registry behind core, with its detail when it has one."""
    status, usual = _BACKEND[code]
    error = {"code": code, "message": message or usual, **({} if detail is None else {"detail": detail})}
    headers = {"Docker-Distribution-Api-Version": "registry/2.0"}
    return HarborError.answering(json_answer({"errors": [error]}, status, headers))


def page(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """A page of nginx: HTML, whatever was asked for."""
    title = _TITLES.get(status, f"{status} {HTTPStatus(status).phrase}")
    return Answer.of(status, _PAGE.format(title).encode(), {"Content-Type": "text/html", **(headers or {})})
