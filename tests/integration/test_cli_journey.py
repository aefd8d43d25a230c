"""The commands end to end, in this process, against an upstream and a registry on loopback."""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from bundlectl.cli.main import run
from mirror.layout import Store
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.harbor.fixture import ADMINISTRATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

SOURCE = "eks-a:latest"


@dataclass(frozen=True)
class Ran:
    exit_code: int
    out: str
    err: str

    def document(self, schema: str) -> Any:
        found = json.loads(self.out)
        validator(schema).validate(found)
        return found


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def bundlectl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Runs the program in this process; its configuration folder is ``tmp_path/config``."""
    for name in os.environ:
        if name.startswith(("BUNDLECTL_", "DOCKER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        exit_code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ran(exit_code, captured.out, captured.err)

    return call


def origins(served: Served) -> Sequence[str]:
    return [word for pair in served.origins for word in ("--origin", pair)]


def unsigned(served: Served) -> Sequence[str]:
    """How the documents of an upstream are read that nobody signed."""
    return [*origins(served), "--verify", "off"]


@pytest.fixture
def lock_file(bundlectl: Callable[..., Ran], upstream_served: Served, tmp_path: Path) -> Path:
    """A lock of the newest release of the upstream."""
    out = tmp_path / "bundle.lock.json"
    assert bundlectl("lock", SOURCE, "--out", out, *unsigned(upstream_served)).exit_code == 0
    return out


@pytest.fixture
def store(bundlectl: Callable[..., Ran], upstream_served: Served, lock_file: Path, tmp_path: Path) -> Path:
    """A store that holds the newest release of the upstream."""
    path = tmp_path / "store"
    assert bundlectl("download", lock_file, "--store", path, *origins(upstream_served)).exit_code == 0
    return path


def test_releases_are_listed_with_the_latest_marked(bundlectl: Callable[..., Ran], upstream_served: Served) -> None:
    ran = bundlectl("releases", *origins(upstream_served), "-o", "json")
    rows = ran.document("releases")["releases"]
    assert [row["latest"] for row in rows].count(True) == 1
    assert "latest" in bundlectl("releases", *origins(upstream_served)).out


def test_inspect_reads_documents_alone(bundlectl: Callable[..., Ran], upstream_served: Served) -> None:
    ran = bundlectl("inspect", SOURCE, *unsigned(upstream_served), "-o", "json")
    assert ran.exit_code == 0
    found = ran.document("inspection")
    assert found["totals"]["images"] == sum(item["type"] == "image" for item in found["artifacts"])
    assert found["totals"]["bytes"] is None
    assert upstream_served.requests.count("*", "/v2/*/manifests/*") == 0
    text = bundlectl("inspect", SOURCE, *unsigned(upstream_served)).out
    assert f"images ({found['totals']['images']})" in text
    assert text.splitlines()[-1].startswith("total: ")


def test_inspect_resolves_on_demand(bundlectl: Callable[..., Ran], upstream_served: Served) -> None:
    ran = bundlectl("inspect", SOURCE, "--resolve", "--charts", *unsigned(upstream_served), "-o", "json")
    found = ran.document("inspection")
    assert found["totals"]["bytes"] > 0
    assert all(item["digest"] for item in found["artifacts"])


def test_what_is_left_out_is_listed_with_its_reason(bundlectl: Callable[..., Ran], upstream_served: Served) -> None:
    ran = bundlectl("inspect", SOURCE, "--no-files", *unsigned(upstream_served))
    assert "files are not wanted (--no-files)" in ran.out


def test_the_same_upstream_state_gives_the_same_lock_wherever_it_is_written(
    bundlectl: Callable[..., Ran], upstream_served: Served, lock_file: Path, tmp_path: Path
) -> None:
    assert bundlectl("lock", SOURCE, *unsigned(upstream_served), "-q").out == lock_file.read_text()
    again = bundlectl("lock", SOURCE, *unsigned(upstream_served), "--out", tmp_path / "again", "-o", "json")
    assert again.document("lock-file")["size"] == lock_file.stat().st_size
    assert (tmp_path / "again").read_bytes() == lock_file.read_bytes()


def test_what_weakens_trust_is_told_with_where_it_came_from_and_recorded(
    bundlectl: Callable[..., Ran], upstream_served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config" / "bundlectl" / "config.toml"
    config.parent.mkdir(parents=True)
    pairs = json.dumps(list(upstream_served.origins))
    config.write_text(f'[lock]\norigin = {pairs}\n[transport."other.example"]\nplain-http = true\n')
    config.chmod(0o600)
    monkeypatch.setenv("BUNDLECTL_LOCK_INSECURE_SKIP_TLS_VERIFY", "skipped.example")
    ran = bundlectl("lock", SOURCE, "--verify", "off")
    assert ran.exit_code == 0, ran.err
    told = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert "warning: signatures of release manifests are not verified (flag --verify)" in told
    assert (
        "warning: the certificate of skipped.example is not checked "
        "(environment variable BUNDLECTL_LOCK_INSECURE_SKIP_TLS_VERIFY)"
    ) in told
    assert f"warning: other.example is reached by plain HTTP (file {config})" in told
    assert f"warning: origin {upstream_served.origins[0]} (file {config})" in told
    weakened = json.loads(ran.out)["weakened"]
    assert "other.example is reached by plain HTTP (configuration file)" in weakened
    assert str(config) not in ran.out


def test_download_reports_and_a_second_run_transfers_nothing(
    bundlectl: Callable[..., Ran], upstream_served: Served, lock_file: Path, tmp_path: Path
) -> None:
    arguments = ("download", lock_file, "--store", tmp_path / "store", *origins(upstream_served), "-o", "json")
    first = bundlectl(*arguments)
    assert first.exit_code == 0
    assert first.document("report")["blobs"]["transferred"] > 0
    assert "done " in first.err
    second = bundlectl(*arguments)
    assert second.exit_code == 0
    assert second.document("report")["blobs"]["transferred"] == 0


def test_what_is_missing_is_exit_4_and_the_same_command_resumes(
    bundlectl: Callable[..., Ran], upstream_served: Served, lock_file: Path, tmp_path: Path
) -> None:
    upstream_served.faults.add(Fault(Refuse(404), method="GET", path="*kube-vip*"))
    arguments = ("download", lock_file, "--store", tmp_path / "store", *origins(upstream_served))
    ran = bundlectl(*arguments)
    assert ran.exit_code == 4
    assert ran.out.splitlines()[-1] == "everything else is done; run the same command again to resume"
    assert any(line.startswith("failed ") and "kube-vip" in line for line in ran.err.splitlines())
    upstream_served.faults.clear()
    assert bundlectl(*arguments).exit_code == 0


def test_mirror_plans_then_copies_then_finds_nothing_to_do(
    bundlectl: Callable[..., Ran], store: Path, registry: ServedRegistry
) -> None:
    arguments = ("mirror", f"store:{store}", "--to", f"{registry.host}/eks", "-o", "json")
    plan = bundlectl(*arguments, "--dry-run").document("plan")
    assert plan["totals"]["upToDate"] == 0
    first = bundlectl(*arguments)
    assert first.exit_code == 0, first.err
    report = first.document("report")
    assert report["artifacts"]["failed"] == 0
    second = bundlectl(*arguments).document("report")
    assert (second["artifacts"]["done"], second["blobs"]["transferred"]) == (0, 0)
    assert bundlectl(*arguments, "--dry-run").document("plan")["totals"]["bytes"] == 0
    assert "nothing was changed" in bundlectl(*arguments[:-2], "--dry-run").out


@pytest.mark.parametrize("prefix", ["", "/eks"])
def test_a_harbor_that_misreads_paths_now_and_then_is_filled_and_verified(
    bundlectl: Callable[..., Ran], store: Path, lock_file: Path, harbor: HarborFixture, tmp_path: Path, prefix: str
) -> None:
    harbor.settings.misread_paths = True
    login = base64.b64encode(":".join(ADMINISTRATOR).encode()).decode()
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {harbor.host: {"auth": login}}}))
    target = f"{harbor.host}{prefix}"
    arguments = ("mirror", f"store:{store}", "--to", target, "--create-projects", "-o", "json")
    dry = bundlectl(*arguments, "--dry-run").document("plan")
    documents = [name for item in dry["manifests"] for name in item["targets"]]
    assert any(name.startswith(f"{target}/bundlectl/release-manifests:") for name in documents)
    assert not any("/bundlectl/manifests:" in name for name in documents)
    text = bundlectl(*arguments[:-2], "--dry-run").out
    assert f"->  {target}/bundlectl/release-manifests:" in text
    first = bundlectl(*arguments)
    assert first.exit_code == 0, first.err
    verified = bundlectl("verify", f"registry:{target}", "--against", lock_file, "-o", "json")
    assert verified.exit_code == 0, verified.out
    again = bundlectl(*arguments).document("report")
    assert again["artifacts"]["done"] == 0
    tags = sum(
        len(held.tags) for project in harbor.database.projects.values() for held in project.repositories.values()
    )
    # The first is asked twice, for its challenge, and a list is worth many.
    assert again["requests"]["target"] <= tags + 1


def test_what_was_recorded_of_a_target_is_trusted_when_told_to_and_that_is_told_and_recorded(
    bundlectl: Callable[..., Ran], store: Path, registry: ServedRegistry, tmp_path: Path
) -> None:
    arguments = ("mirror", f"store:{store}", "--to", f"{registry.host}/eks", "-o", "json")
    assert bundlectl(*arguments).exit_code == 0
    assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("state/bundlectl/targets/*")] == [0o600]
    asked = bundlectl(*arguments).document("report")["requests"]["target"]
    trusting = bundlectl(*arguments, "--trust-recorded")
    report = trusting.document("report")
    assert report["requests"]["target"] < asked
    assert report["artifacts"]["skipped"] == report["artifacts"]["total"]
    told = "what earlier runs recorded of the target is believed, but for a sample (flag --trust-recorded)"
    assert told in trusting.err
    assert told in report["weakened"]
    assert told not in bundlectl(*arguments).document("report")["weakened"]


def test_verify_tells_missing_from_right(
    bundlectl: Callable[..., Ran], store: Path, lock_file: Path, registry: ServedRegistry
) -> None:
    target = f"registry:{registry.host}/eks"
    assert bundlectl("mirror", f"store:{store}", "--to", f"{registry.host}/eks").exit_code == 0
    right = bundlectl("verify", target, "--against", lock_file, "--deep", "-o", "json")
    assert right.exit_code == 0, right.out
    assert right.document("verification")["verified"]
    elsewhere = bundlectl("verify", "--to", f"{registry.host}/nowhere", "--against", f"store:{store}")
    assert elsewhere.exit_code == 4
    assert elsewhere.out.splitlines()[0].startswith("missing ")


def test_verify_without_anything_to_compare_with_is_wrong_usage(bundlectl: Callable[..., Ran]) -> None:
    assert bundlectl("verify").exit_code == 2
    assert bundlectl("verify", "registry:127.0.0.1:1/x").exit_code == 2
    assert bundlectl("verify", "nonsense").exit_code == 2


def test_the_store_can_be_looked_into(bundlectl: Callable[..., Ran], store: Path) -> None:
    listing = bundlectl("store", "list", store, "-o", "json").document("store-list")
    assert len(listing["collections"]) == 1
    assert bundlectl("store", "stats", store, "-o", "json").document("store-stats")["refs"] == len(listing["refs"])
    assert bundlectl("store", "verify", store, "-o", "json").document("verification")["verified"]
    assert "references (" in bundlectl("store", "list", store).out
    assert "unreferenced" in bundlectl("store", "stats", store).out


def test_what_nothing_names_is_removed_from_a_store(bundlectl: Callable[..., Ran], store: Path) -> None:
    with Store.open(store) as opened:
        stray = opened.put(b"stray")
    early = bundlectl("store", "gc", store, "-o", "json").document("store-gc")
    assert (early["removed"]["blobs"], early["young"]) == (0, {"blobs": 1, "bytes": 5})
    os.utime(store / "blobs" / "sha256" / stray.encoded, (0, 0))
    told = bundlectl("store", "gc", store, "--dry-run")
    assert told.out.startswith(f"{stray}  5 B\n\nwould be removed")
    done = bundlectl("store", "gc", store, "--grace", "7d", "-o", "json").document("store-gc")
    assert done["blobs"] == [{"digest": str(stray), "size": 5}]
    assert bundlectl("store", "verify", store).exit_code == 0
    assert bundlectl("store", "gc", store).out.startswith("removed")
    assert bundlectl("store", "gc", store, "--grace", "soon").exit_code == 2
    assert bundlectl("store", "gc", store / "blobs").exit_code == 1


def test_a_damaged_store_is_exit_3(bundlectl: Callable[..., Ran], store: Path) -> None:
    largest = max((store / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    content = bytearray(largest.read_bytes())
    content[0] ^= 1
    largest.write_bytes(content)
    for arguments in (("store", "verify", store), ("verify", f"store:{store}"), ("verify", store)):
        ran = bundlectl(*arguments)
        assert ran.exit_code == 3
        assert "different" in ran.out


def test_several_targets_with_json_are_one_list(bundlectl: Callable[..., Ran], store: Path) -> None:
    ran = bundlectl("verify", f"store:{store}", store, "-o", "json")
    found = json.loads(ran.out)
    assert len(found) == 2
    for document in (found, *found):
        validator("verification").validate(document)
    for wrong in ([found], [{}], [{**found[0], "more": 1}]):
        assert not validator("verification").is_valid(wrong)


def test_diff_of_a_release_with_a_part_of_it(
    bundlectl: Callable[..., Ran], upstream_served: Served, lock_file: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part.lock.json"
    assert bundlectl("lock", SOURCE, "--no-files", "--out", part, *unsigned(upstream_served)).exit_code == 0
    found = bundlectl("diff", part, lock_file, "-o", "json").document("difference")
    assert found["added"]
    assert not found["removed"]
    assert found["bytes"] > 0
    assert bundlectl("diff", lock_file, lock_file).out.startswith("0 added, 0 removed, 0 changed")


def test_a_site_says_what_it_has_and_hears_what_it_lacks(
    bundlectl: Callable[..., Ran],
    upstream_served: Served,
    registry: ServedRegistry,
    lock_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, part, taken = (
        f"registry:{registry.host}/eks",
        tmp_path / "part.lock.json",
        tmp_path / "site.inventory.json.gz",
    )
    assert bundlectl("lock", SOURCE, "--no-files", "--out", part, *unsigned(upstream_served)).exit_code == 0
    assert bundlectl("mirror", part, "--to", f"{registry.host}/eks", *origins(upstream_served)).exit_code == 0
    assert bundlectl("keys", "generate", tmp_path / "site.key").exit_code == 0
    key = ("--key", tmp_path / "site.key")
    told = bundlectl("inventory", site, "--out", taken, *key, "-o", "json").document("inventory-file")
    assert told["signedBy"]
    assert told["size"] == taken.stat().st_size < 100 * told["blobs"] + 100 * told["names"]
    believed = ("--verify", tmp_path / "site.key.pub")
    lacking = bundlectl("diff", taken, lock_file, *origins(upstream_served), "-o", "json").document("difference")
    assert {item["type"] for item in lacking["added"]} == {"file"}
    assert (lacking["removed"], lacking["changed"]) == ([], [])
    assert lacking["bytes"] > sum(item["size"] for item in lacking["added"])
    assert "0 bytes to fetch" in bundlectl("diff", taken, part, *origins(upstream_served)).out
    assert bundlectl("diff", lock_file, taken, "-o", "json").document("difference")["bytes"] == 0
    assert bundlectl("diff", part, f"{taken}", *believed).exit_code == 3
    # The same again is the same file, at the same time.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    shown = bundlectl("inventory", site, "-q")
    validator("inventory").validate(json.loads(shown.out))
    assert json.loads(shown.out)["predicate"]["issued"] == "2023-11-14T22:13:20Z"
    assert bundlectl("inventory", site, "--out", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again").read_text() == shown.out
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert bundlectl("inventory", site).exit_code == 1


def test_an_inventory_of_a_store_tells_what_the_store_lost(
    bundlectl: Callable[..., Ran], store: Path, lock_file: Path, tmp_path: Path
) -> None:
    whole = json.loads(bundlectl("inventory", f"store:{store}").out)
    lost = max((store / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    size = lost.stat().st_size
    lost.unlink()
    ran = bundlectl("inventory", f"store:{store}", "--out", tmp_path / "now.inventory.json")
    assert ran.exit_code == 0
    assert f"sha256:{lost.name}" in ran.err
    left = json.loads((tmp_path / "now.inventory.json").read_bytes())
    assert set(whole["predicate"]["blobs"]) - set(left["predicate"]["blobs"]) == {f"sha256:{lost.name}"}
    found = bundlectl("diff", tmp_path / "now.inventory.json", lock_file, "-o", "json").document("difference")
    assert found == {"added": [], "removed": [], "changed": [], "bytes": size}
    assert bundlectl("inventory", "eks-a:latest").exit_code == 2
    assert bundlectl("inventory", f"store:{tmp_path / 'none'}").exit_code == 1


def test_the_command_lines_that_the_quickstart_shows_do_what_it_did(
    bundlectl: Callable[..., Ran], upstream_served: Served, registry: ServedRegistry, tmp_path: Path
) -> None:
    shown, again = tmp_path / "shown", tmp_path / "again"
    steps = bundlectl("quickstart", "--dir", shown, "-o", "json").document("quickstart")["steps"]
    again.mkdir()
    done = []
    for step in steps:
        line = re.sub(r"127\.0\.0\.1:\d+/eks", f"{registry.host}/eks", step["command"]).replace(str(shown), str(again))
        _, command, *arguments = line.split()
        if command in ("quickstart", "serve"):
            continue
        upstream = () if command in ("keys", "packages") else origins(upstream_served)
        ran = bundlectl(command, *arguments, *upstream)
        assert ran.exit_code == 0, line + ran.err
        done.append(command)
    assert done == ["releases", "inspect", "keys", "lock", "download", "mirror", "mirror", "verify", "packages"]
    # The key is what holds the steps together: without its signature none of them goes on.
    (again / "bundle.lock.json.sigstore.json").unlink()
    download = ("download", again / "bundle.lock.json", "--store", again / "other")
    assert bundlectl(*download, "--verify", again / "site.key.pub").exit_code == 3


def test_a_store_that_is_none_is_told_in_json(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    ran = bundlectl("store", "list", tmp_path, "-o", "json")
    assert ran.exit_code == 1
    assert ran.document("error")["error"]["code"] == "store"


def test_offline_reaches_nothing_but_loopback(bundlectl: Callable[..., Ran]) -> None:
    ran = bundlectl("inspect", SOURCE, "--offline", "-o", "json")
    assert ran.exit_code != 0
    assert ran.document("error")["error"]["code"] in {"transport", "usage"}


def test_a_password_comes_from_standard_input_only_and_is_never_shown(
    bundlectl: Callable[..., Ran], store: Path, registry: ServedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Input:
        @staticmethod
        def read(size: int) -> bytes:
            return b"hunter2\n"[:size]

    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": Input})())
    ran = bundlectl(
        "mirror", f"store:{store}", "--to", registry.host, "--username", "me", "--password-stdin", "--debug", "-vv"
    )
    assert ran.exit_code == 0, ran.err
    assert "hunter2" not in ran.out + ran.err
    assert bundlectl("mirror", f"store:{store}", "--to", registry.host, "--username", "me").exit_code == 2
    assert bundlectl("inspect", f"store:{store}", "--username", "me", "--password-stdin").exit_code == 2
