"""The policies of a run, and what they let in before anything that documents name is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundlectl.errors import UsageError
from bundlectl.operations.judging import judge_named
from bundlectl.operations.judging_documents import judge_documents
from bundles.sources.document import read_document

if TYPE_CHECKING:
    from bundlectl.operations.gathering import Gathered
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from signing.policy import Policy

__all__ = ["admit", "load_policies"]


def load_policies(request: SourceRequest, gathered: Gathered, session: Session) -> tuple[Policy, ...]:
    """All policies that must be met: those asked for, and those of the Collections among the sources.

    Raises:
        UsageError: a Collection has a policy, and ``request`` has nothing to read its keys with.
        ContentError: a policy is malformed.
        KeyProviderError: a key of it cannot be loaded.
        MissingError, TransportError: it cannot be read.
    """
    if not gathered.policies:
        return request.policies
    if request.load_key is None:
        raise UsageError("a Collection has a policy, and there is nothing to read its keys with")
    load_key = request.load_key
    context = session.context(request, follow=False)
    loaded = [
        policy.load(load_key=load_key, fetch=lambda url: read_document(url, context)) for policy in gathered.policies
    ]
    return (*request.policies, *loaded)


def admit(policies: tuple[Policy, ...], gathered: Gathered, request: SourceRequest, session: Session) -> Gathered:
    """Hold documents, locks and what documents name against the policies, as far as that needs no signature of theirs.

    Returns:
        What is left, with what a policy leaves out among ``excluded``.

    Raises:
        VerificationError: something is refused.
    """
    judged = judge_documents(policies, gathered, session=session, trusted_root=request.belief.trusted_root)
    artifacts, left_out = judge_named(policies, judged.artifacts)
    return replace(judged, artifacts=artifacts, excluded=tuple(sorted({*judged.excluded, *left_out})))
