"""Schemas for which helm would fetch something, told as helm reads them."""

from __future__ import annotations

import pytest

from bundles.helm.archive import read_chart
from bundles.helm.schemas import refers_elsewhere
from registry_fixtures.layers import tar_gzip

HEAD = {"a/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n"}
REFERENCE = b'"$ref": "http://example.com/a.json"'


def judged(schema: bytes, place: str = "values.schema.json") -> bool:
    return refers_elsewhere(read_chart(tar_gzip({**HEAD, f"a/{place}": schema}), origin="a.tgz"))


@pytest.mark.parametrize(
    "draft",
    ["schema#", "draft-04/schema#", "draft-06/schema", "draft-07/schema#", "draft/2019-09/schema"],
)
def test_the_drafts_that_helm_knows_are_not_fetched(draft: str) -> None:
    assert not judged(b'{"$schema": "http://json-schema.org/%s"}' % draft.encode())


@pytest.mark.parametrize(
    "schema",
    [
        b'{"$schema": "http://json-schema.org/draft-03/schema#"}',
        b'{"$schema": "http://json-schema.org/draft-2020-12/schema"}',
        b'{"$schema": "#"}',
        b'{"maximum": 1%s, %s}' % (b"0" * 5000, REFERENCE),
        b'{"title": "\xff", %s}' % REFERENCE,
        b"{%s} of older helm" % REFERENCE,
    ],
)
def test_what_helm_reads_although_it_is_odd_is_told(schema: bytes) -> None:
    assert judged(schema)


def test_a_name_with_a_backslash_is_another_path_for_helm() -> None:
    assert judged(b"{%s}" % REFERENCE, "b\\values.schema.json")
