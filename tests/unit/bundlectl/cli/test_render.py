"""Results for people."""

from __future__ import annotations

from typing import Any

import pytest

from bundlectl.cli import render

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3072.0 TiB"),
    ],
)
def test_sizes_have_binary_units(size: int | None, text: str) -> None:
    assert render.size_text(size) == text


def artifact(kind: str, reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "name": "n",
        "reference": reference,
        "digest": DIGEST,
        "size": 1536,
        "mediaType": None,
        "platforms": [],
        "components": [],
        "kubeVersions": [],
        "foundIn": [],
        "trust": "declared",
        "followed": None,
        **changes,
    }


def test_an_inspection_groups_by_type_and_lists_what_is_excluded_with_its_reason() -> None:
    text = render.render_inspection(
        {
            "sources": [{"kind": "Bundles", "name": "bundles-98", "number": 98}],
            "artifacts": [
                artifact("image", "r.example/b:1"),
                artifact("image", "r.example/a:1", digest=None, size=None),
                artifact("file", "https://f.example/x", followed=False),
            ],
            "excluded": [
                {"reference": "r.example/c:1", "reason": "excluded (--exclude)"},
                {"reference": "r.example/d:1", "reason": "excluded (--exclude)"},
            ],
            "failed": [{"reference": "r.example/e:1", "code": "missing", "error": "is gone", "hint": "look"}],
            "totals": {"images": 2, "charts": 0, "files": 1, "bytes": 3072},
        }
    )
    assert text.splitlines() == [
        "Bundles bundles-98 (number 98)",
        "",
        "images (2)",
        "  REFERENCE      DIGEST                  SIZE  TRUST",
        "  r.example/b:1  sha256:aaaaaaaaaaaa  1.5 KiB  declared",
        "  r.example/a:1  ?                          ?  declared",
        "",
        "files (1)",
        "  REFERENCE            DIGEST                  SIZE  TRUST",
        "  https://f.example/x  sha256:aaaaaaaaaaaa  1.5 KiB  declared  not followed",
        "",
        "excluded (2)",
        "  excluded (--exclude) (2)",
        "    r.example/c:1",
        "    r.example/d:1",
        "",
        "failed (1)",
        "  r.example/e:1: is gone",
        "    hint: look",
        "",
        "total: 2 images, 0 charts, 1 file, 3,072 bytes (3.0 KiB)",
    ]


def report(**changes: Any) -> dict[str, Any]:
    return {
        "artifacts": {"total": 3, "done": 1, "skipped": 1, "failed": 1},
        "blobs": {"total": 4, "transferred": 2, "mounted": 1, "present": 1},
        "bytes": {"transferred": 1024, "total": 2048},
        "requests": {"source": 5, "target": 6},
        "failed": [{"reference": "r/a:1", "code": "missing", "error": "r/a:1: gone", "hint": None}],
        "notAddressable": [],
        "weakened": [],
        "seconds": 1.25,
        **changes,
    }


def test_a_report_with_something_missing_ends_with_how_to_resume() -> None:
    lines = render.render_report(report(), exit_code=4).splitlines()
    assert lines[0] == "artifacts  1 done, 1 up to date, 1 failed, of 3"
    assert "  r/a:1: gone" in lines
    assert lines[-1] == "everything else is done; run the same command again to resume"


def test_a_report_with_something_wrong_says_that_nothing_of_it_was_published() -> None:
    lines = render.render_report(report(notAddressable=["r/b@sha256:1"]), exit_code=3).splitlines()
    assert "  r/b@sha256:1" in lines
    assert "nothing that depends on it was published" in lines[-1]


def test_a_clean_report_ends_with_its_numbers() -> None:
    assert render.render_report(report(failed=[]), exit_code=0).splitlines()[-1] == "time       1.2 s"


def test_a_plan_shows_where_everything_goes_and_that_nothing_was_changed() -> None:
    text = render.render_plan(
        {
            "target": "t.example",
            "artifacts": [
                {"reference": "r.example/a:1", "target": "t.example/a:1", "upToDate": True},
                {"reference": "r.example/b:1", "target": "t.example/b:1", "upToDate": False},
            ],
            "manifests": [{"kind": "Bundles", "name": "b", "targets": ["t.example/bundlectl/manifests:b"]}],
            "totals": {"artifacts": 2, "upToDate": 1, "blobs": 1, "bytes": 12},
            "failed": [],
        }
    )
    assert text.splitlines() == [
        "=  r.example/a:1  ->  t.example/a:1",
        "+  r.example/b:1  ->  t.example/b:1",
        "*  Bundles b      ->  t.example/bundlectl/manifests:b",
        "",
        "total: 1 of 2 artifacts to copy, 1 blob, 12 bytes; nothing was changed",
    ]


def test_a_difference_of_nothing_is_one_line() -> None:
    assert (
        render.render_difference({"added": [], "removed": [], "changed": [], "bytes": 0})
        == "0 added, 0 removed, 0 changed; 0 bytes to fetch"
    )


def test_bytes_that_an_inventory_cannot_tell_are_called_unknown() -> None:
    assert render.render_difference({"added": [], "removed": [], "changed": [], "bytes": None}).endswith(
        "; unknown bytes to fetch"
    )


def test_a_verification_lists_what_is_different_and_missing() -> None:
    text = render.render_verification(
        {
            "target": "registry:t.example",
            "verified": False,
            "deep": True,
            "checked": {"artifacts": 1, "blobs": 2, "bytes": 10},
            "different": [{"reference": "a", "digest": DIGEST, "reason": "other bytes"}],
            "missing": [{"reference": "b", "digest": DIGEST, "reason": "no blob"}],
        }
    )
    assert text.splitlines() == [
        "different a: other bytes",
        "missing   b: no blob",
        "registry:t.example: 1 different, 1 missing (1 artifact, 2 blobs, 10 B read and hashed)",
    ]


def test_releases_mark_the_latest() -> None:
    text = render.render_releases(
        {"releases": [{"version": "v0.2.0", "date": "2026", "number": 2, "kubeVersions": ["1.33"], "latest": True}]}
    )
    assert text.splitlines()[-1].split() == ["v0.2.0", "2026", "2", "1.33", "latest"]


def test_what_is_left_out_often_is_counted() -> None:
    excluded = [{"reference": name, "reason": "odd"} for name in ("<p>", "<p>", "", "a")]
    text = render.render_inspection(
        {
            "sources": [{"kind": "Bundles", "name": "b", "number": None}],
            "artifacts": [],
            "excluded": excluded,
            "totals": {"images": 0, "charts": 0, "files": 0, "bytes": None},
        }
    )
    assert text.splitlines() == [
        "Bundles b",
        "",
        "excluded (4)",
        "  odd (4)",
        "    (nothing)",
        "    <p> (2 times)",
        "    a",
        "",
        "total: 0 images, 0 charts, 0 files",
    ]
