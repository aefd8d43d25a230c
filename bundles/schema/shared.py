"""Types that several kinds of documents share (``anywhere.eks.amazonaws.com/v1alpha1``, Kubernetes' ObjectMeta)."""

from collections.abc import Mapping
from typing import Final

from bundles.schema.fields import EMPTY_MAP, Struct

__all__ = [
    "NO_ARCHIVE",
    "NO_CHART",
    "NO_IMAGE",
    "NO_MANIFEST",
    "NO_METADATA",
    "Archive",
    "Chart",
    "Image",
    "Manifest",
    "Metadata",
    "NamesFile",
    "NamesImage",
]


class NamesImage(Struct):
    """A mapping whose ``uri`` is that of an image (or of a chart, see ``Chart``)."""


class NamesFile(Struct):
    """A mapping whose ``uri`` is that of a file."""


class Image(NamesImage):
    """A container image: ``uri`` is ``registry/repository:tag``, ``image_digest`` that of its (index) manifest."""

    name: str = ""
    description: str = ""
    os: str = ""
    os_name: str = ""
    arch: tuple[str, ...] = ()
    uri: str = ""
    image_digest: str = ""


class Chart(Image):
    """A Helm chart, which upstream writes as an image without os and arch."""


class Archive(NamesFile):
    """A file with checksums: tarball, OVA, raw disk image, kernel."""

    name: str = ""
    description: str = ""
    os: str = ""
    os_name: str = ""
    arch: tuple[str, ...] = ()
    uri: str = ""
    sha512: str = ""
    sha256: str = ""


class Manifest(NamesFile):
    """A YAML file to apply to a cluster; upstream publishes no checksum of these."""

    uri: str = ""


class Metadata(Struct):
    """Kubernetes' ObjectMeta. What no code here looks into is kept as the node it was."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int = 0
    labels: Mapping[str, str] = EMPTY_MAP
    annotations: Mapping[str, str] = EMPTY_MAP
    owner_references: object = None
    finalizers: tuple[str, ...] = ()
    managed_fields: object = None


NO_IMAGE: Final = Image()
NO_CHART: Final = Chart()
NO_ARCHIVE: Final = Archive()
NO_MANIFEST: Final = Manifest()
NO_METADATA: Final = Metadata()
