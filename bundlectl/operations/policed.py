"""What policies add to a verdict: ``verify --policy``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from signing.identity import Evidence
from signing.policy import AwsKey, judge_all, needed_by_any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundlectl.operations.verdict import Verdict
    from signing.policy import Policy, PolicyIdentity, Subject

__all__ = ["Gathering", "under_policies"]

Gathering: TypeAlias = "Callable[[Sequence[PolicyIdentity]], Evidence]"
"""Finds which of some identities have signed; called only where that matters."""


def under_policies(
    verdict: Verdict, policies: Sequence[Policy], subject: Subject, gather: Gathering, *, named: bool
) -> Verdict:
    """Hold what was verified against the policies, too.

    Args:
        verdict: without them.
        policies: met together.
        subject: what they judge.
        gather: finds signatures.
        named: whether the verdict is of a signature that was asked for by name; otherwise one that
            the policies ask for, and find, is enough.
    """
    if not policies:
        return verdict
    needed = needed_by_any(policies, subject)
    judgement = judge_all(policies, subject, gather(needed) if needed else Evidence())
    told = f"{judgement.reason} ({judgement.rule})"
    if judgement.decision in ("refuse", "leave-out"):
        return replace(verdict, verified=False, reason=f"does not meet the policy: {told}")
    signers = tuple(item for item in judgement.signed_by if not isinstance(item, AwsKey))
    if judgement.decision == "warn":
        verdict = replace(verdict, warnings=(*verdict.warnings, f"does not meet the policy: {told}"))
    if named or not signers:
        return verdict
    return replace(verdict, verified=True, reason=None, signed_by=signers)
