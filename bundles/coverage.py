"""What AWS's signatures do not protect, and what somebody could do there.

The same lists that the canonical forms leave out (``signing.manifest``), told to an operator. A gap
is listed whether or not the document has something in its place: what is not covered can also be
added without breaking the signature.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from bundlectl.errors import ContentError
from signing.manifest import (
    ALWAYS_EXCLUDED,
    BUNDLES_EXCLUDED,
    EKSA_DOMAIN,
    EKSD_DOMAIN,
    PACKAGE_BUNDLE_EXCLUDED,
    PACKAGES_DOMAIN,
    decode_excludes,
)
from signing.selectors import parse_selectors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundles.canonical import CanonicalKind
    from bundles.tree import MapNode
    from signing.selectors import Selector

__all__ = ["Gap", "covers", "gaps", "signature_annotation"]


class Gap(NamedTuple):
    """A path that the signature does not protect (``[]`` stands for every item), and what that allows."""

    path: str
    allows: str


_INDEX: Final = re.compile(r"\[[0-9]+\]")
_DOMAINS: Final[dict[CanonicalKind, str]] = {
    "PackageBundle": PACKAGES_DOMAIN,
    "object": PACKAGES_DOMAIN,
    "Bundles": EKSA_DOMAIN,
    "EksdRelease": EKSD_DOMAIN,
}
_SIGNED_DIGESTS: Final = frozenset(
    {"spec.packages[].source.versions[].digest", "spec.packages[].source.versions[].images[].digest"}
)
"""Where digests stand in a package bundle; the same words elsewhere are fields that no type of AWS knows."""

_KUBERNETES: Final = "what a cluster notes for itself can be changed; nothing is read from it"
_PACKAGES: Final[dict[str, str]] = {
    ".spec.packages[].source.registry": "charts and images can be looked for in another registry; "
    "their digests are signed, so that other content is found out where digests are compared",
    ".spec.packages[].source.repository": "another repository can be named for a chart; its digest is signed",
    ".spec.minControllerVersion": "an older or newer package controller can be asked for",
    ".status": "anything; it is not installed from",
}
_CONTENT: Final = (
    "another image, chart or manifest can be named, by any digest: none of what stands here is protected; "
    "pin it with a signed lock"
)
_BUNDLES: Final[dict[str, str]] = {
    ".spec.versionsBundles[].eksD.components": "another manifest of the EKS-D custom resources can be named",
    ".spec.versionsBundles[].eksD.manifestUrl": "another EKS-D release can be named; bundlectl holds it "
    "against the signed name, channel and version",
}
_STATUS: Final = "anything; AWS's type has no fields there"
_EKSD: Final = (
    "everything that the release consists of: each image, digest, file and checksum can be replaced; "
    "pin it with a signed lock"
)
_ANNOTATIONS: Final = "any annotation but the excludes can be added, changed or removed"
_UNKNOWN: Final = "a field that AWS's types do not know: it can be added or changed unseen"


def gaps(kind: CanonicalKind, root: MapNode, unknown: Iterable[str]) -> tuple[Gap, ...]:
    """What the signature of a document does not protect.

    Args:
        kind: of the document.
        root: the document.
        unknown: paths of fields that its type does not know.
    """
    found: dict[str, str] = {}
    if kind == "Bundles":
        found.update((path, _BUNDLES.get(path, _CONTENT)) for path in BUNDLES_EXCLUDED)
        found[".metadata.annotations"] = "any annotation, the signatures of EKS-D releases among them, can be changed"
        found[".metadata.namespace"] = "the namespace can be changed"
        found[".status"] = _STATUS
    elif kind == "EksdRelease":
        found[".status"] = _EKSD
        found[".metadata.annotations"] = "any annotation can be changed"
        found[".metadata.namespace"] = "the namespace can be changed"
    else:
        own = [selector.text for selector in _own_excludes(root)]
        found.update((path, _PACKAGES.get(path, "left out by the document's own excludes")) for path in own)
        found.update((path, text) for path, text in _PACKAGES.items() if path in PACKAGE_BUNDLE_EXCLUDED)
        found[".metadata.annotations"] = _ANNOTATIONS
    fixed = ALWAYS_EXCLUDED if kind in ("Bundles", "EksdRelease") else PACKAGE_BUNDLE_EXCLUDED
    for path in fixed:
        found.setdefault(path, _KUBERNETES)
    if kind != "object":
        found.update((f".{path}", _UNKNOWN) for path in unknown)
    return tuple(Gap(path.lstrip("."), text) for path, text in found.items())


def covers(kind: CanonicalKind, root: MapNode, path: str) -> bool:
    """Whether the signature of a document is over the digest at ``path``.

    Args:
        kind: of the document.
        root: the document, for its own excludes.
        path: of the mapping that holds a digest, in a field that the document's type knows.
    """
    general = _INDEX.sub("[]", path)
    if kind == "PackageBundle":
        digest = f"{general}.digest"
        return digest in _SIGNED_DIGESTS and not any(_reaches(selector, digest) for selector in _own_excludes(root))
    if kind == "Bundles":
        return general.startswith("spec.versionsBundles[].") and not any(
            _within(general, gap) for gap in BUNDLES_EXCLUDED
        )
    return False


def signature_annotation(kind: CanonicalKind) -> str:
    """The name of the annotation that holds a document's signature."""
    return f"{_DOMAINS[kind]}/signature"


def _within(path: str, excluded: str) -> bool:
    gap = excluded.lstrip(".")
    return path == gap or path.startswith((f"{gap}.", f"{gap}["))


def _reaches(selector: Selector, path: str) -> bool:
    """Whether what a selector deletes is ``path``, or holds it; ``[]`` is every member of a map, too."""
    (wanted,) = parse_selectors((f".{path}",))
    return len(selector.steps) <= len(wanted.steps) and all(
        step in (None, part) for step, part in zip(selector.steps, wanted.steps, strict=False)
    )


def _own_excludes(root: MapNode) -> tuple[Selector, ...]:
    metadata = root.map("metadata")
    annotations = metadata.map("annotations") if metadata else None
    text = annotations.text(f"{PACKAGES_DOMAIN}/excludes") if annotations else ""
    try:
        return parse_selectors(decode_excludes(text))
    except ContentError:
        return ()
