"""Documents that are signed, from their upstream into a store: what is believed, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import VerificationError
from bundlectl.operations.gathering import Gathered
from bundlectl.operations.rollback import newest
from bundlectl.operations.verifying_documents import verify_source
from bundles.belief import Belief
from bundles.lock import Lock, LockedManifest
from bundles.selection import Selection
from mirror.layout import Store
from mirror.oci.digest import Digest
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from tests.unit.bundlectl.operations.site import Site
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry

PAUSE = ("*/pause*",)
SIGNED_KINDS = ("Bundles", "EksdRelease", "PackageBundle")


@pytest.fixture(scope="module")
def signed_upstream() -> Iterator[Upstream]:
    """The samples, each signed as AWS signs its kind, with the key of the tests."""

    def finish(kind: str, raw: bytes) -> bytes:
        return signed(raw) if kind in SIGNED_KINDS else raw

    with Upstream.synthesise(sample_documents(), finish=finish) as made:
        yield made


@pytest.fixture
def trusted(signed_upstream: Upstream, registry: ServedRegistry, tmp_path: Path) -> Iterator[Site]:
    with signed_upstream.serve() as served, Site(served, registry, tmp_path) as site:
        yield site


def warnings(site: Site) -> list[str]:
    return [event.message for event in site.heard if getattr(event, "level", "") == "warning"]  # type: ignore[union-attr]


def levels(lock: Lock, part: str) -> set[str]:
    found = {item.trust for item in lock.artifacts if any(part in place for place in item.found_in)}
    assert found
    return found


def test_each_artifact_is_believed_as_far_as_its_document_s_signature_reaches(trusted: Site) -> None:
    lock = trusted.lock("eks-a:latest", "packages:1-33", belief=BY_KEY)
    assert levels(lock, "spec.packages[") == {"signed"}
    assert levels(lock, ".eksD.kindNode") == {"signed"}
    assert levels(lock, ".eksD.ova") == {"signed"}
    assert levels(lock, ".cilium") == {"declared"}
    assert levels(lock, ".certManager.controller") == {"declared"}
    assert levels(lock, ".certManager.manifest") == {"resolved"}
    assert "signed" not in levels(lock, "#status.components[")
    assert {(item.kind, item.trust) for item in lock.manifests} == {
        ("Release", "resolved"),
        ("Bundles", "signed"),
        ("EksDistroRelease", "signed"),
        ("PackageBundle", "signed"),
    }
    assert lock.weakened == tuple(text for text in lock.weakened if "verified" not in text)


def test_what_was_believed_stands_in_the_store(trusted: Site) -> None:
    trusted.download("packages:1-33", belief=BY_KEY)
    with Store.open(trusted.store, read_only=True) as kept:
        assert {ref.trust for ref in kept.refs() if "hello-eks-anywhere" in str(ref)} == {"signed"}


@pytest.mark.parametrize("source", ["eks-a:latest", "packages:1-33"])
@pytest.mark.parametrize("belief", [Belief(), BY_OTHER_KEY])
def test_what_another_signed_is_refused_before_anything_is_fetched(trusted: Site, source: str, belief: Belief) -> None:
    for command in (trusted.lock, trusted.download, trusted.mirror):
        with pytest.raises(VerificationError, match="does not hold"):
            command(source, belief=belief)
    assert trusted.target.requests.count() == 0
    assert trusted.source.requests.count("*", "/v2/*/blobs/*") <= 3  # the package bundle itself
    with Store.open(trusted.store, read_only=True) as kept:
        assert (list(kept.refs()), kept.collections()) == ([], {})


@pytest.mark.parametrize("source", ["eks-a:latest", "packages:1-33"])
@pytest.mark.parametrize("belief", [Belief(), BY_KEY])
def test_what_nobody_signed_is_refused(site: Site, source: str, belief: Belief) -> None:
    for command in (site.lock, site.download, site.mirror):
        with pytest.raises(VerificationError, match="is not signed"):
            command(source, belief=belief)


def test_an_eksd_release_alone_is_accepted_unsigned_with_one_warning(site: Site) -> None:
    lock = site.lock("eks-d:1-33", include=PAUSE, belief=Belief())
    assert {item.trust for item in lock.artifacts} <= {"declared", "resolved"}
    assert warnings(site) == ["carries no signature; it was taken from its address"]


def test_an_eksd_release_alone_needs_the_signature_of_a_key_that_is_named(site: Site, trusted: Site) -> None:
    with pytest.raises(VerificationError, match="is not signed"):
        site.lock("eks-d:1-33", include=PAUSE, belief=BY_KEY)
    assert trusted.lock("eks-d:1-33", include=PAUSE, belief=BY_KEY).artifacts
    assert warnings(trusted) == []


def test_verify_tells_of_each_document_that_a_source_leads_to(trusted: Site) -> None:
    with trusted.session() as session:
        found = verify_source("eks-a:latest", trusted.request(belief=BY_KEY), session=session)
        assert {(item.kind, item.verified) for item in found} == {("Bundles", True), ("Release", True)}
        assert all(item.uncovered for item in found)
        (bad,) = verify_source("eks-a:latest", trusted.request(belief=BY_OTHER_KEY), session=session)
        assert (bad.verified, bad.exit_code) == (False, 3)
        assert "does not hold" in (bad.reason or "")


# Rollback


def seen(site: Site, kind: str, *names: str) -> None:
    """Let the store have seen signed documents, or releases."""
    manifests = tuple(
        LockedManifest(kind=kind, name=name, url=name, digest=Digest.of(name.encode()), size=1, trust="signed")
        for name in names
        if kind != "Release"
    )
    gathered = Gathered(
        sources=(),
        selection=Selection(),
        artifacts=(),
        manifests=manifests,
        excluded=(),
        releases=tuple((name, True) for name in names if kind == "Release"),
    )
    with Store.open(site.store, create=True) as store:
        store.remember(newest(gathered, store, allowed=False))


OLDER = pytest.mark.parametrize(
    ("source", "kind", "newer", "exact"),
    [
        ("eks-a:latest", "Release", "v0.25.0", "eks-a:v0.24.1"),
        ("eks-d:1-33", "EksDistroRelease", "kubernetes-1-33-eks-13", "eks-d:1-33-eks-12"),
        ("packages:1-33", "PackageBundle", "v1-33-121", "packages:v1-33-120"),
        ("packages:1-33", "PackageBundle", "v1-33-2026-07-28-1", "packages:v1-33-120"),
        ("packages:1-33", "PackageBundle", "v1-33-26-7-28-1", "packages:v1-33-120"),
    ],
)


@OLDER
def test_a_latest_that_is_older_than_what_the_store_has_seen_is_refused(
    site: Site, source: str, kind: str, newer: str, exact: str
) -> None:
    seen(site, kind, newer)
    with pytest.raises(VerificationError, match=f"is older than {newer}, which the store has seen") as caught:
        site.download(source, include=PAUSE)
    assert "--allow-rollback" in (caught.value.hint or "")
    with Store.open(site.store, read_only=True) as kept:
        assert list(kept.refs()) == []
    assert site.download(source, include=PAUSE, allow_rollback=True).exit_code == 0
    assert site.download(exact, include=PAUSE, name="exact").exit_code == 0


@OLDER
def test_a_collection_s_latest_is_held_against_the_store_too(
    site: Site, source: str, kind: str, newer: str, exact: str
) -> None:
    path = site.folder / "site.yaml"
    head = "apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nmetadata: {name: site}\nspec: {sources: "
    seen(site, kind, newer)
    path.write_text(f"{head}[{source!r}]}}\n")
    with pytest.raises(VerificationError, match="is older than"):
        site.download(str(path), include=PAUSE)
    path.write_text(f"{head}[{exact!r}]}}\n")
    assert site.download(str(path), include=PAUSE).exit_code == 0


@pytest.mark.parametrize(
    ("source", "kind", "names"),
    [
        ("eks-a:latest", "Release", ["v0.24.1", "v0.23.9", "odd", "v0.24"]),
        ("eks-d:1-33", "EksDistroRelease", ["kubernetes-1-33-eks-9", "kubernetes-1-34-eks-99"]),
        ("packages:1-33", "PackageBundle", ["v1-33-99", "v1-34-999"]),
    ],
)
def test_a_latest_that_is_as_new_or_of_another_channel_is_taken(
    site: Site, source: str, kind: str, names: list[str]
) -> None:
    seen(site, kind, *names)
    assert site.download(source, include=PAUSE).exit_code == 0


def test_what_is_named_exactly_may_be_old_beside_a_latest(site: Site) -> None:
    seen(site, "EksDistroRelease", "kubernetes-1-33-eks-13")
    assert site.download("eks-d:1-33-eks-12", "packages:1-33", include=PAUSE).exit_code == 0


def test_a_lock_names_its_release_and_is_no_latest(site: Site) -> None:
    lock = site.lock_file("eks-a:latest", include=PAUSE)
    seen(site, "Release", "v0.25.0")
    assert site.download(lock).exit_code == 0


def test_what_is_signed_is_remembered_and_nothing_else(site: Site, trusted: Site) -> None:
    site.download("eks-a:latest", "packages:1-33", include=PAUSE)
    with Store.open(site.store, read_only=True) as kept:
        assert kept.newest() == {}
    trusted.store = trusted.folder / "trusted"
    trusted.download("eks-a:latest", "packages:1-33", include=PAUSE, belief=BY_KEY)
    with Store.open(trusted.store, read_only=True) as kept:
        remembered = {name for _, name in kept.newest().values()}
    assert {"v0.24.1", "kubernetes-1-33-eks-12", "v1-33-120"} <= remembered


def test_what_is_not_signed_takes_nothing_from_what_was_seen(site: Site) -> None:
    seen(site, "Release", "v0.25.0")
    site.download("eks-a:latest", include=PAUSE, allow_rollback=True)
    with pytest.raises(VerificationError, match=r"is older than v0\.25\.0"):
        site.download("eks-a:latest", include=PAUSE)


def test_a_rollback_is_allowed_once_and_for_all(trusted: Site) -> None:
    seen(trusted, "Release", "v0.25.0")
    with pytest.raises(VerificationError, match=r"is older than v0\.25\.0"):
        trusted.download("eks-a:latest", include=PAUSE, belief=BY_KEY)
    trusted.download("eks-a:latest", include=PAUSE, belief=BY_KEY, allow_rollback=True)
    assert trusted.download("eks-a:latest", include=PAUSE, belief=BY_KEY).exit_code == 0


def test_a_later_patch_of_an_older_line_makes_nothing_old(trusted: Site) -> None:
    seen(trusted, "Release", "v0.23.9")
    seen(trusted, "Bundles", "bundles-999")
    assert trusted.download("eks-a:latest", include=PAUSE, belief=BY_KEY).exit_code == 0


def test_a_first_download_has_nothing_to_be_older_than(site: Site) -> None:
    assert site.download("eks-a:latest", include=PAUSE).exit_code == 0
    assert site.download("eks-a:latest", include=PAUSE).exit_code == 0
