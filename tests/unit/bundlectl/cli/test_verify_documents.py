"""``verify`` of documents: whose signature holds, over which bytes, and what it does not cover."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bundlectl.errors import BundlectlError
from bundlectl.operations.request import SourceRequest
from bundlectl.operations.verifying_documents import document_verdict
from bundles.belief import Belief
from registry_fixtures.samples import sample_documents
from registry_fixtures.synthesis import PACKAGE_BUNDLES
from registry_fixtures.upstream import Upstream
from tests.unit.bundles.documents import BUNDLES, PACKAGES, shared
from tests.unit.bundles.signed_documents import BY_KEY, KEY, OTHER_SIGNER, SIGNER, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

PACKAGE_BUNDLE = "packagebundle-v1-24-116.aws-signed.yaml"
MINIMAL = "bundles-minimal.aws-kms-signed.yaml"
AWS_SIGNED = pytest.mark.parametrize("name", [PACKAGE_BUNDLE, MINIMAL])
DIGESTS = {
    PACKAGE_BUNDLE: f"sha256:{base64.b64decode('CNq31eevkaCyQXxfAbU3vf5qonscroZi35hsaNPghFA=').hex()}",
    MINIMAL: "sha256:df8b26f64e77543d7ee2d9a4bd0bb1cdc20d63c2fe75ee2ae77e9fcf37e2f771",
}
"""Of what AWS's own code signs, measured elsewhere."""
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: hello
spec:
  containers:
  - name: hello
    image: registry.example/hello@sha256:1
"""


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath("verification.schema.json").read_bytes())
    return Draft202012Validator(schema)


@pytest.fixture
def verify(bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Verifies bytes as a file; the JSON, which fits the schema, and agrees with the exit code."""
    monkeypatch.delenv("EKSA_PUBLIC_KEY", raising=False)

    def call(raw: bytes, *arguments: object) -> Any:
        path = tmp_path / "document.yaml"
        path.write_bytes(raw)
        ran = bundlectl("verify", path, *arguments, "-o", "json")
        found = ran.document
        assert "error" not in found, ran.out
        validator().validate(found)
        assert ran.exit_code == (0 if found["verified"] else 3)
        assert found["target"] == str(path)
        return found

    return call


@AWS_SIGNED
def test_what_aws_signed_is_verified_with_the_key_that_is_built_in(verify: Callable[..., Any], name: str) -> None:
    found = verify(shared(name))
    assert found["verified"]
    assert found["key"]["source"] == "aws"
    assert found["reason"] is None
    assert found["digest"] == DIGESTS[name]


def test_the_text_says_who_signed_and_what_that_does_not_cover(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EKSA_PUBLIC_KEY", raising=False)
    path = tmp_path / "packages.yaml"
    path.write_bytes(shared(PACKAGE_BUNDLE))
    ran = bundlectl("verify", path)
    assert ran.exit_code == 0
    assert ran.out.startswith(f"{path}: verified, signed by aws (sha256:")
    assert "the signature does not cover:" in ran.out
    assert "spec.packages[].source.registry" in ran.out
    path.write_bytes(shared(PACKAGE_BUNDLE).replace(b"workloadonly: true", b"workloadonly: false", 1))
    ran = bundlectl("verify", path)
    assert ran.exit_code == 3
    assert ran.out.startswith(f"{path}: NOT VERIFIED: the signature in eksa.aws.com/signature does not hold")


@dataclass(frozen=True)
class Place:
    """A scalar of a document: its path with indexes as ``[]``, and where its text is."""

    path: str
    start: int
    end: int


def places(text: str) -> list[Place]:
    def walk(node: Any, path: str) -> Iterator[Place]:
        if node.id == "mapping":
            for key, value in node.value:
                yield from walk(value, f"{path}.{key.value}".lstrip("."))
        elif node.id == "sequence":
            for item in node.value:
                yield from walk(item, f"{path}[]")
        else:
            yield Place(path, node.start_mark.index, node.end_mark.index)

    return list(walk(yaml.compose(text, Loader=yaml.CSafeLoader), ""))


def changed(text: str, place: Place) -> str:
    """The document with another value there, of the same type."""
    old = text[place.start : place.end]
    if old in ("true", "false"):
        new = "false" if old == "true" else "true"
    elif old == "null":
        new = '"2025-09-30T00:00:00Z"'
    else:
        # A digit if there is one: a time stays a time.
        at = max(index for index, char in enumerate(old) if char.isdigit() or not re.search("[0-9]", old))
        other = "2" if old[at] != "2" else "3"
        new = old[:at] + other + old[at + 1 :]
    return text[: place.start] + new + text[place.end :]


def exit_code(text: str, belief: Belief) -> int:
    """What verifying a document ends with, be it that it is none any more."""
    try:
        return document_verdict(text.encode(), "document.yaml", SourceRequest(sources=(), belief=belief)).exit_code
    except BundlectlError as error:
        return error.exit_code


def within(path: str, gap: str) -> bool:
    return path == gap or path.startswith((f"{gap}.", f"{gap}["))


def documents() -> Iterator[tuple[str, Belief]]:
    yield shared(PACKAGE_BUNDLE).decode(), Belief()
    yield shared(MINIMAL).decode(), Belief()
    samples = files("registry_fixtures.samples")
    for name in ("bundles-101.yaml", "packages-v1-33-120.yaml", "kubernetes-1-33-eks-12.yaml"):
        yield signed(samples.joinpath(name).read_bytes()).decode(), BY_KEY
    yield signed(BUNDLES).decode(), BY_KEY
    yield signed(PACKAGES).decode(), BY_KEY


@pytest.mark.parametrize("number", range(7))
def test_a_changed_field_is_found_out_exactly_where_the_signature_is_said_to_cover_it(number: int) -> None:
    text, belief = list(documents())[number]
    verdict = document_verdict(text.encode(), "document.yaml", SourceRequest(sources=(), belief=belief))
    assert verdict.verified
    signature = re.compile(r"metadata\.annotations\..*/signature")
    seen = {True: 0, False: 0}
    for place in places(text):
        covered = not any(within(place.path, gap) for gap in verdict.uncovered)
        # Of the annotations the excludes are signed, and the signature itself is another test's.
        covered = covered or place.path == "metadata.annotations.eksa.aws.com/excludes"
        if signature.fullmatch(place.path):
            continue
        seen[covered] += 1
        assert exit_code(changed(text, place), belief) == (3 if covered else 0), place
    assert seen[True] > 2


@AWS_SIGNED
def test_any_other_character_in_the_signature_is_found_out_and_the_reason_says_so(name: str) -> None:
    text = shared(name).decode()
    (place,) = [place for place in places(text) if place.path.endswith("aws.com/signature")]
    letters = string.ascii_letters + string.digits + "+/"
    for at in range(place.start, place.end):
        for other in (letters[(letters.find(text[at]) + 1) % 64], "=", "_", " "):
            if other == text[at] or (other == " " and at in (place.start, place.end - 1)):
                continue  # a blank at an end is none of the text
            verdict = document_verdict(
                f"{text[:at]}{other}{text[at + 1 :]}".encode(),
                "document.yaml",
                SourceRequest(sources=(), belief=Belief()),
            )
            assert verdict.exit_code == 3
            assert "signature" in (verdict.reason or "")


@AWS_SIGNED
def test_a_signature_that_was_taken_away_is_missed(verify: Callable[..., Any], name: str) -> None:
    raw = re.sub(rb"\n[^\n]*aws\.com/signature:[^\n]*", b"", shared(name))
    found = verify(raw)
    assert (found["verified"], found["key"], found["digest"]) == (False, None, None)
    assert found["reason"].startswith("is not signed: there is no annotation")


@AWS_SIGNED
def test_another_key_did_not_sign_it(verify: Callable[..., Any], name: str) -> None:
    for option in ("--key", "--verify"):
        found = verify(shared(name), option, f"base64:{KEY.key.base64()}")
        assert not found["verified"]
        assert "did not sign what the document now says" in found["reason"]


def test_a_key_in_base64_or_in_a_file_verifies_what_it_signed(verify: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "site.pub").write_text(KEY.key.pem())
    for key in (f"base64:{KEY.key.base64()}", str(tmp_path / "site.pub")):
        found = verify(signed(PACKAGES), "--key", key)
        assert found["verified"]
        assert found["key"] == {"source": key, "fingerprint": KEY.key.fingerprint}
    assert not verify(signed(PACKAGES))["verified"]


def test_a_registry_that_was_added_or_changed_breaks_nothing_and_is_listed(verify: Callable[..., Any]) -> None:
    original = shared(PACKAGE_BUNDLE)
    with_registry = original.replace(b"    source:\n", b"    source:\n      registry: evil.example\n")
    assert with_registry != original
    for raw in (original, with_registry, with_registry.replace(b"evil.example", b"other.example")):
        found = verify(raw)
        assert found["verified"]
        assert "spec.packages[].source.registry" in found["uncovered"]
    assert [gap["path"] for gap in found["gaps"]] == found["uncovered"]
    assert all(gap["allows"] for gap in found["gaps"])


@AWS_SIGNED
def test_unknown_fields_break_nothing_and_are_listed(verify: Callable[..., Any], name: str) -> None:
    raw = shared(name).replace(b"\nspec:\n", b"\nspec:\n  novel: {image: 'evil.example/x:1'}\n")
    assert raw != shared(name)
    found = verify(raw)
    assert found["verified"]
    assert "spec.novel" in found["uncovered"]


def test_the_environment_replaces_the_key_of_package_bundles_alone_and_this_is_told(
    verify: Callable[..., Any], bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKSA_PUBLIC_KEY", KEY.key.base64())
    found = verify(signed(PACKAGES))
    assert found["verified"]
    assert found["key"]["source"] == "EKSA_PUBLIC_KEY"
    assert not verify(shared(PACKAGE_BUNDLE))["verified"]
    assert verify(shared(MINIMAL))["key"]["source"] == "aws"
    assert not verify(signed(BUNDLES))["verified"]
    ran = bundlectl("verify", tmp_path / "document.yaml")
    assert "(environment variable EKSA_PUBLIC_KEY)" in ran.err
    assert KEY.key.fingerprint in ran.err


def test_where_a_key_is_named_the_one_of_the_environment_has_no_part(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packages.yaml"
    path.write_bytes(signed(PACKAGES))
    monkeypatch.setenv("EKSA_PUBLIC_KEY", OTHER_SIGNER.public_key.base64())
    ran = bundlectl("verify", path, "--key", f"base64:{KEY.key.base64()}")
    assert ran.exit_code == 0
    assert "EKSA_PUBLIC_KEY" not in ran.err


def test_a_key_in_the_environment_that_is_none_is_not_passed_over(
    bundlectl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packages.yaml"
    path.write_text(PACKAGES)
    monkeypatch.setenv("EKSA_PUBLIC_KEY", "bm9uc2Vuc2U=")
    ran = bundlectl("verify", path, "-o", "json")
    assert ran.exit_code == 1
    assert ran.document["error"]["code"] == "key"


@AWS_SIGNED
def test_the_canonical_bytes_are_those_of_the_digest(
    verify: Callable[..., Any], bundlectl: Callable[..., Ran], tmp_path: Path, name: str
) -> None:
    digest = verify(shared(name))["digest"]
    ran = bundlectl("verify", tmp_path / "document.yaml", "--show-canonical")
    assert ran.exit_code == 0
    assert f"sha256:{hashlib.sha256(ran.out.encode()).hexdigest()}" == digest


def test_nothing_canonical_is_shown_of_what_is_not_verified(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "packages.yaml"
    path.write_text(PACKAGES)
    ran = bundlectl("verify", path, "--show-canonical")
    assert ran.exit_code == 2
    assert ran.out == ""
    assert "is not signed" in ran.err


def test_any_kind_is_verified_with_a_key_and_aws_has_none_for_it(verify: Callable[..., Any]) -> None:
    raw = signed(POD)
    found = verify(raw, "--key", f"base64:{KEY.key.base64()}")
    assert (found["verified"], found["kind"], found["name"]) == (True, "Pod", "hello")
    for arguments in ((), ("--verify", "aws"), ("--key", "aws")):
        found = verify(raw, *arguments)
        assert not found["verified"]
        assert found["reason"].startswith("no key for this kind")
    assert not verify(raw.replace(b"sha256:1", b"sha256:2"), "--key", f"base64:{KEY.key.base64()}")["verified"]


def test_with_verification_off_nothing_is_verified(verify: Callable[..., Any]) -> None:
    found = verify(shared(PACKAGE_BUNDLE), "--verify", "off")
    assert not found["verified"]
    assert found["reason"] == "nothing was checked: --verify off"


def test_a_key_on_another_curve_is_told_to_be_one(verify: Callable[..., Any], tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub").write_bytes(pem)
    found = verify(signed(PACKAGES), "--key", tmp_path / "other.pub")
    assert not found["verified"]
    assert "ECDSA on P-256" in found["reason"]


def test_of_several_documents_each_is_told_and_the_worst_is_the_exit_code(
    bundlectl: Callable[..., Ran], tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_bytes(signed(BUNDLES))
    bad.write_text(BUNDLES)
    ran = bundlectl("verify", good, bad, "--key", f"base64:{KEY.key.base64()}", "-o", "json")
    assert ran.exit_code == 3
    assert [item["verified"] for item in ran.document] == [True, False]
    for item in ran.document:
        validator().validate(item)


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"a: [", 3), (b"kind: Pod\n", 3), (b"", 3), (b"\xff\xfe", 3), (b"a: 1\na: 2\n", 3)],
)
def test_what_is_no_document_is_refused(bundlectl: Callable[..., Ran], tmp_path: Path, raw: bytes, code: int) -> None:
    path = tmp_path / "document.yaml"
    path.write_bytes(raw)
    ran = bundlectl("verify", path, "-o", "json")
    assert ran.exit_code == code, ran.out


def test_two_readers_cannot_be_shown_two_documents(verify: Callable[..., Any]) -> None:
    text = signed(PACKAGES, SIGNER).decode()
    for old, new in (
        ("  name: v1-33-120\n", "  name: v1-33-120\n  Name: v1-33-121\n"),
        ("      repository: harbor/harbor-helm\n", "      repository: harbor/harbor-helm\n      REPOSITORY: evil\n"),
    ):
        assert old in text
        assert exit_code(text.replace(old, new), BY_KEY) == 3
    assert verify(text.encode(), "--key", f"base64:{KEY.key.base64()}")["verified"]


@pytest.fixture(scope="module")
def signed_upstream() -> Iterator[Upstream]:
    def finish(kind: str, raw: bytes) -> bytes:
        return raw if kind == "Release" else signed(raw)

    with Upstream.synthesise(sample_documents(), finish=finish) as made:
        yield made


@pytest.mark.parametrize("source", ["packages:1-33", "packages:v1-33-120", f"{PACKAGE_BUNDLES}:v1-33-120"])
def test_a_package_bundle_in_a_registry_is_checked_as_the_manifest_that_it_holds(
    bundlectl: Callable[..., Ran], signed_upstream: Upstream, source: str
) -> None:
    with signed_upstream.serve() as served:
        origins = [word for pair in served.origins for word in ("--origin", pair)]
        ran = bundlectl("verify", source, *origins, "--key", f"base64:{KEY.key.base64()}", "-o", "json")
        validator().validate(ran.document)
        assert ran.exit_code == 0, ran.out
        assert (ran.document["kind"], ran.document["name"]) == ("PackageBundle", "v1-33-120")
        ran = bundlectl("verify", source, *origins, "-o", "json")
        validator().validate(ran.document)
        assert ran.exit_code == 3
        assert "does not hold: aws" in ran.document["reason"]


def test_of_a_release_every_document_is_told(bundlectl: Callable[..., Ran], signed_upstream: Upstream) -> None:
    with signed_upstream.serve() as served:
        origins = [word for pair in served.origins for word in ("--origin", pair)]
        ran = bundlectl("verify", "eks-a:latest", *origins, "--key", f"base64:{KEY.key.base64()}", "-o", "json")
    assert ran.exit_code == 0
    assert {item["kind"] for item in ran.document} == {"Bundles", "Release"}
    for item in ran.document:
        validator().validate(item)
        assert item["target"].startswith("eks-a:latest (https://")
    (release, *_) = (item for item in ran.document if item["kind"] == "Release")
    assert "status" in release["uncovered"]


@pytest.mark.parametrize("arguments", [(), ("--key", f"base64:{KEY.key.base64()}"), ("--verify", "off")])
def test_an_eksd_release_without_a_signature_is_not_verified(
    bundlectl: Callable[..., Ran], upstream_served: Served, arguments: tuple[str, ...]
) -> None:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    ran = bundlectl("verify", "eks-d:1-33", *origins, *arguments, "-o", "json")
    assert ran.exit_code == 3
    validator().validate(ran.document)
    assert (ran.document["verified"], ran.document["key"]) == (False, None)
    assert re.search("carries no signature|is not signed|nothing was checked", ran.document["reason"])
