"""Locks that must be signed: nothing moves before the signature holds, and it goes where the lock goes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import UsageError, VerificationError
from bundlectl.operations import verify_registry
from bundlectl.operations.verifying_documents import verify_manifest, verify_source
from bundles.belief import Belief
from bundles.lock import Lock
from bundles.lock_signature import SIGNATURE_SUFFIX, sign_lock
from mirror.layout import Store
from signing.identity import TrustAnchors
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, KEY, OTHER_SIGNER, SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.operations.verdict import Verdict
    from tests.unit.bundlectl.operations.site import Site

PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
COREDNS = "public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12"
SOURCES = (f"image:{PAUSE}", f"image:{COREDNS}")


def read(path: str) -> Lock:
    return Lock.from_bytes(Path(path).read_bytes(), origin=path)


def put_signature(path: str, signature: bytes) -> None:
    Path(f"{path}{SIGNATURE_SUFFIX}").write_bytes(signature)


def remove_signature(path: str) -> None:
    Path(f"{path}{SIGNATURE_SUFFIX}").unlink()


def alter_the_lock(path: str) -> None:
    Path(path).write_bytes(replace(read(path), weakened=("nothing",)).to_bytes())


def leave_an_artifact_out(path: str) -> None:
    lock = read(path)
    Path(path).write_bytes(replace(lock, artifacts=lock.artifacts[1:]).to_bytes())


def put_another_s_signature(path: str) -> None:
    other = replace(read(path), weakened=("nothing",))
    put_signature(path, sign_lock(other.to_bytes(), other, SIGNER))


def sign_with_another_key(path: str) -> None:
    put_signature(path, sign_lock(Path(path).read_bytes(), read(path), OTHER_SIGNER))


def sign_a_statement_that_lists_less(path: str) -> None:
    lock = read(path)
    less = replace(lock, artifacts=lock.artifacts[1:])
    put_signature(path, sign_lock(Path(path).read_bytes(), less, SIGNER))


def alter_the_signature(path: str) -> None:
    bundle = json.loads(Path(f"{path}{SIGNATURE_SUFFIX}").read_bytes())
    text = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    put_signature(path, json.dumps(bundle).encode())


def cut_the_signature(path: str) -> None:
    put_signature(path, Path(f"{path}{SIGNATURE_SUFFIX}").read_bytes()[:-10])


def empty_the_signature(path: str) -> None:
    put_signature(path, b"")


SPOILT = [
    remove_signature,
    alter_the_lock,
    leave_an_artifact_out,
    put_another_s_signature,
    sign_with_another_key,
    sign_a_statement_that_lists_less,
    alter_the_signature,
    cut_the_signature,
    empty_the_signature,
]
spoilt = pytest.mark.parametrize("spoil", SPOILT)


@pytest.fixture
def lock(site: Site) -> str:
    return site.signed_lock(*SOURCES)


def levels(store: Path) -> set[str]:
    with Store.open(store, read_only=True) as kept:
        return {ref.trust for ref in kept.refs()}


def verdict(site: Site, path: str, belief: Belief = BY_KEY) -> Verdict:
    with site.session() as session:
        return verify_manifest(path, site.request(path, belief=belief), session=session)


def test_a_signed_lock_is_downloaded_mirrored_and_all_of_it_is_signed(site: Site, lock: str) -> None:
    assert site.download(lock, belief=BY_KEY).exit_code == 0
    assert levels(site.store) == {"signed"}
    assert site.mirror(lock, belief=BY_KEY).exit_code == 0
    assert site.verify(lock).findings == []
    found = verdict(site, lock)
    assert (found.verified, found.kind, found.signed_by) == (True, "Lock", (KEY,))


@spoilt
@pytest.mark.parametrize("command", ["download", "mirror", "plan"])
def test_another_lock_than_the_signed_one_is_refused_before_anything_moves(
    site: Site, lock: str, spoil: Callable[[str], None], command: str
) -> None:
    spoil(lock)
    site.source.requests.clear()
    with pytest.raises(VerificationError) as caught:
        getattr(site, command)(lock, belief=BY_KEY)
    assert caught.value.exit_code == 3
    assert lock in (caught.value.artifact or "")
    assert caught.value.hint
    assert site.source.requests.count() == 0
    assert site.target.requests.count() == 0
    if command == "download":
        with Store.open(site.store, read_only=True) as kept:
            assert list(kept.refs()) == []
            assert kept.collections() == {}
            assert kept.stats().blobs == 0


@spoilt
def test_verify_says_why_a_lock_is_not_the_signed_one(site: Site, lock: str, spoil: Callable[[str], None]) -> None:
    spoil(lock)
    found = verdict(site, lock)
    assert (found.verified, found.exit_code) == (False, 3)
    assert "sign" in (found.reason or "")


@spoilt
def test_a_registry_is_not_compared_with_another_lock_than_the_signed_one(
    site: Site, lock: str, spoil: Callable[[str], None]
) -> None:
    spoil(lock)
    with site.session() as session, pytest.raises(VerificationError):
        verify_registry(site.naming, against=lock, session=session, request=site.request(lock, belief=BY_KEY))
    assert site.target.requests.count() == 0


@pytest.mark.parametrize("belief", [Belief(), Belief(mode="off")])
def test_without_a_key_a_lock_is_taken_and_nothing_in_it_counts_as_signed(
    site: Site, lock: str, belief: Belief
) -> None:
    pinned = read(lock)
    better = replace(pinned, artifacts=tuple(replace(item, trust="signed") for item in pinned.artifacts))
    Path(lock).write_bytes(better.to_bytes())
    assert site.download(lock, belief=belief).exit_code == 0
    assert levels(site.store) == {"declared"}
    told = [getattr(event, "message", "") for event in site.heard]
    assert any("its signature was not checked" in text for text in told) == (belief.mode == "aws")
    assert verdict(site, lock, belief).verified is False


def test_a_lock_that_is_not_signed_says_so_where_nobody_is_named(site: Site) -> None:
    path = site.lock_file(*SOURCES)
    site.download(path, belief=Belief())
    assert any("it is not signed" in getattr(event, "message", "") for event in site.heard)


def test_a_store_keeps_a_lock_with_its_signature_and_the_same_check_is_made_there(site: Site, lock: str) -> None:
    site.download(lock, belief=BY_KEY, name="approved")
    raw, signature = Path(lock).read_bytes(), Path(f"{lock}{SIGNATURE_SUFFIX}").read_bytes()
    with Store.open(site.store, read_only=True) as kept:
        assert kept.collections() == {"approved": raw}
        assert kept.collection_signature("approved") == signature
    Path(lock).unlink()
    for source in (f"store:{site.store}#approved", f"store:{site.store}"):
        site.source.requests.clear()
        assert site.mirror(source, belief=BY_KEY).exit_code == 0
        assert site.source.requests.count() == 0
        with site.session() as session:
            (found,) = verify_source(source, site.request(source, belief=BY_KEY), session=session)
            assert found.verified
            (found,) = verify_source(source, site.request(source, belief=BY_OTHER_KEY), session=session)
            assert (found.verified, found.exit_code) == (False, 3)
    with site.session() as session:
        request = site.request(belief=BY_KEY)
        against = f"store:{site.store}"
        assert verify_registry(site.naming, against=against, session=session, request=request).findings == []


def _damage_the_lock(store: Path, name: str) -> None:
    path = store / "bundlectl" / "collections" / f"{name}.json"
    path.write_bytes(replace(read(str(path)), weakened=("nothing",)).to_bytes())


def _remove_the_signature(store: Path, name: str) -> None:
    (store / "bundlectl" / "signatures" / f"{name}.json").unlink()


@pytest.mark.parametrize("change", [_damage_the_lock, _remove_the_signature])
def test_a_collection_that_was_changed_in_the_store_is_refused(
    site: Site, lock: str, change: Callable[[Path, str], None]
) -> None:
    site.download(lock, belief=BY_KEY, name="approved")
    change(site.store, "approved")
    source = f"store:{site.store}#approved"
    with pytest.raises(VerificationError):
        site.mirror(source, belief=BY_KEY)
    with site.session() as session, pytest.raises(VerificationError):
        verify_registry(site.naming, against=source, session=session, request=site.request(belief=BY_KEY))
    assert site.target.requests.count() == 0


def test_a_store_whose_path_has_a_hash_is_compared_with_a_registry_too(site: Site, lock: str) -> None:
    store = site.folder / "a#b"
    site.download(lock, name="c", store=store)
    site.mirror(lock)
    for against in (f"store:{store}", f"store:{store}#c", str(store)):
        with site.session() as session:
            assert verify_registry(site.naming, against=against, session=session).findings == []


def test_a_collection_that_is_replaced_loses_its_signature(site: Site, lock: str) -> None:
    site.download(lock, belief=BY_KEY, name="approved")
    site.download(f"image:{PAUSE}", name="approved")
    with Store.open(site.store, read_only=True) as kept:
        assert kept.collection_signature("approved") is None
    with pytest.raises(VerificationError, match="is not signed"):
        site.mirror(f"store:{site.store}", belief=BY_KEY)


def test_a_part_of_a_signed_lock_is_no_signed_lock_any_more(site: Site, lock: str) -> None:
    site.download(lock, belief=BY_KEY, name="part", include=("*/coredns*",))
    with Store.open(site.store, read_only=True) as kept:
        assert kept.collection_signature("part") is None
        assert kept.collections()["part"] != Path(lock).read_bytes()
    # What was checked was the whole, and the part was in it.
    assert levels(site.store) == {"signed"}


def test_of_several_signed_collections_one_must_be_named(site: Site, lock: str) -> None:
    site.download(lock, belief=BY_KEY, name="one")
    site.download(site.signed_lock(f"image:{PAUSE}"), belief=BY_KEY, name="two")
    with pytest.raises(UsageError, match="holds 2 collections") as caught:
        site.mirror(f"store:{site.store}", belief=BY_KEY)
    assert "store:DIR#NAME" in (caught.value.hint or "")
    assert site.mirror(f"store:{site.store}#two", belief=BY_KEY).exit_code == 0
    # Compared with a registry each is held against its own signature.
    with site.session() as session:
        request = site.request(belief=BY_KEY)
        site.mirror(f"store:{site.store}#one", belief=BY_KEY)
        found = verify_registry(site.naming, against=f"store:{site.store}", session=session, request=request)
    assert found.findings == []


def test_what_lies_beside_collections_is_never_signed(site: Site) -> None:
    site.download(f"image:{PAUSE}", name="one")
    with pytest.raises(VerificationError):
        site.mirror(f"store:{site.store}", belief=BY_KEY)


def test_either_of_two_signers_will_do(site: Site, lock: str) -> None:
    assert BY_OTHER_KEY.anchors is not None
    anchors = TrustAnchors(keys=(*BY_OTHER_KEY.anchors.keys, KEY))
    assert verdict(site, lock, replace(BY_KEY, anchors=anchors)).signed_by == (KEY,)


def test_a_lock_at_a_url_has_its_signature_beside_it(site: Site, lock: str) -> None:
    raw, signature = Path(lock).read_bytes(), Path(f"{lock}{SIGNATURE_SUFFIX}").read_bytes()
    url = site.put_file("a.lock.json", raw)
    with pytest.raises(VerificationError, match="is not signed"):
        site.download(url, belief=BY_KEY)
    site.put_file(f"a.lock.json{SIGNATURE_SUFFIX}", signature)
    assert site.download(url, belief=BY_KEY).exit_code == 0
    assert verdict(site, url).verified


def test_the_statement_is_one_that_any_reader_of_in_toto_understands(lock: str) -> None:
    bundle = json.loads(Path(f"{lock}{SIGNATURE_SUFFIX}").read_bytes())
    statement: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    pinned = read(lock)
    listed = {(item["name"], item["digest"]["sha256"]) for item in statement["subject"]}
    assert {(item.reference, item.digest.encoded) for item in pinned.artifacts} <= listed
    assert statement["subject"][0]["name"] == "lock"
