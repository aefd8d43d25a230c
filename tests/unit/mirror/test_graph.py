"""Walking from a root to everything it needs."""

from typing import Any

import pytest

from bundlectl.errors import ContentError, MissingError
from mirror.graph import walk
from mirror.memory import MemoryRepository
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from mirror.oci.platform import Platform


class Manifests(MemoryRepository):
    """A repository of manifests only."""

    def __init__(self, *manifests: Manifest) -> None:
        super().__init__("host/name", lambda: (manifests[-1], {}))
        self.known = {item.descriptor.digest: item for item in manifests}

    def manifest(self, descriptor: Descriptor) -> Manifest:
        try:
            return self.known[descriptor.digest]
        except KeyError:
            raise MissingError("is not here", artifact=str(descriptor.digest)) from None


def blob(name: str) -> dict[str, Any]:
    return {"mediaType": "application/octet-stream", "digest": str(Digest.of(name.encode())), "size": len(name)}


def image(*layers: dict[str, Any]) -> Manifest:
    return Manifest.render(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob("config"), "layers": list(layers)}
    )


def entry(manifest: Manifest, platform: str = "", **annotations: str) -> dict[str, Any]:
    value = manifest.descriptor.to_json()
    if platform:
        value["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return {**value, "annotations": annotations}


def index(*entries: dict[str, Any]) -> Manifest:
    return Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)})


AMD, ARM = image(blob("base"), blob("amd")), image(blob("base"), blob("arm"))


def test_manifests_come_children_first_and_blobs_once() -> None:
    root = index(entry(AMD, "linux/amd64"), entry(ARM, "linux/arm64"))
    tree = walk(Manifests(AMD, ARM, root), root.descriptor)
    assert tree.manifests[-1] is root
    assert len(tree.blobs) == 4
    assert [str(platform) for platform in tree.platforms] == ["linux/amd64", "linux/arm64"]


def test_a_platform_selects_children_and_leaves_the_index_as_it_is() -> None:
    root = index(entry(AMD, "linux/amd64"), entry(ARM, "linux/arm64/v8"))
    tree = walk(Manifests(AMD, root), root.descriptor, platforms=[Platform.parse("linux/amd64")])
    assert [item.descriptor.digest for item in tree.manifests] == [AMD.descriptor.digest, root.descriptor.digest]
    assert [child.digest for child in tree.left_out] == [ARM.descriptor.digest]


def test_an_attestation_goes_with_the_image_it_speaks_of() -> None:
    about_amd, about_arm = image(blob("sbom of amd")), image(blob("sbom of arm"))
    root = index(
        entry(AMD, "linux/amd64"),
        entry(ARM, "linux/arm64"),
        entry(about_amd, "unknown/unknown", **{"vnd.docker.reference.digest": str(AMD.descriptor.digest)}),
        entry(about_arm, "unknown/unknown", **{"vnd.docker.reference.digest": str(ARM.descriptor.digest)}),
    )
    tree = walk(Manifests(AMD, about_amd, root), root.descriptor, platforms=[Platform.parse("linux/amd64")])
    assert about_amd.descriptor.digest in {item.descriptor.digest for item in tree.manifests}
    assert len(tree.left_out) == 2


def test_an_index_without_the_platform_is_missing_it() -> None:
    root = index(entry(AMD, "linux/amd64"))
    with pytest.raises(MissingError, match="linux/s390x"):
        walk(Manifests(AMD, root), root.descriptor, platforms=[Platform.parse("linux/s390x")])


def test_a_layer_that_lies_elsewhere_by_licence_is_not_a_blob_to_copy() -> None:
    foreign = {**blob("foreign"), "urls": ["https://example.com/layer"]}
    root = image(foreign)
    assert len(walk(Manifests(root), root.descriptor).blobs) == 1


def test_nesting_without_end_is_refused() -> None:
    manifests = [AMD]
    for _ in range(12):
        manifests.append(index(entry(manifests[-1])))
    with pytest.raises(ContentError, match="deep"):
        walk(Manifests(*manifests), manifests[-1].descriptor)


def test_two_sizes_of_one_blob_are_refused() -> None:
    root = image(blob("x"), {**blob("x"), "size": 99})
    with pytest.raises(ContentError, match="99"):
        walk(Manifests(root), root.descriptor)
