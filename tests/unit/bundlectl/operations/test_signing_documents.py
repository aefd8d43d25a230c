"""``sign MANIFEST``: what AWS's verifiers accept, given the public key."""

from __future__ import annotations

import base64
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, KeyProviderError, UsageError
from bundlectl.operations.request import SourceRequest
from bundlectl.operations.signing_documents import sign_manifest
from bundlectl.operations.verifying_documents import document_verdict
from bundles.tree import parse_tree
from signing.signature import Signature
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, shared
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, OTHER_SIGNER, SIGNER

if TYPE_CHECKING:
    from bundlectl.operations.verdict import Verdict
    from mirror.oci.digest import Digest
    from signing.signature import PublicKey

EXCLUDES = "eksa.aws.com/excludes"
POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: hello\nspec:\n  a: 1\n  b: 2\n"


def sign(text: str | bytes, *excludes: str) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return sign_manifest(raw, origin="made.yaml", signer=SIGNER, excludes=excludes).text


def verdict(raw: bytes) -> Verdict:
    return document_verdict(raw, "made.yaml", SourceRequest(sources=(), belief=BY_KEY))


def annotations(raw: bytes) -> dict[str, str]:
    metadata = parse_tree(raw, origin="").root.map("metadata")
    held = metadata.map("annotations") if metadata else None
    assert held is not None
    return {name: held.text(name) for name in held.entries}


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        (BUNDLES, "anywhere.eks.amazonaws.com"),
        (EKSD, "distro.eks.amazonaws.com"),
        (PACKAGES, "eksa.aws.com"),
        (POD, "eksa.aws.com"),
        (POD.replace("metadata:\n  name: hello\n", ""), "eksa.aws.com"),
    ],
)
def test_each_kind_gets_the_annotation_of_its_domain_and_verifies(text: str, domain: str) -> None:
    signed = sign(text)
    assert list(annotations(signed)) == [f"{domain}/signature"]
    assert verdict(signed).verified
    assert not document_verdict(signed, "made.yaml", SourceRequest(sources=(), belief=BY_OTHER_KEY)).verified


def test_what_was_signed_is_told_with_the_digest_that_verifiers_find() -> None:
    signed = sign_manifest(BUNDLES.encode(), origin="made.yaml", signer=SIGNER)
    found = verdict(signed.text)
    assert (signed.kind, signed.name, signed.digest, signed.key) == (
        "Bundles",
        found.name,
        found.digest,
        SIGNER.public_key,
    )
    assert signed.to_json("made.yaml", "out.yaml")["digest"] == str(found.digest)
    bare = sign_manifest(b"apiVersion: v1\nkind: Pod\n", origin="made.yaml", signer=SIGNER)
    assert (bare.kind, bare.name) == ("Pod", "")


@pytest.mark.parametrize("name", ["packagebundle-v1-24-116.aws-signed.yaml", "bundles-minimal.aws-kms-signed.yaml"])
def test_aws_s_signature_is_replaced_by_one_over_the_same_bytes(name: str) -> None:
    original = shared(name)
    signed = sign(original)
    changed = [pair for pair in zip(original.splitlines(), signed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [line.partition(b":")[0].strip()[-10:] for pair in changed for line in pair] == [b"/signature"] * 2
    found = verdict(signed)
    assert found.verified
    assert (
        found.digest
        == document_verdict(
            original, "made.yaml", SourceRequest(sources=(), belief=replace(BY_KEY, mode="aws", key=None))
        ).digest
    )


@pytest.mark.parametrize("name", ["eksa-bundles-main.yaml", "kubernetes-1-21-eks-4.yaml"])
def test_whole_releases_are_signed(name: str) -> None:
    signed = sign(shared(name))
    assert verdict(signed).verified


@pytest.mark.parametrize("name", ["bundles-101.yaml", "packages-v1-33-120.yaml", "kubernetes-1-33-eks-12.yaml"])
def test_signing_again_replaces_the_signature(name: str) -> None:
    once = sign_manifest(
        files("registry_fixtures.samples").joinpath(name).read_bytes(), origin="made.yaml", signer=OTHER_SIGNER
    ).text
    twice = sign(once)
    assert verdict(twice).verified
    assert len(annotations(twice)) == 1
    assert len(twice.splitlines()) == len(once.splitlines())


def test_excludes_are_written_as_aws_writes_them_and_are_not_covered() -> None:
    signed = sign(PACKAGES, ".spec.packages[].source.registry", ".spec.packages[].source.repository")
    # domain.md 2.2: what stands in every package bundle of AWS's.
    assert annotations(signed)[EXCLUDES] == (
        "LnNwZWMucGFja2FnZXNbXS5zb3VyY2UucmVnaXN0cnkKLnNwZWMucGFja2FnZXNbXS5zb3VyY2UucmVwb3NpdG9yeQo="
    )
    found = verdict(signed)
    assert found.verified
    assert "spec.packages[].source.repository" in found.uncovered
    assert verdict(signed.replace(b"harbor/harbor-helm", b"elsewhere/helm")).verified
    assert not verdict(signed.replace(b"harbor/harbor-core", b"elsewhere/core")).verified


def test_the_excludes_themselves_are_signed() -> None:
    signed = sign(POD, ".spec.b")
    other = base64.b64encode(b".spec.b\n.potato\n").decode()
    assert verdict(signed).verified
    assert not verdict(signed.replace(annotations(signed)[EXCLUDES].encode(), other.encode())).verified
    without = b"\n".join(line for line in signed.split(b"\n") if EXCLUDES.encode() not in line)
    assert not verdict(without).verified


def test_excludes_that_are_there_stay_unless_others_are_given() -> None:
    first = sign(POD, ".spec.b")
    again = sign(first)
    assert annotations(again)[EXCLUDES] == annotations(first)[EXCLUDES]
    assert verdict(again.replace(b"b: 2", b"b: 3")).verified
    other = sign(first, ".spec.a")
    assert not verdict(other.replace(b"b: 2", b"b: 3")).verified
    assert verdict(other.replace(b"a: 1", b"a: 3")).verified


@pytest.mark.parametrize("text", [BUNDLES, EKSD])
def test_excludes_are_refused_where_aws_s_list_is_fixed(text: str) -> None:
    with pytest.raises(UsageError, match="--exclude is not for"):
        sign(text, ".spec.number")


@pytest.mark.parametrize(
    "selector", ["spec", ".", ".spec | .a", ".spec as $x", ".spec.packages[0]", ".a?", 'import "x"', ".a\n.b"]
)
def test_an_exclude_that_is_no_path_is_refused(selector: str) -> None:
    with pytest.raises(ContentError, match="invalid selector"):
        sign(POD, selector)


@pytest.mark.parametrize("selector", [".spec[].x", ".spec.a.b", ".metadata.name[]"])
def test_an_exclude_that_does_not_fit_the_document_is_refused(selector: str) -> None:
    with pytest.raises(ContentError, match="does not fit the document"):
        sign(POD, selector)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: Pod\n", "no Kubernetes object"),
        ("apiVersion: v1\n", "no Kubernetes object"),
        ("a: 1\n", "no Kubernetes object"),
        ("- a\n", ""),
        ("", ""),
        ("apiVersion: v1\nkind: Pod\nkind: Job\n", "given twice"),
        (BUNDLES.partition("  versionsBundles:")[0], ""),
        (PACKAGES.replace("  packages:\n", "  Packages: []\n  packages:\n"), "becomes the field"),
        (PACKAGES.replace("workloadonly: true", "workloadonly: maybe"), "must be true or false"),
    ],
)
def test_what_has_no_canonical_form_is_not_signed(text: str, why: str) -> None:
    with pytest.raises(ContentError) as caught:
        sign(text)
    assert why in str(caught.value)
    assert "made.yaml" in str(caught.value)


class FaultySigner:
    """A token that signs something else."""

    public_key: PublicKey = SIGNER.public_key

    def sign_digest(self, digest: Digest) -> Signature:
        return Signature(SIGNER.sign_digest(type(digest).of(b"else")).value, self.public_key)


def test_a_signature_that_does_not_hold_is_never_handed_out() -> None:
    with pytest.raises(KeyProviderError, match="does not hold"):
        sign_manifest(POD.encode(), origin="made.yaml", signer=FaultySigner())
