"""Names at the target (cli.md, target flags)."""

from dataclasses import replace

import pytest

from bundlectl.errors import UsageError
from bundles.lock import Lock, LockedArtifact, LockedManifest
from bundles.plan import Naming, TargetPlan
from bundles.selection import Selection
from mirror.oci.artifact import file_tag
from mirror.oci.digest import Digest

A, B = Digest.of(b"a"), Digest.of(b"b")


def artifact(reference: str, digest: Digest = A, kind: str = "image") -> LockedArtifact:
    return LockedArtifact(
        type=kind,  # type: ignore[arg-type]
        name="x",
        reference=reference,
        digest=digest,
        size=1,
        media_type="m",
        trust="off",
    )


def plan(*artifacts: LockedArtifact, naming: Naming, manifests: tuple[LockedManifest, ...] = ()) -> TargetPlan:
    lock = Lock(sources=(), selection=Selection().to_json(), manifests=manifests, artifacts=artifacts, blobs={})
    return TargetPlan.of(lock, naming)


@pytest.mark.parametrize(
    ("maps", "upstream", "expected"),
    [
        ((), "public.ecr.aws/eks-anywhere/kind/node", "p/eks-anywhere/kind/node"),
        ((), "783794618700.dkr.ecr.us-west-2.amazonaws.com/harbor/harbor-core", "p/eks-anywhere/harbor/harbor-core"),
        (
            ("783794618700.dkr.ecr.us-west-2.amazonaws.com=cp",),
            "783794618700.dkr.ecr.us-west-2.amazonaws.com/x",
            "p/cp/x",
        ),
        ((), "346438352937.dkr-ecr.us-west-2.on.aws/harbor/core", "p/eks-anywhere/harbor/core"),
        ((), "331113665574.dkr.ecr-fips.us-east-1.amazonaws.com/harbor/core", "p/eks-anywhere/harbor/core"),
        ((), "123456789012.dkr.ecr.us-east-1.amazonaws.com/our/app", "p/our/app"),
        (("localhost=one",), "localhost:5000/x", "p/x"),
        (("localhost:5000/a=one",), "localhost:5000/a", "p/one/a"),
        (("public.ecr.aws=one", "public.ecr.aws/eks=two"), "public.ecr.aws/eks/cilium", "p/two/eks/cilium"),
        (("public.ecr.aws=one", "public.ecr.aws/eks=two"), "public.ecr.aws/eks-distro/x", "p/one/eks-distro/x"),
        (("public.ecr.aws/eks=",), "public.ecr.aws/eks/x", "p/eks/x"),
    ],
)
def test_the_upstream_host_is_dropped_and_the_longest_rule_wins(
    maps: tuple[str, ...], upstream: str, expected: str
) -> None:
    assert Naming.parse("harbor.site:8443/p", maps).repository(upstream) == expected


def test_documents_go_where_a_target_can_have_them_and_two_never_share_a_name_there() -> None:
    document = LockedManifest(kind="Bundles", name="b", url="https://h.example/b", digest=A, size=1, trust="off")
    image = artifact("h.example/own/documents:b", B)
    lock = Lock(sources=(), selection=Selection().to_json(), manifests=(document,), artifacts=(image,), blobs={})
    naming = Naming.parse("t.example/p")
    placed = TargetPlan.of(lock, naming, documents="own/papers").manifests
    assert [(item.repository, item.tags) for item in placed] == [("p/own/papers", ("b",))]
    with pytest.raises(UsageError, match="p/own/documents:b"):
        TargetPlan.of(lock, naming, documents="own/documents")


def test_two_artifacts_with_one_name_are_parted_by_a_named_rule() -> None:
    both = (artifact("one.example/x/y:1"), artifact("two.example/x/y:1", B))
    with pytest.raises(UsageError) as caught:
        plan(*both, naming=Naming.parse("h:1"))
    assert "--map two.example=" in str(caught.value.hint)
    plan(*both, naming=Naming.parse("h:1", ["two.example=second"]))
    plan(both[0], replace(both[1], digest=A), naming=Naming.parse("h:1"))


def test_content_named_by_digest_gets_a_tag_that_no_signature_uses() -> None:
    planned = plan(artifact(f"h.example/x@{A}"), naming=Naming.parse("h:1")).artifacts[0]
    assert planned.tag == f"by-digest-sha256-{A.encoded}"


def test_a_file_is_named_after_its_url() -> None:
    url = "https://cdn.example/releases/x.tar.gz"
    planned = plan(artifact(url, kind="file"), naming=Naming.parse("h:1/p")).artifacts[0]
    assert (planned.repository, planned.tag) == ("p/bundlectl/files", file_tag(url))
    assert planned.tag.startswith("u-")
    assert len(planned.tag) == 42


def bundle(name: str, digest: Digest = A) -> LockedManifest:
    url = "public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles"
    return LockedManifest(
        kind="PackageBundle", name=name, url=url, digest=digest, size=1, trust="off", oci_digest=digest
    )


def test_a_package_bundle_gets_both_its_tags() -> None:
    planned = plan(naming=Naming.parse("h:1/p"), manifests=(bundle("v1-24-116"),)).manifests[0]
    assert planned.repository == "p/eks-anywhere/eks-anywhere-packages-bundles"
    assert planned.tags == ("v1-24-116", "v1-24-latest")


def test_of_two_package_bundles_the_newer_one_is_latest() -> None:
    planned = plan(naming=Naming.parse("h:1"), manifests=(bundle("v1-24-116", B), bundle("v1-24-99"))).manifests
    assert {item.manifest.name: len(item.tags) for item in planned} == {"v1-24-116": 2, "v1-24-99": 1}


@pytest.mark.parametrize("target", ["harbor", "https://h/x", "h:1/UPPER", "h:1/x:v1", f"h:1/x@{A}"])
def test_a_target_is_a_registry_host_and_a_prefix(target: str) -> None:
    with pytest.raises(UsageError):
        Naming.parse(target)


@pytest.mark.parametrize("target", ["https://me:secret@h.example/x", "me:secret@h.example", "me:sec/secret@h.example"])
def test_a_password_in_a_target_is_not_shown(target: str) -> None:
    with pytest.raises(UsageError, match="names a user") as caught:
        Naming.parse(target)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "rules", [("https://h.example=x",), ("h=x",), ("h.example/a:1=x",), ("h.example=x", "h.example=y"), ("h.example",)]
)
def test_a_map_rule_that_could_never_apply_is_refused(rules: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Naming.parse("h:1", rules)


def test_two_package_bundles_of_one_name_and_different_content_are_refused() -> None:
    with pytest.raises(UsageError, match="two release documents"):
        plan(naming=Naming.parse("h:1"), manifests=(bundle("v1-24-116"), bundle("v1-24-116", B)))


def test_an_image_never_takes_the_name_of_a_release_document() -> None:
    bundles = LockedManifest(kind="Bundles", name="bundles-1", url="u", digest=A, size=1, trust="off")
    image = artifact("h.example/bundlectl/manifests:bundles-1")
    with pytest.raises(UsageError, match="bundles-1") as caught:
        plan(image, naming=Naming.parse("h:1"), manifests=(bundles,))
    assert "--map h.example=" in str(caught.value.hint)
    plan(image, naming=Naming.parse("h:1", ["h.example=x"]), manifests=(bundles,))
