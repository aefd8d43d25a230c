"""The kinds of content that a registry has to take as they are."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.conformance.driver import IMAGE, INDEX, digest_of, made_up

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
FOREIGN: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
SBOM: Final = "application/vnd.example.sbom"
SIGNATURE: Final = "application/vnd.example.signature"


@dataclass(frozen=True)
class Part:
    """A manifest with the bytes that it is."""

    raw: bytes
    kind: str
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.raw, self.algorithm)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.kind, "digest": self.digest, "size": len(self.raw), **more}


@dataclass
class Content:
    """Blobs, and manifests in the order of pushing; the last is the one that is tagged."""

    name: str
    algorithm: str = "sha256"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[Part] = field(default_factory=list)

    @property
    def root(self) -> Part:
        return self.manifests[-1]

    def blob(self, data: bytes, kind: str, *, pushed: bool = True, **more: Any) -> dict[str, Any]:
        """A descriptor of some bytes, which become a blob unless not ``pushed``."""
        digest = digest_of(data, self.algorithm)
        if pushed:
            self.blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data), **more}

    def manifest(self, document: dict[str, Any], kind: str) -> Part:
        part = Part(json.dumps(document).encode(), kind, self.algorithm)
        self.manifests.append(part)
        return part

    def image(
        self, platform: str = "amd64", layers: list[dict[str, Any]] | None = None, *, typed: bool = True, **more: Any
    ) -> Part:
        if layers is None:
            data = [gzip.compress(made_up((self.name, platform, number)), mtime=0) for number in range(2)]
            layers = [self.blob(layer, f"{LAYER}+gzip") for layer in data]
        config = json.dumps({"architecture": platform, "os": "linux", "config": {}, "of": self.name}).encode()
        document = {"schemaVersion": 2, **({"mediaType": IMAGE} if typed else {})}
        return self.manifest(document | {"config": self.blob(config, CONFIG), "layers": layers, **more}, IMAGE)

    def index(self, *children: Part, **more: Any) -> Part:
        listed = [
            child.descriptor(platform={"os": "linux", "architecture": architecture})
            for child, architecture in zip(children, ("amd64", "arm64", "s390x"), strict=False)
        ]
        return self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, **more}, INDEX)

    def artifact(self, kind: str, *, layers: int = 1, subject: Part | None = None, **more: Any) -> Part:
        listed = [self.blob(made_up((self.name, kind, number), 99), "text/plain") for number in range(layers)]
        document = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "artifactType": kind,
            "config": self.blob(b"{}", EMPTY),
            "layers": listed or [self.blob(b"{}", EMPTY)],
            **({"subject": subject.descriptor()} if subject else {}),
            **more,
        }
        return self.manifest(document, IMAGE)


def _image(content: Content) -> None:
    content.image()


def _image_uncompressed(content: Content) -> None:
    content.image(layers=[content.blob(made_up("plain"), LAYER)])


def _large_manifest(content: Content) -> None:
    content.image(annotations={f"org.example.{number}": "x" * 10_000 for number in range(390)})


def _without_media_type(content: Content) -> None:
    """As Helm writes it."""
    content.image(typed=False)


def _index(content: Content) -> None:
    content.index(content.image("amd64"), content.image("arm64"))


def _nested_index(content: Content) -> None:
    content.index(content.index(content.image("amd64")), content.index(content.image("arm64")))


def _empty_index(content: Content) -> None:
    content.index()


def _artifact(content: Content) -> None:
    content.artifact(SBOM, annotations={"org.example.format": "json"})


def _artifact_index(content: Content) -> None:
    content.index(content.artifact(SBOM), content.artifact(SIGNATURE), artifactType="application/vnd.example.pair")


def _artifact_without_layers(content: Content) -> None:
    content.artifact(SBOM, layers=0)


def _artifacts_with_subject(content: Content) -> None:
    subject = content.image()
    content.artifact(SBOM, subject=subject, annotations={"org.example.format": "json"})
    content.artifact(SIGNATURE, subject=subject)


def _index_with_subject(content: Content) -> None:
    subject = content.image()
    content.index(
        content.artifact(SBOM),
        artifactType="application/vnd.example.list",
        annotations={"org.example.of": "index"},
        subject=subject.descriptor(),
    )


def _missing_subject(content: Content) -> None:
    absent = Part(json.dumps({"schemaVersion": 2, "never": "pushed"}).encode(), IMAGE, content.algorithm)
    content.artifact(SBOM, subject=absent)


def _data_field(content: Content) -> None:
    data = b"embedded"
    content.image(layers=[content.blob(data, LAYER) | {"data": base64.b64encode(data).decode()}])


def _nondistributable(content: Content) -> None:
    layer = content.blob(made_up("elsewhere"), FOREIGN, pushed=False, urls=["https://store.invalid/layer"])
    content.image(layers=[layer, content.blob(made_up("here"), LAYER)])


def _custom_fields(content: Content) -> None:
    config = {"architecture": "amd64", "os": "linux", "org.example": {"nested": ["of", "config"]}}
    layer = content.blob(made_up("custom"), LAYER) | {"org.example.layer": 1}
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": content.blob(json.dumps(config).encode(), CONFIG),
        "layers": [layer],
        "org.example.manifest": {"unknown": True},
    }
    image = content.manifest(document, IMAGE)
    content.index(image, **{"org.example.index": "kept"})


def _no_layers(content: Content) -> None:
    content.image(layers=[])


def _empty_blob(content: Content) -> None:
    content.image(layers=[content.blob(b"", LAYER)])


def _sparse_index(content: Content) -> None:
    absent = Part(json.dumps({"schemaVersion": 2, "of": content.name}).encode(), IMAGE, content.algorithm)
    content.index(content.image("amd64"), absent)


KINDS: Final = {
    function.__name__.strip("_"): function
    for function in (
        _image,
        _image_uncompressed,
        _large_manifest,
        _without_media_type,
        _index,
        _nested_index,
        _empty_index,
        _artifact,
        _artifact_index,
        _artifact_without_layers,
        _artifacts_with_subject,
        _index_with_subject,
        _missing_subject,
        _data_field,
        _nondistributable,
        _custom_fields,
        _no_layers,
        _empty_blob,
        _sparse_index,
    )
}


def content_of(kind: str, algorithm: str = "sha256") -> Content:
    """Content of one kind, all of whose digests are of one algorithm."""
    content = Content(f"{kind}-{algorithm}", algorithm)
    KINDS[kind](content)
    return content
