"""The repository names no package index and no folder of anybody's machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Put together here, so that this file does not name them either.
INDEXES = [
    "files.python" + "hosted",
    "py" + "pi.org",
    "pypi.python" + ".org",
    "proxy.golang" + ".org",
    "sum.golang" + ".org",
    "deb.debian" + ".org",
    "security.debian" + ".org",
    "registry.npmjs" + ".org",
]
FOLDERS = [rf"(?<![\w.]){folder}/" for folder in ("/wo" + "rk", "/ro" + "ot", "/ho" + r"me/\w+", "/op" + "t/wheels")]
FORBIDDEN = re.compile("|".join([*map(re.escape, INDEXES), *FOLDERS, "/tm" + "p/venv"]))
LARGEST = 5_000_000


def test_no_tracked_file_names_a_package_index_or_a_folder_of_this_machine(root: Path) -> None:
    wrong = [
        f"{path}:{number} {line.strip()[:100]}"
        for path, text in _tracked(root)
        for number, line in enumerate(text.splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert wrong == []


def test_requirements_are_pinned_by_hash_and_hold_no_address(root: Path) -> None:
    for path in sorted(root.glob("requirements*.txt")):
        text = path.read_text()
        assert "://" not in text
        blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
        for block in filter(str.strip, blocks):
            assert re.match(r"^[a-z0-9._-]+==[^\s;]+( ;[^\n\\]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", block)


def _tracked(root: Path) -> list[tuple[str, str]]:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    found = []
    for name in filter(None, listed.split("\0")):
        path = root / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
            found.append((name, path.read_text(encoding="utf-8", errors="replace")))
    return found
