"""Who is believed: what options come to, what contradicts itself, and that nobody weakens trust unseen."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from bundles.lock import Lock
from bundles.lock_signature import sign_lock
from tests.unit.bundles.documents import BUNDLES, PACKAGES
from tests.unit.bundles.signed_documents import KEY, SIGNER, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

BASE64 = f"base64:{KEY.key.base64()}"
POLICY = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Policy
spec:
  rules:
  - match: ['*']
    trust: declared
"""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EKSA_PUBLIC_KEY", raising=False)
    path = tmp_path / "packages.yaml"
    path.write_bytes(signed(PACKAGES))
    return path


def configure(tmp_path: Path, text: str) -> Path:
    config = tmp_path / "config" / "bundlectl" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    config.chmod(0o600)
    return config


def warnings(ran: Ran) -> list[str]:
    return [line.removeprefix("warning: ") for line in ran.err.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--key", BASE64, "--verify", "off"), "--key and --verify both say"),
        (("--key", BASE64, "--verify", BASE64), "--key and --verify both say"),
        (("--certificate-identity", "me@example.com"), "belong together"),
        (("--certificate-oidc-issuer", "https://issuer.example"), "belong together"),
        (
            ("--certificate-identity", "me@example.com", "--certificate-oidc-issuer", "https://issuer.example"),
            "needs sigstore's trusted root",
        ),
        (("--trusted-root", "/does/not/exist"), "the trusted root cannot be read"),
        (("--verify", "https://keys.example/site.pub"), "there is no kind of key https://"),
        (("--verify", "pkcs11:token=t;object=o;pin-value=1234"), "pin-value"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(
    bundlectl: Callable[..., Ran], document: Path, arguments: tuple[str, ...], why: str
) -> None:
    ran = bundlectl("verify", document, *arguments)
    assert ran.exit_code == 2, ran.err
    assert why in ran.err
    assert "1234" not in ran.err + ran.out


def test_nothing_is_checked_or_somebody_is_named_but_not_both(
    bundlectl: Callable[..., Ran], document: Path, tmp_path: Path
) -> None:
    (tmp_path / "root.json").write_text("{}")
    identity = ("--certificate-identity", "me@example.com", "--certificate-oidc-issuer", "https://issuer.example")
    ran = bundlectl("inspect", document, "--verify", "off", *identity, "--trusted-root", tmp_path / "root.json")
    assert ran.exit_code == 2
    assert "--verify off checks nothing" in ran.err


@pytest.mark.parametrize("command", ["inspect", "lock", "verify"])
@pytest.mark.parametrize("key", ["/does/not/exist.pub", "base64:bm9uc2Vuc2U="])
def test_a_key_that_cannot_be_read_ends_it(
    bundlectl: Callable[..., Ran], document: Path, command: str, key: str
) -> None:
    ran = bundlectl(command, document, "--verify", key)
    assert ran.exit_code == 1, ran.err
    assert ran.out == ""


def test_a_document_is_inspected_when_the_named_key_signed_it_and_its_level_is_told(
    bundlectl: Callable[..., Ran], document: Path
) -> None:
    ran = bundlectl("inspect", document, "--verify", BASE64, "-o", "json")
    assert ran.exit_code == 0, ran.err
    assert {item["trust"] for item in ran.document["artifacts"]} == {"signed"}
    assert warnings(ran) == []
    ran = bundlectl("inspect", document, "-o", "json")
    assert ran.exit_code == 3
    assert ran.document["error"]["code"] == "verification"
    assert ran.document["error"]["exitCode"] == 3
    ran = bundlectl("inspect", document, "--verify", "off", "-o", "json")
    assert {item["trust"] for item in ran.document["artifacts"]} == {"off"}


@pytest.mark.parametrize("command", ["inspect", "lock", "download", "mirror"])
def test_unsigned_bundles_are_refused_by_every_command_that_reads_them(
    bundlectl: Callable[..., Ran], tmp_path: Path, command: str
) -> None:
    path, store = tmp_path / "bundles.yaml", tmp_path / "store"
    path.write_text(BUNDLES)
    where = {"download": ("--store", store), "mirror": ("--to", "127.0.0.1:1/eks")}.get(command, ())
    ran = bundlectl(command, path, *where, "--no-follow")
    assert ran.exit_code == 3
    assert "is not signed: there is no annotation anywhere.eks.amazonaws.com/signature" in ran.err
    assert ran.out == ""


def test_a_key_that_was_not_typed_is_told_with_where_it_came_from(
    bundlectl: Callable[..., Ran], document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tmp_path, f'[inspect]\nverify = "{BASE64}"\n')
    ran = bundlectl("inspect", document)
    assert ran.exit_code == 0, ran.err
    assert any(KEY.key.fingerprint in line and f"(file {config})" in line for line in warnings(ran))
    monkeypatch.setenv("BUNDLECTL_INSPECT_VERIFY", BASE64)
    told = warnings(bundlectl("inspect", document))
    assert any("(environment variable BUNDLECTL_INSPECT_VERIFY)" in line for line in told)
    monkeypatch.setenv("BUNDLECTL_VERIFY_KEY", BASE64)
    told = warnings(bundlectl("verify", document))
    assert any("(environment variable BUNDLECTL_VERIFY_KEY)" in line for line in told)


def test_verification_that_is_off_is_told_with_where_it_came_from(
    bundlectl: Callable[..., Ran], document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = "signatures of release manifests are not verified"
    config = configure(tmp_path, '[inspect]\nverify = "off"\n')
    assert f"{off} (file {config})" in warnings(bundlectl("inspect", document))
    monkeypatch.setenv("BUNDLECTL_INSPECT_VERIFY", "off")
    assert f"{off} (environment variable BUNDLECTL_INSPECT_VERIFY)" in warnings(bundlectl("inspect", document))
    assert f"{off} (flag --verify)" in warnings(bundlectl("inspect", document, "--verify", "off"))


def test_a_configuration_in_the_working_directory_weakens_nothing(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "bundles.yaml").write_text(BUNDLES)
    for name in ("config.toml", "bundlectl.toml", ".bundlectl.toml"):
        (folder / name).write_text('[inspect]\nverify = "off"\n')
    monkeypatch.chdir(folder)
    assert bundlectl("inspect", "bundles.yaml").exit_code == 3


def test_a_policy_that_was_not_typed_is_told_with_where_it_came_from(
    bundlectl: Callable[..., Ran], document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    monkeypatch.setenv("BUNDLECTL_INSPECT_POLICY", str(policy))
    (told,) = warnings(bundlectl("inspect", document, "--verify", BASE64))
    assert told.startswith(f"the policy policy.yaml (sha256:{hashlib.sha256(POLICY.encode()).hexdigest()})")
    assert told.endswith("(environment variable BUNDLECTL_INSPECT_POLICY)")
    monkeypatch.delenv("BUNDLECTL_INSPECT_POLICY")
    assert warnings(bundlectl("inspect", document, "--verify", BASE64, "--policy", policy)) == []


def test_who_is_believed_is_recorded_in_the_lock(
    bundlectl: Callable[..., Ran], tmp_path: Path, upstream_served: Served
) -> None:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    pause = "image:public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
    (tmp_path / "policy.yaml").write_text(POLICY.replace("declared", "resolved"))
    policy = ("--policy", tmp_path / "policy.yaml", "--allow-rollback")
    lock = bundlectl("lock", pause, *origins, "--verify", BASE64, *policy).document
    told = " ".join(lock["weakened"])
    assert f"signatures are checked with the key {KEY.key.fingerprint} (flag --verify)" in told
    assert "the policy policy.yaml (sha256:" in told
    assert "the latest may be older than what the store has seen (flag --allow-rollback)" in told
    assert str(tmp_path) not in told


def recorded(path: Path) -> list[str]:
    found: list[str] = json.loads(path.read_bytes())["weakened"]
    return found


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALLOW_ROLLBACK", "1", "the latest may be older than what the store has seen"),
        ("RELEASE_URL", "https://mirror.example/index.yaml", "releases are looked up in https://mirror.example"),
        ("PACKAGE_REGISTRY", "mirror.example/eks", "package bundles and charts are looked for in mirror.example/eks"),
        ("PACKAGE_IMAGE_REGISTRY", "mirror.example/eks", "images of packages are looked for in mirror.example/eks"),
        ("VERIFY", BASE64, f"signatures are checked with the key {KEY.key.fingerprint}"),
    ],
    ids=["rollback", "index", "packages", "images", "key"],
)
def test_whatever_decides_trust_is_told_with_where_it_came_from_and_recorded(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    collection = tmp_path / "empty.lock.json"
    made = bundlectl("lock", signed_lock(tmp_path), "--out", collection)
    assert made.exit_code == 0
    assert said not in made.err
    monkeypatch.setenv(f"BUNDLECTL_LOCK_{variable}", value)
    made = bundlectl("lock", signed_lock(tmp_path), "--out", collection)
    assert made.exit_code == 0, made.err
    where = f"environment variable BUNDLECTL_LOCK_{variable}"
    assert any(said in line and where in line for line in warnings(made))
    assert any(said in line and where in line for line in recorded(collection))


def test_a_policy_is_recorded_by_its_name_and_digest(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    out = tmp_path / "out.json"
    made = bundlectl("lock", signed_lock(tmp_path), "--policy", policy, "--out", out)
    assert made.exit_code == 0, made.err
    digest = hashlib.sha256(POLICY.encode()).hexdigest()
    assert recorded(out) == [f"the policy policy.yaml (sha256:{digest}) is met (flag --policy)"]
    assert str(policy) not in out.read_text()


def signed_lock(tmp_path: Path) -> Path:
    """A signed lock of nothing, so that no host is asked."""
    nothing: dict[str, object] = {key: [] for key in ("kubeVersions", "providers", "platforms", "include", "exclude")}
    selection = {**nothing, "referrers": True, "files": True, "renderCharts": False}
    lock = Lock(sources=(), selection=selection, manifests=(), artifacts=(), blobs={})
    path = tmp_path / "nothing.json"
    path.write_bytes(lock.to_bytes())
    path.with_name("nothing.json.sigstore.json").write_bytes(sign_lock(lock.to_bytes(), lock, SIGNER))
    return path


def test_one_target_that_cannot_be_looked_at_hides_nothing_of_the_others(
    bundlectl: Callable[..., Ran], document: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered.yaml"
    altered.write_bytes(document.read_bytes().replace(b"sha256:a", b"sha256:b", 1))
    ran = bundlectl("verify", altered, tmp_path / "missing.yaml", "--key", BASE64)
    assert ran.exit_code == 3
    assert "does not hold" in ran.out
    assert "there is no such file" in ran.out
    assert bundlectl("verify", document, tmp_path / "missing.yaml", "--key", BASE64).exit_code == 4
    assert bundlectl("verify", tmp_path / "missing.yaml", "--key", BASE64).exit_code == 4


def test_a_policy_is_not_silently_ignored(bundlectl: Callable[..., Ran], document: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    ran = bundlectl("verify", document, "--bundle", "x", "--policy", policy, "--key", BASE64)
    assert ran.exit_code == 2
    assert "--policy is for" in ran.err
