"""``eks-d:1-33-eks-12`` and ``eks-d:1-33``: an EKS Distro release, or the newest of a channel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from bundles.agreement import NamedDocument
from bundles.document import parse_document
from bundles.sources.context import Loaded
from bundles.sources.following import Reading, believe, number_of
from bundles.tree import parse_tree

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["read"]

_HINT: Final = "it is not the document that was meant; check --origin, or name the release's URL"
_BASE: Final = "https://distro.eks.amazonaws.com"
_GRAMMAR: Final = re.compile(r"([1-9][0-9]{0,2}-[1-9][0-9]{0,3})(?:-eks-([1-9][0-9]{0,5}))?", re.ASCII)


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read an EKS-D release.

    Raises:
        UsageError: neither a release nor a channel.
        MissingError: there is no such release or channel.
        VerificationError: the document is another release than the one asked for.
        ContentError: a document is malformed.
        TransportError: a document cannot be fetched.
    """
    match = _GRAMMAR.fullmatch(rest)
    if not match:
        raise UsageError(
            f"{text[:200]!r} is not an EKS-D release", hint="write eks-d:1-33-eks-12, or eks-d:1-33 for the newest"
        )
    channel = match[1]
    number = match[2] or str(_newest(channel, context))
    name = f"kubernetes-{channel}-eks-{number}"
    url = f"{_BASE}/kubernetes-{channel}/{name}.yaml"
    document = parse_document(context.fetch(url), origin=url)
    NamedDocument(type="EksdRelease", url=url, found_in=text, name=name, channel=channel).check(document)
    if str(number_of(document)) != number:
        raise ContentError(f"spec.number should be {number} but is {number_of(document)}", artifact=url, hint=_HINT)
    reading = Reading(context)
    reading.add(believe(document, url, context), follow=context.follow)
    return Loaded(
        source=text,
        kind=document.kind,
        name=name,
        number=int(number),
        documents=tuple(reading.documents),
        contents=reading.joined(),
    )


def _newest(channel: str, context: SourceContext) -> int:
    """The number that the channel's object calls its latest release (``domain.md`` 1.5)."""
    url = f"{_BASE}/releasechannels/{channel}.yaml"
    root = parse_tree(context.fetch(url), origin=url).root
    status = root.map("status")
    number = status.text("latestRelease") if status else ""
    if root.text("kind") != "ReleaseChannel":
        raise ContentError("is not a ReleaseChannel", artifact=url, hint=_HINT)
    if not re.fullmatch(r"[1-9][0-9]{0,5}", number, re.ASCII):
        raise ContentError(f"status.latestRelease is not a number: {number[:50]!r}", artifact=url, hint=_HINT)
    spec_name = root.map("metadata")
    found = spec_name.text("name") if spec_name else ""
    if found and found != channel:
        raise ContentError(f"is the channel {found[:50]}, not {channel}", artifact=url, hint=_HINT)
    return int(number)
