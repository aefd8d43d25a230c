"""Statuses: how one is put together, what changed of it, and the one patch that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from controller.values import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.facts import Observed
    from controller.values import PackageSource, PackageStatus

__all__ = ["MESSAGE_LIMIT", "dated", "merge_patch", "said", "set_condition", "with_condition"]

MESSAGE_LIMIT: Final = 2000


def said(observed: Observed, state: str, detail: str = "", *, source: PackageSource | None = None) -> PackageStatus:
    """The status of a Package with another state and detail; all else is as it was."""
    before = observed.package.status
    return replace(
        before,
        state=state or "initializing",
        detail=detail[:MESSAGE_LIMIT],
        source=source or before.source,
        observed_generation=observed.package.metadata.generation,
    )


def with_condition(status: PackageStatus, kind: str, value: str, reason: str, message: str = "") -> PackageStatus:
    """The status with one condition set."""
    new = Condition(
        type=kind,
        status=value,
        reason=reason,
        message=message[:MESSAGE_LIMIT],
        observed_generation=status.observed_generation,
    )
    return replace(status, conditions=set_condition(status.conditions, new))


def set_condition(conditions: Iterable[Condition], new: Condition) -> tuple[Condition, ...]:
    """Conditions with one of them replaced or added, sorted by type; its time stays where its status does."""
    others = {condition.type: condition for condition in conditions}
    before = others.get(new.type)
    others[new.type] = replace(new, since=before.since if before and before.status == new.status else "")
    return tuple(others[name] for name in sorted(others))


def dated(conditions: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """Conditions whose status changed get the time (RFC 3339)."""
    return tuple(condition if condition.since else replace(condition, since=now) for condition in conditions)


def merge_patch(before: Any, after: Any) -> Any:  # noqa: ANN401 -- JSON
    """The JSON merge patch (RFC 7396) between two objects; None when they are the same."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None if before == after else after
    changes: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            changes[name] = value
        elif (change := merge_patch(before[name], value)) is not None:
            changes[name] = change
    return changes or None
