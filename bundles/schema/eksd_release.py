"""An EKS-D release (``Release`` of ``distro.eks.amazonaws.com/v1alpha1``)."""

from typing import Final

from bundles.schema.fields import Struct
from bundles.schema.shared import NO_METADATA, Metadata, NamesFile, NamesImage

__all__ = ["EksdAsset", "EksdComponent", "EksdRelease"]


class AssetImage(NamesImage):
    """The image of an asset; releases up to 1-21 and csi-components have no digest."""

    uri: str = ""
    image_digest: str = ""


class AssetArchive(NamesFile):
    """The file of an asset."""

    uri: str = ""
    sha512: str = ""
    sha256: str = ""


class EksdAsset(Struct):
    """One image or file; exactly one of ``image`` and ``archive`` is there."""

    name: str = ""
    type: str = ""
    description: str = ""
    os: str = ""
    arch: tuple[str, ...] = ()
    image: AssetImage | None = None
    archive: AssetArchive | None = None


class EksdComponent(Struct):
    """A component such as ``etcd``, with the assets built of it."""

    name: str = ""
    git_commit: str = ""
    git_tag: str = ""
    assets: tuple[EksdAsset, ...] = ()


class EksdSpec(Struct):
    """Which release it is: number ``number`` of channel ``1-33``. Only this is signed by AWS."""

    channel: str = ""
    number: int = 0
    build_repo_commit: str = ""


class EksdStatus(Struct):
    """Everything that the release consists of."""

    date: str = ""
    components: tuple[EksdComponent, ...] = ()


_NO_SPEC: Final = EksdSpec()
_NO_STATUS: Final = EksdStatus()


class EksdRelease(Struct):
    """An EKS-D release."""

    api_version: str = ""
    kind: str = ""
    metadata: Metadata = NO_METADATA
    spec: EksdSpec = _NO_SPEC
    status: EksdStatus = _NO_STATUS
    unknown: tuple[str, ...] = ()
    """Fields that this model does not know, as dotted paths."""
    warnings: tuple[str, ...] = ()
    """What other readers may understand differently, each with its place."""
