"""``lock --key``, and what the other commands make of the lock and the file beside it."""

from __future__ import annotations

import json
import stat
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

SOURCE = "image:public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"


def valid(document: Any, name: str) -> Any:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator(schema).validate(document)
    return document


@pytest.fixture
def origins(upstream_served: Served) -> Sequence[str]:
    return [word for pair in upstream_served.origins for word in ("--origin", pair)]


@pytest.fixture
def key(bundlectl: Callable[..., Ran], tmp_path: Path) -> Path:
    path = tmp_path / "site.key"
    assert bundlectl("keys", "generate", path).exit_code == 0
    return path


@pytest.fixture
def lock(bundlectl: Callable[..., Ran], origins: Sequence[str], key: Path, tmp_path: Path) -> Path:
    out = tmp_path / "bundle.lock.json"
    ran = bundlectl("lock", SOURCE, *origins, "--key", key, "--out", out)
    assert ran.exit_code == 0, ran.err
    return out


def test_a_signed_lock_has_its_signature_beside_it_and_json_names_both(
    bundlectl: Callable[..., Ran], origins: Sequence[str], key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle.lock.json"
    signature = tmp_path / "bundle.lock.json.sigstore.json"
    ran = bundlectl("lock", SOURCE, *origins, "--key", key, "--out", out, "-o", "json")
    assert valid(ran.document, "lock-file")["signature"] == str(signature)
    assert json.loads(signature.read_bytes())["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert stat.S_IMODE(signature.stat().st_mode) & 0o444
    plain = bundlectl("lock", SOURCE, *origins, "--out", tmp_path / "other.json", "-o", "json")
    assert valid(plain.document, "lock-file")["signature"] is None
    assert (tmp_path / "other.json").read_bytes() == out.read_bytes()
    assert not (tmp_path / "other.json.sigstore.json").exists()


def test_a_signature_needs_a_file_to_lie_beside(
    bundlectl: Callable[..., Ran], upstream_served: Served, key: Path
) -> None:
    ran = bundlectl("lock", SOURCE, "--key", key)
    assert ran.exit_code == 2
    assert "a signature lies beside a file" in ran.err
    assert upstream_served.requests.count() == 0


@pytest.mark.parametrize("which", ["site.key.pub", "absent.key", "aws"])
def test_a_key_that_cannot_sign_is_told_before_anything_is_fetched(
    bundlectl: Callable[..., Ran], upstream_served: Served, origins: Sequence[str], key: Path, which: str
) -> None:
    named = which if which == "aws" else key.with_name(which)
    out = key.with_name("bundle.lock.json")
    ran = bundlectl("lock", SOURCE, *origins, "--key", named, "--out", out)
    assert ran.exit_code == (2 if which == "aws" else 1), ran.err
    assert upstream_served.requests.count() == 0
    assert not out.exists()


def test_verify_of_a_lock_needs_to_be_told_who_signed_it(bundlectl: Callable[..., Ran], lock: Path, key: Path) -> None:
    ran = bundlectl("verify", lock, "--key", f"{key}.pub", "-o", "json")
    assert ran.exit_code == 0, ran.out
    found = valid(ran.document, "verification")
    assert (found["kind"], found["verified"], found["uncovered"]) == ("Lock", True, [])
    assert found["key"]["source"] == f"{key}.pub"
    ran = bundlectl("verify", lock, "-o", "json")
    assert ran.exit_code == 3
    assert valid(ran.document, "verification")["reason"].startswith("no key for this kind")


def test_with_a_key_only_the_lock_that_it_signed_moves(
    bundlectl: Callable[..., Ran],
    upstream_served: Served,
    origins: Sequence[str],
    lock: Path,
    key: Path,
    registry: ServedRegistry,
) -> None:
    store = lock.with_name("store")
    public = f"{key}.pub"
    target = f"{registry.host}/eks"
    signature = lock.with_name(f"{lock.name}.sigstore.json")
    kept = signature.read_bytes()
    signature.unlink()
    upstream_served.requests.clear()
    for command in (("download", lock, "--store", store), ("mirror", lock, "--to", target)):
        ran = bundlectl(*command, *origins, "--verify", public, "-o", "json")
        assert ran.exit_code == 3
        assert ran.document["error"]["code"] == "verification"
    assert (upstream_served.requests.count(), registry.requests.count()) == (0, 0)
    signature.write_bytes(kept)
    assert bundlectl("download", lock, "--store", store, *origins, "--verify", public).exit_code == 0
    name = bundlectl("store", "list", store, "-o", "json").document["collections"][0]["name"]
    source = f"store:{store}#{name}"
    assert bundlectl("mirror", source, "--to", target, "--verify", public).exit_code == 0
    for against in (lock, source):
        compared = ("verify", f"registry:{target}", "--against", against, "--deep", "--key", public)
        assert bundlectl(*compared).exit_code == 0
    both = bundlectl("verify", source, "--verify", public, "-o", "json")
    assert both.exit_code == 0
    assert [valid(item, "verification")["kind"] for item in both.document] == ["Lock", "store"]


def test_another_s_key_is_not_ours(
    bundlectl: Callable[..., Ran], origins: Sequence[str], lock: Path, registry: ServedRegistry
) -> None:
    other = lock.with_name("other.key")
    bundlectl("keys", "generate", other)
    commands = (
        ("download", lock, "--store", lock.with_name("store"), *origins, "--verify"),
        ("mirror", lock, "--to", f"{registry.host}/eks", *origins, "--verify"),
        ("verify", lock, "--key"),
        ("verify", f"registry:{registry.host}/eks", "--against", lock, "--key"),
        ("inspect", lock, "--verify"),
        ("diff", lock, lock, "--verify"),
    )
    for command in commands:
        assert bundlectl(*command, f"{other}.pub").exit_code == 3, command
    assert registry.requests.count() == 0
