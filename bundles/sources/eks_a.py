"""``eks-a:VERSION`` and ``eks-a:latest``: an EKS Anywhere release."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bundlectl.errors import ContentError
from bundles.document import parse_document
from bundles.release_index import release_for_version
from bundles.sources.context import Loaded
from bundles.sources.document import read_document
from bundles.sources.following import Reading, believe

if TYPE_CHECKING:
    from bundles.schema.eksa_release import EksaRelease
    from bundles.sources.context import SourceContext

__all__ = ["read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read the release index, the release's Bundles, and the EKS-D releases they point to.

    The index is unsigned, a directory only: the Bundles must agree with its entry
    (``bundles.agreement``). Of the index, this release's programs are artifacts.

    Raises:
        UsageError: not a version.
        MissingError: no such release, or a document is not there.
        VerificationError: the Bundles are not those that the entry means.
        ContentError: a document is malformed, or the entry leads nowhere.
        TransportError: a document cannot be fetched.
    """
    url = context.release_url
    document = parse_document(read_document(url, context), origin=url)
    if document.type != "EksaRelease":
        raise ContentError(
            f"a list of EKS-A releases was expected, this is a {document.kind} of {document.api_version}",
            artifact=url,
            hint="check --release-url",
        )
    index = believe(document, url, context)
    entry = release_for_version(cast("EksaRelease", index.verified.model), rest)
    reading = Reading(context)
    own = reading.add(index, follow=not context.no_follow, version=entry.version)
    if not own.named:
        raise ContentError(
            f"the entry of {entry.version} names no Bundles that can be fetched: {entry.bundle_manifest_url[:200]!r}",
            artifact=url,
            hint="it is a development build; name the Bundles manifest itself",
        )
    return Loaded(
        source=text,
        kind=document.kind,
        name=entry.version,
        number=entry.number,
        documents=tuple(reading.documents),
        contents=reading.joined(),
    )
