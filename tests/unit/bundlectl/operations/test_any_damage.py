"""Whatever happens to a medium and to a registry: success means that all of it is there."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import UsageError
from bundlectl.operations import verify_registry
from bundlectl.operations.verifying_archives import verify_archive
from registry_fixtures.features import Features
from tests.unit.bundlectl.operations.carrying import NOW, RELEASE, Carrier, contents, flip
from tests.unit.bundlectl.operations.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

ROUNDS = 6


def damage(folder: Path, chance: Random, *suffixes: str) -> None:
    """Do something to a file that a medium, or whoever carries it, may do."""
    files = sorted(path for path in folder.iterdir() if path.name.endswith(suffixes))
    path, other = chance.choice(files), chance.choice(files)
    raw = path.read_bytes()
    match chance.choice(["lost", "cut", "flipped", "grown", "exchanged", "unfinished"]):
        case "lost":
            path.unlink()
        case "cut":
            path.write_bytes(raw[: chance.randrange(len(raw) + 1)])
        case "flipped" if raw:
            flip(path, chance.randrange(len(raw)))
        case "grown":
            path.write_bytes(raw + bytes(chance.choice([1, 512])))
        case "exchanged" if other != path:
            shutil.copy(other, path)
        case "unfinished" if path.suffix == ".tar":
            path.rename(path.with_suffix(".partial"))


def lose(site: Site, chance: Random) -> None:
    """Let a registry lose a blob, manifest or tag somewhere, or all that it has."""
    names = [name for name in site.target.holdings.names() if not name.endswith("bundlectl/imports")]
    everywhere = chance.random() < 0.1
    for name in names if everywhere else [chance.choice(names)] if names else []:
        held = site.target.holdings.repository(name)
        if everywhere:
            held.tags.clear()
            held.manifests.clear()
            held.blobs.clear()
        elif held.blobs and chance.random() < 0.5:
            held.blobs.discard(chance.choice(sorted(held.blobs)))
        elif held.manifests and chance.random() < 0.5:
            del held.manifests[chance.choice(sorted(held.manifests))]
        elif held.tags:
            del held.tags[chance.choice(sorted(held.tags))]


@pytest.mark.parametrize("seed", range(6))
def test_an_import_that_succeeds_left_nothing_out_and_one_that_fails_names_all_that_is_not_there(
    upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    registry = registry_factory(features=Features(referrers_api=chance.random() < 0.5))
    with Site(upstream_served, registry, tmp_path) as site:
        site.memory = tmp_path / "state" if chance.random() < 0.5 else None
        carrier = Carrier(site)
        since = ()
        if chance.random() < 0.5:
            first = site.lock_file(RELEASE, include=("*/coredns*", "*/pause*"))
            carrier.export(first, folder=tmp_path / "first", name="first", issued=NOW - dt.timedelta(days=1))
            assert carrier.push(tmp_path / "first").exit_code == 0
            since = (carrier.inventory(f"registry:{registry.host}/eks"),)
        carrier.export(since=since, parity=chance.choice([0, 2]))
        for number in range(ROUNDS):
            medium = carrier.copied(f"medium {number}")
            for _ in range(chance.choice([0, 1, 3])):
                damage(medium, chance, ".tar", ".parity", ".sum.json")
            for _ in range(chance.choice([0, 1, 5])):
                lose(site, chance)
            report = carrier.push(medium)
            with site.session() as session:
                found = verify_registry(site.naming, against=carrier.lock, deep=True, session=session).findings
            failed = [failure.reference for failure in report.copied.failed]
            assert bool(failed) == bool(report.exit_code)
            told = {finding.reference for finding in found}
            assert not {name for name in told if not any(label.startswith(name) for label in failed)}


@pytest.mark.parametrize("seed", range(6))
def test_an_export_that_succeeds_left_nothing_wrong_in_the_folder(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    carrier, parity = Carrier(site), chance.choice([0, 2])
    carrier.export(parity=parity)
    right = contents(carrier.out)
    for _ in range(ROUNDS):
        for _ in range(chance.choice([1, 3])):
            damage(carrier.out, chance, "")
        try:
            assert carrier.export(parity=parity).exit_code == 0
        except UsageError as error:
            if "holds another export already" not in error.message:
                raise
            (carrier.out / "release.inventory.json").write_bytes(right["release.inventory.json"])
            continue
        with site.session() as session:
            *verdicts, report = verify_archive((carrier.out,), request=carrier.believing(), session=session)
        assert report.exit_code == 0
        assert [verdict.exit_code for verdict in verdicts] == [0]
        made = {
            name: raw for name, raw in contents(carrier.out).items() if name.endswith((".tar", ".parity", "sum.json"))
        }
        assert made == {name: right[name] for name in made}
        assert contents(carrier.out).keys() == right.keys()
