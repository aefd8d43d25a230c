"""Canonical forms against upstream's own libraries: the proof that a signature is over what we say it is.

Needs the program of ``canonical/``, which ``make interop-tools`` builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bundles.tree import ListNode, MapNode, Node, parse_tree
from signing.manifest import decode_signature, encode_signature
from signing.signature import PublicKey
from tests.interop.differential import (
    BATCH,
    REAL,
    Upstream,
    compare,
    ours,
    real_documents,
    shapes,
    smaller,
    upstream,
)
from tests.interop.documents import Document, Generator
from tests.interop.programs import Program, data, in_ci, provided
from tests.interop.rules import RULES, Rule
from tests.unit.bundles.canonical_cases import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

SEED = 20260728
DOCUMENTS = 20480
WITHOUT_A_RULE = 10240
"""Documents within which each rule has to show; nearly all show in the first few hundred."""
ANNOTATIONS = {
    "packagebundle": "eksa.aws.com/signature",
    "object": "eksa.aws.com/signature",
    "bundles": "anywhere.eks.amazonaws.com/signature",
    "eksd": "distro.eks.amazonaws.com/signature",
}
TO_SIGN = {
    "packagebundle": """\
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata:
  name: v1-33-2026-06-26-1782500000
  annotations:
    eksa.aws.com/excludes: LnNwZWMucGFja2FnZXNbXS5zb3VyY2UucmVnaXN0cnkK
    NAME: "SIGNATURE"
spec:
  packages:
  - name: harbor
    source: {registry: registry.example, repository: harbor, versions: [{name: 1.30, digest: "sha256:<é>"}]}
""",
    "object": """\
apiVersion: v1
kind: Pod
metadata: {name: a, annotations: {NAME: "SIGNATURE", other: "1"}}
spec: {containers: [{image: "y", ports: [1e3, 0x10]}], "a10": on, a9: "a: b"}
""",
    "bundles": """\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
metadata: {name: bundles-1, annotations: {NAME: "SIGNATURE"}}
spec: {number: 1, cliMinVersion: v0.1.0, versionsBundles: [{kubeVersion: 1.30, eksD: {name: "<&>", channel: 1-30}}]}
""",
    "eksd": """\
apiVersion: distro.eks.amazonaws.com/v1alpha1
kind: Release
metadata: {name: kubernetes-1-33-eks-31, annotations: {NAME: "SIGNATURE"}}
spec: {channel: 1-33, number: 31}
status: {date: "2026-07-28T00:00:00Z"}
""",
}


@pytest.fixture(scope="module")
def program() -> Path:
    return provided("canonical")


@pytest.fixture(scope="module")
def asked(program: Path) -> Iterator[Upstream]:
    with upstream(program) as running:
        yield running


@pytest.fixture(scope="module")
def generator(program: Path) -> Generator:
    real = real_documents()
    if in_ci():
        assert len(real) == len(REAL), "the real documents are not beside this checkout (../shared/data)"
    return Generator(shapes(program), SEED, real)


@pytest.fixture
def canonical(program: Path, home: Path) -> Program:
    return Program(program, home)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_every_document_has_the_bytes_of_upstream_or_is_refused_for_a_reason(
    asked: Upstream, generator: Generator, record_property: Any
) -> None:
    tally = compare(asked, ((number, generator.document(number)) for number in range(DOCUMENTS)))
    record_property("told", f"{tally} (seed {SEED})")
    assert not tally.differences, "\n".join([str(tally), *(str(smaller(asked, found)) for found in tally.differences)])
    assert tally.documents == DOCUMENTS
    assert tally.equal > tally.documents / 3, str(tally)
    assert set(tally.kinds) == {"packagebundle", "bundles", "eksd", "object", "yaml", "json"}
    assert all(count > DOCUMENTS / 100 for count in tally.kinds.values()), tally.kinds
    assert tally.alone["not YAML for libyaml"] < DOCUMENTS / 200, str(tally)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_that_is_left_out_shows(
    rule: Rule, asked: Upstream, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, WITHOUT_A_RULE, BATCH):
        documents = [(number, generator.document(number)) for number in range(first, first + BATCH)]
        with rule.left_out(monkeypatch):
            found = [(difference.number, difference.document) for difference in compare(asked, documents).differences]
        if len(compare(asked, found).differences) < len(found):
            return
    pytest.fail(f"{WITHOUT_A_RULE} documents are as before without the rule: {rule}")


@pytest.mark.parametrize("name", REAL)
def test_real_documents_have_the_bytes_of_upstream(name: str, asked: Upstream) -> None:
    document = Document(REAL[name], data(name).read_bytes())
    expected = asked.one(document)
    assert expected.signed is not None, expected.why
    assert ours(document) == expected


def test_every_field_of_the_real_documents_is_in_documents_that_are_made_up(program: Path) -> None:
    known = shapes(program)
    missing = {kind: set[str]() for kind in known}
    for name, kind in REAL.items():
        if kind in known:  # an object of no type has no fields
            missing[kind] |= set(_fields(parse_tree(data(name).read_bytes(), origin=name).root, known[kind]))
    assert all(len(fields) > 5 for fields in missing.values())
    generator = Generator(known, SEED)
    for number in range(DOCUMENTS):
        document = generator.document(number)
        if document.kind in known and ours(document).signed is not None:
            root = parse_tree(document.text, origin="document").root
            missing[document.kind] -= set(_fields(root, known[document.kind]))
        if not any(missing.values()):
            break
    assert missing == {kind: set() for kind in known}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_expected_of_a_kept_document_is_what_upstream_gives(case: Case, asked: Upstream) -> None:
    said = asked.one(Document(case.kind, case.document))
    if case.expected is None and case.stricter:
        assert said.signed is not None, "upstream refuses it too by now"
    else:
        assert said.signed == case.expected, said.why


@pytest.mark.parametrize("kind", TO_SIGN)
def test_upstream_accepts_what_is_signed_here_and_nothing_that_was_changed_since(
    kind: str, canonical: Program, home: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    public, file = home / "key.pub", home / "document.yaml"
    public.write_text(PublicKey.of(key.public_key()).pem())
    unsigned = TO_SIGN[kind].replace("NAME", ANNOTATIONS[kind])
    signature = key.sign(_signed_bytes(kind, unsigned), ec.ECDSA(hashes.SHA256()))
    signed = unsigned.replace("SIGNATURE", encode_signature(signature))
    file.write_text(signed)
    canonical.run("verify", kind, public, file)
    file.write_text(signed.replace("kind: ", "kind: Other"))
    assert "not of this document" in canonical.attempt("verify", kind, public, file).stderr


@pytest.mark.parametrize("kind", TO_SIGN)
def test_what_upstream_signs_is_accepted_here(
    kind: str, canonical: Program, home: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    private, file = home / "key.pem", home / "document.yaml"
    private.touch(mode=0o600)
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    file.write_text(TO_SIGN[kind].replace("NAME", "other.example/name"))
    signed = canonical.run("sign", kind, private, file)
    metadata = parse_tree(signed.encode(), origin="signed").root.map("metadata")
    annotations = metadata.map("annotations") if metadata else None
    assert annotations is not None
    signature = decode_signature(annotations.text(ANNOTATIONS[kind]))
    public = PublicKey.of(key.public_key())
    assert public.verifies(_signed_bytes(kind, signed), signature)
    assert not public.verifies(_signed_bytes(kind, signed.replace("kind: ", "kind: Other")), signature)


def _signed_bytes(kind: str, text: str) -> bytes:
    said = ours(Document(kind, text.encode()))
    assert said.signed is not None, said.why
    return said.signed


def _fields(node: Node, shape: Any, path: str = "") -> Iterator[str]:
    """Every field of a node that its type has, as a path without the numbers of items."""
    if isinstance(node, ListNode) and isinstance(shape, list):
        for item in node.items:
            yield from _fields(item, shape[0], path)
    elif isinstance(node, MapNode) and isinstance(shape, dict):
        for name in node.entries.keys() & shape.keys():
            yield f"{path}.{name}"
            yield from _fields(node.entries[name], shape[name], f"{path}.{name}")
