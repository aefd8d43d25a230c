"""Patterns of policies: what they match, and what can never pass for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import UsageError
from mirror.oci.digest import Digest
from signing.pattern import ARTIFACT_TYPES, Pattern, SubjectName, SubjectType

DIGEST = Digest.of(b"it")
OTHER = Digest.of(b"another")
HOST = "public.ecr.aws"


def matches(pattern: str, reference: str, *, kind: SubjectType = "image", digest: Digest | None = DIGEST) -> bool:
    types = ARTIFACT_TYPES if kind in ARTIFACT_TYPES else {kind}
    name = SubjectName.of(kind, reference, digest)
    assert name is not None
    return Pattern.parse(pattern, types).matches(name)


@pytest.mark.parametrize(
    ("pattern", "reference"),
    [
        ("*", "public.ecr.aws/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/*", "public.ecr.aws/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/eks-anywhere/*", "public.ecr.aws/eks-anywhere/kubernetes-sigs/kind/node:v1"),
        ("public.ecr.aws/eks-anywhere/cli-tools", "public.ecr.aws/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/eks-anywhere/cli-tools", f"public.ecr.aws/eks-anywhere/cli-tools@{DIGEST}"),
        ("public.ecr.aws/eks-anywhere/cli-tools:v1*", "public.ecr.aws/eks-anywhere/cli-tools:v1.2"),
        (f"public.ecr.aws/a/b@{DIGEST}", "public.ecr.aws/a/b:v1"),
        ("PUBLIC.ecr.aws:443/a/b", "public.ECR.aws/a/b:v1"),
        ("*.example.com/a", "one.two.example.com/a:v1"),
        ("*/a/b", "registry.example:5000/a/b:v1"),
        ("*:5000/a/b", "registry.example:5000/a/b:v1"),
        ("*:443/a/b", "registry.example/a/b:v1"),
        ("registry.example:0443/a/b", "registry.example/a/b:v1"),
        ("registry.example/a/b", "registry.example:0443/a/b:v1"),
        ("registry.example:*/a/b", "registry.example/a/b:v1"),
        ("registry.example:*/a/b", "registry.example:5000/a/b:v1"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b:v1"),
        ("localhost:5000/a*c*e", "localhost:5000/a-bc-d-e:v1"),
    ],
)
def test_a_pattern_matches_what_it_looks_like(pattern: str, reference: str) -> None:
    assert matches(pattern, reference)


@pytest.mark.parametrize(
    ("pattern", "reference"),
    [
        ("public.ecr.aws/*", "evil.example/public.ecr.aws/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/*", "public.ecr.aws.evil.example/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/*", "public.ecr.aws:5000/eks-anywhere/cli-tools:v1"),
        ("*.example.com/a", "evilexample.com/a:v1"),
        ("*.example.com/a", "evil.example/x.example.com/a:v1"),
        ("public.ecr.aws/eks-anywhere/*", "public.ecr.aws/eks-anywhere-evil/cli-tools:v1"),
        ("public.ecr.aws/eks-anywhere", "public.ecr.aws/eks-anywhere/cli-tools:v1"),
        ("public.ecr.aws/a/b", "public.ecr.aws/a/b-c:v1"),
        ("public.ecr.aws/a/b:v1", "public.ecr.aws/a/b:v1.2"),
        ("public.ecr.aws/a/b:v1", "public.ecr.aws/a/b:V1"),
        (f"public.ecr.aws/a/b@{OTHER}", "public.ecr.aws/a/b:v1"),
        ("registry.example/aba*ba", "registry.example/aba:v1"),
        ("*:443/a/b", "registry.example:5000/a/b:v1"),
        ("*:5000/a/b", "registry.example:15000/a/b:v1"),
        ("*.example/a/b", "registry.example:5000/a/b:v1"),
        ("registry.example/a/b", "registry.example:04430/a/b:v1"),
    ],
)
def test_a_pattern_does_not_match_what_merely_resembles_it(pattern: str, reference: str) -> None:
    assert not matches(pattern, reference)


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example/a/b.tgz",
        "https://GOOD.example:443/a/b.tgz",
        "https://good.example/%61/b.tgz#part",
        "https://good.example/a/?version=1",
    ],
)
def test_the_url_of_a_file_is_matched(url: str) -> None:
    assert matches("https://good.example/a/*", url, kind="file")


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example/a/b.tgz",
        "https://good.example:8443/a/b.tgz",
        "https://good.example.evil.example/a/b.tgz",
        "https://evil.example/good.example/a/b.tgz",
        "https://evil.example/?https://good.example/a/b.tgz",
        "https://good.example/A/b.tgz",
    ],
)
def test_another_url_is_not(url: str) -> None:
    assert not matches("https://good.example/a/*", url, kind="file")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/*.tar.gz", "/a/b.tar.gz", True),
        ("/*.tar.gz", "/evil.sh?x=.tar.gz", False),
        ("/*.tar.gz", "/a.tar.gz?x", False),
        ("/get", "/get", True),
        ("/get", "/get?file=evil", False),
        ("/get?file=a", "/get?file=a", True),
        ("/get?file=%61", "/get?file=a", True),
        ("/get?file=a", "/get", False),
        ("/get?*", "/get?file=a&b", True),
        ("/get?*", "/get/evil", False),
        ("/get?*.gz", "/get?a?b.gz", True),
        ("/*", "/a?x", True),
        ("/*", "/?x", True),
        ("/*", "?x", True),
    ],
)
def test_path_and_query_are_matched_apart(pattern: str, path: str, *, expected: bool) -> None:
    found = matches(f"https://good.example{pattern}", f"https://good.example{path}", kind="file")
    assert found is expected


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("file", "https://good.example@evil.example/a"),
        ("file", "https://good.example/a/../b"),
        ("file", "https://good.example/a/%2e%2E/b"),
        ("file", "https://good.example/a\\..\\b"),
        ("file", "https://good.example/a b"),
        ("file", "ftp://good.example/a"),
        ("image", "nginx"),
        ("image", "public.ecr.aws/A/b:v1"),
        ("image", f"public.ecr.aws/a/b:v1@{OTHER}"),
        ("image", "public.ecr.aws./a/b:v1"),
        ("image", "public.ecr.aws.:443/a/b:v1"),
        ("image", "public.ecr.aws:65536/a/b:v1"),
        ("file", "https://good.example./a"),
        ("file", "https://good.example.:443/a"),
    ],
)
def test_a_name_that_can_be_understood_in_two_ways_is_none(kind: SubjectType, name: str) -> None:
    assert SubjectName.of(kind, name, DIGEST) is None


def test_documents_are_matched_by_their_whole_name() -> None:
    assert matches("Bundles/*", "Bundles/bundles-7", kind="document")
    assert not matches("Bundles/*", "PackageBundle/Bundles/x", kind="document")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "1 to 512 characters"),
        ("a" * 513, "1 to 512 characters"),
        ("nginx", "names no registry"),
        ("library/nginx", "names no registry"),
        ("public.ecr.aws/Eks/*", "could never match a repository"),
        ("public.ecr.aws/", "could never match a repository"),
        ("public.ecr.aws/a/b:", "could never match a tag"),
        ("public.ecr.aws/a/b:v?", "could never match a tag"),
        ("public.ecr.aws/a/b@sha256:*", "is not a digest"),
        ("public.ecr.aws*/a", "would match hosts of others"),
        ("*ecr.aws/a", "would match hosts of others"),
        ("https://good.example", "could never match the URL"),
        ("s3://bucket/*", "could never match the URL"),
        ("https://user@good.example/*", "could never match a host"),
        ("https://good.example/a b", "characters that no URL has"),
        ("public.ecr.aws./a", "could never match a host"),
        ("public.ecr.aws:99999/a", "could never match a host"),
    ],
)
def test_a_pattern_that_could_never_match_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Pattern.parse(pattern, ARTIFACT_TYPES)


@pytest.mark.parametrize(
    ("pattern", "kind"), [("https://good.example/*", "image"), ("public.ecr.aws/*", "file"), ("a.b/c", "file")]
)
def test_a_pattern_for_another_type_is_refused(pattern: str, kind: SubjectType) -> None:
    with pytest.raises(UsageError, match="matches nothing of type"):
        Pattern.parse(pattern, {kind})


PIECES = st.lists(
    st.sampled_from([*"/:@.*-_?#%\\[]", "//", "..", HOST, "evil.example", "a", "b", "%2e", "%2F", "://", "v1", "443"]),
    max_size=8,
).map("".join)


@given(prefix=PIECES, path=PIECES, kind=st.sampled_from(["image", "chart", "file"]))
def test_nothing_of_another_host_passes_for_one_of_the_pattern(prefix: str, path: str, kind: SubjectType) -> None:
    reference = f"https://evil.example{prefix}{path}" if kind == "file" else f"evil.example{prefix}/{path}:v1"
    name = SubjectName.of(kind, reference, DIGEST)
    pattern = f"https://{HOST}/*" if kind == "file" else f"{HOST}/*"
    assert name is None or not Pattern.parse(pattern, ARTIFACT_TYPES).matches(name)


@given(text=PIECES, reference=PIECES, kind=st.sampled_from(sorted(ARTIFACT_TYPES)))
def test_a_pattern_and_a_name_have_the_same_host_whenever_they_match(
    text: str, reference: str, kind: SubjectType
) -> None:
    scheme = "https://" if kind == "file" else ""
    name = SubjectName.of(kind, f"{scheme}{reference}", None)
    try:
        pattern = Pattern.parse(f"{scheme}{HOST}/{text}", {kind})
    except UsageError:
        return
    assert name is None or not pattern.matches(name) or name.host == HOST


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab/", max_size=16))
def test_a_star_is_any_run_of_characters_and_nothing_else_is_special(glob: str, text: str) -> None:
    import re  # noqa: PLC0415 -- the other implementation

    name = SubjectName("", "", text, "", "")
    expected = re.fullmatch(".*".join(re.escape(piece) for piece in glob.split("*")), text) is not None
    assert Pattern("x", scheme="", path=glob).matches(name) is expected
