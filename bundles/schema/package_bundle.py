"""The bundle of curated packages (``PackageBundle`` of ``packages.eks.amazonaws.com/v1alpha1``)."""

from typing import Final

from bundles.schema.fields import Struct, always
from bundles.schema.shared import NO_METADATA, Metadata

__all__ = ["BundledPackage", "PackageBundle", "PackageVersion"]


class PackageImage(Struct):
    """An image that a package version needs, named by digest alone."""

    repository: str = always("")
    digest: str = always("")


class PackageVersion(Struct):
    """A version: a Helm chart tagged ``name``, and its images.

    ``schema`` is base64 of the gzip of a JSON Schema. It is carried as text; who decodes it
    bounds what comes out.
    """

    name: str = always("")
    digest: str = always("")
    images: tuple[PackageImage, ...] = ()
    schema: str = ""
    dependencies: tuple[str, ...] = ()


class PackageSource(Struct):
    """Where the charts of a package are. AWS's signature covers neither registry nor repository."""

    registry: str = ""
    repository: str = always("")
    versions: tuple[PackageVersion, ...] = always(())


_NO_SOURCE: Final = PackageSource()


class BundledPackage(Struct):
    """One package."""

    name: str = ""
    workloadonly: bool = False
    source: PackageSource = _NO_SOURCE


class PackageBundleSpec(Struct):
    """The packages. Go writes ``minControllerVersion`` even when empty; the signature leaves it out."""

    packages: tuple[BundledPackage, ...] = always(())
    min_controller_version: str = always("")


_NO_SPEC: Final = PackageBundleSpec()


class PackageBundleStatus(Struct):
    """What the package controller notes of a bundle in its cluster: the spec that it saw, and a state."""

    spec: PackageBundleSpec = _NO_SPEC
    state: str = always("")


_NO_STATUS: Final = PackageBundleStatus()


class PackageBundle(Struct):
    """A bundle of curated packages for one Kubernetes version."""

    api_version: str = ""
    kind: str = ""
    metadata: Metadata = NO_METADATA
    spec: PackageBundleSpec = _NO_SPEC
    status: PackageBundleStatus = _NO_STATUS
    unknown: tuple[str, ...] = ()
    """Fields that this model does not know, as dotted paths."""
    warnings: tuple[str, ...] = ()
    """What other readers may understand differently, each with its place."""
