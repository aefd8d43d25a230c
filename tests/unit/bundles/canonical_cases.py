"""Documents that the two sides once differed on, or nearly: ``tests/assets/canonical``.

Each has what upstream gives, or why we refuse it; ``stricter`` says that upstream does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "canonical"


@dataclass(frozen=True)
class Case:
    """One document, and what must come of it."""

    name: str
    kind: str
    document: bytes
    expected: bytes | None
    refused: str
    stricter: bool

    def __str__(self) -> str:
        return self.name


def _cases() -> list[Case]:
    found = []
    for file in sorted(ASSETS.glob("*.yaml")):
        for said in yaml.safe_load(file.read_text(encoding="utf-8")):
            expected = said.get("expected")
            found.append(
                Case(
                    f"{file.stem}: {said['name']}",
                    said["kind"],
                    said["document"].encode(),
                    None if expected is None else expected.encode(),
                    said.get("refused", ""),
                    said.get("stricter", False),
                )
            )
    return found


CASES = _cases()
