"""``verify`` of archives: who signed them, what is missing or damaged, and whether that can be given back."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from bundlectl.operations import Connection, Session, SourceRequest, generate_key, lock
from bundlectl.operations.exporting import ExportSettings, export
from bundles.belief import Belief
from bundles.lock_signature import SIGNATURE_SUFFIX, sign_lock
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from signing.keys import KeyAccess, open_signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.bundlectl.cli.conftest import Ran

NAME = "release"
TOOL = "tool/bundlectl.pyz"
PARITY = 2


@dataclass(frozen=True)
class Keys:
    """Private keys; a public one is beside each."""

    approver: Path
    carrier: Path

    @staticmethod
    def public(key: Path) -> Path:
        return key.with_name(f"{key.name}.pub")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    return Keys(*(generate_key(folder / name).private for name in ("approver.key", "carrier.key")))


@pytest.fixture(scope="module")
def made(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two archives with parity and a tool; who approves signed the lock in them, and the inventory of one of them."""
    folder = tmp_path_factory.mktemp("made")
    tool, path = folder / "bundlectl.pyz", folder / "release.lock.json"
    tool.write_bytes(b"the tool itself")
    request = SourceRequest(sources=("eks-a:latest",), belief=Belief(mode="off"))
    with (
        Upstream.synthesise(sample_documents(), scale=1e-5) as upstream,
        upstream.serve() as served,
        Session(Connection(origins=served.origin_map)) as session,
    ):
        found = lock(request, session=session)
        path.write_bytes(found.to_bytes())
        signature = sign_lock(found.to_bytes(), found, open_signer(str(keys.approver), KeyAccess()))
        Path(f"{path}{SIGNATURE_SUFFIX}").write_bytes(signature)
        for name, key in (("archive", keys.carrier), ("by-one", keys.approver)):
            settings = ExportSettings(
                issued=dt.datetime(2026, 11, 26, tzinfo=dt.UTC),
                name=NAME,
                split_size=64 * 1024,
                parity=PARITY,
                tool={TOOL: tool},
                signer=open_signer(str(key), KeyAccess()),
            )
            wanted = replace(request, sources=(str(path),))
            report = export(wanted, folder=folder / name, settings=settings, session=session)
    assert len(report.volumes) > 5
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "archive", tmp_path / "archive"))


@pytest.fixture
def check(bundlectl: Callable[..., Ran], archive: Path) -> Callable[..., tuple[int, Any]]:
    """Verifies the archive; the exit code, and what there is to say of its content."""
    schema = json.loads(files("bundlectl.cli.schemas").joinpath("verification.schema.json").read_bytes())

    def call(*arguments: object, of: object = archive) -> tuple[int, Any]:
        ran = bundlectl("verify", f"archive:{of}", *arguments, "-o", "json")
        Draft202012Validator(schema).validate(ran.document)
        found = ran.document[-1] if isinstance(ran.document, list) else ran.document
        return ran.exit_code, found

    return call


def volume(archive: Path, number: int) -> Path:
    return archive / f"{NAME}-{number:04}.tar"


def parity(archive: Path, number: int) -> Path:
    return archive / f"{NAME}-p{number:02}.parity"


def flip(path: Path, at: int = -700) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def named(found: Any, kind: str) -> list[str]:
    return [item["reference"] for item in found[kind]]


def test_a_whole_archive_is_verified_with_the_key_that_signed_it(
    bundlectl: Callable[..., Ran], archive: Path, keys: Keys
) -> None:
    before = {path: path.stat() for path in archive.rglob("*")}
    ran = bundlectl("verify", f"archive:{archive}", "--key", keys.public(keys.carrier), "-o", "json")
    signature, content = ran.document
    assert ran.exit_code == 0
    assert (signature["kind"], signature["name"], signature["verified"]) == ("Inventory", NAME, True)
    assert signature["key"]["source"] == str(keys.public(keys.carrier))
    assert (content["kind"], content["verified"], content["warnings"]) == ("archive", True, [])
    total = len(list(archive.glob("*.tar")))
    assert content["volumes"] == {"total": total, "problems": 0}
    assert content["parity"] == {"total": PARITY, "right": PARITY}
    assert (content["repairable"], content["lacking"]) == (True, 0)
    size = sum(path.stat().st_size for path in [*archive.glob("*.tar"), *archive.glob("*.parity")])
    assert content["checked"]["bytes"] == size
    assert {path: path.stat() for path in archive.rglob("*")}.keys() == before.keys()
    assert all(path.stat().st_mtime_ns == stat.st_mtime_ns for path, stat in before.items())


def test_that_somebody_else_signed_the_lock_is_told_and_no_failure(
    bundlectl: Callable[..., Ran], archive: Path, keys: Keys
) -> None:
    (signature, _) = bundlectl("verify", archive, "--key", keys.public(keys.carrier), "-o", "json").document
    assert "signature of its own" in signature["warnings"][0]


def test_a_lock_that_the_same_key_signed_is_told_to_be(bundlectl: Callable[..., Ran], made: Path, keys: Keys) -> None:
    ran = bundlectl("verify", made / "by-one", "--key", keys.public(keys.approver), "-o", "json")
    assert [item["kind"] for item in ran.document] == ["Inventory", "Lock", "archive"]
    assert [item["verified"] for item in ran.document] == [True, True, True]
    assert ran.exit_code == 0


def test_without_a_key_it_is_said_that_no_signature_was_checked(bundlectl: Callable[..., Ran], archive: Path) -> None:
    ran = bundlectl("verify", f"archive:{archive}")
    assert ran.exit_code == 0
    assert "its signature was not checked" in ran.err
    assert "--key" in ran.err
    assert "right" in ran.out


def test_with_another_key_nothing_is_looked_at(bundlectl: Callable[..., Ran], archive: Path, keys: Keys) -> None:
    volume(archive, 1).unlink()
    ran = bundlectl("verify", f"archive:{archive}", "--key", keys.public(keys.approver), "-o", "json")
    assert ran.exit_code == 3
    assert ran.document["verified"] is False
    assert "signature" in ran.document["reason"]
    assert "volumes" not in ran.document


def test_a_lost_volume_is_missing_and_a_damaged_one_is_different(check: Callable[..., Any], archive: Path) -> None:
    volume(archive, 2).unlink()
    exit_code, found = check()
    assert (exit_code, named(found, "missing"), named(found, "different")) == (4, [volume(archive, 2).name], [])
    flip(volume(archive, 4))
    exit_code, found = check()
    assert (exit_code, named(found, "different")) == (3, [volume(archive, 4).name])
    assert found["volumes"]["problems"] == 2
    assert (found["repairable"], found["lacking"]) == (True, 0)


def test_it_is_told_how_many_more_volumes_are_needed(
    check: Callable[..., Any], bundlectl: Callable[..., Ran], archive: Path
) -> None:
    volume(archive, 1).unlink()
    volume(archive, 2).unlink()
    flip(parity(archive, 1))
    exit_code, found = check()
    assert (exit_code, found["parity"]["right"], found["repairable"], found["lacking"]) == (3, 1, False, 1)
    assert named(found, "different") == [parity(archive, 1).name]
    parity(archive, 1).unlink()
    parity(archive, 2).unlink()
    exit_code, found = check()
    assert (exit_code, found["parity"]["right"], found["repairable"], found["lacking"]) == (4, 0, False, 2)
    assert "not repairable: 2 volumes more" in bundlectl("verify", archive).out


def test_what_lies_beside_the_volumes_is_checked_too(check: Callable[..., Any], archive: Path) -> None:
    flip(archive / TOOL, at=0)
    (archive / f"{NAME}-0003.sum.json").unlink()
    exit_code, found = check()
    assert (exit_code, named(found, "different")) == (3, [TOOL])
    assert named(found, "missing") == [f"{NAME}-0003.sum.json"]
    (archive / TOOL).unlink()
    (archive / "SHA256SUMS").unlink()
    exit_code, found = check()
    assert (exit_code, named(found, "missing")) == (4, ["SHA256SUMS", TOOL])


@pytest.mark.parametrize("name", ["release-0000.tar", "release-0001.tar.gz", "tool/sitecustomize.py"])
def test_what_somebody_put_beside_what_was_signed_is_told(check: Callable[..., Any], archive: Path, name: str) -> None:
    (archive / name).write_bytes(b"to be unpacked or run")
    (archive / "._release-0001.tar").write_bytes(b"what a computer of Apple leaves")
    exit_code, found = check()
    assert (exit_code, named(found, "different")) == (3, [name])


@pytest.mark.parametrize("kind", ["another sum", "a way out", "not a list"])
def test_checksums_that_are_not_right_are_found(check: Callable[..., Any], archive: Path, kind: str) -> None:
    sums = archive / "SHA256SUMS"
    lines = sums.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.endswith(".tar"))
    if kind == "another sum":
        lines[at] = "0" * 64 + lines[at][64:]
    elif kind == "a way out":
        lines[at] = f"{lines[at][:66]}../../etc/passwd"
    else:
        lines[at] = "nothing"
    sums.write_text("\n".join(lines) + "\n")
    exit_code, found = check()
    assert (exit_code, named(found, "different"), found["missing"]) == (3, ["SHA256SUMS"], [])


def test_a_lock_that_was_exchanged_is_refused(bundlectl: Callable[..., Ran], archive: Path) -> None:
    flip(archive / f"{NAME}.lock.json", at=100)
    ran = bundlectl("verify", f"archive:{archive}", "-o", "json")
    assert ran.exit_code == 3
    assert "inventory" in ran.document["error"]["message"]


def test_volumes_may_lie_on_several_media(check: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in (f"{NAME}.inventory.json", f"{NAME}.lock.json", f"{NAME}.lock.json.sigstore.json"):
        shutil.copy(archive / name, other / name)
    for path in (volume(archive, 1), archive / f"{NAME}-0001.sum.json"):
        path.rename(other / path.name)
    sums = archive / "SHA256SUMS"
    moved, kept = [], []
    for line in sums.read_text().splitlines(keepends=True):
        (moved if f"{NAME}-0001" in line else kept).append(line)
    sums.write_text("".join(kept))
    (other / "SHA256SUMS").write_text("".join(moved))
    exit_code, found = check(of=f"{archive}:{other}")
    assert (exit_code, found["verified"], found["volumes"]["problems"]) == (0, True, 0)
    exit_code, found = check()
    assert (exit_code, named(found, "missing")) == (4, [volume(archive, 1).name])


def test_a_policy_is_for_what_it_names_and_not_for_an_archive(
    bundlectl: Callable[..., Ran], archive: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: bundlectl.dev/v1alpha1\nkind: Policy\nspec: {rules: [{match: ['*'], trust: signed}]}\n"
    )
    ran = bundlectl("verify", archive, "--policy", policy)
    assert ran.exit_code == 2
    assert "import" in ran.err


def test_a_place_without_an_archive_is_missing(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    assert bundlectl("verify", f"archive:{tmp_path}").exit_code == 4
    assert bundlectl("verify", f"archive:{tmp_path / 'nowhere'}").exit_code == 4


@pytest.mark.parametrize("name", ["site.inventory.json", "site.inventory.json.gz"])
def test_the_inventory_of_a_site_is_verified_by_itself(
    bundlectl: Callable[..., Ran], archive: Path, keys: Keys, tmp_path: Path, name: str
) -> None:
    store, taken = tmp_path / "store", tmp_path / name
    assert bundlectl("import", archive, "--store", store, "--key", keys.public(keys.carrier)).exit_code == 0
    assert bundlectl("inventory", f"store:{store}", "--out", taken, "--key", keys.approver).exit_code == 0
    right = bundlectl("verify", taken, "--key", keys.public(keys.approver), "-o", "json")
    assert (right.exit_code, right.document["kind"], right.document["verified"]) == (0, "Inventory", True)
    wrong = bundlectl("verify", taken, "--key", keys.public(keys.carrier), "-o", "json")
    assert (wrong.exit_code, wrong.document["verified"]) == (3, False)
    unasked = bundlectl("verify", taken, "-o", "json")
    assert (unasked.exit_code, unasked.document["verified"]) == (3, False)
    assert "--key" in unasked.document["reason"]
