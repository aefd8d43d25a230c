"""The one file that installs bundlectl without a network: wheels, pip and the installer in an executable zip."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from reproducible import PROGRAM, write_zip

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTALLER = Path(__file__).with_name("installer.py")
FIRST_LINE = b"#!/usr/bin/env python3\n"


def write_offline(out: Path, requirements: list[str], wheels: Iterable[Path], pip: Path, epoch: int) -> None:
    """Write the file.

    Args:
        out: its name.
        requirements: what is to be installed, a line each with the hashes of its wheels.
        wheels: that meet them.
        pip: the wheel of pip.
        epoch: the time of all members.
    """
    text = "".join(f"{line}\n" for line in requirements)
    members: dict[str, bytes | Path] = {"requirements.txt": text.encode(), f"pip/{pip.name}": pip}
    members |= {f"wheelhouse/{wheel.name}": wheel for wheel in wheels}
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(members.items()))
    ordered: list[tuple[str, bytes | Path]] = [
        ("__main__.py", INSTALLER),
        ("SHA256SUMS", sums.encode()),
        *sorted(members.items()),
    ]
    with out.open("wb") as file:
        file.write(FIRST_LINE)
        write_zip(file, ordered, epoch, store=True)
    out.chmod(PROGRAM)


def _sha256(content: bytes | Path) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()
