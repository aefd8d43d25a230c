"""The policies of a run, and what they let in before anything that documents name is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bundlectl.errors import UsageError
from bundlectl.events import Notice
from bundlectl.operations.judging import apply_policies, judge_named
from bundlectl.operations.judging_documents import judge_documents, judge_locked_document
from bundlectl.operations.rooting import Rooting
from bundlectl.operations.signatures import gather_evidence
from bundles.sources.document import read_document

if TYPE_CHECKING:
    from bundlectl.operations.gathering import Gathered
    from bundlectl.operations.locking import Locked
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from signing.policy import Policy

__all__ = ["admit", "judge_pinned", "load_policies"]


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
    # A lock may pin the same artifact on better grounds, so what locks have waits until they are joined.
    pinned = {(item.type, item.reference) for source in judged.locks for item in source.lock.artifacts}
    early = [item for item in judged.artifacts if (item.type, item.reference) not in pinned and not item.chart_url]
    kept, left_out = judge_named(policies, early)
    decided = {item.identity for item in early} - {item.identity for item in kept}
    artifacts = tuple(item for item in judged.artifacts if item.identity not in decided)
    collections = [policy for policy in policies if policy not in request.policies]
    weakened = {f"the policy {policy.name.rpartition('/')[2]} is met (Collection)" for policy in collections}
    for told in sorted(weakened):
        session.listener(Notice("info", told))
    return replace(
        judged,
        artifacts=artifacts,
        excluded=tuple(sorted({*judged.excluded, *left_out})),
        weakened=tuple(sorted({*judged.weakened, *weakened})),
    )


def judge_pinned(
    policies: tuple[Policy, ...], locked: Locked, gathered: Gathered, request: SourceRequest, session: Session
) -> Locked:
    """Hold everything that is pinned against the policies, signatures included: nothing has moved yet.

    Release documents that locks pin are read where a policy asks who signed them.

    Raises:
        VerificationError: something is refused.
        ContentError, MissingError, TransportError: a document that a lock pins cannot be read.
    """
    read = {entry.verified.document.digest for entry in gathered.documents}
    with Rooting(locked, session, beside=request.beside) as rooting:
        for manifest in locked.lock.manifests:
            if manifest.digest not in read:
                judge_locked_document(policies, manifest, partial(rooting.document, manifest), session)
        judged = apply_policies(
            policies,
            locked.lock,
            session=session,
            open_source=rooting.source,
            gather=gather_evidence,
            trusted_root=request.belief.trusted_root,
        )
    signed = locked.signed if not judged.left_out and not judged.failed else None
    return replace(locked, lock=judged.lock, failed=(*locked.failed, *judged.failed), signed=signed)
