from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError, StoreError
from mirror.layout import ProtectedError, Ref
from mirror.layout.refs import TRUST_LEVELS, RefTable, plan_delete_manifest, plan_delete_tag, plan_put
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST

NAMES = ("a.example/x", "a.example/y")
DESCRIPTORS = [Descriptor(OCI_MANIFEST, Digest.of(bytes([n])), n + 1) for n in range(3)]


def put(table: RefTable, tag: str | None, number: int, trust: str, name: str = NAMES[0]) -> int:
    records = plan_put(table, Ref(name, tag, DESCRIPTORS[number], trust), subject=None, named=True)
    for record in records:
        table.apply(record)
    return len(records)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "keep", "refer", "store", "untag", "forget"]),
        st.sampled_from(NAMES),
        st.sampled_from(["v1", "v2"]),
        st.integers(0, 2),
        st.sampled_from(TRUST_LEVELS),
    ),
    max_size=30,
)


def plan(table: RefTable, change: tuple[str, str, str, int, str]) -> list[dict[str, Any]]:
    kind, name, tag, number, trust = change
    descriptor = DESCRIPTORS[number]
    if kind == "untag":
        return plan_delete_tag(table, name, tag, trust=trust)
    if kind == "forget":
        return plan_delete_manifest(table, name, descriptor.digest, trust=trust)
    subject = DESCRIPTORS[(number + 1) % 3].digest if kind == "refer" else None
    named = kind in ("put", "keep")
    return plan_put(table, Ref(name, tag if kind == "put" else None, descriptor, trust), subject=subject, named=named)


def shape(table: RefTable) -> object:
    return (
        table.refs(),
        table.all_referrers(),
        [(name, d.digest) for name in NAMES for d in DESCRIPTORS if table.is_forgotten(name, d.digest)],
        table.repositories(),
    )


@given(CHANGES)
def test_compacted_records_say_what_the_whole_log_said(changes: list[tuple[str, str, str, int, str]]) -> None:
    table = RefTable()
    for change in changes:
        try:
            records = plan(table, change)
        except ProtectedError:
            continue
        for record in records:
            table.apply(record)
    again = RefTable()
    records = list(table.records())
    for record in records:
        again.apply(record)
    assert shape(again) == shape(table)
    assert len(records) == table.live()


def test_writing_the_same_again_logs_nothing() -> None:
    table = RefTable()
    assert put(table, "v1", 0, "signed") == 1
    assert put(table, "v1", 0, "signed") == 0


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("off", "signed", "signed"),
        ("signed", "off", "signed"),
        ("pushed", "resolved", "resolved"),
        ("pushed", "off", "off"),
        ("off", "pushed", "off"),
        ("declared", "pushed", "declared"),
    ],
)
def test_the_better_trust_of_one_digest_stays(first: str, second: str, kept: str) -> None:
    table = RefTable()
    put(table, "v1", 0, first)
    put(table, "v1", 0, second)
    found = table.ref(NAMES[0], "v1")
    assert found
    assert found.trust == kept


def test_another_digest_takes_the_writers_trust() -> None:
    table = RefTable()
    put(table, "v1", 0, "signed")
    put(table, "v1", 1, "off")
    found = table.ref(NAMES[0], "v1")
    assert found
    assert (found.trust, found.descriptor) == ("off", DESCRIPTORS[1])


@pytest.mark.parametrize("trust", ["signed", "declared", "resolved", "off"])
def test_a_push_neither_moves_nor_deletes_what_a_release_put_there(trust: str) -> None:
    table = RefTable()
    put(table, "v1", 0, trust)
    with pytest.raises(ProtectedError, match="a push cannot move it") as raised:
        put(table, "v1", 1, "pushed")
    assert raised.value.artifact == "a.example/x:v1"
    assert raised.value.hint
    with pytest.raises(ProtectedError):
        plan_delete_tag(table, NAMES[0], "v1", trust="pushed")
    with pytest.raises(ProtectedError):
        plan_delete_manifest(table, NAMES[0], DESCRIPTORS[0].digest, trust="pushed")


def test_a_push_moves_what_was_pushed() -> None:
    table = RefTable()
    put(table, "v1", 0, "pushed")
    assert put(table, "v1", 1, "pushed") == 1


def test_an_op_of_a_newer_version_is_refused() -> None:
    with pytest.raises(StoreError, match="does not know") as raised:
        RefTable().apply({"op": "teleport", "sequence": 1})
    assert "upgrade" in str(raised.value.hint)


@pytest.mark.parametrize("field", ["repository", "trust", "descriptor"])
def test_a_record_with_a_malformed_field_changes_nothing(field: str) -> None:
    table = RefTable()
    record = plan_put(table, Ref(NAMES[0], "v1", DESCRIPTORS[0], "off"), subject=None, named=True)[0]
    with pytest.raises((ContentError, KeyError, TypeError)):
        table.apply(record | {field: 5})
    assert table.refs() == []


def test_an_artifact_type_that_is_no_media_type_is_left_out() -> None:
    table = RefTable()
    odd = Descriptor(OCI_MANIFEST, Digest.of(b""), 1, artifact_type="x" * 5000)
    record = plan_put(table, Ref(NAMES[0], "v1", odd, "off"), subject=None, named=True)[0]
    assert "artifactType" not in record["descriptor"]
