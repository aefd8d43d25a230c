"""What ``export`` and ``import`` say to people."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bundlectl.cli.render_archive import render_export, render_import

SHA256 = "0123456789abcdef" * 4
DIGEST = f"sha256:{SHA256}"


def valid(document: Any, schema: str) -> Any:
    found = json.loads(files("bundlectl.cli.schemas").joinpath(f"{schema}.schema.json").read_bytes())
    Draft202012Validator(found).validate(document)
    return document


def volume(number: int, state: str, name: str = "eks-{:04}.tar") -> dict[str, Any]:
    sha256 = SHA256 if state in ("written", "present") else None
    return {"number": number, "name": name.format(number), "size": 2048, "state": state, "sha256": sha256}


def exported(*states: str, **more: Any) -> Any:
    volumes = [volume(number, state) for number, state in enumerate(states, start=1)]
    document = {
        "name": "eks",
        "folder": "/media/usb/eks",
        "archive": DIGEST,
        "artifacts": 12,
        "blobs": {"total": 40, "present": 0},
        "bytes": {"total": 4000, "present": 0, "volumes": 2048 * len(volumes)},
        "signedBy": DIGEST,
        "volumes": volumes,
        "parity": [],
        "tool": [],
        "excluded": 0,
        "weakened": [],
    }
    return valid({**document, **more}, "export")


def imported(**more: Any) -> Any:
    document = {
        "artifacts": {"total": 3, "done": 3, "skipped": 0, "failed": 0},
        "blobs": {"total": 9, "transferred": 9, "mounted": 0, "present": 0},
        "bytes": {"transferred": 4000, "total": 4000},
        "requests": {"source": 0, "target": 7},
        "failed": [],
        "seconds": 1.5,
        "notAddressable": [],
        "excluded": 0,
        "weakened": [],
        "archive": {"name": "eks", "id": DIGEST, "issued": "2026-11-26T12:00:00Z", "signedBy": "transfer.pub"},
        "volumes": {"total": 4, "repaired": [], "problems": []},
        "lacking": [],
        "repair": [],
        "next": [],
    }
    return valid({**document, **more}, "import")


def test_an_export_ends_with_what_to_do_next() -> None:
    lines = render_export(exported("written", "present")).splitlines()
    assert "eks-0001.tar  2.0 KiB  written  0123456789abcdef…" in lines
    assert lines[-2:] == [
        "to check it at any time: cd /media/usb/eks && sha256sum -c SHA256SUMS",
        "then carry the whole folder, and at the site: bundlectl import /media/usb/eks --store DIR --key KEY.pub",
    ]


def test_a_dry_run_tells_the_bytes_of_volumes_and_parity_and_that_nothing_was_written() -> None:
    parity = [volume(1, "planned", "eks-p{:02}.parity")]
    told = render_export(exported("planned", "planned", parity=parity))
    assert "eks-p01.parity" in told
    assert told.endswith("total: 3 volumes, 6,144 bytes (6.0 KiB); nothing was written")


@pytest.mark.parametrize(
    ("states", "numbers"),
    [
        (("written", "left"), "2"),
        (("written", "left", "left", "left"), "2-4"),
        (("left", "written", "left"), "1,3"),
    ],
)
def test_a_full_medium_is_followed_by_the_next(states: tuple[str, ...], numbers: str) -> None:
    told = render_export(exported(*states))
    assert "/media/usb/eks has no room for more: insert the next medium" in told
    assert told.endswith(f"--volumes {numbers}")


def test_an_archive_that_nobody_signed_is_called_so() -> None:
    told = render_export(exported("written", signedBy=None))
    assert "signed by  nobody: an import takes it only with --verify off" in told
    assert told.endswith("--verify off")


def test_what_the_site_has_and_what_goes_along_is_told() -> None:
    tool = [{"name": "tool/bundlectl-1-offline.pyz", "digest": DIGEST, "size": 9}]
    told = render_export(
        exported(
            "written",
            tool=tool,
            excluded=2,
            blobs={"total": 40, "present": 30},
            bytes={"total": 4000, "present": 3000, "volumes": 2048},
        )
    )
    assert "blobs         10 (1000 B)" in told
    assert "the site has  30 (2.9 KiB), left out" in told
    assert "tool/bundlectl-1-offline.pyz" in told
    assert "left out      2, see" in told


def test_of_many_volumes_the_first_are_listed() -> None:
    told = render_export(exported(*["written"] * 25))
    assert "eks-0020.tar" in told
    assert "eks-0021.tar" not in told
    assert "and 5 more" in told


def test_an_import_tells_whose_signature_held_and_what_to_paste() -> None:
    steps = [{"title": "Point containerd at the registry", "text": "[host]\n  capabilities = []"}]
    told = render_import(imported(next=steps), exit_code=0)
    assert "archive    eks, issued 2026-11-26T12:00:00Z" in told
    assert "signed by  transfer.pub" in told
    assert told.endswith("Point containerd at the registry:\n  [host]\n    capabilities = []")


def test_lost_volumes_and_what_they_cost_are_told_with_the_way_to_get_them() -> None:
    problems = [
        {"name": "eks-0002.tar", "kind": "missing", "message": "is not there"},
        {"name": "eks-0003.tar", "kind": "damaged", "message": "has 5 of 9 bytes"},
        {"name": "eks-0004.tar", "kind": "missing", "message": "is not there"},
    ]
    told = render_import(
        imported(
            volumes={"total": 4, "repaired": [], "problems": problems},
            lacking=[{"digest": DIGEST, "size": 2048, "reason": "lies in eks-0002.tar"}],
            repair=["bundlectl inventory store:s --out site.inventory.json"],
        ),
        exit_code=4,
    )
    assert "volumes    4, 1 damaged, 2 missing" in told
    assert "  eks-0003.tar (damaged): has 5 of 9 bytes" in told
    assert "lacking: 1 blob of 2.0 KiB" in told
    assert f"  {DIGEST}: lies in eks-0002.tar" in told
    assert told.endswith("  bundlectl inventory store:s --out site.inventory.json")


def test_repaired_volumes_are_named() -> None:
    told = render_import(imported(volumes={"total": 4, "repaired": ["eks-0001.tar"], "problems": []}), exit_code=0)
    assert "volumes    4, 1 repaired: eks-0001.tar" in told


def test_a_hint_that_many_failures_share_is_given_once() -> None:
    hints = ("bring that volume", "bring that volume", "ask for the password", None)
    failed = [
        {"reference": f"host/image:{number}", "code": "missing", "error": "lies elsewhere", "hint": hint}
        for number, hint in enumerate(hints)
    ]
    done = {"total": 4, "done": 0, "skipped": 0, "failed": 4}
    lines = render_import(imported(artifacts=done, failed=failed), exit_code=4).splitlines()
    start = lines.index("failed (4)")
    assert lines[start + 1 : start + 7] == [
        "  host/image:0: lies elsewhere",
        "  host/image:1: lies elsewhere",
        "    hint: bring that volume",
        "  host/image:2: lies elsewhere",
        "    hint: ask for the password",
        "  host/image:3: lies elsewhere",
    ]
