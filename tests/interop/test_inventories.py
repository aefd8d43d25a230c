"""What real registries hold is listed, and the next transfer is known to the byte before it is made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.journey import BUNDLES, PACKAGE_BUNDLE, Site, site
from tests.interop.products import logged_in, product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCALE = 1e-5


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A release with its packages, upstream."""
    with site(tmp_path_factory.mktemp("inventories"), (BUNDLES, PACKAGE_BUNDLE), scale=SCALE) as place:
        yield place


def statement(path: Path) -> Any:
    return json.loads(path.read_bytes())["predicate"]


@pytest.mark.parametrize("name", ["docker-registry", "distribution3", "serve", "harbor"])
def test_what_was_mirrored_is_listed_and_what_was_not_is_to_be_fetched(
    release: Site, name: str, tmp_path: Path
) -> None:
    ours, lock = release.ours, release.lock
    part, store, taken = tmp_path / "part.lock.json", tmp_path / "mine", tmp_path / "site.inventory.json"
    ours.run("lock", lock, "--exclude", "*/etcd*", "--exclude", "*/harbor*", "--out", part)
    ours.run("download", part, "--store", store, "--name", "part", *release.origins)
    with product(name, tmp_path / name) as (host, login):
        program = logged_in(ours, {host: login})
        target = f"{host}/mirror"
        program.run("mirror", f"store:{store}#part", "--to", target)
        told = program.document("inventory", f"registry:{target}", "--out", taken, "-o", "json")
        had = set(statement(taken)["blobs"])
        ours.run("inventory", f"store:{store}", "--out", tmp_path / "mine.inventory.json")
        # Where no referrers are listed by the registry itself, the list of them is content, too.
        assert had >= set(statement(tmp_path / "mine.inventory.json")["blobs"])
        assert told["blobs"] == len(had)
        found = program.document("diff", taken, lock, *release.origins, "-o", "json")
        assert found["added"]
        assert all("etcd" in item["reference"] or "harbor" in item["reference"] for item in found["added"])
        assert (found["removed"], found["changed"]) == ([], [])
        blobs = json.loads(lock.read_bytes())["blobs"]
        assert found["bytes"] == sum(size for digest, size in blobs.items() if digest not in had) > 0
        # And that is what is carried then.
        ours.run("keys", "generate", tmp_path / "export.key")
        medium, keys = tmp_path / "medium", ("--key", tmp_path / "export.key")
        exported = ours.document(
            "export", lock, "--since", taken, "--to", medium, *keys, *release.origins, "--verify", "off", "-o", "json"
        )
        assert exported["bytes"]["total"] - exported["bytes"]["present"] == found["bytes"]
        program.run("import", medium, "--to", target, "--key", tmp_path / "export.key.pub")
        program.run("inventory", f"registry:{target}", "--out", taken)
        after = program.document("diff", taken, lock, *release.origins, "-o", "json")
        assert after == {"added": [], "removed": [], "changed": [], "bytes": 0}
