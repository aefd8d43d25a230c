"""Imports point downwards, and starting up is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = (
    "boto3",
    "botocore",
    "cheroot",
    "cryptography",
    "jsonschema",
    "jsonschema_rs",
    "kopf",
    "kubernetes",
    "sigstore",
    "urllib3",
)


def test_every_import_contract_holds(root: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_starting_the_command_line_imports_nothing_heavy(root: Path) -> None:
    code = f"import bundlectl.cli.main, json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(outcome.stdout) == []


def test_importing_a_library_does_not_import_the_command_line(root: Path) -> None:
    code = "import bundlectl.operations, sys; print([m for m in ('typer', 'rich') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"
