from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from bundles.belief import Belief
from bundles.sources.context import SourceContext
from mirror.http import HttpClient, Transport
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.remote import CredentialStore, RemoteRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.events import Event


@dataclass
class Site:
    """A web server and registry on loopback: what is put into ``files`` is what it answers."""

    address: str = ""
    files: dict[str, bytes | int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def put_manifest(self, repository: str, document: dict[str, Any], *tags: str) -> Manifest:
        manifest = Manifest.from_bytes(json.dumps(document).encode(), OCI_MANIFEST)
        for name in (*tags, str(manifest.descriptor.digest)):
            path = f"/v2/{repository}/manifests/{name}"
            self.files[path] = manifest.raw
            self.types[path] = manifest.descriptor.media_type
        return manifest

    def put_blob(self, repository: str, data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
        digest = Digest.of(data)
        self.files[f"/v2/{repository}/blobs/{digest}"] = data
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}

    def put_package_bundle(self, document: bytes, *tags: str, repository: str = "") -> Manifest:
        repository = repository or "eks-anywhere/eks-anywhere-packages-bundles"
        return self.put_manifest(
            repository,
            {
                "schemaVersion": 2,
                "config": self.put_blob(repository, b"{}", "application/vnd.unknown.config.v1+json"),
                "layers": [self.put_blob(repository, document, "application/vnd.oci.image.layer.v1.tar")],
            },
            *tags,
        )

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if getattr(event, "level", "") == "warning"]  # type: ignore[union-attr]


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.requests.append(self.path)
            path = self.path.partition("?")[0]
            found = state.files.get(path, 404)
            if path == "/v2/":
                found = b"{}"
            status, body = (found, b"") if isinstance(found, int) else (200, found)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", state.types.get(path, "text/html"))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 -- the base class's name

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 -- the base class's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    state.address = f"127.0.0.1:{server.server_address[1]}"
    for host in ("anywhere-assets.eks.amazonaws.com", "distro.eks.amazonaws.com", "docs.example"):
        state.origins[f"https://{host}"] = f"http://{state.address}/{host}"
    state.origins["public.ecr.aws"] = state.address
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def context(site: Site) -> Iterator[SourceContext]:
    """Reads from the site: AWS's hosts and https://docs.example lie there, by --origin. Signatures are not checked."""
    with HttpClient(Transport(retries=1, max_wait=0.05, backoff=0.01), listener=site.events.append) as client:

        def registry(host: str) -> RemoteRegistry:
            reached = site.address if host == "public.ecr.aws" else host
            return RemoteRegistry(host, client=client, credentials=CredentialStore(), origin=reached)

        yield SourceContext(
            connect=lambda: client,
            registry=registry,
            origins=site.origins,
            belief=Belief(mode="off"),
            listener=site.events.append,
            follow=True,
        )
