"""A store is an OCI image layout: others read it without us."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from mirror.layout import Store
from mirror.oci.digest import Digest
from tests.interop.content import write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import Repository
    from tests.interop.programs import Program

ENTRIES = 300
REPOSITORY = "public.ecr.aws/eks-anywhere/app"


@pytest.fixture
def images(tmp_path: Path, store: Path) -> dict[str, str]:
    """A store of hundreds of entries; a few images by tag and digest, under every name."""
    layouts = [tmp_path / f"image-{number}" for number in range(3)]
    digests = [write_layout(folder, seed=number) for number, folder in enumerate(layouts)]
    named = {}
    with Store.open(store, create=True) as opened:
        for number in range(ENTRIES):
            turn = number % len(layouts)
            name = f"{REPOSITORY}-{number}"
            copy_layout(layouts[turn], digests[turn], opened.repository(name), f"v{number}")
            named[f"{name}:v{number}"] = digests[turn]
    return named


def copy_layout(layout: Path, digest: str, repository: Repository, tag: str | None) -> None:
    """Put a manifest with everything below it, children first."""
    from mirror.oci.manifest import Manifest  # noqa: PLC0415 -- beside its only use

    def read(wanted: Digest) -> bytes:
        return (layout / "blobs" / wanted.algorithm / wanted.encoded).read_bytes()

    manifest = Manifest.from_bytes(read(Digest.parse(digest)))
    for child in manifest.children():
        if manifest.is_index:
            copy_layout(layout, str(child.digest), repository, None)
        else:
            put_blob(repository, child, read(child.digest))
    repository.put_manifest(manifest, tag=tag)


def put_blob(repository: Repository, descriptor: Descriptor, data: bytes) -> None:
    upload = repository.begin_blob(descriptor)
    if not isinstance(upload, str):
        upload.write(lambda: io.BytesIO(data[upload.offset() :]))


def test_skopeo_copies_any_entry_of_a_large_store_by_its_full_reference(
    images: dict[str, str], store: Path, skopeo: Program, distribution: str
) -> None:
    for reference in (f"{REPOSITORY}-0:v0", f"{REPOSITORY}-157:v157", f"{REPOSITORY}-{ENTRIES - 1}:v{ENTRIES - 1}"):
        target = f"docker://{distribution}/copied:{reference.rpartition(':')[2]}"
        skopeo.run("copy", "--all", "--dest-tls-verify=false", f"oci:{store}:{reference}", target)
        assert skopeo.document("inspect", "--tls-verify=false", target)["Digest"] == images[reference]


def test_crane_validates_what_is_served_from_a_large_store(images: dict[str, str], served: str, crane: Program) -> None:
    reference = f"{REPOSITORY}-299:v299"
    assert crane.run("digest", f"{served}/{reference}").strip() == images[reference]
    crane.run("validate", "--remote", f"{served}/{reference}")
