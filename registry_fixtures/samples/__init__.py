"""Small release documents in the shape of the real kinds, for the quickstart and the tests."""

from __future__ import annotations

from pathlib import Path

__all__ = ["sample_documents"]


def sample_documents() -> tuple[Path, ...]:
    """The release index, a Bundles manifest, an EKS-D release and a bundle of packages, in this order."""
    folder = Path(__file__).parent
    names = ("release-index.yaml", "bundles-101.yaml", "kubernetes-1-33-eks-12.yaml", "packages-v1-33-120.yaml")
    return tuple(folder / name for name in names)
