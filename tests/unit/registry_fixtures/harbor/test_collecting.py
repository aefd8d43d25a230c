"""What garbage collection takes: the two hours' window, the clock that HEAD sets back, untagged artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from tests.unit.registry_fixtures.harbor.conftest import CONFIG, LAYER, Client, descriptor, image, index

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture

HOUR = 3600
BLOB = f"blobs/{Digest.of(LAYER)}"


def test_a_blob_without_a_manifest_is_collected_after_two_hours(harbor: HarborFixture, pusher: Client) -> None:
    for data in (CONFIG, LAYER):
        pusher.push_blob("lab/app", data)
    harbor.clock.advance(1.9 * HOUR)
    assert harbor.collect_garbage() == 0
    harbor.clock.advance(0.2 * HOUR)
    assert harbor.collect_garbage() == 2
    assert pusher.ask("HEAD", f"/v2/lab/app/{BLOB}").status == 404
    assert harbor.database.projects["lab"].used == 0
    assert pusher.put("lab/app", "v1", image()).code == "MANIFEST_BLOB_UNKNOWN"


def test_a_head_protects_a_blob_even_where_it_is_not_found(
    harbor: HarborFixture, anyone: Client, pusher: Client
) -> None:
    robot = harbor.add_robot("reader", rights=("repository:pull",))
    pusher.push_blob("lab/app", LAYER)
    harbor.clock.advance(1.9 * HOUR)
    assert anyone.basic(robot.name, robot.secret).ask("HEAD", f"/v2/pub/other/{BLOB}").status == 404
    harbor.clock.advance(1.9 * HOUR)
    assert harbor.collect_garbage() == 0
    assert pusher.ask("HEAD", f"/v2/lab/app/{BLOB}").status == 200


@pytest.mark.parametrize("how", ["mount", "get"])
def test_a_mount_and_a_get_protect_nothing(harbor: HarborFixture, pusher: Client, how: str) -> None:
    pusher.push_blob("lab/app", LAYER)
    harbor.clock.advance(1.9 * HOUR)
    if how == "mount":
        path = f"/v2/lab/other/blobs/uploads/?mount={Digest.of(LAYER)}&from=lab/app"
        assert pusher.ask("POST", path).status == 201
    else:
        assert pusher.ask("GET", f"/v2/lab/app/{BLOB}").status == 200
    harbor.clock.advance(0.2 * HOUR)
    assert harbor.collect_garbage() == 1


def test_a_manifest_protects_its_blobs_for_as_long_as_it_is_here(harbor: HarborFixture, owner: Client) -> None:
    digest = owner.push_image("lab/app")
    harbor.clock.advance(100 * HOUR)
    assert harbor.collect_garbage(delete_untagged=True) == 0
    owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}")
    assert harbor.collect_garbage() == 3
    assert owner.put("lab/app", "v1", image()).code == "MANIFEST_BLOB_UNKNOWN"


def test_untagged_artifacts_go_however_young_and_children_and_accessories_stay(
    harbor: HarborFixture, pusher: Client
) -> None:
    untagged, child = (image(annotations={"n": name}) for name in ("untagged", "child"))
    attached = image(subject=descriptor(child, OCI_MANIFEST), artifactType="application/vnd.acme")
    for raw in (untagged, child, attached):
        pusher.push_image("lab/app", "", raw)
    assert pusher.put("lab/app", "v1", index(child), OCI_INDEX).status == 201
    harbor.collect_garbage(delete_untagged=True)
    there = [
        pusher.ask("HEAD", f"/v2/lab/app/manifests/{Digest.of(raw)}").status for raw in (untagged, child, attached)
    ]
    assert there == [404, 200, 200]
    assert pusher.ask("HEAD", f"/v2/lab/app/{BLOB}").status == 200
    assert pusher.put("lab/app", str(Digest.of(untagged)), untagged).status == 201


def test_a_collected_manifest_is_gone_from_storage_too(harbor: HarborFixture, owner: Client) -> None:
    digest = owner.push_image("lab/app", "")
    owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}")
    harbor.clock.advance(3 * HOUR)
    harbor.collect_garbage()
    assert owner.put("lab/app", "v1", index(image()), OCI_INDEX).code == "MANIFEST_BLOB_UNKNOWN"


def test_a_collection_can_be_asked_for_as_often_as_one_likes(harbor: HarborFixture, admin: Client) -> None:
    admin.push_image("lab/app", "")
    wanted = {"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": True, "workers": 1}}
    for _ in range(2):
        assert admin.api("POST", "/system/gc/schedule", wanted).status == 201
    assert not harbor.database.projects["lab"].repositories["lab/app"].artifacts
