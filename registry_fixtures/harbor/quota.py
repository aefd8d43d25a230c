"""Quotas of projects, with the sentence of Harbor's refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from registry_fixtures.harbor.refusals import HarborError

if TYPE_CHECKING:
    from registry_fixtures.harbor.database import Project

__all__ = ["check_quota"]

_UNIT: Final = 1024


def check_quota(project: Project, added: int) -> None:
    """Let through what adds so many bytes to a project.

    Raises:
        HarborError: 403 DENIED; also for 0 bytes when more is used than is allowed.
    """
    if project.storage_limit < 0 or project.used + added <= project.storage_limit:
        return
    verb = "adding" if added else "subtracting"
    raise HarborError(
        "DENIED",
        f"{verb} {_size(added)} of storage resource, which when updated to current usage of {_size(project.used)} "
        f"will exceed the configured upper limit of {_size(project.storage_limit)}.",
    )


def _size(value: float) -> str:
    if value < _UNIT:
        return f"{int(value)} B"
    for unit in ("KiB", "MiB", "GiB"):
        value /= _UNIT
        if value < _UNIT:
            return f"{value:.1f} {unit}"
    return f"{value / _UNIT:.1f} TiB"
