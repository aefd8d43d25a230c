"""What upstream's own libraries were once seen to give, without them (``tests/interop/test_differential.py``)."""

from __future__ import annotations

import json

import pytest

from bundlectl.errors import ContentError
from bundles.canonical import canonical_bytes
from bundles.tree import parse_tree
from signing import canonical_json
from tests.unit.bundles.canonical_cases import CASES, Case

KINDS = {"packagebundle": "PackageBundle", "bundles": "Bundles", "eksd": "EksdRelease", "object": "object"}


def _signed(case: Case) -> bytes:
    if case.kind == "json":
        return canonical_json.render(json.loads(case.document, parse_int=float))
    root = parse_tree(case.document, origin="document").root
    return canonical_bytes(root, KINDS[case.kind], origin="document")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", [case for case in CASES if case.expected is not None], ids=str)
def test_a_document_has_the_bytes_that_upstream_gives_it(case: Case) -> None:
    assert _signed(case) == case.expected


@pytest.mark.parametrize("case", [case for case in CASES if case.expected is None], ids=str)
def test_a_document_is_refused_that_upstream_refuses_or_that_readers_could_differ_on(case: Case) -> None:
    with pytest.raises(ContentError) as caught:
        _signed(case)
    assert case.refused in str(caught.value)
