"""Somebody who talks to the made-up Harbor, by bare HTTP."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import ACCEPT_MANIFESTS, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_fixtures.harbor import HarborFixture

LAYER = b"a layer"
CONFIG = b'{"architecture":"amd64","os":"linux"}'


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error."""
        return str(self.json["errors"][0]["code"])

    @property
    def message(self) -> str:
        """The message of the first error."""
        return str(self.json["errors"][0]["message"])

    @property
    def challenge(self) -> str | None:
        return self.headers["Www-Authenticate"]


@dataclass(frozen=True)
class Client:
    """Somebody: anonymous, or with an Authorization."""

    host: str
    authorization: str = ""

    def basic(self, name: str, secret: str) -> Client:
        return replace(self, authorization=f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}")

    def bearer(self, *scopes: str) -> Client:
        """The same with a token for these scopes instead."""
        return replace(self, authorization=f"Bearer {self.token(*scopes)['token']}")

    def token(self, *scopes: str) -> dict[str, Any]:
        query = urlencode([("service", "harbor-registry"), *(("scope", scope) for scope in scopes)])
        reply = self.ask("GET", f"/service/token?{query}")
        assert reply.status == 200, reply
        document: dict[str, Any] = reply.json
        return document

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        accept: str = ACCEPT_MANIFESTS,
    ) -> Reply:
        sent = {**({"Accept": accept} if accept else {}), **(headers or {})}
        if self.authorization:
            sent.setdefault("Authorization", self.authorization)
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, path.removeprefix(f"http://{self.host}"), body=body, headers=sent)
            with connection.getresponse() as response:
                return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, document: object = None) -> Reply:
        """Ask the REST API."""
        body = None if document is None else json.dumps(document).encode()
        return self.ask(method, f"/api/v2.0{path}", body, headers={"Content-Type": "application/json"} if body else {})

    def begin(self, repository: str, query: str = "") -> str:
        """Start an upload; its Location."""
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}")
        assert reply.status == 202, reply
        return str(reply.headers["Location"])

    def push_blob(self, repository: str, data: bytes) -> Reply:
        return self.ask("PUT", f"{self.begin(repository)}&digest={Digest.of(data)}", data)

    def put(self, repository: str, reference: str, raw: bytes, media_type: str = OCI_MANIFEST) -> Reply:
        headers = {"Content-Type": media_type} if media_type else {}
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", raw, headers=headers)

    def push_image(self, repository: str, tag: str = "v1", raw: bytes | None = None) -> Digest:
        """Push an image of one layer (or a manifest over that layer), by tag or digest."""
        raw = image() if raw is None else raw
        for data in (CONFIG, LAYER):
            assert self.push_blob(repository, data).status == 201
        reply = self.put(repository, tag or str(Digest.of(raw)), raw)
        assert reply.status == 201, reply
        return Digest.of(raw)


def descriptor(data: bytes, media_type: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data), **more}


def image(**more: object) -> bytes:
    """A manifest over the config and the layer that ``push_image`` pushes."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, OCI_CONFIG),
        "layers": [descriptor(LAYER, OCI_LAYER)],
    }
    return canonical_json({**document, **more})


def index(*children: bytes, **more: object) -> bytes:
    entries = [descriptor(child, OCI_MANIFEST) for child in children]
    return canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **more})


@pytest.fixture
def anyone(harbor: HarborFixture) -> Client:
    """Nobody in particular, at a Harbor with the private project ``lab`` and the public ``pub``."""
    harbor.add_project("lab")
    harbor.add_project("pub", public=True)
    return Client(harbor.host)


@pytest.fixture
def admin(anyone: Client) -> Client:
    return anyone.basic("admin", "Harbor12345")


@pytest.fixture
def pusher(harbor: HarborFixture, anyone: Client) -> Client:
    """A robot that may pull and push everywhere, but not delete."""
    robot = harbor.add_robot("pusher", rights=("repository:pull", "repository:push"))
    return anyone.basic(robot.name, robot.secret)


@pytest.fixture
def owner(harbor: HarborFixture, anyone: Client) -> Client:
    """A robot that may pull, push and delete everywhere."""
    robot = harbor.add_robot("owner", rights=("repository:pull", "repository:push", "repository:delete"))
    return anyone.basic(robot.name, robot.secret)
