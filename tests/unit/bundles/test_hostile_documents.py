"""Documents made to break the reader: whatever they say, they are read or refused in one way."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.schema import model_class
from bundles.schema.fields import Struct, struct_fields
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, RELEASES, document, listed

KINDS = {
    "EksaRelease": ("anywhere.eks.amazonaws.com/v1alpha1", "Release", RELEASES),
    "Bundles": ("anywhere.eks.amazonaws.com/v1alpha1", "Bundles", BUNDLES),
    "EksdRelease": ("distro.eks.amazonaws.com/v1alpha1", "Release", EKSD),
    "PackageBundle": ("packages.eks.amazonaws.com/v1alpha1", "PackageBundle", PACKAGES),
}
ODD = st.sampled_from(
    [
        "",
        "<placeholder>",
        "https://h.example/x",
        "https://",
        "http://[::1/",
        "registry.example/a:1",
        "registry.example/a@sha256:00",
        "registry.example/a@sha256:" + "a" * 64,
        "a" * 64,
        "sha256:" + "a" * 64,
        "1-33",
        "v1-33-1",
        "v9.9.9",
        None,
        True,
        7,
        10**30,
        1.5,
        {},
        [],
        [[]],
        {"uri": "x"},
    ]
) | st.text(max_size=8)


def shaped(kind: type[Struct], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that have the names of a model, and anything as their values."""
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, spec in struct_fields(kind).items():
        if spec.model is None or depth > 5:
            optional[name] = ODD
        else:
            inner = shaped(spec.model, depth + 1)
            optional[name] = ODD | inner | st.lists(inner, max_size=2)
    optional["novel"] = ODD
    return st.fixed_dictionaries({}, optional=optional)


@pytest.mark.parametrize("kind", ["EksaRelease", "EksdRelease", "PackageBundle"])
@given(data=st.data())
def test_a_document_of_any_values_is_listed_or_refused(kind: str, data: st.DataObject) -> None:
    api_version, name, sample = KINDS[kind]
    body = data.draw(shaped(model_class(document(sample))))
    raw = json.dumps(body | {"apiVersion": api_version, "kind": name}, ensure_ascii=False)
    with suppress(ContentError):
        listed(raw.encode(errors="replace"))


@given(st.lists(st.sampled_from([*"aA0:-<>{}[]\n ", "uri", "https://", "sha256:"]), max_size=6).map("".join), st.data())
def test_a_real_document_with_a_change_anywhere_is_listed_or_refused(change: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([BUNDLES, EKSD, PACKAGES, RELEASES]))
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 12))
    with suppress(ContentError):
        listed(text[:start] + change + text[start + length :])
