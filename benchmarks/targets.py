"""What is fuzzed: how an input is made from a number, and what must hold when it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import trust_targets as trust
from archives import make_archive, read_archive
from mutation import TOKENS, change_bytes, change_lines, change_text, change_tree, thin
from programs import DATA

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["TARGETS", "Target"]

LIKELY = 0.9
ONE, TWO = "a" * 64, "b" * 64
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution.manifest"
REFERENCES = (
    "public.ecr.aws/eks-anywhere/cli-tools:v0.20.0-eks-a-101",
    f"783794618700.dkr.ecr.us-west-2.amazonaws.com/harbor/harbor-core@sha256:{ONE}",
    f"localhost:5000/a/b__c.d-e/f:t@sha512:{ONE}{TWO}",
    f"[2001:db8::1]:443/a:latest@sha256:{TWO}",
)
CHALLENGES = (
    'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
    'Basic realm="a \\"quoted\\" one", charset=UTF-8',
    'Negotiate YWJjZA==, Bearer realm=https://auth.example/token , error = "insufficient_scope"',
    'Digest qop="auth, auth-int", nonce=abc,Basic',
)


@dataclass(frozen=True)
class Target:
    """A reader of things that others write.

    Args:
        inputs: how many at full scale.
        share: the part of the time that it may take.
        make: an input; the same dice give the same one.
        read: returns when the input was read well, raises what bundlectl raises when it was
            refused, and anything else when something is wrong.
    """

    inputs: int
    share: float
    make: Callable[[Random], bytes]
    read: Callable[[bytes], None]


def _render(tree: Any, dice: Random, *, canonical: bool = False) -> bytes:  # noqa: ANN401 -- JSON
    if canonical and dice.random() < LIKELY:
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    else:
        text = json.dumps(tree, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, 2)))
    raw = text.encode("utf-8", "surrogatepass")
    return raw if dice.random() < LIKELY else change_bytes(raw, dice)


def _changed(tree: Any, dice: Random) -> Any:  # noqa: ANN401 -- JSON
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        tree = change_tree(tree, dice)
    return tree


# Release documents


@cache
def _documents() -> list[Any]:
    import yaml  # noqa: PLC0415 -- only where it is fuzzed

    from registry_fixtures.samples import sample_documents  # noqa: PLC0415

    paths = [*sample_documents(), *sorted(DATA.glob("*.yaml"))]
    # BaseLoader's values are text, as they are written.
    return [yaml.load(path.read_bytes(), Loader=yaml.CBaseLoader) for path in paths]  # noqa: S506 -- it makes text only


@cache
def _fragment(number: int) -> tuple[Any, str]:
    """A small part of a document, as a tree and as YAML."""
    from random import Random  # noqa: PLC0415

    import yaml  # noqa: PLC0415

    dice = Random(number)  # noqa: S311 -- to be repeated
    documents = _documents()
    tree = thin(documents[number % len(documents)], dice, entries=3)
    number_of = tree.get("spec", {}).get("number")
    if number_of:
        tree["spec"]["number"] = int(number_of)
    return tree, yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False)


def _make_document(dice: Random) -> bytes:
    tree, text = _fragment(dice.randrange(300))
    if dice.random() < 0.5:
        return _render(_changed(tree, dice), dice)
    raw = change_lines(text, dice).encode("utf-8", "surrogatepass")
    return raw if dice.random() < LIKELY else change_bytes(raw, dice)


def _read_document(raw: bytes) -> None:
    from bundlectl.events import ignore  # noqa: PLC0415
    from bundles.belief import Belief  # noqa: PLC0415
    from bundles.document import parse_document  # noqa: PLC0415
    from bundles.release import contents  # noqa: PLC0415
    from bundles.schema import parse_model  # noqa: PLC0415
    from bundles.verify import accept  # noqa: PLC0415
    from mirror.oci.reference import Reference  # noqa: PLC0415

    document = parse_document(raw, origin="fuzzed.yaml")
    found = contents(accept(document, parse_model(document), belief=Belief(mode="off"), listener=ignore))
    for artifact in found.artifacts:
        if artifact.type != "file":
            _hold("an artifact's reference is none", Reference.parse, artifact.reference)


# Manifests


def _descriptor(media_type: str, digest: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": 1234, **more}


@cache
def _manifests() -> list[dict[str, Any]]:
    layers = [
        _descriptor(f"{OCI}.layer.v1.tar+gzip", ONE),
        _descriptor(f"{OCI}.layer.v1.tar", TWO, urls=["https://h/x"]),
    ]
    config = _descriptor(f"{OCI}.config.v1+json", TWO)
    platforms = [{"os": "linux", "architecture": "arm64", "variant": "v8"}, {"os": "windows", "os.version": "10.0"}]
    children = [_descriptor(f"{OCI}.manifest.v1+json", ONE, platform=platform) for platform in platforms]
    image = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": layers}
    return [
        image,
        {key: value for key, value in image.items() if key != "mediaType"},
        {**image, "artifactType": "application/x", "subject": children[0], "annotations": {"a": "b"}},
        {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": children, "subject": children[0]},
        {**image, "mediaType": f"{DOCKER}.v2+json"},
        {"schemaVersion": 2, "mediaType": f"{DOCKER}.list.v2+json", "manifests": children},
    ]


def _make_manifest(dice: Random) -> bytes:
    return _render(_changed(dice.choice(_manifests()), dice), dice)


def _read_manifest(raw: bytes) -> None:
    from mirror.oci.descriptor import Descriptor  # noqa: PLC0415
    from mirror.oci.manifest import Manifest  # noqa: PLC0415

    manifest = Manifest.from_bytes(raw)
    for child in (*manifest.children(), *([manifest.subject] if manifest.subject else [])):
        if _hold("our own descriptor is refused", Descriptor.from_json, child.to_json()) != child:
            raise AssertionError(f"{child} is written and read again as another descriptor")
    if not isinstance(manifest.artifact_type, str) or manifest.descriptor.size != len(raw):
        raise AssertionError("the type is no text, or the size not that of the bytes")
    _ = manifest.annotations


# Locks


@cache
def _lock() -> dict[str, Any]:
    from mirror.oci.artifact import wrap_file  # noqa: PLC0415
    from mirror.oci.digest import Digest  # noqa: PLC0415

    one, two = f"sha256:{ONE}", f"sha256:{TWO}"
    referrer = {"digest": two, "mediaType": f"{OCI}.manifest.v1+json", "artifactType": "application/x"}
    texts = {"components": ["cilium"], "kubeVersions": ["1.33"], "foundIn": ["bundles.yaml#spec"]}
    artifact = {
        "digest": one,
        "size": 1234,
        "trust": "declared",
        "platforms": ["linux/amd64"],
        "referrers": [],
        **texts,
    }
    image = {
        **artifact,
        "type": "image",
        "name": "cilium",
        "reference": REFERENCES[0],
        "mediaType": f"{OCI}.manifest.v1+json",
        "manifests": [one],
        "blobs": [two],
        "referrers": [{**referrer, "tag": f"sha256-{ONE}.sig", "manifests": [two], "blobs": []}],
    }
    url = "https://files.example/x.ova"
    wrapping = str(wrap_file(url, Digest.parse(one), 1234, sha512=ONE + TWO).manifest.descriptor.digest)
    file = {
        **artifact,
        "type": "file",
        "name": "x.ova",
        "reference": url,
        "mediaType": "application/octet-stream",
        "manifests": [wrapping],
        "blobs": [one],
        "sha512": ONE + TWO,
    }
    nothing: dict[str, Any] = {key: [] for key in ("kubeVersions", "providers", "platforms", "include", "exclude")}
    bundles = {"kind": "Bundles", "name": "bundles-101", "url": "https://files.example/b.yaml", "trust": "off"}
    return {
        "apiVersion": "bundlectl.dev/v1alpha1",
        "kind": "Lock",
        "sources": [{"source": "eks-a:v0.24.1", "kind": "Bundles", "name": "bundles-101", "number": 101}],
        "selection": {**nothing, "referrers": True, "files": True, "renderCharts": False},
        "manifests": [{**bundles, "digest": two, "size": 5}],
        "artifacts": [file, image],
        "blobs": {one: 1234, two: 5, wrapping: 700},
        "excluded": [{"reference": "a/b", "reason": "names no registry"}],
        "weakened": ["a", "b"],
    }


def _make_lock(dice: Random) -> bytes:
    return _render(_changed(_lock(), dice), dice, canonical=True)


def _read_lock(raw: bytes) -> None:
    from bundles.lock import Lock  # noqa: PLC0415

    lock = Lock.from_bytes(raw, origin="fuzzed.lock.json")
    if _hold("a lock that was read cannot be written", lock.to_bytes) != raw:
        raise AssertionError("a lock is written again in other bytes")


# References and challenges


def _make_reference(dice: Random) -> bytes:
    text = change_text(dice.choice(REFERENCES), dice)
    if dice.random() < 0.02:
        text = text.replace("a", dice.choice(TOKENS) * 20_000, 1)
    return text.encode("utf-8", "surrogatepass")


def _read_reference(raw: bytes) -> None:
    from mirror.oci.reference import Reference  # noqa: PLC0415

    text = raw.decode("utf-8", "surrogatepass")
    if str(Reference.parse(text)) != text:
        raise AssertionError("a reference is written again as another")


def _make_challenge(dice: Random) -> bytes:
    text = ", ".join(dice.choice(CHALLENGES) for _ in range(dice.randint(1, 2)))
    for _ in range(dice.randint(1, 3)):
        text = change_text(text, dice)
    if dice.random() < 0.01:
        at = dice.randint(0, len(text))
        text = text[:at] + dice.choice(('"', '="', "\\", ",", " ", "a=", "a ", '"\\', "a")) * 10_000 + text[at:]
    return text.encode("utf-8", "surrogatepass")


def _read_challenge(raw: bytes) -> None:
    from mirror.remote.challenge import parse_challenges  # noqa: PLC0415

    for challenge in parse_challenges(raw.decode("utf-8", "surrogatepass")):
        if not challenge.scheme or challenge.scheme != challenge.scheme.lower():
            raise AssertionError("a scheme is empty, or not in lower case")


def _hold(otherwise: str, check: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 -- what check returns
    """What must not be refused, because it was read before.

    Raises:
        AssertionError: it is refused.
    """
    from bundlectl.errors import BundlectlError  # noqa: PLC0415

    try:
        return check(*arguments)
    except BundlectlError as error:
        raise AssertionError(f"{otherwise}: {error}") from error


TARGETS = {
    "documents": Target(400_000, 0.18, _make_document, _read_document),
    "canonical": Target(400_000, 0.20, _make_document, trust.read_canonical),
    "manifests": Target(400_000, 0.10, _make_manifest, _read_manifest),
    "locks": Target(400_000, 0.12, _make_lock, _read_lock),
    "charts": Target(200_000, 0.14, make_archive, read_archive),
    "references": Target(400_000, 0.02, _make_reference, _read_reference),
    "challenges": Target(400_000, 0.03, _make_challenge, _read_challenge),
    "sigstore-bundles": Target(400_000, 0.06, trust.make_bundle, trust.read_bundle),
    "payloads": Target(200_000, 0.04, trust.make_payload, trust.read_payload),
    "keys": Target(100_000, 0.03, trust.make_key, trust.read_key),
    "pkcs11-uris": Target(200_000, 0.01, trust.make_uri, trust.read_uri),
    "policies": Target(100_000, 0.05, trust.make_policy, trust.read_policy),
    "selectors": Target(200_000, 0.02, trust.make_selectors, trust.read_selectors),
}
