"""The CSV has one line an artifact, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from bundles.reporting.spreadsheet import COLUMNS, render_csv
from tests.unit.bundles.reporting.samples import image, lock_of, report_of


def rows(raw: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))


def test_there_is_a_line_for_each_artifact_under_the_names_of_the_columns() -> None:
    head, *found = rows(render_csv(report_of(lock_of(map(image, range(5))))))
    assert tuple(head) == COLUMNS
    assert len(found) == 5
    first = dict(zip(head, found[0], strict=True))
    assert first["reference"] == "registry.example/team/tool-0:v1.0"
    assert first["version"] == "v1.0"
    assert first["platforms"] == "linux/amd64; linux/arm64"
    assert first["sbomPackages"] == "200"
    assert first["signaturesSay"] == "key abc"


@given(st.text(max_size=20))
@example("=cmd|' /C calc'!A0")
@example("\t=1")
@example(" +1")
@example("＝1")  # noqa: RUF001 -- a spreadsheet reads the full-width sign as the other
@example("\r\n=1")
@example('"\n=1')
@example("\u200b=1")
def test_no_cell_begins_a_formula_and_no_name_breaks_a_line(name: str) -> None:
    lock = lock_of([image(1, name=name, components=(name,), media_type=name, found_in=(name,))])
    head, *found = rows(render_csv(report_of(lock)))
    assert len(found) == 1
    assert len(found[0]) == len(head)
    for cell in found[0]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001
        assert not set(cell) & set("\r\n\t")
