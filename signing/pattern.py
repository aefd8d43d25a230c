"""Patterns over the names of what is judged, which never reach across the boundary of a host.

A name is taken apart before it is compared, so that ``*`` stays within its part: no path, tag, user
or query can pass for a host, and no query for a path. ``*`` is any run of characters, also of ``/``
in a path; nothing else is special.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bundlectl.errors import ContentError, UsageError
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ARTIFACT_TYPES", "NAMED_TYPES", "Pattern", "SubjectName", "SubjectType"]

SubjectType: TypeAlias = Literal["image", "chart", "file", "document", "lock"]
"""What can be judged: artifacts, release documents, and locks."""

ARTIFACT_TYPES: Final[frozenset[SubjectType]] = frozenset({"image", "chart", "file"})
NAMED_TYPES: Final[frozenset[SubjectType]] = frozenset({"document", "lock"})
"""What has a plain name (``Bundles/bundles-7``) instead of a reference or URL."""

_LIMIT: Final = 512
_SCHEMES: Final = ("https", "http")
_PORTS: Final = {"oci": "443", "https": "443", "http": "80"}
_LAST_PORT: Final = 65535
_ENDPOINT: Final = re.compile(r"(\[[^]]*\]|[^:]*)(?::([0-9]+|\*))?")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.*-]+|\[[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|\*))?")
_REPOSITORY: Final = re.compile(r"[a-z0-9._/*-]+")
_TAG: Final = re.compile(r"[A-Za-z0-9._*-]+")
_PATH: Final = re.compile(r"/[\x21-\x7e]*")
_URL: Final = re.compile(
    r"(https?)://((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)([/?][\x21-\x22\x24-\x5b\x5d-\x7e]*)?(?:#.*)?",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_HINT: Final = "write HOST/PATH[:TAG][@DIGEST], https://HOST/PATH for files, or * for all; * is any run of characters"


@dataclass(frozen=True, slots=True)
class SubjectName:
    """The name of a subject, taken apart; parts that it does not have are empty.

    ``scheme`` is ``oci`` for images and charts, that of the URL for files, empty for documents and locks.
    ``port`` is always stated where there is a host. ``query`` begins with its ``?``.
    """

    scheme: str
    host: str
    path: str
    tag: str
    digest: str
    port: str = ""
    query: str = ""

    @classmethod
    def of(cls, kind: SubjectType, reference: str, digest: Digest | None) -> SubjectName | None:
        """Take a name apart; None where two readers could understand it differently.

        Hosts lose their case, ports their leading zeros. Of a URL the escapes that stand for plain
        letters are resolved (RFC 3986, 6.2.2.2), and ``.`` and ``..`` between slashes are refused,
        as is the dot at the end of a host.
        """
        pinned = str(digest) if digest else ""
        if kind in NAMED_TYPES:
            return cls("", "", reference, "", pinned)
        if kind == "file":
            return _url_name(reference, pinned)
        try:
            parsed = Reference.parse(reference)
        except UsageError:
            return None
        stated = str(parsed.digest or "")
        if stated and pinned and stated != pinned:
            return None
        endpoint = _endpoint(parsed.registry, "oci")
        if endpoint is None:
            return None
        host, port = endpoint
        return cls("oci", host, parsed.repository, parsed.tag or "", pinned or stated, port)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern. A part that it leaves open is None and fits any: without a tag, all tags.

    Without a port the scheme's own is meant, or any where the host is ``*``. Without a query none is
    meant, or any where the path ends with ``*``.
    """

    text: str
    scheme: str | None = None
    host: str | None = None
    path: str | None = None
    tag: str | None = None
    digest: str | None = None
    port: str | None = None
    query: str | None = None

    @classmethod
    def parse(cls, text: str, types: Iterable[SubjectType]) -> Pattern:
        """Read a pattern for subjects of ``types``: artifacts only, or documents and locks only.

        Raises:
            UsageError: malformed, or it can match none of them.
        """
        if not 0 < len(text) <= _LIMIT:
            raise UsageError(f"a pattern has 1 to {_LIMIT} characters", hint=_HINT)
        if text == "*":
            return cls(text)
        kinds = frozenset(types)
        if kinds <= NAMED_TYPES:
            return cls(text, scheme="", path=text)
        scheme, separator, rest = text.partition("://")
        if separator:
            found, suited = cls._of_url(text, scheme, rest), "file" in kinds
        else:
            found, suited = cls._of_reference(text), not kinds.isdisjoint({"image", "chart"})
        if not suited:
            raise UsageError(f"{text!r} matches nothing of type {', '.join(sorted(kinds))}", hint=_HINT)
        return found

    @classmethod
    def _of_reference(cls, text: str) -> Pattern:
        name, at, digest = text.partition("@")
        host, slash, path = name.partition("/")
        repository, colon, tag = path.partition(":")
        if not slash or not ("." in host or ":" in host or "*" in host or host == "localhost"):
            raise UsageError(f"{text!r} names no registry, so it could never match", hint=_HINT)
        if not _REPOSITORY.fullmatch(repository):
            raise UsageError(
                f"{repository!r} could never match a repository",
                hint="repositories have lower-case letters, digits and . _ - between slashes",
            )
        if colon and not _TAG.fullmatch(tag):
            raise UsageError(f"{tag!r} could never match a tag", hint=_HINT)
        if at:
            try:
                Digest.parse(digest)
            except ContentError as error:
                raise UsageError(error.message, hint="a digest is written out in full") from error
        registry, port = _checked_host(host, "oci")
        return cls(text, "oci", registry, repository, tag if colon else None, digest if at else None, port)

    @classmethod
    def _of_url(cls, text: str, scheme: str, rest: str) -> Pattern:
        host, slash, path = rest.partition("/")
        if scheme not in _SCHEMES or not slash:
            raise UsageError(f"{text!r} could never match the URL of a file", hint="write https://HOST/PATH")
        if not _PATH.fullmatch(f"/{path}"):
            raise UsageError(f"{text!r} has characters that no URL has", hint="write https://HOST/PATH")
        name, port = _checked_host(host, scheme)
        path, query = _path_and_query(f"/{path}")
        return cls(text, scheme, name, path, port=port, query=None if not query and path.endswith("*") else query)

    def matches(self, name: SubjectName) -> bool:
        """Whether ``name`` is one of those meant."""
        return (
            self.scheme in (None, name.scheme)
            and self.digest in (None, name.digest)
            and _fits(self.host, name.host)
            and _fits(self.port, name.port)
            and _fits(self.path, name.path)
            and _fits(self.query, name.query)
            and _fits(self.tag, name.tag)
        )


def _fits(glob: str | None, text: str) -> bool:
    if glob is None:
        return True
    first, *middle = glob.split("*")
    if not middle:
        return text == first
    last = middle.pop()
    position, end = len(first), len(text) - len(last)
    if end < position or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _url_name(url: str, digest: str) -> SubjectName | None:
    match = _URL.fullmatch(url)
    if match is None:
        return None
    endpoint = _endpoint(match[2], match[1])
    path, query = _path_and_query(match[3] or "/")
    if endpoint is None or not {".", ".."}.isdisjoint(path.split("/")):
        return None
    return SubjectName(match[1], endpoint[0], path or "/", "", digest, endpoint[1], query)


def _path_and_query(text: str) -> tuple[str, str]:
    path, question, query = _unescaped(text).partition("?")
    return path, question + query


def _unescaped(path: str) -> str:
    def resolved(match: re.Match[str]) -> str:
        plain = chr(int(match[1], 16))
        return plain if _UNRESERVED.fullmatch(plain) else match[0].upper()

    return _ESCAPE.sub(resolved, path)


def _endpoint(text: str, scheme: str) -> tuple[str, str] | None:
    """Host and port; None where there is more than one way to understand them."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or match[1].endswith("."):
        return None
    port = match[2] or _PORTS[scheme]
    if port == "*":
        return match[1].lower(), port
    # Longer ones Python refuses to read.
    if len(port) > len(str(_LAST_PORT)) or int(port) > _LAST_PORT:
        return None
    return match[1].lower(), str(int(port))


def _checked_host(text: str, scheme: str) -> tuple[str, str | None]:
    """Host and port of a pattern, in the form of those they are compared with.

    Raises:
        UsageError: not one, or a wildcard that also lets in hosts anyone can register.
    """
    endpoint = _endpoint(text, scheme) if _HOST.fullmatch(text) else None
    if endpoint is None:
        raise UsageError(f"{text!r} could never match a host", hint=_HINT)
    host, port = endpoint
    if "*" in host and host != "*" and not host.rpartition("*")[2].startswith("."):
        raise UsageError(
            f"the host {text!r} would match hosts of others",
            hint="after a * in a host there must come a dot, as in *.example.com",
        )
    return host, None if text == "*" else port
