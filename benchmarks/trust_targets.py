"""What is fuzzed of the code that decides what is trusted: canonical forms, bundles, keys, policies."""

from __future__ import annotations

import base64
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutation import change_bytes, change_lines, change_text, change_tree

from mirror.oci.digest import Digest
from signing.identity import TrustAnchors

if TYPE_CHECKING:
    from random import Random

    from signing.signature import PublicKey, Signature

__all__ = [
    "make_bundle",
    "make_key",
    "make_payload",
    "make_policy",
    "make_selectors",
    "make_uri",
    "read_bundle",
    "read_canonical",
    "read_key",
    "read_payload",
    "read_policy",
    "read_selectors",
    "read_uri",
]

LIKELY = 0.9
SUBJECT = Digest.of(b"subject")
SELECTORS = (
    ".spec.packages[].source.registry",
    '.metadata.annotations["a.b/c"]',
    '."odd key".x[]',
    ".spec[]",
    ".a.b.c.d",
    ". | env",
    ".a as $x | $x",
    ".[0]",
    ".a?",
)
VALUES: tuple[Any, ...] = (
    {"spec": {"packages": [{"source": {"registry": "x"}}, {}]}, "metadata": {"annotations": {"a.b/c": "d"}}},
    {"odd key": {"x": [1, 2]}, "spec": [1, [2]], "a": {"b": {"c": {}}}},
    {"spec": {"a": None}, "a": None},
)
POLICY = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Policy
spec:
  identities:
    site: {key: site.pub}
    aws: {key: aws}
    build: {issuer: https://issuer.example, subject: https://example.com/release.yml@refs/tags/v1}
  rules:
  - match: ["public.ecr.aws/eks-anywhere/*"]
    types: [image, chart]
    signedBy: [site, build]
    atLeast: 1
    unsigned: refuse
  - match: ["https://anywhere.example/*", "*"]
    trust: declared
    unsigned: warn
  - match: ["Bundles/*"]
    types: [document]
    signedBy: [aws]
  otherwise: accept
"""
URIS = (
    "pkcs11:token=Site%20HSM;object=release;type=private",
    "pkcs11:id=%01%02;serial=1234;manufacturer=SoftHSM%20project?pin-source=file:/run/pin",
    "pkcs11:slot-id=7;object=a?module-path=/lib/x.so&pin-value=1234",
    "pkcs11:",
)


class _Signer:
    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        from signing.signature import PublicKey  # noqa: PLC0415

        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = PublicKey.of(self._key.public_key())

    @property
    def public_key(self) -> PublicKey:
        return self._public

    def sign_digest(self, digest: Digest) -> Signature:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415

        from signing.signature import Signature  # noqa: PLC0415

        value = self._key.sign(bytes.fromhex(digest.encoded), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return Signature(value, self._public)


@cache
def _signer() -> _Signer:
    return _Signer()


@cache
def _anchors() -> TrustAnchors:
    from signing.identity import NamedKey  # noqa: PLC0415

    return TrustAnchors(keys=(NamedKey("fuzz", _signer().public_key),))


# Canonical forms: the same inputs as release documents


def read_canonical(raw: bytes) -> None:
    """The bytes that a signature would be over, of whatever kind the document is; annotations go in and stay."""
    from bundles.annotating import annotate  # noqa: PLC0415
    from bundles.canonical import canonical_bytes, kind_of_root  # noqa: PLC0415
    from bundles.coverage import gaps  # noqa: PLC0415
    from bundles.tree import parse_tree  # noqa: PLC0415

    root = parse_tree(raw, origin="fuzzed.yaml").root
    kind = kind_of_root(root)
    gaps(kind, root, ())
    before = canonical_bytes(root, kind, origin="fuzzed.yaml")
    if kind == "object":
        return
    signed = annotate(raw, {"x.example/signature": "MEUC"}, origin="fuzzed.yaml")
    after = canonical_bytes(parse_tree(signed, origin="fuzzed.yaml").root, kind, origin="fuzzed.yaml")
    if kind in ("Bundles", "EksdRelease") and after != before:
        raise AssertionError("an annotation that is not covered changed what is signed")


# Sigstore bundles, envelopes and payloads


@cache
def _bundles() -> list[Any]:
    from signing.envelope import sign_dsse, sign_message, statement  # noqa: PLC0415

    payload = statement([("lock", SUBJECT), ("a", SUBJECT)], "https://bundlectl.dev/lock/v1alpha1", {"a": "b"})
    envelope = json.loads(sign_dsse(payload, "application/vnd.in-toto+json", _signer()))
    message = json.loads(sign_message(SUBJECT, _signer()))
    certified = json.loads(json.dumps(envelope))
    certified["verificationMaterial"] = {"certificate": {"rawBytes": base64.b64encode(b"0" * 400).decode()}}
    return [envelope, message, certified]


def make_bundle(dice: Random) -> bytes:
    """A sigstore bundle with changes."""
    tree = dice.choice(_bundles())
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
        tree = change_tree(tree, dice)
    raw = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return raw if dice.random() < LIKELY else change_bytes(raw, dice)


def read_bundle(raw: bytes) -> None:
    """Open it as an envelope, and as the signature of a file."""
    from bundlectl.errors import BundlectlError  # noqa: PLC0415
    from signing.cosign import open_detached  # noqa: PLC0415
    from signing.envelope import open_dsse, open_message, parse_statement  # noqa: PLC0415

    refused: list[BundlectlError] = []
    attempts = (
        lambda: parse_statement(open_dsse(raw, _anchors()).payload),
        lambda: open_message(raw, digest=SUBJECT, anchors=_anchors()),
        lambda: open_detached(raw, digest=SUBJECT, anchors=_anchors()),
    )
    for attempt in attempts:
        try:
            attempt()
        except BundlectlError as error:
            refused.append(error)
    if len(refused) == len(attempts):
        raise refused[0]


def make_payload(dice: Random) -> bytes:
    """What is inside of a signature: a statement, or cosign's simple signing."""
    from signing.cosign import simple_signing  # noqa: PLC0415
    from signing.envelope import statement  # noqa: PLC0415

    raw = (
        statement([("a", SUBJECT)], "https://sigstore.dev/cosign/sign/v1", {})
        if dice.random() < 0.5
        else simple_signing("registry.example/a", SUBJECT)
    )
    tree = json.loads(raw)
    for _ in range(dice.choice((1, 1, 2))):
        tree = change_tree(tree, dice)
    changed = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return changed if dice.random() < LIKELY else change_bytes(changed, dice)


def read_payload(raw: bytes) -> None:
    """Read it as if it were signed: whoever signs may be hostile, too."""
    from bundlectl.errors import BundlectlError  # noqa: PLC0415
    from signing.cosign import open_layer  # noqa: PLC0415
    from signing.envelope import parse_statement  # noqa: PLC0415

    signature = _signer().sign_digest(Digest.of(raw)).value
    annotations = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
    try:
        parse_statement(raw)
    except BundlectlError:
        open_layer(raw, annotations, subject=SUBJECT, anchors=_anchors())


# Keys


@cache
def _key_files() -> list[bytes]:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    kinds = serialization.PrivateFormat
    plain = serialization.NoEncryption()
    # scrypt of a real cosign key takes a tenth of a second: a body that ends before that is enough here
    body = {
        "kdf": {"name": "scrypt", "params": {"N": 32768, "r": 8, "p": 2}, "salt": base64.b64encode(b"s" * 32).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(b"n" * 24).decode()},
        "ciphertext": base64.b64encode(b"c" * 64).decode(),
    }
    label = "ENCRYPTED SIGSTORE PRIVATE KEY"
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return [
        key.private_bytes(serialization.Encoding.PEM, kinds.PKCS8, plain),
        key.private_bytes(serialization.Encoding.PEM, kinds.TraditionalOpenSSL, plain),
        _signer().public_key.pem().encode(),
        f"-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n".encode(),
    ]


def make_key(dice: Random) -> bytes:
    """A key file with changes of its text, or of the bytes inside."""
    raw = dice.choice(_key_files())
    if dice.random() < 0.1:
        return raw
    if dice.random() < 0.5:
        return change_text(raw.decode(), dice).encode("utf-8", "surrogatepass")
    head, _, rest = raw.decode().partition("-----\n")
    body, _, tail = rest.partition("-----END")
    inner = change_bytes(base64.b64decode(body), dice)
    return f"{head}-----\n{base64.b64encode(inner).decode()}\n-----END{tail}".encode()


def read_key(raw: bytes) -> None:
    """Read it as a file."""
    from signing.keys import KeyAccess, load_public_key  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="bundlectl-fuzz-") as folder:
        path = Path(folder, "key")
        path.touch(mode=0o600)
        path.write_bytes(raw)
        load_public_key(str(path), KeyAccess(secret=lambda _kind, _key: b"password"))


def make_uri(dice: Random) -> bytes:
    """A PKCS#11 URI with changes."""
    text = dice.choice(URIS)
    for _ in range(dice.choice((0, 1, 2))):
        text = change_text(text, dice)
    return text.encode("utf-8", "surrogatepass")


def read_uri(raw: bytes) -> None:
    """Parse it; no module is loaded."""
    from signing.keys.pkcs11_uri import Pkcs11Uri  # noqa: PLC0415

    Pkcs11Uri.parse(raw.decode("utf-8", "surrogatepass"))


# Policies and selectors


def make_policy(dice: Random) -> bytes:
    """A policy with changes of its lines."""
    raw = change_lines(POLICY, dice).encode("utf-8", "surrogatepass")
    return raw if dice.random() < LIKELY else change_bytes(raw, dice)


def read_policy(raw: bytes) -> None:
    """Read it, and let it judge."""
    from bundles.policy_file import parse_policy  # noqa: PLC0415
    from signing.identity import Evidence, NamedKey  # noqa: PLC0415
    from signing.policy import Subject  # noqa: PLC0415

    policy = parse_policy(raw, origin="fuzzed.yaml", load_key=lambda key: NamedKey(key, _signer().public_key))
    reference = "public.ecr.aws/eks-anywhere/cli-tools:v1"
    if policy.judge(Subject("image", reference, SUBJECT, "off"), Evidence()).decision not in (
        "accept",
        "warn",
        "leave-out",
        "refuse",
    ):
        raise AssertionError("a decision that is none")


def make_selectors(dice: Random) -> bytes:
    """Lines of an excludes annotation."""
    lines = [dice.choice(SELECTORS) for _ in range(dice.randint(1, 3))]
    return "\n".join(change_text(line, dice) if dice.random() < 0.5 else line for line in lines).encode(
        "utf-8", "surrogatepass"
    )


def read_selectors(raw: bytes) -> None:
    """Parse them and delete by them."""
    from signing.manifest import decode_excludes  # noqa: PLC0415
    from signing.selectors import delete_paths, parse_selectors  # noqa: PLC0415

    selectors = parse_selectors(decode_excludes(base64.b64encode(raw).decode()))
    for value in VALUES:
        kept = json.dumps(value)
        delete_paths(value, selectors)
        if json.dumps(value) != kept:
            raise AssertionError("the value was changed in place")
