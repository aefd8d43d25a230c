"""Where files of a release lie in a folder: names made of what documents say, and never leading out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from bundlectl.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_name", "served_at", "url_place"]

_LONGEST: Final = 255
"""Bytes of a name, on every file system that matters."""


def check_name(name: str, *, artifact: str) -> str:
    """Return ``name`` if it can be that of one file or folder.

    Raises:
        ContentError: it is empty, leads elsewhere, or no file system takes it.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise ContentError(f"{name[:300]!r} cannot name a file", artifact=artifact, hint="nothing was written for it")
    if len(name.encode(errors="replace")) > _LONGEST:
        raise ContentError(
            f"{name[:80]!r}... is longer than the {_LONGEST} bytes that a file's name may have", artifact=artifact
        )
    return name


def url_place(url: str) -> tuple[str, ...]:
    """The host and the path of a URL, as a web server looks for the file: escapes resolved, no query.

    Raises:
        ContentError: not the URL of a file, or one that leads out of its host's folder.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ContentError(f"{url[:300]!r} is not a URL: {error}", artifact=url[:300]) from error
    host = parts.netloc.rpartition("@")[2].lower()
    if not host or host.startswith("."):
        raise ContentError("is not the URL of a host", artifact=url)
    path = [unquote(part, errors="surrogateescape") for part in parts.path.split("/")[1:]]
    if not path or not path[-1]:
        raise ContentError("is the URL of a folder, not of a file", artifact=url)
    return tuple(check_name(part, artifact=url) for part in (host, *path))


def served_at(base: str, place: Sequence[str]) -> str:
    """The URL of a file in a folder that is served at ``base``."""
    return "/".join([base.rstrip("/"), *(quote(part, safe="!$&'()*+,;=:@") for part in place)])
