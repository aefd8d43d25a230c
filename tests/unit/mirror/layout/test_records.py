from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.layout.records import decode_line, encode_line, header, scan

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def record(number: int) -> dict[str, object]:
    return {"op": "untag", "repository": "a/b", "tag": f"v{number}", "sequence": number}


@given(repository=TEXT, tag=TEXT)
def test_a_record_survives_its_line(repository: str, tag: str) -> None:
    wanted = {"op": "untag", "repository": repository, "tag": tag, "sequence": 3}
    line = encode_line(wanted)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == wanted


@given(data=st.data())
def test_a_line_with_one_byte_changed_is_damaged(data: st.DataObject) -> None:
    line = bytearray(encode_line(record(7))[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    found = decode_line(bytes(line))
    assert found is None or found == record(7)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    found = scan(data, sequence=0)
    assert 0 <= found.end <= len(data)


@given(cut=st.integers(0, 1000))
def test_a_torn_tail_leaves_the_whole_records_before_it(cut: int) -> None:
    lines = [encode_line(header("g")), *(encode_line(record(n)) for n in range(1, 6))]
    data = b"".join(lines)[:cut]
    found = scan(data, sequence=0)
    whole = data.count(b"\n")
    assert len(found.records) == whole
    assert found.end == sum(len(line) for line in lines[:whole])
    assert found.damaged == 0


def test_records_after_a_damaged_line_are_read_and_the_damage_is_counted() -> None:
    lines = [encode_line(record(n)) for n in range(5)]
    lines[2] = b"x" + lines[2][1:]
    found = scan(b"".join(lines), sequence=0)
    assert [item["sequence"] for item in found.records] == [0, 1, 3, 4]
    assert found.damaged == 1


def test_a_gap_in_the_numbers_is_damage() -> None:
    found = scan(encode_line(record(0)) + encode_line(record(2)), sequence=0)
    assert (len(found.records), found.damaged) == (2, 1)


def test_invalid_lines_at_the_end_are_a_tail_and_no_damage() -> None:
    data = encode_line(record(0))
    found = scan(data + b"\0\0\0\n\0\0", sequence=0)
    assert (found.end, found.damaged) == (len(data), 0)


def test_a_hole_that_swallows_newlines_costs_only_the_records_it_touches() -> None:
    lines = [encode_line(record(n)) for n in range(5)]
    lines[2] = bytes(len(lines[2]))
    found = scan(b"".join(lines), sequence=0)
    assert [item["sequence"] for item in found.records] == [0, 1, 3, 4]
    assert found.damaged == 1


def test_a_tag_that_looks_like_a_record_is_not_one() -> None:
    inner = encode_line(record(9))[:-1].decode()
    line = encode_line({"op": "untag", "repository": inner, "tag": inner, "sequence": 0})
    torn = b"x" + line
    assert scan(torn + encode_line(record(1)), sequence=0).records[0]["sequence"] == 0
    assert [item["sequence"] for item in scan(b"x" + line[50:] + encode_line(record(1)), sequence=0).records] == [1]
