"""``/files/``: the files of releases under the paths that their URLs have upstream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.oci.mediatype import OCTET_STREAM
from mirror.server.message import RefusedError, Request, Response
from mirror.server.pull import blob_response

if TYPE_CHECKING:
    from mirror.server.paths import Route
    from mirror.server.service import Service

__all__ = ["get_file"]

_PATH_MAX: Final = 2048
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[A-Za-z0-9.+_-]{1,100}")
_ACTIVE: Final = ("html", "xml", "svg", "javascript", "ecmascript")


def get_file(service: Service, request: Request, route: Route) -> Response:
    """Answer GET and HEAD of a file."""
    path = route.name
    parts = path.split("/")
    if not path or len(path) > _PATH_MAX or _CONTROL.search(path) or "." in parts or ".." in parts:
        raise RefusedError(404, "NAME_UNKNOWN", "no such file")
    found = service.files(path)
    if found is None:
        raise RefusedError(404, "NAME_UNKNOWN", "no such file")
    digest, size, label = found
    return blob_response(service, request, digest, size, _media_type(label))


def _media_type(label: str) -> str:
    """The media type to send; nothing that a browser would run, for a file may come from anyone."""
    if _MEDIA_TYPE.fullmatch(label) and not any(word in label for word in _ACTIVE):
        return label
    return OCTET_STREAM
