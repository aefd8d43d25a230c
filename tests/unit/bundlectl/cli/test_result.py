"""Results on standard output."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.cli.console import Console
from bundlectl.cli.options import Format, FormatOptions
from bundlectl.cli.render import render_inspection, render_verification
from bundlectl.cli.result import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.cli.command import Invocation

INSPECTION: dict[str, Any] = {
    "sources": [{"kind": "Bundles", "name": "b\nx", "number": None}],
    "artifacts": [],
    "excluded": [{"reference": "a\ntotal: 9 images", "reason": "odd\r\n\tand: more"}],
    "totals": {"images": 0, "charts": 0, "files": 0, "bytes": None},
}
VERDICT: dict[str, Any] = {
    "target": "registry.example/app:v1",
    "verified": False,
    "kind": "image",
    "name": "app",
    "key": None,
    "reason": "no\nregistry.example/app:v1: verified, signed by site.pub",
    "gaps": [],
}


@pytest.mark.parametrize(("document", "render"), [(INSPECTION, render_inspection), (VERDICT, render_verification)])
def test_other_peoples_text_does_not_pass_for_lines_of_ours(
    document: dict[str, Any], render: Callable[[dict[str, Any]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    invocation = cast("Invocation", SimpleNamespace(console=Console()))
    show(invocation, FormatOptions(output=Format.TEXT), document, render)
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith(("total: 9", "registry.example/app:v1: verified", "\t")) for line in lines)
    assert any("\\n" in line for line in lines)
    show(invocation, FormatOptions(output=Format.JSON), document, render)
    assert json.loads(capsys.readouterr().out) == document
