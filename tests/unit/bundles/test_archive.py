"""An archive is opened only if its inventory, its lock and its media say the same."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bundlectl.errors import BundlectlError, ContentError, MissingError, StoreError, UsageError, VerificationError
from bundles.archive import archive_folders, find_inventory, open_archive
from bundles.inventory import ArchiveContents, Inventory, NamedFile, sign_inventory
from bundles.lock import Lock, LockedArtifact
from bundles.selection import Selection
from mirror.archive.folder import Folder
from mirror.archive.plan import Member
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, SIGNER

if TYPE_CHECKING:
    from signing.signature import Signer

ISSUED: Final = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
IMAGE: Final = Digest.of(b"an image's manifest")
ANCHORS: Final = BY_KEY.anchors


def lock_of(digest: Digest = IMAGE, size: int = 19) -> Lock:
    artifact = LockedArtifact(
        type="image",
        name="x",
        reference="registry.example/x:v1",
        digest=digest,
        size=size,
        media_type=OCI_MANIFEST,
        trust="declared",
        manifests=(digest,),
    )
    return Lock(sources=(), selection=Selection().to_json(), manifests=(), artifacts=(artifact,), blobs={digest: size})


def put(folder: Path, *, name: str = "a", signer: Signer | None = SIGNER, **more: Any) -> Path:
    """Write what lies beside the volumes; more is said of the archive, or of the inventory."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = lock_of().to_bytes()
    (folder / f"{name}.lock.json").write_bytes(raw)
    inside = {key: more.pop(key) for key in list(more) if key in ArchiveContents.__dataclass_fields__}
    members = (Member(Digest.of(b"{}"), 2, "oci-layout"), Member(IMAGE, 19))
    described = {
        "lock": NamedFile(f"{name}.lock.json", Digest.of(raw), len(raw)),
        "members": members,
        "volume_size": 64 * 1024,
        **inside,
    }
    inventory = Inventory(
        **{
            "name": name,
            "issued": ISSUED,
            "refs": {"registry.example/x:v1": IMAGE},
            "blobs": frozenset({IMAGE}),
            "archive": ArchiveContents(**described),
            **more,
        }
    )
    data = sign_inventory(inventory, signer) if signer else inventory.to_bytes()
    (folder / f"{name}.inventory.json").write_bytes(data)
    return folder


def test_what_agrees_is_opened_and_who_signed_it_is_said(tmp_path: Path) -> None:
    opened = open_archive([put(tmp_path / "m")], ANCHORS)
    assert (opened.name, opened.lock, opened.signed) == ("a", lock_of(), None)
    assert opened.proof is not None
    assert opened.inventory.issued == ISSUED
    assert [item.message for item in opened.volumes().problems()] == ["is not there"]
    assert open_archive([put(tmp_path / "n", signer=None)], None).proof is None


@pytest.mark.parametrize("name", ["a.inventory.json", "a.lock.json", "a-0001.tar", "a-0001.sum.json", "a-p01.parity"])
def test_any_file_of_it_leads_to_it_also_where_there_are_others(tmp_path: Path, name: str) -> None:
    folder = put(put(tmp_path / "m"), name="b")
    if not (folder / name).exists():
        (folder / name).write_bytes(b"")
    assert open_archive([folder / name], ANCHORS).name == "a"
    with pytest.raises(UsageError, match="inventories of 2 archives"):
        open_archive([folder], ANCHORS)


def test_several_media_are_one_archive_if_nothing_but_the_time_differs(tmp_path: Path) -> None:
    one = put(tmp_path / "one")
    two = put(tmp_path / "two", issued=ISSUED + dt.timedelta(days=2))
    bare = tmp_path / "bare"
    bare.mkdir()
    opened = open_archive([bare, one, two], ANCHORS)
    assert opened.inventory.issued == ISSUED + dt.timedelta(days=2)
    assert [folder.path for folder in opened.folders] == [bare, one, two]
    other = put(tmp_path / "other", volume_size=128 * 1024)
    with pytest.raises(ContentError, match="holds another export than"):
        open_archive([one, other], ANCHORS)
    renamed = put(tmp_path / "renamed", name="b")
    with pytest.raises(ContentError, match="holds another export than"):
        open_archive([one, renamed], ANCHORS)


def test_each_mediums_inventory_must_be_signed(tmp_path: Path) -> None:
    one = put(tmp_path / "one")
    later = put(tmp_path / "two", signer=None, issued=ISSUED + dt.timedelta(days=2))
    with pytest.raises(VerificationError, match="is not signed"):
        open_archive([one, later], ANCHORS)
    with pytest.raises(VerificationError, match="does not hold"):
        open_archive([one], BY_OTHER_KEY.anchors)


def test_a_small_file_is_taken_from_whichever_medium_has_it_right(tmp_path: Path) -> None:
    one, two = put(tmp_path / "one"), put(tmp_path / "two")
    (one / "a.lock.json").write_bytes(b"{}")
    assert open_archive([one, two], ANCHORS).lock == lock_of()
    (two / "a.lock.json").unlink()
    with pytest.raises(ContentError, match="not what the inventory says"):
        open_archive([one, two], ANCHORS)
    (one / "a.lock.json").unlink()
    with pytest.raises(MissingError, match="is not there"):
        open_archive([one, two], ANCHORS)


@pytest.mark.parametrize(
    "more",
    [
        {"refs": {}},
        {"refs": {"registry.example/x:v1": Digest.of(b"another")}},
        {"refs": {"registry.example/x:v1": IMAGE, "registry.example/y:v1": IMAGE}},
        {"members": (Member(Digest.of(b"another"), 19),), "blobs": frozenset({Digest.of(b"another")})},
        {"members": (Member(IMAGE, 20),)},
    ],
    ids=["no names", "another digest", "a name too many", "a blob that is not there", "another size"],
)
def test_an_inventory_that_contradicts_its_lock_is_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(ContentError, match="contradict each other"):
        open_archive([put(tmp_path / "m", **more)], ANCHORS)


def test_the_inventory_of_a_site_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="inventory of a site"):
        open_archive([put(tmp_path / "m", archive=None)], ANCHORS)


@pytest.mark.parametrize("name", ["../x", "x/y", "/x", ".x"])
def test_a_lock_that_does_not_lie_beside_the_inventory_is_not_read(tmp_path: Path, name: str) -> None:
    raw = lock_of().to_bytes()
    folder = put(tmp_path / "m", signer=None, lock=NamedFile(name, Digest.of(raw), len(raw)))
    for place in (tmp_path / "x", folder / "x" / "y", folder / ".x"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(raw)
    with pytest.raises(ContentError, match=r"not lie in its folder|no file of an archive"):
        open_archive([folder], None)


@pytest.mark.parametrize("kind", ["nothing", "empty", "link", "fifo", "long", "file"])
@pytest.mark.timeout(10)
def test_where_there_is_no_archive_that_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m"
    if kind == "empty":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "none")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_bytes(b"")
    elif kind == "long":
        path = tmp_path / ("m" * 300)
    with pytest.raises((MissingError, StoreError)) as raised:
        open_archive([path], ANCHORS)
    assert raised.value.hint


def test_an_inventory_that_is_a_link_is_none(tmp_path: Path) -> None:
    folder = put(tmp_path / "m")
    shutil.move(folder / "a.inventory.json", tmp_path / "elsewhere")
    (folder / "a.inventory.json").symlink_to(tmp_path / "elsewhere")
    assert find_inventory(Folder(folder)) is None
    with pytest.raises(BundlectlError):
        open_archive([folder], ANCHORS)


def test_several_folders_are_parted_as_in_a_search_path(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two:three"
    two.mkdir()
    assert archive_folders(f"{one}{os.pathsep}{tmp_path}") == (one, tmp_path)
    assert archive_folders(str(two)) == (two,)
    assert archive_folders("a" * 5000) == (Path("a" * 5000),)
    assert archive_folders("") == ()
    with pytest.raises(MissingError, match="holds no archive"):
        open_archive(archive_folders(""), None)
