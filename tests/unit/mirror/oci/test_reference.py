"""References."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import UsageError
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, attached_to, by_digest_tag

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("public.ecr.aws/eks/cilium/cilium:v1.19.4-1", "public.ecr.aws", "eks/cilium/cilium", "v1.19.4-1", None),
        (f"localhost/x@{DIGEST}", "localhost", "x", None, DIGEST),
        (f"h:5000/a_b/c__d/e-f:T@{DIGEST}", "h:5000", "a_b/c__d/e-f", "T", DIGEST),
        ("[::1]:5000/x:1", "[::1]:5000", "x", "1", None),
        ("10.0.0.1:443/img", "10.0.0.1:443", "img", None, None),
    ],
)
def test_a_full_reference_is_taken_apart_and_written_back(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.repository, reference.tag) == (registry, repository, tag)
    assert reference.digest == (Digest.parse(digest) if digest else None)
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "nginx",
        "library/nginx",
        "nginx:latest",
        "image:nginx",
        "/x",
        "a.b/",
        "a.b/X",
        "a.b/x:",
        "a.b/x@sha256:1",
        "a.b//x",
        "a.b/x/../y",
        "a.b/x:" + "t" * 129,
        "http://a.b/x",
        "a.b:x/y",
    ],
)
def test_nothing_is_implied_or_repaired(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        return
    assert Reference.parse(str(reference)) == reference


def test_the_tag_for_a_bare_digest_is_never_one_of_the_signature_scheme() -> None:
    assert by_digest_tag(Digest.parse(DIGEST)) == "by-digest-sha256-" + "ab" * 32


@pytest.mark.parametrize("suffix", ["sig", "att", "sbom", "cosign.bundle"])
def test_a_tag_of_cosign_s_scheme_names_what_it_is_attached_to(suffix: str) -> None:
    assert attached_to(f"sha256-{'ab' * 32}.{suffix}") == Digest.parse(DIGEST)
    assert attached_to(f"sha512-{'ab' * 64}.{suffix}") == Digest.parse(f"sha512:{'ab' * 64}")


@pytest.mark.parametrize(
    "tag",
    ["v1", "sha256-x.sig", f"sha256-{'ab' * 32}", f"sha256-{'ab' * 32}.", f"sha512-{'ab' * 32}.sig",
     f"sha256-{'ab' * 64}.sig", f"sha256-{'AB' * 32}.sig", f"v1-sha256-{'ab' * 32}.sig", f"sha256-{'ab' * 32}.sig\n",
     f"by-digest-sha256-{'ab' * 32}"],
)  # fmt: skip
def test_any_other_tag_is_attached_to_nothing(tag: str) -> None:
    assert attached_to(tag) is None
