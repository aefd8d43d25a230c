"""The made-up Harbor as tests use it: filled at once, with faults, and by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import registry_fixtures.harbor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_INDEX
from registry_fixtures.depot import BlobDepot
from registry_fixtures.faults import Fault, FaultPlan, Refuse
from registry_fixtures.harbor.refusals import HarborError, page
from registry_fixtures.holdings import Holdings
from tests.unit.registry_fixtures.harbor.conftest import CONFIG, LAYER, Client, image, index

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture


def test_what_another_made_up_registry_holds_is_loaded_into_a_project(harbor: HarborFixture) -> None:
    holdings = Holdings(BlobDepot())
    for data in (CONFIG, LAYER):
        holdings.put_blob("some/app", data)
    holdings.put_manifest("some/app", image())
    holdings.put_manifest("some/app", index(image()), OCI_INDEX, tag="v1")
    harbor.load(holdings, "taken")
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    assert admin.ask("GET", "/v2/taken/some/app/manifests/v1").body == index(image())
    assert admin.ask("HEAD", f"/v2/taken/some/app/blobs/{Digest.of(LAYER)}").status == 200
    (row,) = admin.api("GET", "/projects/taken/artifacts").json
    assert row["tags"][0]["name"] == "v1"
    assert harbor.database.projects["taken"].used == sum(map(len, (CONFIG, LAYER, image(), index(image()))))


def test_what_a_test_puts_there_is_as_if_it_had_been_pushed(harbor: HarborFixture) -> None:
    for data in (CONFIG, LAYER):
        harbor.put_blob("made/app", data)
    manifest = harbor.put_manifest("made/app", image(), tag="v1")
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    assert admin.ask("GET", "/v2/made/app/manifests/v1").headers["Docker-Content-Digest"] == str(
        manifest.descriptor.digest
    )
    assert harbor.artifact("made/app", "v1").type == "IMAGE"
    with pytest.raises(HarborError):
        harbor.artifact("made/app", "v2")


def test_an_upstream_limit_can_be_made_up_by_a_fault(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(faults=FaultPlan(Fault(Refuse(429, code="TOO_MANY_REQUEST"), path="/v2/*", count=1)))
    reply = Client(harbor.host).ask("GET", "/v2/")
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "TOO_MANY_REQUEST", None)
    assert Client(harbor.host).ask("GET", "/v2/").status == 401


def test_a_page_of_nginx_says_what_is_wrong_and_nothing_else() -> None:
    answer = page(502)
    assert answer.headers["Content-Type"] == "text/html"
    assert b"<h1>502 Bad Gateway</h1>" in b"".join(answer.body)


def test_secrets_are_in_no_representation(harbor: HarborFixture) -> None:
    robot = harbor.add_robot("quiet")
    assert robot.secret not in repr(robot)
    assert "Harbor12345" not in repr(harbor.people.users["admin"])


def test_what_is_not_emulated_is_said() -> None:
    assert "does not emulate" in str(registry_fixtures.harbor.__doc__)


def test_it_can_be_served_by_hand() -> None:
    command = [sys.executable, "-m", "registry_fixtures", "--harbor", "lab"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, name, secret = (process.stdout.readline().strip() for _ in range(3))
            robot = Client(url.removeprefix("http://")).basic(name, secret)
            assert robot.ask("POST", "/v2/lab/app/blobs/uploads/").status == 202
        finally:
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=10) == 0
