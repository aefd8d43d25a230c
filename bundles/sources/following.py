"""From the bytes of a document to what it names, and on to the documents that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.artifact import merge_artifacts
from bundles.document import parse_document
from bundles.release import Contents, contents
from bundles.schema import parse_model
from bundles.sources.context import SourceDocument
from bundles.verify import accept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bundles.agreement import NamedDocument
    from bundles.artifact import Artifact
    from bundles.document import Document, DocumentType
    from bundles.sources.context import SourceContext

__all__ = ["LOCKED_KINDS", "Reading", "believe", "join_contents", "number_of"]

LOCKED_KINDS: Final[Mapping[DocumentType, str]] = {
    "EksaRelease": "Release",
    "Bundles": "Bundles",
    "EksdRelease": "EksDistroRelease",
    "PackageBundle": "PackageBundle",
}
"""What locks and stores call the kinds of AWS, two of which call themselves ``Release``."""

_DOCUMENTS: Final = 1_000


def believe(document: Document, url: str, context: SourceContext) -> SourceDocument:
    """Read a document of AWS into its model and check what ``--verify`` asks for.

    Args:
        document: as parsed.
        url: where it came from.
        context: says how it is believed.

    Raises:
        ContentError: a field is malformed.
        VerificationError: its signature does not hold, or none can be checked.
    """
    verified = accept(document, parse_model(document), verify=context.verify, listener=context.listener)
    return SourceDocument(verified=verified, kind=LOCKED_KINDS[document.type], name=_name(document, url), url=url)


def number_of(document: Document) -> int | None:
    """``spec.number`` of Bundles and EKS-D releases."""
    spec = document.root.map("spec")
    text = spec.text("number") if spec else ""
    return int(text) if text.isascii() and text.isdigit() else None


def join_contents(several: Iterable[Contents]) -> Contents:
    """Everything that several documents name, once.

    Raises:
        ContentError: they name one reference with two digests.
    """
    everything = list(several)
    named = {(item.type, item.url, item.found_in): item for one in everything for item in one.named}
    return Contents(
        artifacts=merge_artifacts(item for one in everything for item in one.artifacts),
        excluded=tuple(sorted({item for one in everything for item in one.excluded})),
        named=tuple(named[key] for key in sorted(named)),
    )


@dataclass(slots=True)
class Reading:
    """Documents as they are read, one leading to the next.

    ``documents`` has each once, in the order they were read.
    """

    context: SourceContext
    documents: list[SourceDocument] = field(default_factory=list)
    _contents: list[Contents] = field(default_factory=list)
    _read: dict[str, Document] = field(default_factory=dict)

    def add(self, entry: SourceDocument, *, follow: bool, version: str | None = None) -> Contents:
        """Take a document in, with the documents that it names if ``follow``.

        Args:
            entry: the document, already believed.
            follow: whether those are fetched; each is held against what was said of it.
            version: of a release index, the one release that is meant.

        Returns:
            What ``entry`` itself names.

        Raises:
            VerificationError: a named document is not the one that was meant.
            ContentError: a document is malformed.
            MissingError, TransportError: a named document cannot be had.
        """
        self.documents.append(entry)
        own = contents(
            entry.verified,
            version=version,
            package_registry=self.context.package_registry,
            package_image_registry=self.context.package_image_registry,
        )
        position = len(self._contents)
        self._contents.append(own)
        if follow:
            for named in own.named:
                self._follow(named)
            followed = {named.url for named in own.named}
            self._contents[position] = replace(
                own, artifacts=tuple(_mark(artifact, followed) for artifact in own.artifacts)
            )
        return own

    def joined(self) -> Contents:
        """Everything that all documents name."""
        return join_contents(self._contents)

    def _follow(self, named: NamedDocument) -> None:
        known = self._read.get(named.url)
        if known is not None:
            # It was read for another's sake; it must still be what this one says.
            named.check(known)
            return
        if len(self.documents) >= _DOCUMENTS:
            raise ContentError(
                f"names more than {_DOCUMENTS} documents",
                artifact=named.found_in,
                hint="name the documents that are wanted one by one, with --no-follow",
            )
        document = parse_document(self.context.fetch(named.url), origin=named.url)
        named.check(document)
        self._read[named.url] = document
        self.add(believe(document, named.url, self.context), follow=True)


def _mark(artifact: Artifact, followed: set[str]) -> Artifact:
    return replace(artifact, followed=True) if artifact.document and artifact.reference in followed else artifact


def _name(document: Document, url: str) -> str:
    if document.name:
        return document.name
    number = number_of(document)
    if document.type == "Bundles" and number is not None:
        return f"bundles-{number}"
    last = url.partition("?")[0].rstrip("/").rpartition("/")[2]
    return last.removesuffix(".yaml").removesuffix(".yml").removesuffix(".json") or document.kind
