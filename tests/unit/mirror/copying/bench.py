"""What the tests of the copy engine work with: images in a source registry, roots, and runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bundlectl.events import ArtifactFinished, BytesMoved, Event, TransferPlanned
from mirror.copying import CopyReport, Estimate, Persistence, Root, copy, estimate
from mirror.oci.descriptor import Descriptor
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from mirror.remote import CredentialStore, RemoteRegistry, RemoteRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mirror.http import HttpClient
    from mirror.oci.digest import Digest
    from registry_fixtures.exchange import LoggedRequest
    from registry_fixtures.features import Features
    from registry_fixtures.registry import ServedRegistry

AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
QUICK = Persistence(tries=3, backoff=0.001, longest=0.01)


class Bench:
    """A source and a target registry, and what passes between them."""

    def __init__(self, factory: Callable[..., ServedRegistry], client: HttpClient) -> None:
        self._factory = factory
        self.client = client
        self.source = factory()
        self.target = factory()
        self.heard: list[Event] = []

    def renew_target(self, features: Features) -> None:
        """Copy into another registry, which can other things."""
        self.target = self._factory(features=features)

    def repository(self, served: ServedRegistry, name: str) -> RemoteRepository:
        return RemoteRegistry(served.host, client=self.client, credentials=CredentialStore()).repository(name)

    def image(self, repository: str, *layers: bytes, tag: str | None = "v1", **more: Any) -> Manifest:
        """Put an image of these layers into the source; its config names the repository."""
        config = json.dumps({"made for": more.pop("config", repository)}).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, config, OCI_CONFIG),
            "layers": [self._blob(repository, layer, OCI_LAYER) for layer in layers],
            **more,
        }
        return self.source.holdings.put_manifest(repository, canonical_json(document), tag=tag)

    def index(self, repository: str, *children: tuple[Manifest, dict[str, str]], tag: str | None = "v1") -> Manifest:
        """Put an index of manifests and their platforms into the source."""
        entries = [
            {**child.descriptor.to_json(), **({"platform": platform} if platform else {})}
            for child, platform in children
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.source.holdings.put_manifest(repository, canonical_json(document), tag=tag)

    def multi(self, repository: str) -> Manifest:
        """An index of two platforms, each with a layer of its own."""
        amd64 = self.image(repository, b"amd64 layer", tag=None, config="amd64")
        arm64 = self.image(repository, b"arm64 layer", tag=None, config="arm64")
        return self.index(repository, (amd64, AMD64), (arm64, ARM64))

    def _blob(self, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
        digest = self.source.holdings.put_blob(repository, data)
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}

    def root(self, repository: str, manifest: Manifest, *, tags: tuple[str, ...] = ("v1",), **more: Any) -> Root:
        """From a repository of the source to the one of that name (or ``to``) in the target."""
        return Root(
            label=f"{repository}:{tags[0]}",
            source=self.repository(self.source, repository),
            target=self.repository(self.target, more.pop("to", repository)),
            descriptor=Descriptor("", manifest.descriptor.digest, 0),
            tags=tags,
            **more,
        )

    def copy(self, roots: Sequence[Root], **options: Any) -> CopyReport:
        options = {"jobs": 4, "persistence": QUICK, "listener": self.heard.append, **options}
        return copy(roots, **options)

    def estimate(self, roots: Sequence[Root]) -> Estimate:
        return estimate(roots, jobs=4, persistence=QUICK)

    def tag(self, repository: str, tag: str = "v1") -> Digest | None:
        """What a tag of the target points at."""
        held = self.target.holdings.find(repository)
        return held.tags.get(tag) if held else None

    def sent(self, method: str, path: str, *, status: int | None = None) -> list[LoggedRequest]:
        """Requests that the target got."""
        return self.target.requests.entries(method, path, status=status)

    def moved(self) -> int:
        """Bytes that the listener was told of."""
        return sum(event.count for event in self.heard if isinstance(event, BytesMoved))

    def planned(self) -> int:
        """Bytes that the listener was told to expect."""
        return sum(event.bytes for event in self.heard if isinstance(event, TransferPlanned))

    def outcomes(self) -> dict[str, str]:
        """How each artifact ended."""
        return {event.reference: event.outcome for event in self.heard if isinstance(event, ArtifactFinished)}
