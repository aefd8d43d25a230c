from __future__ import annotations

import pytest

from bundles.origins import rewrite

ORIGINS = {
    "public.ecr.aws": "mirror.site/ecr",
    "public.ecr.aws/eks-anywhere": "mirror.site/eksa",
    "https://distro.eks.amazonaws.com": "http://127.0.0.1:1234/x",
    "anywhere-assets.eks.amazonaws.com": "http://127.0.0.1:1234/y/",
    "r.example/a/b": "s.example/c",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("public.ecr.aws/other/x:1", "mirror.site/ecr/other/x:1"),
        ("public.ecr.aws/eks-anywhere/x:1", "mirror.site/eksa/x:1"),
        ("public.ecr.aws/eks-anywhere-packages/x", "mirror.site/ecr/eks-anywhere-packages/x"),
        ("public.ecr.aws", "mirror.site/ecr"),
        ("https://public.ecr.aws/v2/", "https://mirror.site/ecr/v2/"),
        ("public.ecr.aws.evil.example/x", "public.ecr.aws.evil.example/x"),
        ("https://distro.eks.amazonaws.com/a.yaml", "http://127.0.0.1:1234/x/a.yaml"),
        ("http://distro.eks.amazonaws.com/a.yaml", "http://distro.eks.amazonaws.com/a.yaml"),
        ("https://anywhere-assets.eks.amazonaws.com/r", "http://127.0.0.1:1234/y/r"),
        ("anywhere-assets.eks.amazonaws.com/r", "127.0.0.1:1234/y/r"),
        ("r.example/a/b:tag", "s.example/c:tag"),
        ("r.example/a/bc", "r.example/a/bc"),
        ("r.example:5000/a/b", "r.example:5000/a/b"),
    ],
)
def test_the_longest_origin_that_ends_on_a_boundary_is_taken(name: str, expected: str) -> None:
    assert rewrite(name, ORIGINS) == expected


def test_a_port_makes_another_host() -> None:
    assert rewrite("localhost:5000/x", {"localhost": "elsewhere.example/y"}) == "localhost:5000/x"
    assert rewrite("localhost:5000/x", {"localhost:5000": "elsewhere.example/y"}) == "elsewhere.example/y/x"


def test_without_origins_a_name_stays() -> None:
    assert rewrite("r.example/x", {}) == "r.example/x"
