"""``archive:PATH``: an export archive, its folder or first volume; several media are parted by ``:``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundles.lock_signature import as_signed, as_unsigned
from bundles.sources.context import Loaded, no_contents

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read an archive's inventory and lock. Nothing of its volumes is read.

    Raises:
        MissingError: there is no archive.
        VerificationError: a signer was named, and did not sign it.
        ContentError: it is not as it was written.
    """
    from bundles.archive import archive_folders, open_archive  # noqa: PLC0415 -- only with an archive

    off = context.belief.mode == "off"
    archive = context.archives.get(text)
    if archive is None:
        archive = open_archive(archive_folders(rest), None if off else context.belief.anchors)
    if archive.proof is None and not off:
        context.warn(
            "nobody was named who must have signed the archive: what it calls signed counts as declared", archive.name
        )
    return Loaded(
        source=text,
        kind="archive",
        name=archive.name,
        contents=no_contents(),
        lock=as_signed(archive.lock) if archive.proof else as_unsigned(archive.lock),
        signed=archive.signed,
        store=text,
        archive=archive,
    )
