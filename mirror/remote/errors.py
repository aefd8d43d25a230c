"""What a registry's refusal means, in words for people (``wire.md`` 1.6, 1.10, 1.16, 2.1)."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError, RegistryError
from mirror.http.failures import RETRYABLE_STATUSES, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundlectl.errors import BundlectlError
    from mirror.http.response import Response

__all__ = ["Explanation", "explain", "refusal"]

_TEXT_LIMIT: Final = 500
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_HINTS_BY_TEXT: Final = (
    ("upper limit", "the project's quota is used up; raise it, or delete what is not needed"),
    ("quota", "the project's quota is used up; raise it, or delete what is not needed"),
    ("proxy project", "this project is a proxy cache and takes no pushes; choose another with --to or --map"),
    ("read only", "the registry is in read-only mode; try again when its maintenance is over"),
    ("immutable", "the tag is immutable at the target and already points elsewhere"),
    ("not signed", "a policy of the registry wants a signature before it hands this out"),
    ("vulnerabilit", "a policy of the registry withholds images with vulnerabilities or without a scan"),
    ("accept header", "the registry does not hand out this type of manifest"),
)
_HINTS_BY_STATUS: Final = {
    403: "the credentials may not do this; ask the registry's administrator",
    413: "a proxy or the registry limits the size of what is sent; raise that limit",
    429: "use fewer --jobs, log in, or try again later",
}


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
    told = explain(response.excerpt(), response.headers.get("Content-Type", ""))
    status = response.status
    if status == 404:  # noqa: PLR2004
        return _absent(told, artifact, reading=reading)
    if status == 401:  # noqa: PLR2004
        return _unauthorized(told, artifact, host, known=known)
    reason = f"{status} {http.client.responses.get(status, '')}".rstrip()
    hint = next((hint for text, hint in _HINTS_BY_TEXT if text in told.message.lower()), _HINTS_BY_STATUS.get(status))
    request_id = _CONTROL.sub("", response.headers.get("X-Request-Id", ""))[:80]
    if status >= 500 and request_id:  # noqa: PLR2004
        hint = f"the registry's log has more under request id {request_id}"
    return RegistryError(
        f"the registry answered {reason}" + (f": {told.message}" if told.message else ""),
        status=status,
        error_code=told.code,
        retry_after=retry_after(response.headers),
        artifact=artifact,
        hint=hint,
        retryable=status in RETRYABLE_STATUSES,
    )


def _absent(told: Explanation, artifact: str, *, reading: bool) -> BundlectlError:
    if reading:
        return MissingError("is not in the registry", artifact=artifact)
    return RegistryError(
        "the registry has no such place" + (f": {told.message}" if told.message else ""),
        status=404,
        error_code=told.code,
        artifact=artifact,
        hint="the repository may have to be created first (ECR), or its project",
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
    return _CONTROL.sub(" ", text).strip()[:_TEXT_LIMIT]
