"""``sign``: which target is what, where results go, and that nothing else is contacted."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from bundlectl.operations import Session
from bundlectl.operations.signing_files import verify_file
from bundlectl.operations.signing_images import verify_reference
from mirror.oci.reference import Reference
from registry_fixtures.faults import Fault, Redirect
from signing.identity import TrustAnchors
from signing.keys import KeyAccess, load_public_key
from tests.unit.bundlectl.operations.signed import push_image
from tests.unit.signing.sigstore_instance import SigstoreInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.oci.descriptor import Descriptor
    from registry_fixtures.registry import ServedRegistry
    from tests.unit.bundlectl.cli.conftest import Ran

DOCUMENT = "apiVersion: example.test/v1\nkind: Thing\nmetadata:\n  name: a  # a remark\nspec:\n  a: 1\n  b: 2\n"

GUARD = """
import socket, sys

real = socket.socket.connect

def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("CONNECTS", address, file=sys.stderr)
        raise OSError("no way out")
    return real(self, address)

def resolve(host, *arguments, **named):
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("RESOLVES", host, file=sys.stderr)
        raise OSError("no names here")
    return known(host, *arguments, **named)

known = socket.getaddrinfo
socket.socket.connect = connect
socket.getaddrinfo = resolve
"""
RUN = """
from bundlectl.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
VERIFY = """
from pathlib import Path
from bundlectl.operations import KeyAccess, Session, load_public_key, verify_file, verify_reference
from mirror.oci.reference import Reference
from signing.identity import CertificateIdentity, TrustAnchors

name, file, key, root, certified = sys.argv[1:]
who = CertificateIdentity("builder@site.test", "https://login.site.test")
anchors = TrustAnchors(
    keys=(load_public_key(key, KeyAccess()),), certificates=(who,), trusted_root=Path(root).read_bytes()
)
with Session() as session:
    assert verify_reference(Reference.parse(name), anchors, session=session).verified
assert verify_file(Path(file), None, anchors).verified
assert verify_file(Path(file), Path(certified), anchors).signed_by == (who,)
"""


@pytest.fixture
def key(bundlectl: Callable[..., Ran], tmp_path: Path) -> Path:
    path = tmp_path / "site.key"
    assert bundlectl("keys", "generate", path).exit_code == 0
    return path


@pytest.fixture
def anchors(key: Path) -> TrustAnchors:
    return TrustAnchors(keys=(load_public_key(f"{key}.pub", KeyAccess()),))


@pytest.fixture
def image(registry: ServedRegistry) -> Descriptor:
    with Session() as session:
        return push_image(session.target(registry.host).repository("a/b"))


def described(ran: Ran) -> Any:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath("signing.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(ran.document)
    return ran.document


def test_a_manifest_is_signed_to_standard_output_and_is_otherwise_the_same_text(
    bundlectl: Callable[..., Ran], key: Path, tmp_path: Path
) -> None:
    document = files("registry_fixtures.samples").joinpath("bundles-101.yaml").read_text()
    path = tmp_path / "bundles.yaml"
    path.write_text(document)
    ran = bundlectl("sign", path, "--key", key)
    assert ran.exit_code == 0, ran.err
    difference = [line for line in difflib.ndiff(document.splitlines(), ran.out.splitlines()) if line[0] in "+-"]
    assert all(line.startswith("+") for line in difference)
    assert any("anywhere.eks.amazonaws.com/signature: " in line for line in difference)
    assert path.read_text() == document


def test_a_signed_manifest_goes_to_a_file_and_json_tells_of_it(
    bundlectl: Callable[..., Ran], key: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "thing.yaml", tmp_path / "signed.yaml"
    path.write_text(DOCUMENT)
    ran = bundlectl("sign", path, "--key", key, "--exclude", ".spec.b", "--out", out, "-o", "json")
    assert ran.exit_code == 0, ran.err
    document = described(ran)
    assert (document["kind"], document["target"], document["out"]) == ("manifest", str(path), str(out))
    assert "excludes:" in out.read_text()
    verdict = bundlectl("verify", out, "--key", f"{key}.pub", "-o", "json")
    assert document["digest"] == verdict.document["digest"]


def test_json_and_the_manifest_do_not_both_go_to_standard_output(
    bundlectl: Callable[..., Ran], key: Path, tmp_path: Path
) -> None:
    path = tmp_path / "thing.yaml"
    path.write_text(DOCUMENT)
    ran = bundlectl("sign", path, "--key", key, "-o", "json")
    assert ran.exit_code == 2
    assert ran.document["error"]["hint"] == "add --out FILE"
    assert bundlectl("sign", path, "--blob", "--out", "-", "--key", key, "-o", "json").exit_code == 2


def test_a_file_gets_its_bundle_beside_it(
    bundlectl: Callable[..., Ran], key: Path, anchors: TrustAnchors, tmp_path: Path
) -> None:
    path = tmp_path / "node.ova"
    path.write_bytes(b"\x00" * 1000)
    ran = bundlectl("sign", path, "--blob", "--key", key, "-o", "json")
    assert ran.exit_code == 0, ran.err
    assert described(ran)["out"] == f"{path}.sigstore.json"
    assert verify_file(path, None, anchors).verified
    bundle = bundlectl("sign", path, "--blob", "--key", key, "--out", "-")
    assert json.loads(bundle.out)["messageSignature"]
    shown = bundlectl("sign", path, "--blob", "--key", key)
    assert f"signed {path} sha256:" in shown.out


@pytest.mark.parametrize("form", ["tag", "bundle", "both"])
def test_an_image_is_signed_in_its_registry(
    bundlectl: Callable[..., Ran],
    key: Path,
    anchors: TrustAnchors,
    registry: ServedRegistry,
    image: Descriptor,
    form: str,
) -> None:
    name = f"{registry.host}/a/b:v1"
    ran = bundlectl("sign", name, "--key", key, "--signature-format", form, "-o", "json")
    assert ran.exit_code == 0, ran.err
    assert "tags move" in ran.err
    document = described(ran)
    assert document["digest"] == str(image.digest)
    assert len(document["signatures"]) == (2 if form == "both" else 1)
    with Session() as session:
        assert verify_reference(Reference.parse(name), anchors, session=session).verified
    again = bundlectl("sign", f"{registry.host}/a/b@{image.digest}", "--key", key, "--signature-format", form)
    assert "as it was before" in again.out
    assert again.err == ""


def test_the_tag_is_what_is_written_unless_told_otherwise(
    bundlectl: Callable[..., Ran], key: Path, registry: ServedRegistry, image: Descriptor
) -> None:
    ran = bundlectl("sign", f"{registry.host}/a/b:v1", "--key", key, "-o", "json")
    assert [item["tag"] for item in described(ran)["signatures"]] == [f"sha256-{image.digest.encoded}.sig"]


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("thing.yaml", ["--signature-format", "both"]),
        ("./thing", ["--blob", "--exclude", ".spec"]),
        ("./thing", ["--blob", "--signature-format", "tag"]),
        ("host.test/a:v1", ["--exclude", ".spec"]),
        ("host.test/a:v1", ["--out", "x"]),
        ("no-reference", []),
        ("image:nginx", []),
        ("host.test/a", []),
        (f"host.test/{'a' * 300}:v1", []),
        ("host.test/a\x01:v1", []),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    bundlectl: Callable[..., Ran], key: Path, target: str, options: list[str]
) -> None:
    ran = bundlectl("sign", target, "--key", key, "--offline", *options)
    assert ran.exit_code == 2, ran.err


def test_without_a_key_nothing_is_signed(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "thing.yaml"
    path.write_text(DOCUMENT)
    assert bundlectl("sign", path).exit_code == 2
    assert bundlectl("sign", path, "--key", "aws").exit_code == 2
    assert bundlectl("sign", path, "--key", tmp_path / "absent.key").exit_code == 1


def test_nobody_is_asked_for_a_password_before_it_is_clear_what_there_is_to_sign(
    bundlectl: Callable[..., Ran], tmp_path: Path
) -> None:
    absent = tmp_path / "absent.key"
    assert bundlectl("sign", tmp_path / "absent.yaml", "--key", absent).exit_code == 4
    assert bundlectl("sign", tmp_path / "absent", "--blob", "--key", absent).exit_code == 4
    assert bundlectl("sign", "a\0b", "--blob", "--key", absent).exit_code == 4
    assert bundlectl("sign", "nginx", "--key", absent).exit_code == 2
    assert bundlectl("sign", "host.test/a:v1", "--key", absent).exit_code == 1


def test_a_file_that_is_absent_is_missing_and_a_text_that_is_no_manifest_is_content(
    bundlectl: Callable[..., Ran], key: Path, tmp_path: Path
) -> None:
    assert bundlectl("sign", tmp_path / "absent.yaml", "--key", key).exit_code == 4
    assert bundlectl("sign", tmp_path / "absent", "--blob", "--key", key).exit_code == 4
    path = tmp_path / "text.yaml"
    path.write_text("just text\n")
    ran = bundlectl("sign", path, "--key", key)
    assert (ran.exit_code, ran.out) == (3, "")


def test_a_default_in_the_configuration_file_does_not_forbid_other_targets(
    bundlectl: Callable[..., Ran], key: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "config" / "bundlectl" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[sign]\nsignature_format = "both"\n')
    path = tmp_path / "node.ova"
    path.write_bytes(b"x")
    ran = bundlectl("sign", path, "--blob", "--key", key)
    assert ran.exit_code == 0, ran.err


def test_signing_and_verifying_contact_nothing_but_the_registry(
    key: Path, registry: ServedRegistry, image: Descriptor, tmp_path: Path
) -> None:
    def guarded(code: str, *arguments: object) -> None:
        done = subprocess.run(
            [sys.executable, "-c", f"{GUARD}\n{code}", *map(str, arguments)],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[4],
        )
        assert "CONNECTS" not in done.stderr
        assert "RESOLVES" not in done.stderr
        assert done.returncode == 0, done.stderr

    sigstore = SigstoreInstance()
    root, certified = tmp_path / "root.json", tmp_path / "certified.json"
    root.write_bytes(sigstore.trusted_root())
    certified.write_bytes(sigstore.sign_message(b"x", "builder@site.test", "https://login.site.test"))
    name = f"{registry.host}/a/b@{image.digest}"
    file = tmp_path / "node.ova"
    file.write_bytes(b"x")
    guarded(RUN, "sign", name, "--key", key, "--signature-format", "both")
    guarded(RUN, "sign", file, "--blob", "--key", key)
    guarded(VERIFY, name, file, f"{key}.pub", root, certified)
    with pytest.raises(AssertionError, match="RESOLVES"):
        guarded("socket.create_connection(('registry.invalid', 443))")


def test_offline_the_registry_cannot_send_elsewhere(
    bundlectl: Callable[..., Ran], key: Path, registry: ServedRegistry, image: Descriptor
) -> None:
    registry.faults.add(Fault(Redirect("http://elsewhere.invalid"), method="GET", path="*"))
    name = f"{registry.host}/a/b@{image.digest}"
    ran = bundlectl("sign", name, "--key", key, "--offline")
    assert ran.exit_code == 1
    assert "--offline" in ran.err
