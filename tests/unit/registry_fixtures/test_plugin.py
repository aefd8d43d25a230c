from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served


def test_a_registry_is_empty_at_first(registry: ServedRegistry) -> None:
    assert registry.holdings.names() == []


def test_the_upstream_of_the_samples_is_served_afresh(upstream_served: Served) -> None:
    assert upstream_served.requests.count() == 0
    assert {"public.ecr.aws", "https://distro.eks.amazonaws.com"} <= set(upstream_served.origin_map)


def test_the_plugin_loads_without_the_fixtures_it_offers() -> None:
    program = "import sys, registry_fixtures.plugin; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"cheroot", "yaml", "registry_fixtures.upstream", "mirror.oci.digest"} & set(loaded)


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_shared_data_that_is_absent_skips_and_fails_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    (root / "test_it.py").write_text("def test_it(shared_data): pass\n")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(root), str(root)]
    run = subprocess.run(command, env={"CI": ci}, capture_output=True, text=True, check=False, cwd=root)
    assert outcome in run.stdout


def test_the_upstream_can_be_served_by_hand() -> None:
    with subprocess.Popen([sys.executable, "-m", "registry_fixtures"], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(9)]
        program.terminate()
        assert program.wait(timeout=10) == 0
    assert any(line.startswith("Bundles bundles-101 https://") for line in lines)
    assert any(line.startswith("--origin public.ecr.aws=127.0.0.1:") for line in lines)
