"""Holding what was locked to policies, before the first byte moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import (
    ContentError,
    MissingError,
    RegistryError,
    StoreError,
    TransportError,
    VerificationError,
)
from bundlectl.events import Notice, PhaseStarted
from bundles.artifact import Excluded
from mirror.copying.report import Failure
from mirror.copying.working import Workers
from mirror.oci.descriptor import Descriptor
from mirror.oci.view import RepositoryView
from signing.identity import Evidence, TrustAnchors
from signing.policy import Judgement, Policy, Subject, anchors_of, judge_all, needed_by_any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bundlectl.operations.session import Session
    from bundles.artifact import Artifact
    from bundles.lock import Lock, LockedArtifact, LockedReferrer
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader, ReadRepository
    from signing.policy import PolicyIdentity

__all__ = ["Gather", "Judged", "OpenSource", "PinnedReferrers", "apply_policies", "judge_named"]

Gather: TypeAlias = "Callable[[ReadRepository, Digest, TrustAnchors], Evidence]"
"""Finds the signatures of a manifest in a repository, and checks them."""

OpenSource: TypeAlias = "Callable[[LockedArtifact], ReadRepository]"
"""Opens the repository that an artifact is read from. Called from one thread."""

_EXPLAINED: Final = 5
"""Refusals that are told with their reasons; of any further ones the references alone."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What policies left of a lock.

    ``lock`` has the artifacts that are accepted, and no others; ``trust`` is ``signed`` where
    their own signatures met the policies. ``left_out`` is in its ``excluded`` too. ``failed``
    could not be judged, because their source did not give their signatures.
    """

    lock: Lock
    left_out: tuple[Excluded, ...] = ()
    failed: tuple[Failure, ...] = ()


class _LostError(StoreError):
    """What is pinned is not to be had (it lies in a volume that was lost): no evidence for, and none against."""

    code = MissingError.code
    exit_code = MissingError.exit_code


class PinnedReferrers(RepositoryView):
    """A repository in which tags and referrers are those of a lock.

    A signature counts only where it is pinned: what runs from a lock resolves no tag again,
    gives the same result whenever it runs, and lets in nothing whose signature does not travel
    along with it, to be checked again behind the gap.

    Args:
        repository: holds the artifact and its signatures.
        artifact: whose referrers are meant.
        sizes: bytes of everything that the lock pins.
    """

    def __init__(self, repository: ReadRepository, artifact: LockedArtifact, sizes: Mapping[Digest, int]) -> None:
        super().__init__(repository)
        self._artifact = artifact
        self._sizes = sizes

    def resolve(self, tag: str) -> Descriptor:
        """What the lock says that a tag of cosign's scheme points at.

        Raises:
            MissingError: the lock pins none.
        """
        for item in self._artifact.referrers:
            if item.tag == tag:
                return self._descriptor(item)
        raise MissingError("is not pinned in the lock", artifact=f"{self.name}:{tag}", hint="make the lock anew")

    def tags(self) -> list[str]:
        """The tags that are pinned, sorted."""
        return sorted({item.tag for item in self._artifact.referrers if item.tag})

    def referrers(self, subject: Digest) -> list[Descriptor]:  # noqa: ARG002 -- a lock does not say whose each is
        """All referrers that are pinned, those of children of an index among them: each names its subject itself."""
        return [self._descriptor(item) for item in self._artifact.referrers if not item.tag]

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest.

        Raises:
            StoreError: it is pinned, and not there: nobody can say that it is no signature.
        """
        try:
            return super().manifest(descriptor)
        except MissingError as error:
            raise _LostError(error.message, artifact=error.artifact, hint=error.hint) from error

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob.

        Raises:
            StoreError: as above.
        """
        try:
            return super().open_blob(descriptor, offset)
        except MissingError as error:
            raise _LostError(error.message, artifact=error.artifact, hint=error.hint) from error

    def _descriptor(self, item: LockedReferrer) -> Descriptor:
        return Descriptor(item.media_type, item.digest, self._sizes[item.digest], artifact_type=item.artifact_type)


def apply_policies(
    policies: Sequence[Policy],
    lock: Lock,
    *,
    session: Session,
    open_source: OpenSource,
    gather: Gather,
    trusted_root: bytes | None = None,
) -> Judged:
    """Judge every artifact of a lock; signatures are fetched only where a policy asks for them.

    Args:
        policies: met together. Without any, the lock stays as it is.
        lock: what is about to be moved.
        session: connections, and who hears warnings.
        open_source: gives the repository to look for signatures in.
        gather: finds and checks signatures.
        trusted_root: sigstore's JSON, for identities that are certificates.

    Raises:
        VerificationError: an artifact is refused; all such artifacts are named.
        ConfigError: signatures of a kind that is asked for cannot be checked here.
        InterruptError: cancelled.
    """
    if not policies:
        return Judged(lock)
    session.listener(PhaseStarted("judging", len(lock.artifacts)))
    panel = _Panel(policies, lock, session, gather, trusted_root)
    judgements, failed = panel.judge(open_source)
    refused = [(item, judged) for item, judged in judgements if judged.decision == "refuse"]
    if refused:
        raise _refusal(refused, lacks_root=trusted_root is None and _needs_root(policies))
    kept = [(item, judged) for item, judged in judgements if judged.decision in ("accept", "warn")]
    left_out = tuple(_excluded(item, judged) for item, judged in judgements if judged.decision == "leave-out")
    warned = [(item, judged) for item, judged in kept if judged.decision == "warn"]
    for item, judged in warned:
        told = f"does not meet the policy: {judged.reason} ({judged.rule})"
        session.listener(Notice("warning", told, item.reference))
    artifacts = tuple(replace(item, trust="signed") if judged.signed_by else item for item, judged in kept)
    through = Counter(judged.rule for _, judged in warned)
    result = replace(
        lock,
        artifacts=artifacts,
        blobs={digest: lock.blobs[digest] for item in artifacts for digest in item.all_digests()},
        excluded=tuple(sorted({*lock.excluded, *left_out})),
        weakened=tuple(sorted({*lock.weakened, *(_let_through(rule, count) for rule, count in through.items())})),
    )
    return Judged(result, left_out, failed)


def judge_named(
    policies: Sequence[Policy], artifacts: Sequence[Artifact]
) -> tuple[tuple[Artifact, ...], tuple[Excluded, ...]]:
    """Judge artifacts by what documents say of them: before anything of them is asked for.

    Decided is what no signature could change; the rest, and what has no digest yet, waits for
    `apply_policies`.

    Returns:
        Those that may still be wanted, and those that a policy leaves out.

    Raises:
        VerificationError: an artifact is refused; all such artifacts are named.
    """
    kept: list[Artifact] = []
    left_out: list[Excluded] = []
    refused: list[tuple[Artifact, Judgement]] = []
    for item in artifacts:
        subject = Subject(item.type, item.reference, item.digest, item.trust)
        if item.digest is None or needed_by_any(policies, subject):
            kept.append(item)
            continue
        judged = judge_all(policies, subject, _NOTHING)
        if judged.decision == "refuse":
            refused.append((item, judged))
        elif judged.decision == "leave-out":
            left_out.append(_excluded(item, judged))
        else:
            kept.append(item)
    if refused:
        raise _refusal(refused, lacks_root=False)
    return tuple(kept), tuple(left_out)


def _excluded(item: Artifact | LockedArtifact, judged: Judgement) -> Excluded:
    reason = f"left out by policy: {judged.reason} ({_portable(judged.rule)})"
    return Excluded(item.reference, reason, ", ".join(sorted(item.found_in)[:1]))


class _Panel:
    """Judges the artifacts of one lock, in parallel where their signatures have to be fetched."""

    def __init__(
        self, policies: Sequence[Policy], lock: Lock, session: Session, gather: Gather, trusted_root: bytes | None
    ) -> None:
        self._policies = policies
        self._lock = lock
        self._session = session
        self._gather = gather
        self._trusted_root = trusted_root

    def judge(self, open_source: OpenSource) -> tuple[list[tuple[LockedArtifact, Judgement]], tuple[Failure, ...]]:
        """All judgements in the order of the lock, and the artifacts that could not be judged."""
        subjects = [Subject(item.type, item.reference, item.digest, item.trust) for item in self._lock.artifacts]
        needed = [needed_by_any(self._policies, subject) for subject in subjects]
        pending: list[_Pending] = []
        for index, (item, identities) in enumerate(zip(self._lock.artifacts, needed, strict=True)):
            if identities:
                pending.append((index, item, self._view(open_source(item), item), identities))
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            found = dict(workers.map(self._evidence_of, pending))
        judgements: list[tuple[LockedArtifact, Judgement]] = []
        failed: list[Failure] = []
        for index, (item, subject) in enumerate(zip(self._lock.artifacts, subjects, strict=True)):
            evidence = found.get(index, _NOTHING)
            if isinstance(evidence, Failure):
                failed.append(evidence)
            else:
                judgements.append((item, judge_all(self._policies, subject, evidence)))
        return judgements, tuple(failed)

    def _view(self, repository: ReadRepository, item: LockedArtifact) -> ReadRepository:
        # Files and classic charts come from web servers, which have no place for referrers.
        if not self._lock.selection["referrers"] and item.type != "file" and not item.chart_url:
            # The lock was made without referrers, so it cannot say which signatures there were.
            return repository
        return PinnedReferrers(repository, item, self._lock.blobs)

    def _evidence_of(self, pending: _Pending) -> tuple[int, Evidence | Failure]:
        index, item, repository, identities = pending
        anchors = anchors_of(identities, self._trusted_root)
        try:
            # Not what the lock lists as manifests: then a signature of anything else would do for a file.
            return index, self._session.persist(lambda: self._gather(repository, item.root, anchors))
        except (ContentError, MissingError, RegistryError, StoreError, TransportError) as error:
            return index, Failure.of(item.reference, error, told=f"its signatures cannot be had: {error}")


_Pending: TypeAlias = "tuple[int, LockedArtifact, ReadRepository, tuple[PolicyIdentity, ...]]"
_NOTHING: Final = Evidence()


def _needs_root(policies: Iterable[Policy]) -> bool:
    return any(policy.anchors().certificates for policy in policies)


def _portable(rule: str) -> str:
    """A rule's place without the folders of this machine: what is recorded in a lock must not differ by them."""
    return "; ".join(part.rpartition("/")[2] for part in rule.split("; "))


def _let_through(rule: str, count: int) -> str:
    return f"the policy lets {count} artifact{'s' if count > 1 else ''} through that do not meet it ({_portable(rule)})"


def _refusal(refused: Sequence[tuple[Artifact | LockedArtifact, Judgement]], *, lacks_root: bool) -> VerificationError:
    told = [f"{item.reference}: {judged.reason} ({judged.rule})" for item, judged in refused[:_EXPLAINED]]
    rest = [item.reference for item, _ in refused[_EXPLAINED:]]
    more = f"; and {', '.join(rest)}" if rest else ""
    count = f"{len(refused)} artifacts do" if len(refused) > 1 else "1 artifact does"
    root = "; certificates are only checked with --trusted-root FILE" if lacks_root else ""
    return VerificationError(
        f"{count} not meet the policy: {'; '.join(told)}{more}",
        hint=f"nothing was moved; have them signed, leave them out with --exclude, or change the policy{root}",
    )
