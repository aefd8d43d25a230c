"""A report says what this run verified, what others only say, and what changed since the site was last told of."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from jsonschema import Draft202012Validator

from bundlectl.errors import VerificationError
from bundlectl.operations.exporting import ExportSettings, export
from bundlectl.operations.reporting import make_report
from bundlectl.operations.taking_stock import take_inventory
from bundles.belief import Belief
from bundles.inventory import Inventory, sign_inventory
from bundles.reporting.concerns import concerns
from bundles.reporting.document import render_json, report_document
from bundles.reporting.page import render_page
from bundles.reporting.spreadsheet import render_csv
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from registry_fixtures.faults import Fault, Refuse
from signing.identity import TrustAnchors
from tests.unit.bundles.signed_documents import KEY, OTHER_SIGNER, SIGNER

if TYPE_CHECKING:
    from bundles.reporting.report import Report
    from signing.signature import Signer
    from tests.unit.bundlectl.operations.site import Site

SOURCES: Final = (
    "image:public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12",
    "image:public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12",
)
RELEASE: Final = "eks-a:latest"
NOW: Final = dt.datetime(2026, 11, 26, 12, 30, tzinfo=dt.UTC)
BELIEF: Final = Belief(mode="key", key=KEY, anchors=TrustAnchors(keys=(KEY,)))
NAMED: Final = f"key {SIGNER.public_key.fingerprint}"


def report(site: Site, *sources: str, since: Path | None = None, **more: Any) -> Report:
    with site.session() as session:
        made = make_report(site.request(*sources, **more), session=session, since=since)
    schema = json.loads(files("bundles.reporting").joinpath("report.schema.json").read_bytes())
    Draft202012Validator(schema).validate(report_document(made))
    return made


def told(made: Report) -> str:
    return "\n".join(f"{item.gravity}: {item.text}" for item in concerns(made))


def archive(site: Site, *sources: str, weakened: tuple[str, ...] = (), **more: Any) -> Path:
    folder = site.folder / "medium"
    tool = site.folder / "bundlectl.whl"
    tool.write_bytes(b"the tool itself")
    settings = ExportSettings(
        name="carried",
        split_size=256 * 1024,
        tool={"tool/bundlectl.whl": tool},
        **{"signer": SIGNER, "issued": NOW, **more},
    )
    with site.session() as session:
        request = replace(site.request(*sources, belief=BELIEF), weakened=weakened)
        export(request, folder=folder, settings=settings, session=session)
    return folder


def inventory_of(site: Site, signer: Signer | None = None) -> Path:
    path = site.folder / "site.inventory.json"
    with site.session() as session:
        taken: Inventory = take_inventory(f"store:{site.store}", session=session, issued=NOW)
    path.write_bytes(sign_inventory(taken, signer) if signer else taken.to_bytes())
    return path


def test_a_signed_lock_is_verified_and_its_digest_is_that_of_the_file(site: Site) -> None:
    path = site.signed_lock(RELEASE)
    made = report(site, path, belief=BELIEF)
    assert made.vouching.digest == Digest.of(Path(path).read_bytes())
    assert made.vouching.verified_by == NAMED
    assert {item.artifact.trust for item in made.artifacts} == {"signed"}
    assert {item.recorded for item in made.artifacts} == {"off"}
    assert f"know: every digest is vouched for by {NAMED}, verified here" in told(made)
    assert f"{len(made.artifacts)} artifacts under the lock's signature alone" in told(made)
    assert made.made_from == (RELEASE,)


def test_without_a_key_a_signature_is_only_what_it_says_itself(site: Site) -> None:
    path = site.signed_lock(*SOURCES)
    made = report(site, path)
    assert made.vouching.verified_by is None
    assert made.vouching.says == f"key {SIGNER.public_key.hint}"
    assert "ask: the lock's signature was not checked; it says itself: key " in told(made)
    page = render_page(made).decode()
    assert "says itself: key " in page
    assert "verified here" not in page.replace("that was verified here", "")


def test_what_a_lock_that_nobody_vouches_for_says_of_itself_raises_no_trust(site: Site) -> None:
    document = json.loads(site.lock(RELEASE).to_bytes())
    for item in (*document["artifacts"], *document["manifests"]):
        item["trust"] = "signed"
        item.update({"verifiedBy": "aws"} if "url" in item else {})
    path = site.folder / "claims.lock.json"
    path.write_bytes(canonical_json(document))
    made = report(site, str(path))
    assert made.vouching.digest == Digest.of(path.read_bytes())
    assert f"ask: {len(made.artifacts)} artifacts under no verified signature" in told(made)
    assert "ask: 3 release documents without a signature that was verified" in told(made)
    assert "Verified by, as the lock says" in render_page(made).decode()


def test_a_lock_of_somebody_else_makes_no_report(site: Site) -> None:
    path = site.signed_lock(*SOURCES, signer=OTHER_SIGNER)
    with pytest.raises(VerificationError):
        report(site, path, belief=BELIEF)


def test_release_documents_are_listed_with_what_their_signatures_leave_out(site: Site) -> None:
    made = report(site, RELEASE)
    documents = {item.document.kind: item for item in made.documents}
    allowed = {gap.path: gap.allows for gap in documents["Bundles"].gaps}
    assert "spec.versionsBundles[].cilium" in allowed
    assert [gap.path for gap in documents["EksDistroRelease"].gaps][:1] == ["status"]
    assert documents["Release"].problem == "a release index carries no signature at all"
    page = render_page(made).decode()
    assert "each image, digest, file and checksum can be replaced" in page
    assert made.vouching.made_here
    by_release = {item.release for item in made.artifacts}
    assert {item.document.url for item in made.documents if item.document.kind != "Release"} <= by_release


def test_what_is_attached_is_read_from_where_the_content_lies(site: Site) -> None:
    site.download(RELEASE, name="release")
    made = report(site, f"store:{site.store}#release")
    kinds = [found.kind for item in made.artifacts for found in item.attached]
    assert {"sbom", "signature"} <= set(kinds)
    assert not [found.problem for item in made.artifacts for found in item.attached if found.problem]
    upstream = report(site, RELEASE)
    assert [item.attached for item in upstream.artifacts] == [item.attached for item in made.artifacts]


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(site: Site) -> None:
    site.download(*SOURCES, name="some")
    made = report(site, f"store:{site.store}#some")
    (site.folder / "elsewhere").mkdir()
    moved = site.store.rename(site.folder / "elsewhere" / site.store.name)
    again = report(site, f"store:{moved}#some")
    for render in (render_page, render_json, render_csv):
        assert render(made) == render(again)


def test_what_cannot_be_pinned_is_in_the_report_and_in_the_exit_code(site: Site) -> None:
    made = report(site, *SOURCES, "image:public.ecr.aws/eks-distro/absent:v1")
    assert made.exit_code == 4
    assert [item.reference for item in made.unpinned] == ["public.ecr.aws/eks-distro/absent:v1"]
    assert told(made).startswith("stop: 1 artifact could not be pinned")


def test_what_a_registry_says_of_a_refusal_does_not_break_the_report(site: Site) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"half of a pair \\ud800"}]}'
    site.source.faults.add(Fault(Refuse(403, body=body), path="*/pause/*"))
    made = report(site, *SOURCES)
    assert [item.error.partition("half of a pair ")[2][:1] for item in made.unpinned] == ["\ufffd"]
    assert render_json(made)


def test_new_changed_and_same_are_told_apart_by_the_inventory_of_the_site(site: Site) -> None:
    site.download(SOURCES[0])
    since = inventory_of(site)
    made = report(site, *SOURCES, since=since)
    assert made.since is not None
    assert (made.since.count("new"), made.since.count("same")) == (1, 1)
    pause = next(item for item in made.artifacts if "pause" in item.artifact.reference)
    assert pause.change is not None
    assert pause.change.kind == "new"
    assert made.since.size == pause.change.size > 0
    assert "ask: what the site has is an inventory's word, which was not checked" in told(made)
    gone = report(site, SOURCES[1], since=since)
    assert gone.since is not None
    assert [name for name, _ in gone.since.gone] == [SOURCES[0].removeprefix("image:")]


def test_other_content_under_a_known_name_is_the_first_thing_to_ask_about(site: Site) -> None:
    site.download(SOURCES[0])
    since = inventory_of(site)
    document = json.loads(since.read_bytes())
    for subject in document["subject"]:
        subject["digest"] = {"sha256": Digest.of(b"old").encoded}
    since.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    made = report(site, SOURCES[0], since=since)
    assert "ask: 1 artifact with other content under a name that the site has" in told(made)
    assert str(Digest.of(b"old")) in render_page(made).decode()


@pytest.mark.parametrize(
    ("signer", "verified"), [(SIGNER, NAMED), (OTHER_SIGNER, None), (None, None)], ids=["its own", "another", "none"]
)
def test_an_inventory_is_verified_with_the_key_or_told_as_somebodys_word(
    site: Site, signer: Signer | None, verified: str | None
) -> None:
    path = site.signed_lock(*SOURCES)
    site.download(SOURCES[0])
    made = report(site, path, since=inventory_of(site, signer), belief=BELIEF)
    assert made.since is not None
    assert made.since.statement.verified_by == verified
    assert ("is an inventory's word" in told(made)) == (verified is None)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_compressed_inventory_names_its_signer_as_any_other_does(site: Site, suffix: str) -> None:
    path = site.signed_lock(*SOURCES)
    site.download(SOURCES[0])
    raw = inventory_of(site, SIGNER).read_bytes()
    since = site.folder / f"x.json{suffix}"
    since.write_bytes(gzip.compress(raw) if suffix else raw)
    made = report(site, path, since=since)
    assert made.since is not None
    assert made.since.statement.says == f"key {SIGNER.public_key.hint}"


# Archives


def test_an_archive_is_listed_file_by_file_with_checksums(site: Site) -> None:
    folder = archive(site, site.signed_lock(*SOURCES))
    made = report(site, f"archive:{folder}", belief=BELIEF)
    (carried,) = made.archives
    assert carried.statement.verified_by == NAMED
    assert carried.statement.issued == NOW
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert {item.name: item.sha256 for item in carried.files} == sums
    assert not [item for item in carried.files if item.problem or item.found is None]
    volumes = carried.of_kind("volume")
    assert [item.found for item in volumes] == [(folder / item.name).stat().st_size for item in volumes]
    assert [item.name for item in carried.of_kind("tool")] == ["tool/bundlectl.whl"]
    assert all(item.hashed for item in carried.files if item.kind != "volume")
    assert all(item.volumes for item in made.artifacts)
    page = render_page(made).decode()
    assert "exported 2026-11-26 12:30:00 UTC" in page
    assert all(digest in page for digest in sums.values())


def test_what_weakened_trust_when_an_archive_or_inventory_was_made_is_told(site: Site) -> None:
    folder = archive(site, site.signed_lock(*SOURCES), weakened=("TLS of x was not checked (flag)",))
    site.download(SOURCES[0])
    path = inventory_of(site)
    inventory = Inventory.from_bytes(path.read_bytes(), origin="x")
    path.write_bytes(replace(inventory, weakened=("TLS of y was not checked (flag)",)).to_bytes())
    made = report(site, f"archive:{folder}", since=path, belief=BELIEF)
    found = report_document(made)["weakened"]
    assert "TLS of x was not checked (flag)" in found
    assert "the site's inventory: TLS of y was not checked (flag)" in found
    assert f"ask: {len(found)} things decided or weakened trust" in told(made)
    assert "TLS of x was not checked" in render_page(made).decode()


def test_an_archive_without_a_key_is_nobodys(site: Site) -> None:
    folder = archive(site, site.signed_lock(*SOURCES), signer=None)
    made = report(site, f"archive:{folder}")
    assert "ask: the signature of the archive's inventory is not there: nobody vouches for it" in told(made)
    with pytest.raises(VerificationError):
        report(site, f"archive:{folder}", belief=BELIEF)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("carried-0001.tar", lambda raw: raw[:-1], "bytes and should have"),
        ("carried-0001.sum.json", lambda raw: raw.replace(b'"sha256":"', b'"sha256":"0', 1), None),
        ("tool/bundlectl.whl", lambda raw: raw.upper(), "has another checksum"),
        ("SHA256SUMS", lambda raw: re.sub(rb".{64}(?=  carried-0001.tar)", b"0" * 64, raw), "SUMS says another"),
        ("SHA256SUMS", lambda raw: raw + b"0" * 64 + b"  ../../etc/passwd\n", "its name leads out of the folder"),
        ("SHA256SUMS", lambda raw: raw + b"0" * 64 + b"  also.txt\n", "the inventory does not name it"),
        ("carried-0001.sum.json", lambda raw: raw.replace(b'"archive":"sha256:', b'"archive":"sha256:0'), "of another"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be_is_the_first_concern(
    site: Site, name: str, change: Any, problem: str | None
) -> None:
    folder = archive(site, site.signed_lock(*SOURCES))
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    made = report(site, f"archive:{folder}", belief=BELIEF)
    found = [item.problem for item in made.archives[0].files if item.problem]
    assert found
    assert problem is None or any(problem in item for item in found), found
    assert told(made).startswith("stop: ")
    assert made.exit_code == 3


@pytest.mark.parametrize("name", ["tool/another-offline.pyz", "carried-0000.tar", "tool/\udcff", "tool/folder/x"])
def test_what_somebody_put_beside_the_volumes_or_the_tool_is_the_first_concern(site: Site, name: str) -> None:
    folder = archive(site, site.signed_lock(*SOURCES))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"not from whoever signed the inventory")
    if name.isascii():
        digest = Digest.of((folder / name).read_bytes()).encoded
        (folder / "SHA256SUMS").write_bytes((folder / "SHA256SUMS").read_bytes() + f"{digest}  {name}\n".encode())
    made = report(site, f"archive:{folder}", belief=BELIEF)
    assert "stop: " in told(made)
    assert made.exit_code == 3
    assert "the inventory does not name it" in render_page(made).decode()
    assert render_json(made)


def test_what_lies_on_two_media_must_be_right_on_both(site: Site) -> None:
    lock = site.signed_lock(*SOURCES)
    first = archive(site, lock).rename(site.folder / "first")
    second = archive(site, lock, issued=NOW + dt.timedelta(days=1)).rename(site.folder / "second")
    made = report(site, f"archive:{first}:{second}", belief=BELIEF)
    assert not [item for item in made.archives[0].files if item.problem or item.found is None]
    (second / "tool/bundlectl.whl").write_bytes(b"THE TOOL ITSELF")
    made = report(site, f"archive:{first}:{second}", belief=BELIEF)
    assert [item.name for item in made.archives[0].files if item.problem] == ["tool/bundlectl.whl"]
    assert made.exit_code == 3


def test_what_an_archive_left_out_is_not_told_as_what_could_not_be_read(site: Site) -> None:
    lock = site.signed_lock(*SOURCES)
    site.download(lock, name="all")
    path = inventory_of(site)
    inventory = Inventory.from_bytes(path.read_bytes(), origin="x")
    folder = archive(site, lock, since=((inventory, Digest.of(path.read_bytes())),))
    made = report(site, f"archive:{folder}", since=path, belief=BELIEF)
    kinds = [found.kind for item in made.artifacts for found in item.attached]
    assert set(kinds) == {"left-out"}
    assert f"know: {len(kinds)} attached documents not in the archive, as the site has them" in told(made)
    assert "1 image without an SBOM" in told(made)  # the one that has nothing attached
    assert not [line for line in told(made).splitlines() if "could not be read" in line or "neither" in line]
    assert "not in the archive, as the site has it" in render_page(made).decode()
    assert render_csv(made)


def test_what_is_neither_in_an_archive_nor_at_the_site_is_asked_about(site: Site) -> None:
    lock = site.signed_lock(*SOURCES)
    site.download(lock, name="all")
    path = inventory_of(site)
    inventory = Inventory.from_bytes(path.read_bytes(), origin="x")
    folder = archive(site, lock, since=((inventory, Digest.of(path.read_bytes())),))
    kept = replace(inventory, blobs=frozenset(sorted(inventory.blobs)[3:]))
    path.write_bytes(kept.to_bytes())
    made = report(site, f"archive:{folder}", since=path, belief=BELIEF)
    assert "ask: 3 blobs neither in the archive nor in the site's inventory" in told(made)


def test_a_volume_that_is_elsewhere_is_told_as_that(site: Site) -> None:
    folder = archive(site, site.signed_lock(*SOURCES))
    (folder / "carried-0001.tar").unlink()
    made = report(site, f"archive:{folder}", belief=BELIEF)
    assert "ask: 1 file of the archive not in this folder" in told(made)
    assert made.exit_code == 0
    assert made.archives[0].of_kind("volume")[0].sha256
