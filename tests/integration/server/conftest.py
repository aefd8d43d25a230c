"""The embedded registry over a real store and real HTTP, and a client that hides nothing."""

from __future__ import annotations

import http.client
import json
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import (
    EMPTY,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
)
from mirror.server import Access, AccessRecord, Registry, RegistryServer, ServerOptions
from mirror.server.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundlectl.events import Event
    from mirror.server.describing import Description

FULL = "public.ecr.aws/eks/tool"
BLOB = bytes(range(256)) * 12  # 3,072 bytes


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def codes(self) -> set[str]:
        return {error["code"] for error in json.loads(self.body)["errors"]}

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One keep-alive connection."""

    connection: http.client.HTTPConnection
    defaults: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        chunked = body is not None and not isinstance(body, bytes)
        self.connection.request(method, url, body=body, headers=self.defaults | named, encode_chunked=chunked)
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def push(self, data: bytes, name: str = "test/repo", algorithm: str = "sha256") -> Digest:
        digest = Digest.of(data, algorithm)
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def session(self, name: str = "test/repo") -> str:
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert answer.status == 202
        return answer.headers["Location"]

    def put(
        self, document: dict[str, Any] | bytes, reference: str = "", name: str = "test/repo", kind: str = OCI_MANIFEST
    ) -> Answer:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        reference = reference or str(Digest.of(raw))
        return self.ask("PUT", f"/v2/{name}/manifests/{reference}", raw, Content_Type=kind)

    @staticmethod
    def descriptor(data: bytes, kind: str = OCI_LAYER, **more: Any) -> dict[str, Any]:
        return {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data), **more}

    def image(self, config: bytes = b"{}", layers: tuple[bytes, ...] = (BLOB,), **more: Any) -> dict[str, Any]:
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.descriptor(config, OCI_CONFIG),
            "layers": [self.descriptor(layer) for layer in layers],
            **more,
        }

    def push_image(self, tag: str = "v1", name: str = "test/repo", **more: Any) -> Digest:
        self.push(b"{}", name)
        self.push(BLOB, name)
        raw = json.dumps(self.image(**more)).encode()
        assert self.put(raw, tag, name).status == 201
        return Digest.of(raw)

    def attach(self, subject: dict[str, Any], kind: str, name: str = "test/repo", **annotations: str) -> Digest:
        self.push(b"{}", name)
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": kind,
                "config": self.descriptor(b"{}", EMPTY),
                "layers": [self.descriptor(b"{}", EMPTY)],
                "subject": subject,
                "annotations": annotations,
            }
        ).encode()
        answer = self.put(raw, name=name)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject["digest"])
        return Digest.of(raw)


@dataclass
class Site:
    """A running registry with everything that a test may look at."""

    store: Store
    server: RegistryServer
    registry: Registry
    events: list[Event]
    records: list[AccessRecord]

    @contextmanager
    def client(self, **defaults: str) -> Iterator[Client]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)) as connection:
            yield Client(connection, {key.replace("_", "-"): value for key, value in defaults.items()})

    def preload(self) -> Manifest:
        """What a download puts into a store."""
        for data in (b"{}", BLOB):
            self.store.put(data)
        with self.client() as client:
            manifest = Manifest.render(client.image())
        self.store.repository(FULL, trust="signed").put_manifest(manifest, tag="v1")
        return manifest


ALIASES = {"eks/tool": FULL}


def resolve(name: str, namespace: str | None) -> list[str]:
    if namespace:
        return [f"{namespace}/{name}"]
    return [ALIASES[name]] if name in ALIASES else []


@contextmanager
def serving(
    path: Path,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    describe: Callable[[Store], Description] | None = None,
) -> Iterator[Site]:
    with Store.open(path, create=True) as store:
        events: list[Event] = []
        records: list[AccessRecord] = []

        def files(path: str) -> tuple[Digest, int, str] | None:
            digest = Digest.of(BLOB)
            size = store.size(digest)
            if size is None:
                return None
            return {
                "releases/a file.yaml": (digest, size, "application/yaml"),
                "page.html": (digest, size, "text/html"),
                "tool": (digest, size, "a title.tar.gz"),
            }.get(path)

        backwards = {full: short for short, full in ALIASES.items()}
        registry = Registry(
            store,
            resolve_name=resolve,
            list_names=lambda: [backwards.get(name, name) for name in store.repositories()],
            files=files,
            access=access,
            options=ServerOptions(
                access_log=records.append, limits=limits or Limits(), description=describe(store) if describe else None
            ),
            listener=events.append,
        )
        with RegistryServer(registry, threads=8, listener=events.append) as server:
            yield Site(store, server, registry, events, records)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path / "store") as found:
        yield found
        assert found.events == []


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with site.client() as found:
        yield found


@pytest.fixture
def running() -> Any:
    """Starts a registry other than ``site``."""
    return serving
