"""The list of EKS-A releases (``Release`` of ``anywhere.eks.amazonaws.com/v1alpha1``)."""

from typing import Final

from bundles.schema.fields import Struct, always, spelled
from bundles.schema.shared import NO_ARCHIVE, NO_METADATA, Archive, Metadata

__all__ = ["EksaRelease", "EksaReleaseEntry"]


class Binaries(Struct):
    """The amd64 programs of the first releases (deprecated by ``eksACLI``)."""

    linux: Archive = NO_ARCHIVE
    darwin: Archive = NO_ARCHIVE


class Architectures(Struct):
    """One program per architecture."""

    amd64: Archive = NO_ARCHIVE
    arm64: Archive = NO_ARCHIVE


_NO_ARCHITECTURES: Final = Architectures()


class CommandLine(Struct):
    """``eksctl-anywhere`` per operating system."""

    linux: Architectures = _NO_ARCHITECTURES
    darwin: Architectures = _NO_ARCHITECTURES


_NO_BINARIES: Final = Binaries()
_NO_COMMAND_LINE: Final = CommandLine()


class EksaReleaseEntry(Struct):
    """One release. ``date`` is Go's ``Time.String()``, not RFC 3339."""

    date: str = always("")
    version: str = always("")
    number: int = always(0)
    git_commit: str = always("")
    git_tag: str = always("")
    bundle_manifest_url: str = always("")
    eks_a_binary: Binaries = _NO_BINARIES
    eks_a_cli: CommandLine = spelled(_NO_COMMAND_LINE, "eksACLI")


class EksaReleaseSpec(Struct):
    """All releases; ``latest_version`` is empty in development lists."""

    latest_version: str = always("")
    releases: tuple[EksaReleaseEntry, ...] = always(())


_NO_SPEC: Final = EksaReleaseSpec()


class EksaRelease(Struct):
    """The release index: a directory, unsigned, of what has been released."""

    api_version: str = ""
    kind: str = ""
    metadata: Metadata = NO_METADATA
    spec: EksaReleaseSpec = _NO_SPEC
    status: object = None
    unknown: tuple[str, ...] = ()
    """Fields that this model does not know, as dotted paths."""
    warnings: tuple[str, ...] = ()
    """What other readers may understand differently, each with its place."""
