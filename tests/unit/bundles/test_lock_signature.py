"""A lock's signature covers the lock, byte for byte, and names all that is pinned."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError, VerificationError
from bundles.lock import Lock
from bundles.lock_signature import LOCK_PREDICATE, as_signed, as_unsigned, sign_lock, verify_lock
from mirror.oci.digest import Digest
from signing.envelope import IN_TOTO_TYPE, sign_dsse, statement
from signing.identity import TrustAnchors
from tests.unit.bundles.signed_documents import KEY, OTHER_SIGNER, SIGNER
from tests.unit.bundles.test_lock import artifact, lock

if TYPE_CHECKING:
    from bundles.artifact import TrustLevel

ANCHORS = TrustAnchors(keys=(KEY,))
LEVELS: tuple[TrustLevel, ...] = ("signed", "declared", "resolved", "pushed", "off")


def check(raw: bytes, signature: bytes) -> None:
    found = Lock.from_bytes(raw, origin="a.lock.json")
    verify_lock(raw, found, signature, ANCHORS, origin="a.lock.json")


def subjects(signature: bytes) -> list[dict[str, Any]]:
    payload = base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"])
    found: list[dict[str, Any]] = json.loads(payload)["subject"]
    return found


def names(count: int) -> st.SearchStrategy[list[str]]:
    word = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
    return st.lists(word.map(lambda text: f"r.example/{text}:1"), min_size=1, max_size=count, unique=True)


@settings(deadline=None)
@given(names(12))
def test_the_statement_lists_the_lock_and_every_digest_that_it_pins(references: list[str]) -> None:
    pinned = lock(*(artifact(reference) for reference in references))
    raw = pinned.to_bytes()
    signature = sign_lock(raw, pinned, SIGNER)
    listed = {(item["name"], f"sha256:{item['digest']['sha256']}") for item in subjects(signature)}
    assert listed == {
        ("lock", str(Digest.of(raw))),
        *((item.reference, str(item.digest)) for item in pinned.artifacts),
        *((item.url, str(item.digest)) for item in pinned.manifests),
    }
    check(raw, signature)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_byte_of_a_signed_lock_can_be_another(data: st.DataObject) -> None:
    raw = lock().to_bytes()
    signature = sign_lock(raw, lock(), SIGNER)
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))]) + raw[at + 1 :]
    with pytest.raises((VerificationError, ContentError)) as caught:
        check(changed, signature)
    assert caught.value.exit_code == 3


def test_a_lock_is_signed_by_one_of_those_who_count() -> None:
    raw = lock().to_bytes()
    signature = sign_lock(raw, lock(), OTHER_SIGNER)
    with pytest.raises(VerificationError, match="the signature of the lock does not hold"):
        check(raw, signature)


@pytest.mark.parametrize(
    ("payload", "kind", "why"),
    [
        (
            statement([("lock", Digest.of(lock().to_bytes()))], "https://other.example/v1", {}),
            IN_TOTO_TYPE,
            "over something else",
        ),
        (statement([("lock", Digest.of(lock().to_bytes()))], LOCK_PREDICATE, {}), "text/plain", ""),
        (statement([("lock", Digest.of(b"another"))], LOCK_PREDICATE, {}), IN_TOTO_TYPE, "that of another lock"),
        (statement([("lock", Digest.of(lock().to_bytes()))], LOCK_PREDICATE, {}), IN_TOTO_TYPE, "does not list"),
        (
            statement(
                [("lock", Digest.of(lock().to_bytes())), ("public.ecr.aws/a/b:1", Digest.of(b"evil"))],
                LOCK_PREDICATE,
                {},
            ),
            IN_TOTO_TYPE,
            "does not list",
        ),
        (statement([], LOCK_PREDICATE, {}), IN_TOTO_TYPE, ""),
        (b"{}", IN_TOTO_TYPE, ""),
        (b"", IN_TOTO_TYPE, ""),
    ],
)
def test_a_signature_over_anything_else_is_none_of_the_lock(payload: bytes, kind: str, why: str) -> None:
    with pytest.raises(VerificationError) as caught:
        check(lock().to_bytes(), sign_dsse(payload, kind, SIGNER))
    assert why in caught.value.message
    assert caught.value.artifact == "a.lock.json"


@pytest.mark.parametrize("signature", [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 10_000, b'{"dsseEnvelope": 1}'])
def test_what_is_no_signature_is_refused_as_one(signature: bytes) -> None:
    with pytest.raises(VerificationError, match="the signature of the lock does not hold"):
        check(lock().to_bytes(), signature)


def test_in_a_lock_whose_signature_held_everything_is_signed() -> None:
    pinned = as_signed(lock(*(replace(artifact(f"r.example/{level}:1"), trust=level) for level in LEVELS)))
    assert {item.trust for item in pinned.artifacts} | {item.trust for item in pinned.manifests} == {"signed"}


def test_in_a_lock_that_nobody_vouches_for_signed_is_declared_and_all_else_stays() -> None:
    made = lock(*(replace(artifact(f"r.example/{level}:1"), trust=level) for level in LEVELS))
    made = replace(made, manifests=tuple(replace(item, trust="signed") for item in made.manifests))
    pinned = as_unsigned(made)
    assert [item.trust for item in pinned.artifacts] == ["declared", "declared", "resolved", "pushed", "off"]
    assert [item.trust for item in pinned.manifests] == ["declared"]
