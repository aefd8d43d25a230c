"""Policies over what was locked: what stays, what goes, and what is asked for that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bundlectl.errors import ConfigError, MissingError, VerificationError
from bundlectl.events import Notice
from bundlectl.operations import Selection, SourceRequest, lock
from bundlectl.operations.judging import Judged, PinnedReferrers, apply_policies
from bundlectl.operations.locking import Locked
from bundlectl.operations.rooting import Rooting
from bundlectl.operations.signatures import gather_evidence
from bundlectl.operations.signing_images import ImageSignatureFormat, sign_reference
from bundles.lock import Lock, LockedReferrer
from bundles.plan import upstream_name
from mirror.layout.store import Store
from mirror.oci.artifact import FILES_REPOSITORY
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.oci.reference import Reference
from registry_fixtures.attachments import Attacher
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.noise import Dice
from signing.cosign import signature_tag
from signing.identity import CertificateIdentity, Evidence, NamedKey, TrustAnchors
from signing.policy import Policy, Rule
from signing.signature import PublicKey
from tests.unit.bundlectl.operations.signed import NAMED, SIGNER, layer, push_image, put_tag

if TYPE_CHECKING:
    from mirror.oci.repository import ReadRepository
    from tests.unit.bundlectl.operations.site import Site

PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
COREDNS = "public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12"
BOTH = (f"image:{PAUSE}", f"image:{COREDNS}")
PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = NamedKey("site.pub", PublicKey.of(PRIVATE.public_key()))


def policy(**rule: Any) -> Policy:
    return Policy(name="site.yaml", rules=(Rule(**{"match": ("*",), **rule}),))


def signed(**more: Any) -> Policy:
    return policy(signed_by={"site": KEY}, **more)


def sign(site: Site, reference: str) -> Digest:
    """Sign an image upstream as cosign does; the digest of the signature's manifest."""
    holdings = site.source.registry.holdings
    repository, _, tag = reference.rpartition(":")
    subject = holdings.manifest(repository, tag).descriptor
    attacher = Attacher(holdings, Dice(1), sign=lambda payload: PRIVATE.sign(payload, ec.ECDSA(hashes.SHA256())))
    return attacher.cosign("public.ecr.aws", repository, subject).digest


def locked(site: Site, *sources: str, **selection: Any) -> Lock:
    with site.session() as session:
        return lock(SourceRequest(sources=sources, selection=Selection(**selection)), session=session)


def judge(site: Site, pinned: Lock, *policies: Policy, gather: Any = gather_evidence, root: Any = None) -> Judged:
    with site.session() as session, Rooting(Locked(pinned), session) as rooting:
        return apply_policies(
            policies,
            pinned,
            session=session,
            open_source=rooting.source,
            gather=gather,
            trusted_root=root,
        )


def trusts(pinned: Lock) -> dict[str, str]:
    return {item.reference: item.trust for item in pinned.artifacts}


def test_what_its_own_signature_holds_for_counts_as_signed(site: Site) -> None:
    sign(site, PAUSE)
    pinned = locked(site, f"image:{PAUSE}")
    judged = judge(site, pinned, signed())
    assert (trusts(pinned), trusts(judged.lock)) == ({PAUSE: "resolved"}, {PAUSE: "signed"})
    assert trusts(Lock.from_bytes(judged.lock.to_bytes(), origin="lock")) == {PAUSE: "signed"}


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_each_form_of_signature_counts_where_it_is_pinned(site: Site, form: ImageSignatureFormat) -> None:
    reference = Reference(site.target.host, "a/b", "v1")
    with site.session() as session:
        push_image(session.target(site.target.host).repository("a/b"))
        before = locked(site, f"image:{reference}")
        sign_reference(reference, SIGNER, session=session, form=form)
    rule = policy(signed_by={"it": NAMED})
    with pytest.raises(VerificationError):
        judge(site, before, rule)
    assert trusts(judge(site, locked(site, f"image:{reference}"), rule).lock) == {str(reference): "signed"}


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_a_signature_of_each_form_still_counts_out_of_a_store(site: Site, form: ImageSignatureFormat) -> None:
    reference = Reference(site.target.host, "a/b", "v1")
    with site.session() as session:
        push_image(session.target(site.target.host).repository("a/b"))
        sign_reference(reference, SIGNER, session=session, form=form)
    site.download(f"image:{reference}")
    (artifact,) = site.lock(f"store:{site.store}", policies=(policy(signed_by={"it": NAMED}),)).artifacts
    assert artifact.trust == "signed"
    with pytest.raises(VerificationError):
        site.lock(f"store:{site.store}", policies=(signed(),))


def signed_in_store(site: Site, manifest: Digest) -> LockedReferrer:
    """Sign a manifest among the files of the site's store."""
    with Store.open(site.store) as store:
        repository = store.repository(FILES_REPOSITORY)
        put = put_tag(repository, manifest, layer(repository, manifest))
        digest, blobs = put.descriptor.digest, tuple(child.digest for child in put.children())
    return LockedReferrer(
        digest=digest, media_type=OCI_MANIFEST, tag=signature_tag(manifest), manifests=(digest,), blobs=blobs
    )


def test_a_file_is_signed_by_a_signature_of_its_own_manifest_alone(site: Site) -> None:
    url = site.put_file("tool.tar.gz", b"tool")
    site.download(f"file:{url}")
    pinned = site.lock(f"store:{site.store}")
    (file,) = pinned.artifacts
    (own,) = file.manifests
    with Store.open(site.store) as store:
        other = push_image(store.repository(FILES_REPOSITORY), b"signed by the site once").digest

    def verdict(signature: LockedReferrer, *manifests: Digest) -> str:
        item = replace(file, manifests=manifests, referrers=(signature,))
        sizes = dict.fromkeys(item.all_digests(), 0)
        with Store.open(site.store) as store:
            sizes.update((digest, store.size(digest) or 0) for digest in sizes)
        doctored = Locked(replace(pinned, artifacts=(item,), blobs=sizes), stores={item.identity: str(site.store)})
        with site.session() as session, Rooting(doctored, session) as rooting:
            (judged,) = apply_policies(
                (policy(signed_by={"it": NAMED}, unsigned="warn"),),
                doctored.lock,
                session=session,
                open_source=rooting.source,
                gather=gather_evidence,
            ).lock.artifacts
        return judged.trust

    assert verdict(signed_in_store(site, own), own) == "signed"
    assert verdict(signed_in_store(site, other), other) == "resolved"
    assert verdict(signed_in_store(site, other), other, own) == "resolved"


def test_a_refusal_names_every_artifact_with_its_rule_and_reason(site: Site) -> None:
    sign(site, PAUSE)
    with pytest.raises(VerificationError) as caught:
        judge(site, locked(site, *BOTH), signed())
    assert caught.value.message == (
        f"1 artifact does not meet the policy: {COREDNS}: not signed by site (site.yaml, rule 1)"
    )
    assert "--exclude" in (caught.value.hint or "")


def test_of_many_refusals_five_are_explained_and_all_are_named(site: Site) -> None:
    (one,) = locked(site, f"image:{PAUSE}").artifacts
    many = tuple(replace(one, reference=f"{PAUSE}-{number}") for number in range(8))
    pinned = replace(locked(site, f"image:{PAUSE}"), artifacts=many)
    with pytest.raises(VerificationError, match="8 artifacts do not meet") as caught:
        judge(site, pinned, policy(always="refuse"))
    assert caught.value.message.count("whoever signed it") == 5
    assert all(f"{PAUSE}-{number}" in caught.value.message for number in range(8))


def test_the_unsigned_are_left_out_with_a_reason_and_all_that_only_they_need(site: Site) -> None:
    sign(site, PAUSE)
    pinned = locked(site, *BOTH)
    judged = judge(site, pinned, signed(unsigned="leave-out"))
    assert set(trusts(judged.lock)) == {PAUSE}
    assert [item.reference for item in judged.left_out] == [COREDNS]
    assert judged.left_out[0].reason == "left out by policy: not signed by site (site.yaml, rule 1)"
    assert set(judged.lock.excluded) == {*pinned.excluded, *judged.left_out}
    assert judged.lock.blobs == {digest: pinned.blobs[digest] for digest in judged.lock.artifacts[0].all_digests()}
    assert judged.lock.to_bytes()


def test_a_warning_lets_through_is_told_and_recorded(site: Site) -> None:
    pinned = locked(site, *BOTH)
    judged = judge(site, pinned, signed(unsigned="warn"))
    assert trusts(judged.lock) == {PAUSE: "resolved", COREDNS: "resolved"}
    warned = [event for event in site.heard if isinstance(event, Notice) and event.level == "warning"]
    assert {notice.artifact for notice in warned if "does not meet the policy" in notice.message} == {PAUSE, COREDNS}
    assert judged.lock.weakened[-1] == ("the policy lets 2 artifacts through that do not meet it (site.yaml, rule 1)")


def test_nothing_is_asked_of_the_source_where_no_signature_matters(site: Site) -> None:
    pinned = locked(site, *BOTH)
    site.source.requests.clear()
    no_policy = judge(site, pinned)
    assert no_policy.lock is pinned
    assert trusts(judge(site, pinned, policy(trust="resolved")).lock) == trusts(pinned)
    with pytest.raises(VerificationError):
        judge(site, pinned, signed(trust="declared"))
    assert site.source.requests.count() == 0


def test_two_policies_must_both_be_met(site: Site) -> None:
    sign(site, PAUSE)
    pinned = locked(site, f"image:{PAUSE}")
    with pytest.raises(VerificationError, match=r"its trust level is resolved.*flag\.yaml"):
        judge(site, pinned, signed(), replace(policy(trust="declared"), name="flag.yaml"))


def test_a_signature_made_after_the_lock_does_not_count_until_it_is_locked(site: Site) -> None:
    pinned = locked(site, f"image:{PAUSE}")
    sign(site, PAUSE)
    with pytest.raises(VerificationError, match="not signed by site"):
        judge(site, pinned, signed())
    assert trusts(judge(site, locked(site, f"image:{PAUSE}"), signed()).lock) == {PAUSE: "signed"}


def test_a_pinned_signature_counts_also_after_its_tag_has_moved(site: Site) -> None:
    sign(site, PAUSE)
    pinned = locked(site, f"image:{PAUSE}")
    holdings = site.source.registry.holdings
    repository, _, tag = PAUSE.rpartition(":")
    subject = holdings.manifest(repository, tag)
    holdings.put_manifest(repository, subject.raw, tag=f"sha256-{subject.descriptor.digest.encoded}.sig")
    assert trusts(judge(site, pinned, signed()).lock) == {PAUSE: "signed"}


def test_a_lock_without_referrers_leaves_the_signatures_to_the_source(site: Site) -> None:
    sign(site, PAUSE)
    pinned = locked(site, f"image:{PAUSE}", referrers=False)
    assert pinned.artifacts[0].referrers == ()
    assert trusts(judge(site, pinned, signed()).lock) == {PAUSE: "signed"}


@pytest.mark.parametrize("status", [500, 404])
@pytest.mark.parametrize("unsigned", ["refuse", "leave-out", "warn"])
def test_what_cannot_be_had_is_neither_signed_nor_unsigned(site: Site, status: int, unsigned: str) -> None:
    signature = sign(site, PAUSE)
    sign(site, COREDNS)
    pinned = locked(site, *BOTH)
    site.source.faults.add(Fault(Refuse(status), path=f"*/manifests/{signature}"))
    judged = judge(site, pinned, signed(unsigned=unsigned))
    assert set(trusts(judged.lock)) == {COREDNS}
    (failure,) = judged.failed
    assert (failure.reference, failure.exit_code) == (PAUSE, 4)
    assert failure.error.startswith("its signatures cannot be had: ")


def test_a_machine_that_cannot_check_signatures_stops_the_run(site: Site) -> None:
    def lacking(*_: object) -> Evidence:
        raise ConfigError("the package sigstore is not installed")

    with pytest.raises(ConfigError):
        judge(site, locked(site, f"image:{PAUSE}"), signed(), gather=lacking)


def test_only_the_identities_that_matter_are_looked_for(site: Site) -> None:
    asked: list[TrustAnchors] = []
    build = CertificateIdentity("https://git.example/release.yml", "https://issuer.example")

    def gather(repository: ReadRepository, subject: Digest, anchors: TrustAnchors) -> Evidence:
        del repository, subject
        asked.append(anchors)
        return Evidence()

    rules = (
        Rule(match=("*/eks-distro/kubernetes/*",), signed_by={"build": build}, unsigned="warn"),
        Rule(match=("*",), signed_by={"site": KEY}, unsigned="warn"),
    )
    judge(site, locked(site, f"image:{PAUSE}"), Policy(name="p", rules=rules), gather=gather, root=b"{}")
    assert asked == [TrustAnchors(certificates=(build,), trusted_root=b"{}")]


def test_a_refusal_for_want_of_a_certificate_says_how_certificates_are_checked(site: Site) -> None:
    build = CertificateIdentity("https://git.example/release.yml", "https://issuer.example")
    with pytest.raises(VerificationError) as caught:
        judge(site, locked(site, f"image:{PAUSE}"), policy(signed_by={"build": build}))
    assert "--trusted-root" in (caught.value.hint or "")


def test_a_file_has_no_signature_where_it_comes_from(site: Site) -> None:
    url = site.put_file("tool.tar.gz", b"tool")
    pinned = locked(site, f"file:{url}")
    site.source.requests.clear()
    with pytest.raises(VerificationError, match="not signed by site"):
        judge(site, pinned, signed())
    assert set(trusts(judge(site, pinned, policy(trust="resolved")).lock)) == {url}
    assert site.source.requests.count() == 0


def test_tags_and_referrers_are_those_of_the_lock(site: Site) -> None:
    sign(site, PAUSE)
    (image,) = locked(site, f"image:{PAUSE}").artifacts
    tagged = LockedReferrer(digest=Digest.of(b"t"), media_type=OCI_MANIFEST, tag="sha256-0.sig")
    listed = LockedReferrer(digest=Digest.of(b"l"), media_type=OCI_MANIFEST, artifact_type="x/y")
    with site.session() as session:
        repository = session.repository(upstream_name(PAUSE)[0])
        sizes = {tagged.digest: 7, listed.digest: 8}
        view = PinnedReferrers(repository, replace(image, referrers=(tagged, listed)), sizes)
        assert (view.name, view.tags()) == (repository.name, ["sha256-0.sig"])
        assert view.resolve("sha256-0.sig") == Descriptor(OCI_MANIFEST, tagged.digest, 7)
        (found,) = view.referrers(image.digest)
        assert (found, found.artifact_type) == (Descriptor(OCI_MANIFEST, listed.digest, 8), "x/y")
        with pytest.raises(MissingError):
            view.resolve(f"sha256-{image.digest.encoded}.sig")
        descriptor = repository.resolve(PAUSE.rpartition(":")[2])
        assert view.has(descriptor)
        assert view.manifest(descriptor).descriptor.digest == image.digest


def test_a_signature_by_another_key_says_why_it_does_not_count(site: Site) -> None:
    sign(site, PAUSE)
    other = NamedKey("other.pub", PublicKey.of(ec.generate_private_key(ec.SECP256R1()).public_key()))
    with pytest.raises(VerificationError, match=r"not signed by other \(what was found does not count: sha256:"):
        judge(site, locked(site, f"image:{PAUSE}"), policy(signed_by={"other": other}))
