"""A name that imitates a path earns no trust: what counts as signed is exactly what the signature is over."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import BundlectlError
from bundlectl.operations.signing_documents import sign_manifest
from bundles.canonical import canonical_bytes
from bundles.document import parse_document
from bundles.release import contents
from bundles.schema import parse_model
from bundles.tree import parse_tree
from bundles.verify import accept
from tests.unit.bundles.documents import Listening
from tests.unit.bundles.signed_documents import BY_KEY, SIGNER

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
HEAD: dict[str, Any] = {
    "apiVersion": "packages.eks.amazonaws.com/v1alpha1",
    "kind": "PackageBundle",
    "metadata": {"name": "v1-33-1"},
}
NAMES = st.sampled_from(
    [
        *("packages", "source", "versions", "images", "image", "x", "Packages"),
        *("packages[0]", "packages[0].source", "packages[0].source.versions[0].images[0]", "source.versions[0]"),
        *("versions[0].images[0]", "images[0]", "[0]", "source.versions", "a.b"),
    ]
)
LEAVES = st.sampled_from(
    [
        {"repository": "some/image", "digest": DIGEST},
        {"repository": "some/chart", "versions": [{"name": "1.0.0", "digest": DIGEST, "images": []}]},
        [{"repository": "some/image", "digest": DIGEST}],
    ]
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=1, max_size=2) | st.dictionaries(NAMES, inner, min_size=1, max_size=2)


def _spec(spec: Any) -> bytes:
    return yaml.safe_dump({**HEAD, "spec": spec}).encode()


def _named(raw: bytes) -> list[tuple[str, str]]:
    signed = sign_manifest(raw, origin="bundle.yaml", signer=SIGNER).text
    document = parse_document(signed, origin="bundle.yaml")
    verified = accept(document, parse_model(document), belief=BY_KEY, listener=Listening())
    return [(str(item.digest), item.trust) for item in contents(verified).artifacts]


@pytest.mark.parametrize(
    "name",
    ["packages[0].source.versions[0].images[0]", "packages[0].source.versions[0]", "packages[]", "a"],
)
def test_an_image_under_a_name_that_looks_like_a_path_is_only_declared(name: str) -> None:
    assert _named(_spec({"packages": [], name: {"repository": "evil/backdoor", "digest": DIGEST}})) == [
        (DIGEST, "declared")
    ]


def test_an_image_where_images_stand_is_signed() -> None:
    version = {"name": "1.0.0", "digest": OTHER, "images": [{"repository": "some/image", "digest": DIGEST}]}
    spec = {"packages": [{"name": "p", "source": {"repository": "some/chart", "versions": [version]}}]}
    assert sorted(_named(_spec(spec))) == [(DIGEST, "signed"), (OTHER, "signed")]


@given(st.dictionaries(NAMES, st.recursive(LEAVES, _nested, max_leaves=6), min_size=1, max_size=3))
def test_what_counts_as_signed_cannot_be_changed_unseen(spec: Any) -> None:
    head, *rest = yaml.safe_dump({**HEAD, "spec": spec}).split(DIGEST)
    text = head + "".join(f"sha256:{number:064x}{part}" for number, part in enumerate(rest))
    try:
        named = _named(text.encode())
    except BundlectlError:
        return
    for digest, trust in named:
        other = text.replace(digest, OTHER)
        assert trust == ("declared" if _canonical(other) == _canonical(text) else "signed")


def _canonical(text: str) -> bytes:
    return canonical_bytes(parse_tree(text.encode(), origin="bundle.yaml").root, "PackageBundle", origin="bundle.yaml")
