"""Policies: who must have signed what, and what becomes of the rest. Values and pure evaluation.

The first rule that matches a subject decides alone. All that it asks for must hold: the signatures,
and the trust level that the subject came with. Several policies are met together: for each subject
the strictest decision counts, so that a further policy can only tighten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bundlectl.errors import UsageError, VerificationError
from signing.identity import CertificateIdentity, Evidence, NamedKey, TrustAnchors
from signing.pattern import ARTIFACT_TYPES, NAMED_TYPES, Pattern, SubjectName
from signing.trust import reaches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.oci.digest import Digest
    from signing.identity import Proof
    from signing.pattern import SubjectType
    from signing.trust import TrustLevel

__all__ = [
    "AwsKey",
    "Decision",
    "Judgement",
    "Policy",
    "PolicyIdentity",
    "Rule",
    "Subject",
    "Unmet",
    "anchors_of",
    "demand",
    "judge_all",
    "needed_by_any",
]

Decision: TypeAlias = Literal["accept", "warn", "leave-out", "refuse"]
"""From the mildest to the strictest."""

Unmet: TypeAlias = Literal["warn", "leave-out", "refuse"]
"""What becomes of what does not meet a rule."""

_STRICTNESS: Final[Mapping[Decision, int]] = {"accept": 0, "warn": 1, "leave-out": 2, "refuse": 3}
_REJECTED_SHOWN: Final = 3
_TEXT_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class AwsKey:
    """AWS's own key for a document's kind. Who checks the document knows which one that is."""

    def __str__(self) -> str:
        return "aws"


PolicyIdentity: TypeAlias = NamedKey | CertificateIdentity | AwsKey
"""Who can be asked for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged.

    ``reference`` is that of an image or chart, the URL of a file, ``KIND/NAME`` of a document or
    lock. ``digest`` is what the evidence is about; ``trust`` what it is believed on without its
    own signatures.
    """

    type: SubjectType
    reference: str
    digest: Digest | None
    trust: TrustLevel


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy says of a subject.

    ``rule`` says for people which rule decided. ``signed_by`` are the identities that were asked
    for and have signed; empty unless the rule was met.
    """

    decision: Decision
    rule: str
    reason: str
    signed_by: tuple[PolicyIdentity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is asked of the subjects that one of the patterns matches.

    Args:
        match: patterns (``signing.pattern``).
        types: either artifacts only (all of them unless told otherwise), or documents and locks only.
        signed_by: who must have signed, under the names of the policy.
        at_least: how many different ones of ``signed_by``; None means all.
        trust: the level that must be reached without counting ``signed_by``.
        unsigned: what becomes of those that do not meet the rule.
        always: the decision for all, in place of any condition.

    Raises:
        UsageError: contradictory, or impossible to meet; ``artifact`` names the field.
    """

    match: tuple[str, ...]
    types: frozenset[SubjectType] = ARTIFACT_TYPES
    signed_by: Mapping[str, PolicyIdentity] = field(default_factory=dict)
    at_least: int | None = None
    trust: TrustLevel | None = None
    unsigned: Unmet = "refuse"
    always: Decision | None = None
    _patterns: tuple[Pattern, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could never hold."""
        conditions = bool(self.signed_by) or self.trust is not None
        if (self.always is None) != conditions:
            raise UsageError(
                "a rule asks for signedBy, trust or both, or says always alone",
                artifact="always" if conditions else "",
                hint="write two rules" if conditions else "add signedBy: [NAME], trust: LEVEL or always: DECISION",
            )
        if not self.types or not (self.types <= ARTIFACT_TYPES or self.types <= NAMED_TYPES):
            raise UsageError(
                "documents and locks have names of their own, and rules of their own", artifact="types", hint=_TYPES
            )
        if self.types <= NAMED_TYPES and "leave-out" in (self.unsigned, self.always):
            raise UsageError(
                "a document or lock is refused or not, there is nothing to leave out of it",
                artifact="unsigned" if self.unsigned == "leave-out" else "always",
                hint="say refuse or warn",
            )
        if self.types != {"document"} and any(isinstance(item, AwsKey) for item in self.signed_by.values()):
            raise UsageError("aws signs documents only", artifact="signedBy", hint="say types: [document]")
        distinct = len(_distinct(self.signed_by.values()))
        if self.at_least is not None and not 1 <= self.at_least <= distinct:
            raise UsageError(
                f"atLeast is 1 to {distinct} here: signedBy names {distinct} different identities",
                artifact="atLeast",
                hint="lower it, or name more identities; one key under two names is one identity",
            )
        if not self.match:
            raise UsageError("a rule without patterns matches nothing", artifact="match", hint='write "*" for all')
        object.__setattr__(self, "_patterns", tuple(Pattern.parse(text, self.types) for text in self.match))

    def covers(self, kind: SubjectType, name: SubjectName) -> bool:
        """Whether the rule is about a subject."""
        return kind in self.types and any(pattern.matches(name) for pattern in self._patterns)

    def judge(self, subject: Subject, evidence: Evidence, label: str) -> Judgement:
        """Decide about a subject that the rule covers."""
        if self.always is not None:
            return Judgement(self.always, label, "the rule says so whoever signed it")
        if self.trust is not None and not reaches(subject.trust, self.trust):
            return Judgement(
                self.unsigned, label, f"its trust level is {subject.trust}, the rule asks for {self.trust} or better"
            )
        if not self.signed_by:
            return Judgement("accept", label, f"its trust level is {subject.trust}")
        signers = {name: who for name, who in self.signed_by.items() if any(_is(who, each) for each in evidence.proofs)}
        counted = _distinct(signers.values())
        # ``aws`` and AWS's key under another name are two identities, and one signature.
        keys = {_core(each.identity) for each in evidence.proofs if any(_is(who, each) for who in counted)}
        if min(len(counted), len(keys)) < self._wanted:
            return Judgement(self.unsigned, label, self._explain(signers, evidence))
        return Judgement("accept", label, f"signed by {', '.join(signers)}", counted)

    @property
    def _wanted(self) -> int:
        return self.at_least or len(_distinct(self.signed_by.values()))

    def _explain(self, signers: Iterable[str], evidence: Evidence) -> str:
        found = ", ".join(signers) or "none of them"
        names = list(self.signed_by)
        if len(names) == 1:
            asked = f"not signed by {names[0]}"
        else:
            asked = f"must be signed by {self._wanted} of {', '.join(names)}, is by {found}"
        rejected = sorted({text[:_TEXT_SHOWN] for text in evidence.rejected})
        more = len(rejected) - _REJECTED_SHOWN
        shown = [*rejected[:_REJECTED_SHOWN], *([f"{more} more"] if more > 0 else [])]
        return f"{asked} (what was found does not count: {'; '.join(shown)})" if rejected else asked


_TYPES: Final = "write one rule for image, chart and file, and another for document and lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in the order in which they are tried.

    ``name`` is where the policy was read, for messages. ``otherwise`` is for artifacts that no
    rule is about; documents and locks without a rule are left to ``--verify`` and ``--key``.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    otherwise: Decision = "refuse"

    def judge(self, subject: Subject, evidence: Evidence) -> Judgement:
        """Decide about a subject, of whose digest ``evidence`` is. Pure."""
        name = SubjectName.of(subject.type, subject.reference, subject.digest)
        if name is None:
            return Judgement("refuse", self.name, "its name can be understood in more than one way")
        for number, rule in enumerate(self.rules, 1):
            if rule.covers(subject.type, name):
                return rule.judge(subject, evidence, f"{self.name}, rule {number}")
        if subject.type in NAMED_TYPES:
            return Judgement("accept", self.name, f"no rule is about this {subject.type}")
        return Judgement(self.otherwise, f"{self.name}, otherwise", "no rule is about it")

    def needs(self, subject: Subject) -> tuple[PolicyIdentity, ...]:
        """Whose signatures matter; empty where no signature changes the decision, so that none is fetched."""
        name = SubjectName.of(subject.type, subject.reference, subject.digest)
        rule = next((rule for rule in self.rules if name and rule.covers(subject.type, name)), None)
        if rule is None or (rule.trust is not None and not reaches(subject.trust, rule.trust)):
            return ()
        return _distinct(rule.signed_by.values())

    def anchors(self) -> TrustAnchors:
        """All that signatures are checked with, whatever the subject."""
        return anchors_of(who for rule in self.rules for who in rule.signed_by.values())


def judge_all(policies: Iterable[Policy], subject: Subject, evidence: Evidence) -> Judgement:
    """Decide by several policies together: the strictest decision, with the reasons of all that made it.

    Without any policy everything is accepted.
    """
    judgements = [policy.judge(subject, evidence) for policy in policies]
    if not judgements:
        return Judgement("accept", "", "there is no policy")
    strictest = max((item.decision for item in judgements), key=_STRICTNESS.__getitem__)
    deciding = [item for item in judgements if item.decision == strictest]
    return Judgement(
        strictest,
        "; ".join(dict.fromkeys(item.rule for item in deciding)),
        "; ".join(dict.fromkeys(item.reason for item in deciding)),
        _distinct(who for item in deciding for who in item.signed_by) if strictest == "accept" else (),
    )


def needed_by_any(policies: Iterable[Policy], subject: Subject) -> tuple[PolicyIdentity, ...]:
    """Whose signatures matter to any of the policies."""
    return _distinct(who for policy in policies for who in policy.needs(subject))


def anchors_of(identities: Iterable[PolicyIdentity], trusted_root: bytes | None = None) -> TrustAnchors:
    """What signatures of ``identities`` are checked with; AWS's keys are known elsewhere.

    ``trusted_root`` is sigstore's JSON, for certificates.
    """
    found = _distinct(identities)
    return TrustAnchors(
        keys=tuple(item for item in found if isinstance(item, NamedKey)),
        certificates=tuple(item for item in found if isinstance(item, CertificateIdentity)),
        trusted_root=trusted_root,
    )


def demand(policies: Iterable[Policy], subject: Subject, evidence: Evidence) -> Judgement:
    """Decide about a document or lock, which can only be taken whole.

    Raises:
        VerificationError: it is refused (or would be left out).
    """
    judgement = judge_all(policies, subject, evidence)
    if judgement.decision in ("accept", "warn"):
        return judgement
    raise VerificationError(
        f"{judgement.reason} ({judgement.rule})",
        artifact=subject.reference,
        hint="nothing was done; have it signed by those whom the policy names, or change the policy",
    )


def _distinct(identities: Iterable[PolicyIdentity]) -> tuple[PolicyIdentity, ...]:
    """Each identity once: a key under two names is one signer."""
    return tuple({_core(item): item for item in identities}.values())


def _core(identity: PolicyIdentity) -> object:
    return identity.key.der if isinstance(identity, NamedKey) else identity


def _is(identity: PolicyIdentity, proof: Proof) -> bool:
    found = proof.identity
    if isinstance(identity, AwsKey):
        # Only AWS's own annotation is checked with the key that the word ``aws`` stands for.
        return proof.format == "annotation" and isinstance(found, NamedKey) and found.source == str(identity)
    return _core(identity) == _core(found)
