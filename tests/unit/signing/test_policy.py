"""Policies: what they decide about, and why."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import UsageError, VerificationError
from mirror.oci.digest import Digest
from signing.identity import CertificateIdentity, Evidence, Identity, NamedKey, Proof
from signing.pattern import SubjectType
from signing.policy import (
    AwsKey,
    Decision,
    Judgement,
    Policy,
    PolicyIdentity,
    Rule,
    Subject,
    Unmet,
    anchors_of,
    demand,
    judge_all,
    needed_by_any,
)
from signing.signature import PublicKey
from signing.trust import TrustLevel


def named(source: str) -> NamedKey:
    return NamedKey(source, PublicKey.of(ec.generate_private_key(ec.SECP256R1()).public_key()))


SITE = named("site.pub")
BUILD = CertificateIdentity("https://git.example/build.yml", "https://issuer.example")
AUDIT = named("audit.pub")
STRANGER = named("stranger.pub")
WHO: dict[str, PolicyIdentity] = {"site": SITE, "build": BUILD, "audit": AUDIT}
IMAGE = Subject("image", "public.ecr.aws/eks-anywhere/cli-tools:v1", Digest.of(b"it"), "resolved")
BUNDLES = Subject("document", "Bundles/bundles-7", Digest.of(b"doc"), "off")
LEVELS: tuple[TrustLevel, ...] = ("signed", "declared", "resolved", "pushed", "off")
UNMET: tuple[Unmet, ...] = ("warn", "leave-out", "refuse")
STRICTNESS: tuple[Decision, ...] = ("accept", "warn", "leave-out", "refuse")


def rule(*signers: str, **more: Any) -> Rule:
    return Rule(**{"match": ("*",), "signed_by": {name: WHO[name] for name in signers}, **more})


def policy(*rules: Rule, **more: Any) -> Policy:
    return Policy(name="site.yaml", rules=rules, **more)


def signed_by(*identities: Identity) -> Evidence:
    return Evidence(tuple(Proof(identity, "bundle", "sha256:0") for identity in identities))


UNSIGNED = Evidence()


def test_all_who_are_named_must_have_signed_unless_told_how_many() -> None:
    both = policy(rule("site", "build"))
    assert both.judge(IMAGE, signed_by(SITE, BUILD)).decision == "accept"
    assert both.judge(IMAGE, signed_by(SITE)).decision == "refuse"
    either = policy(rule("site", "build", at_least=1))
    assert either.judge(IMAGE, signed_by(BUILD)) == Judgement(
        "accept", "site.yaml, rule 1", "signed by build", (BUILD,)
    )
    assert either.judge(IMAGE, signed_by(STRANGER)).decision == "refuse"


def test_a_certificate_counts_to_the_letter_and_a_key_by_its_bytes() -> None:
    one = policy(rule("build"))
    assert one.judge(IMAGE, signed_by(replace(BUILD, subject="https://git.example/build.yml2"))).decision == "refuse"
    assert one.judge(IMAGE, signed_by(replace(BUILD, issuer="https://other.example"))).decision == "refuse"
    assert policy(rule("site")).judge(IMAGE, signed_by(NamedKey("elsewhere", SITE.key))).decision == "accept"
    assert policy(rule("site")).judge(IMAGE, signed_by(NamedKey("site.pub", STRANGER.key))).decision == "refuse"


def test_one_key_under_two_names_or_with_two_signatures_is_one_signer() -> None:
    twice = {"site": SITE, "mirror": NamedKey("copy.pub", SITE.key), "audit": AUDIT}
    two = policy(rule(signed_by=twice, at_least=2))
    assert two.judge(IMAGE, signed_by(SITE, SITE)).decision == "refuse"
    assert two.judge(IMAGE, signed_by(SITE, AUDIT)).decision == "accept"
    assert policy(rule(signed_by=twice)).judge(IMAGE, signed_by(SITE, AUDIT)).decision == "accept"


def test_the_first_rule_that_matches_decides_alone() -> None:
    rules = policy(
        rule(match=("public.ecr.aws/eks-anywhere/*",), always="accept"),
        rule("site", match=("public.ecr.aws/*",)),
        otherwise="warn",
    )
    assert rules.judge(IMAGE, UNSIGNED).decision == "accept"
    other = replace(IMAGE, reference="public.ecr.aws/eks-distro/pause:1")
    assert (rules.judge(other, UNSIGNED).decision, rules.judge(other, UNSIGNED).rule) == ("refuse", "site.yaml, rule 2")
    third = replace(IMAGE, reference="registry.example/pause:1")
    assert rules.judge(third, UNSIGNED) == Judgement("warn", "site.yaml, otherwise", "no rule is about it")


def test_without_a_rule_artifacts_are_refused_and_documents_left_to_their_own_verification() -> None:
    nothing = policy()
    assert nothing.judge(IMAGE, signed_by(SITE)).decision == "refuse"
    assert nothing.judge(BUNDLES, UNSIGNED).decision == "accept"
    assert policy(rule("site")).judge(BUNDLES, UNSIGNED).decision == "accept"


def test_a_rule_is_only_about_its_types() -> None:
    charts = policy(rule("site", types=frozenset({"chart"})), otherwise="accept")
    assert charts.judge(IMAGE, UNSIGNED).decision == "accept"
    assert charts.judge(replace(IMAGE, type="chart"), UNSIGNED).decision == "refuse"


def test_trust_and_signatures_must_both_hold() -> None:
    both = policy(rule("site", trust="declared"))
    assert both.judge(replace(IMAGE, trust="declared"), signed_by(SITE)).decision == "accept"
    assert both.judge(replace(IMAGE, trust="declared"), UNSIGNED).decision == "refuse"
    refused = both.judge(replace(IMAGE, trust="resolved"), signed_by(SITE))
    assert (refused.decision, refused.signed_by) == ("refuse", ())
    assert refused.reason == "its trust level is resolved, the rule asks for declared or better"


@pytest.mark.parametrize("level", LEVELS)
def test_a_trust_level_or_a_better_one_is_enough(level: TrustLevel) -> None:
    decision = policy(rule(trust="resolved")).judge(replace(IMAGE, trust=level), UNSIGNED).decision
    assert decision == ("accept" if level in ("signed", "declared", "resolved") else "refuse")


@pytest.mark.parametrize("decision", UNMET)
def test_the_rule_says_what_becomes_of_the_unsigned(decision: Unmet) -> None:
    assert policy(rule("site", unsigned=decision)).judge(IMAGE, UNSIGNED).decision == decision
    assert policy(rule("site", unsigned=decision)).judge(IMAGE, signed_by(SITE)).decision == "accept"


def test_a_refusal_says_who_is_missing_and_why_what_was_found_does_not_count() -> None:
    found = Evidence(rejected=("d is expired", "a is of another digest", "b", "c", "c"))
    assert policy(rule("site")).judge(IMAGE, found).reason == (
        "not signed by site (what was found does not count: a is of another digest; b; c; 1 more)"
    )
    assert policy(rule("site", "build")).judge(IMAGE, signed_by(SITE)).reason == (
        "must be signed by 2 of site, build, is by site"
    )


def test_aws_signs_documents_by_annotation_with_its_own_key() -> None:
    aws = policy(rule(signed_by={"aws": AwsKey()}, types=frozenset({"document"})))

    def annotated(source: str, form: Any = "annotation") -> Evidence:
        return Evidence((Proof(NamedKey(source, SITE.key), form, "x"),))

    assert aws.judge(BUNDLES, annotated("aws")).decision == "accept"
    assert aws.judge(BUNDLES, annotated("./aws")).decision == "refuse"
    assert aws.judge(BUNDLES, annotated("aws", "bundle")).decision == "refuse"


def test_awss_signature_does_not_count_twice_under_another_name() -> None:
    who = {"aws": AwsKey(), "copy": NamedKey("base64:…", SITE.key), "audit": AUDIT}
    two = policy(rule(signed_by=who, types=frozenset({"document"}), at_least=2))
    once = Proof(NamedKey("aws", SITE.key), "annotation", "x")
    assert two.judge(BUNDLES, Evidence((once,))).decision == "refuse"
    assert two.judge(BUNDLES, Evidence((once, Proof(AUDIT, "annotation", "x")))).decision == "accept"


@pytest.mark.parametrize("name", ["nginx", "public.ecr.aws/a/b:v1@sha256:" + "0" * 64])
def test_an_ambiguous_name_is_refused_whatever_the_rules_say(name: str) -> None:
    lax = policy(rule(always="accept"), otherwise="accept")
    assert lax.judge(replace(IMAGE, reference=name), UNSIGNED).decision == "refuse"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, ""),
        ({"always": "accept", "trust": "declared"}, "always"),
        ({"always": "accept", "match": ()}, "match"),
        ({"always": "accept", "types": frozenset()}, "types"),
        ({"always": "accept", "types": frozenset({"image", "lock"})}, "types"),
        ({"always": "leave-out", "types": frozenset({"lock"})}, "always"),
        ({"trust": "declared", "unsigned": "leave-out", "types": frozenset({"lock"})}, "unsigned"),
        ({"trust": "declared", "at_least": 1}, "atLeast"),
        ({"signed_by": {"a": SITE, "b": NamedKey("b", SITE.key)}, "at_least": 2}, "atLeast"),
        ({"signed_by": {"a": SITE}, "at_least": 0}, "atLeast"),
        ({"signed_by": {"aws": AwsKey()}}, "signedBy"),
        ({"signed_by": {"aws": AwsKey()}, "types": frozenset({"document", "lock"})}, "signedBy"),
    ],
)
def test_a_rule_that_could_never_hold_is_refused(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(UsageError) as caught:
        Rule(**{"match": ("*",), **fields})
    assert caught.value.artifact == place
    assert caught.value.hint


def test_signatures_are_needed_only_where_they_can_change_the_decision() -> None:
    rules = policy(
        rule(match=("free.example/*",), always="accept"),
        rule(match=("declared.example/*",), trust="declared"),
        rule("site", "build", match=("both.example/*",), trust="declared"),
        rule("site", "audit"),
    )

    def needs(
        reference: str, trust: TrustLevel = "resolved", kind: SubjectType = "image"
    ) -> tuple[PolicyIdentity, ...]:
        return rules.needs(Subject(kind, reference, None, trust))

    assert needs("free.example/a:1") == needs("declared.example/a:1") == needs("both.example/a:1") == ()
    assert needs("both.example/a:1", "declared") == (SITE, BUILD)
    assert needs("other.example/a:1") == (SITE, AUDIT)
    assert needs("nginx") == needs("Bundles/x", kind="document") == ()
    tighter = policy(rule("build"))
    assert needed_by_any((rules, tighter), Subject("image", "other.example/a:1", None, "off")) == (SITE, AUDIT, BUILD)


def test_the_anchors_are_the_identities_once_each() -> None:
    found = policy(rule("site", "build"), rule("site", "audit")).anchors()
    assert (found.keys, found.certificates) == ((SITE, AUDIT), (BUILD,))
    assert anchors_of([BUILD], b"root").trusted_root == b"root"
    assert anchors_of([AwsKey()]).keys == ()


def test_several_policies_are_met_together() -> None:
    lax, strict = policy(rule("site", unsigned="warn")), Policy(name="flag.yaml", rules=(rule("audit"),))
    assert judge_all((), IMAGE, UNSIGNED).decision == "accept"
    accepted = judge_all((lax, strict), IMAGE, signed_by(SITE, AUDIT))
    assert (accepted.decision, accepted.signed_by) == ("accept", (SITE, AUDIT))
    refused = judge_all((lax, strict), IMAGE, signed_by(SITE))
    assert (refused.decision, refused.rule, refused.reason) == ("refuse", "flag.yaml, rule 1", "not signed by audit")
    warned = judge_all((lax, strict), IMAGE, signed_by(AUDIT))
    assert (warned.decision, warned.signed_by) == ("warn", ())


def test_a_document_is_demanded_whole() -> None:
    rules = (policy(rule("site", types=frozenset({"document", "lock"}))),)
    assert demand(rules, BUNDLES, signed_by(SITE)).signed_by == (SITE,)
    with pytest.raises(VerificationError) as caught:
        demand(rules, BUNDLES, UNSIGNED)
    assert str(caught.value) == "Bundles/bundles-7: not signed by site (site.yaml, rule 1)"


IDENTITIES = st.dictionaries(st.sampled_from(sorted(WHO)), st.none(), min_size=1).map(
    lambda names: {name: WHO[name] for name in names}
)
PATTERNS = st.lists(
    st.sampled_from(["*", "public.ecr.aws/*", "*/a", "registry.example/a:v*", "https://files.example/*"]),
    min_size=1,
    max_size=2,
).map(tuple)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    fields: dict[str, Any] = {"match": draw(PATTERNS)}
    if draw(st.booleans()):
        return Rule(**fields, always=draw(st.sampled_from(STRICTNESS)))
    signers = draw(IDENTITIES | st.just({}))
    return Rule(
        **fields,
        signed_by=signers,
        at_least=draw(st.none() | st.integers(1, len(signers))) if signers else None,
        trust=draw(st.sampled_from(LEVELS) | st.none()) if signers else draw(st.sampled_from(LEVELS)),
        unsigned=draw(st.sampled_from(UNMET)),
    )


POLICIES = st.builds(
    Policy,
    name=st.sampled_from(["a.yaml", "b.yaml"]),
    rules=st.lists(rules(), max_size=4).map(tuple),
    otherwise=st.sampled_from(STRICTNESS),
)
REFERENCES = {
    "image": ["public.ecr.aws/a:v1", "registry.example/a:v1", "registry.example/b:1", "nginx"],
    "file": ["https://files.example/a", "https://other.example/a", "https://files.example/../a"],
    "document": ["Bundles/bundles-7"],
}
SUBJECTS = st.sampled_from(sorted(REFERENCES)).flatmap(
    lambda kind: st.builds(
        Subject, st.just(kind), st.sampled_from(REFERENCES[kind]), st.just(Digest.of(b"it")), st.sampled_from(LEVELS)
    )
)
PROOFS = st.lists(
    st.builds(
        Proof,
        st.sampled_from([SITE, BUILD, AUDIT, STRANGER]),
        st.sampled_from(["tag", "bundle", "annotation"]),
        st.just("sha256:0"),
    ),
    max_size=5,
)
EVIDENCE = st.builds(Evidence, PROOFS.map(tuple), st.lists(st.text(max_size=5), max_size=5).map(tuple))


@given(st.lists(POLICIES, max_size=3), POLICIES, SUBJECTS, EVIDENCE)
def test_a_further_policy_never_loosens(
    policies: list[Policy], more: Policy, subject: Subject, found: Evidence
) -> None:
    before = judge_all(policies, subject, found).decision
    after = judge_all([*policies, more], subject, found).decision
    assert STRICTNESS.index(after) == max(
        STRICTNESS.index(before), STRICTNESS.index(more.judge(subject, found).decision)
    )


@given(POLICIES, SUBJECTS, EVIDENCE, st.randoms())
def test_the_order_of_the_evidence_changes_nothing(
    rules: Policy, subject: Subject, found: Evidence, random: Any
) -> None:
    proofs, rejected = list(found.proofs), list(found.rejected)
    random.shuffle(proofs)
    random.shuffle(rejected)
    first = rules.judge(subject, found)
    assert rules.judge(subject, Evidence(tuple(proofs), tuple(rejected))) == first == rules.judge(subject, found)


@given(POLICIES, SUBJECTS, EVIDENCE)
def test_another_signature_never_makes_a_decision_stricter(rules: Policy, subject: Subject, found: Evidence) -> None:
    more = replace(found, proofs=(*found.proofs, Proof(SITE, "bundle", "sha256:1")))
    strictness = STRICTNESS.index
    assert strictness(rules.judge(subject, more).decision) <= strictness(rules.judge(subject, found).decision)


@given(POLICIES, SUBJECTS, EVIDENCE)
def test_what_no_signature_is_needed_for_is_decided_without_any(
    rules: Policy, subject: Subject, found: Evidence
) -> None:
    if not rules.needs(subject):
        assert rules.judge(subject, found) == rules.judge(subject, UNSIGNED)
