"""``--origin FROM=TO``: where things are fetched from, while their names stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["rewrite"]

_BOUNDARY: Final = ("/", ":")
_SCHEMES: Final = ("https://", "http://")


def rewrite(name: str, origins: Mapping[str, str]) -> str:
    """Say where ``name`` is fetched from.

    Args:
        name: ``https://host/path``, ``host/path:tag`` or ``host``.
        origins: FROM to TO. FROM stands for everything that begins with it up to a ``/``, a
            ``:`` or the end; the longest one that matches counts. A FROM without scheme also
            matches URLs, and a TO without scheme keeps the URL's. A TO with scheme loses it
            where ``name`` has none, since a registry's name has no scheme.

    Returns:
        The new name; ``name`` itself when nothing matches.
    """
    scheme, bare = _split(name)
    best: tuple[int, str, str] | None = None
    for source, target in origins.items():
        source_scheme, source_bare = _split(source)
        source_bare = source_bare.rstrip("/")
        if source_scheme and source_scheme != scheme:
            continue
        if not source_bare or not bare.startswith(source_bare):
            continue
        rest = bare[len(source_bare) :]
        if rest and not rest.startswith(_BOUNDARY):
            continue
        # What follows a bare host is its port: another host, which FROM does not name.
        if rest.startswith(":") and "/" not in source_bare:
            continue
        # Of two FROM of one length the one that names the scheme says more.
        length = len(source_bare) * 2 + bool(source_scheme)
        if best is None or length > best[0]:
            best = (length, target, rest)
    if best is None:
        return name
    target_scheme, target_bare = _split(best[1])
    new_scheme = (target_scheme or scheme) if scheme else ""
    return f"{new_scheme}{target_bare.rstrip('/')}{best[2]}"


def _split(name: str) -> tuple[str, str]:
    for scheme in _SCHEMES:
        if name.startswith(scheme):
            return scheme, name[len(scheme) :]
    return "", name
