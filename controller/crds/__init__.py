"""The kinds of curated packages, as definitions for the API server of a cluster."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import yaml

__all__ = ["GROUP", "PLURALS", "VERSION", "load_definitions"]

GROUP: Final = "packages.eks.amazonaws.com"
VERSION: Final = "v1alpha1"
PLURALS: Final = {
    "Package": "packages",
    "PackageBundle": "packagebundles",
    "PackageBundleController": "packagebundlecontrollers",
}
"""The kinds, and the names of their resources in URLs and roles."""


def load_definitions() -> list[dict[str, Any]]:
    """Read the CustomResourceDefinitions, in the order of ``PLURALS``; the caller owns them."""
    here = files(__name__)
    return [yaml.safe_load((here / f"{plural}.yaml").read_text(encoding="utf-8")) for plural in PLURALS.values()]
