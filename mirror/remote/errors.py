"""What a registry's refusal means, in words for people (``wire.md`` 1.6, 1.10, 1.16, 2.1)."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError, RegistryError
from mirror.http.failures import RETRYABLE_STATUSES, retry_after
from mirror.oci.digest import Digest
from mirror.profiles.harbor import PROFILE as HARBOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundlectl.errors import BundlectlError
    from mirror.http.response import Response

__all__ = ["AbsentContentError", "Explanation", "absent_content", "explain", "refusal"]

_TEXT_LIMIT: Final = 500
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_HALF: Final = re.compile(r"[\ud800-\udfff]")
"""Of a pair of surrogates: JSON has them, and nothing that is written may."""
_NO_PROJECT: Final = re.compile(r"project (\S{1,255}) not found")
_GONE_PART: Final = re.compile(r"artifact \S{1,300}@sha256:[0-9a-f]{64} not found")
"""Of a PUT: a child that was deleted, but not collected yet, is found by the storage and not by Harbor."""
_HINTS_BY_TEXT: Final = (
    ("read only mode", "the registry is in read-only mode; try again when its maintenance is over"),
    ("read-only", "the registry is in read-only mode; try again when its maintenance is over"),
    (
        "upper limit",
        "the project's quota is used up; raise it, or delete what is not needed and let the quota be counted",
    ),
    ("quota", "the project's quota is used up; raise it, or delete what is not needed"),
    ("proxy project", "this project is a proxy cache and takes no pushes; choose another with --to or --map"),
    ("immutable", "a rule makes the tag immutable, and it points elsewhere already; except it from the rule"),
    ("not signed by", "the project hands out nothing unsigned; mirror signatures too, or end that policy meanwhile"),
    (
        "vulnerab",
        "the project withholds what is vulnerable or not scanned; scan it, allow the CVEs, or end that policy",
    ),
    ("referenced by others", "it is part of an index; delete that one first"),
    ("accept header", "the registry does not hand out this type of manifest"),
    ("csrf", "a proxy before the registry adds a cookie; make it pass requests on as they are"),
    ("unsupported digest", "this registry deletes by digest only, or does not know this kind of digest"),
    ("unsupported media type", "this registry takes no manifests of this type"),
    ("header or cookie too large", "the token is larger than the proxy before the registry lets through"),
)
_HINTS_BY_CODE: Final = {
    "PROJECTPOLICYVIOLATION": "it is there, and a policy of the project withholds it; see the project's configuration",
    "PRECONDITION": "a rule of the project forbids it; see its immutable tags",
    "VIOLATE_FOREIGN_KEY_CONSTRAINT": "it is part of an index; delete that one first",
}
_HINTS_BY_STATUS: Final = {
    403: "the credentials may not do this; ask the registry's administrator",
    413: "a proxy or the registry limits the size of what is sent; raise that limit",
    414: "a proxy before the registry limits the length of URLs; raise that limit",
    429: "use fewer --jobs, log in, or try again later",
}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])|sha512:[0-9a-f]{128}(?![0-9a-f])")
_CONTENT_UNKNOWN: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})
_HARBOR_NAME: Final = HARBOR.name_limit
"""Longer names make Harbor fail without a word (``harbor-live.md`` 3.8)."""


class AbsentContentError(RegistryError):
    """A manifest was refused because the registry lacks what it names.

    ``missing`` are the digests of that, blobs or manifests; empty when the registry does not tell.
    """

    missing: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A server's own words: the first error's code, and a message without control characters."""

    code: str = ""
    message: str = ""


def explain(body: bytes, content_type: str = "") -> Explanation:
    """Read the body of a refusal. Harbor's and distribution's JSON, other JSON, text; HTML, ``{}`` and nothing
    explain nothing.
    """  # noqa: D205 -- one thought
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        plain = content_type.startswith("text/plain") and b"<" not in body[:200]
        return Explanation(message=_tidy(body.decode(errors="replace"))) if plain else Explanation()
    if not isinstance(document, dict):
        return Explanation()
    errors = document.get("errors")
    items = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else [document]
    messages = [text for item in items[:3] if (text := _message(item))]
    code = items[0].get("code") if items else None
    return Explanation(_tidy(code) if isinstance(code, str) else "", _tidy("; ".join(messages)))


def refusal(response: Response, *, artifact: str, host: str, known: bool, reading: bool = True) -> BundlectlError:
    """Make the error for an answer that is not what was hoped for. Reads and closes the response.

    Args:
        response: the answer.
        artifact: what it was about.
        host: whose credentials count; with ``--origin`` not the one that ``artifact`` names.
        known: whether credentials were sent.
        reading: a 404 means that it is not there; when writing, that there is no such place.
    """
    raw = response.excerpt()
    told = explain(raw, response.headers.get("Content-Type", ""))
    status = response.status
    nowhere = _NO_PROJECT.search(told.message) if status in (401, 403, 404) else None
    if nowhere:
        return _no_project(nowhere[1], told, artifact, status, reading=reading)
    if status == 404:  # noqa: PLR2004
        return _absent(told, artifact, reading=reading)
    if status == 401:  # noqa: PLR2004
        return _unauthorized(told, artifact, host, known=known)
    reason = f"{status} {http.client.responses.get(status, '')}".rstrip()
    return RegistryError(
        f"the registry answered {reason}" + (f": {told.message}" if told.message else ""),
        status=status,
        error_code=told.code,
        retry_after=retry_after(response.headers),
        artifact=artifact,
        hint=_hint(response, told, raw, artifact),
        retryable=status in RETRYABLE_STATUSES,
    )


def absent_content(error: BundlectlError, response: Response, manifest: Digest) -> BundlectlError:
    """Tell the refusal of a manifest that names what the registry lacks from any other.

    Distribution says 400 and lists the digests; Harbor says 404 for what was deleted in it and still
    lies in its storage (``harbor-live.md`` 3.4).

    Args:
        error: what ``refusal`` made of the answer.
        response: the answer to the PUT.
        manifest: that was put.

    Returns:
        An ``AbsentContentError``, or the error as it is.
    """
    if not isinstance(error, RegistryError):
        return error
    found = dict.fromkeys(_DIGEST.findall(response.excerpt().decode(errors="replace")))
    found.pop(str(manifest), None)
    gone = error.status == 404 and error.error_code == "NOT_FOUND" and bool(found)  # noqa: PLR2004
    if error.error_code not in _CONTENT_UNKNOWN and not gone:
        return error
    absent = AbsentContentError(
        error.message,
        status=error.status,
        error_code=error.error_code,
        artifact=error.artifact,
        hint="the registry lost a part of it meanwhile, such as to its garbage collection; run the same command again",
    )
    absent.missing = tuple(Digest.parse(text) for text in found)
    return absent


def _hint(response: Response, told: Explanation, raw: bytes, artifact: str) -> str | None:
    """What to do about a refusal, and the id under which the registry's log has more of it."""
    status = response.status
    text = told.message.lower() or raw[:2000].decode(errors="replace").lower()
    hint = next((hint for sign, hint in _HINTS_BY_TEXT if sign in text), None)
    hint = hint or _HINTS_BY_CODE.get(told.code) or _HINTS_BY_STATUS.get(status)
    path = artifact.partition("/")[2].partition("@")[0].partition(":")[0]
    if status == 500 and not told.message and len(path) > _HARBOR_NAME:  # noqa: PLR2004
        hint = (
            f"the repository's name has {len(path)} characters, and Harbor takes {_HARBOR_NAME}: "
            "choose a shorter prefix (--to) or namespace (--map)"
        )
    identity = _CONTROL.sub("", response.headers.get("X-Request-Id", ""))[:80]
    if not identity or status == 429:  # noqa: PLR2004
        return hint
    more = f"the registry's log has more under request id {identity}"
    return f"{hint}; {more}" if hint else more


def _no_project(project: str, told: Explanation, artifact: str, status: int, *, reading: bool) -> BundlectlError:
    message = f"the project {project} does not exist"
    if reading:
        return MissingError(message, artifact=artifact, hint="check the name")
    return RegistryError(
        message,
        status=status,
        error_code=told.code,
        artifact=artifact,
        hint=f"make the project {project} first, or let --create-projects do it; or choose another with --to or --map",
    )


def _absent(told: Explanation, artifact: str, *, reading: bool) -> BundlectlError:
    if reading:
        return MissingError("is not in the registry", artifact=artifact)
    return RegistryError(
        "the registry has no such place" + (f": {told.message}" if told.message else ""),
        status=404,
        error_code=told.code,
        artifact=artifact,
        hint="a part of it was deleted there a moment ago; the same command sends it again"
        if _GONE_PART.search(told.message)
        else "the repository may have to be created first (ECR), or its project",
        retryable=told.code.startswith("BLOB_UPLOAD"),
    )


def _unauthorized(told: Explanation, artifact: str, host: str, *, known: bool) -> BundlectlError:
    if not known:
        return RegistryError(
            f"the registry wants credentials, and none were found for {host}",
            status=401,
            error_code=told.code,
            artifact=artifact,
            hint=f"docker login {host}; a repository that does not exist may answer the same",
        )
    return RegistryError(
        "no permission, or no such project or repository" + (f": {told.message}" if told.message else ""),
        status=401,
        error_code=told.code,
        artifact=artifact,
        hint=f"check that the project exists and what the account for {host} may do there",
    )


def _message(item: Mapping[str, object]) -> str:
    for key in ("message", "detail", "details", "error_description", "error"):
        value = item.get(key)
        if isinstance(value, str) and value:
            return _once(value)
    return ""


def _once(text: str) -> str:
    """Harbor repeats a message around a colon when it is its own cause."""
    middle = len(text) // 2
    one, colon, other = text[: middle - 1], text[middle - 1 : middle + 1], text[middle + 1 :]
    return one if colon == ": " and one == other else text


def _tidy(text: str) -> str:
    return _HALF.sub("\ufffd", _CONTROL.sub(" ", text)).strip()[:_TEXT_LIMIT]
