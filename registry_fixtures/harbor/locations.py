"""Where Harbor says that something is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request

__all__ = ["outward"]


def outward(request: Request) -> str:
    """``scheme://host`` of a Location: the host asked for, and the scheme that a proxy in front forwards.

    The realm of a challenge does not go by it.
    """
    scheme = request.header("x-forwarded-proto") or request.scheme
    return f"{scheme}://{request.header('host')}"
