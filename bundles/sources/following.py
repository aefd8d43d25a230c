"""From the bytes of a document to what it names, and on to the documents that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, VerificationError
from bundles.artifact import merge_artifacts
from bundles.document import parse_document
from bundles.lock_signature import SIGNATURE_SUFFIX, SignedLock, as_signed, as_unsigned, verify_lock
from bundles.release import Contents, contents
from bundles.schema import parse_model
from bundles.sources.context import SourceDocument
from bundles.verify import accept
from mirror.oci.number import read_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bundles.agreement import NamedDocument
    from bundles.artifact import Artifact
    from bundles.document import Document, DocumentType
    from bundles.lock import Lock
    from bundles.sources.context import SourceContext

__all__ = ["LOCKED_KINDS", "Reading", "believe", "believe_lock", "join_contents", "number_of"]

LOCKED_KINDS: Final[Mapping[DocumentType, str]] = {
    "EksaRelease": "Release",
    "Bundles": "Bundles",
    "EksdRelease": "EksDistroRelease",
    "PackageBundle": "PackageBundle",
}
"""What locks and stores call the kinds of AWS, two of which call themselves ``Release``."""

_DOCUMENTS: Final = 1_000


def believe(
    document: Document, url: str, context: SourceContext, *, named: NamedDocument | None = None
) -> SourceDocument:
    """Read a document of AWS into its model and check its signature.

    Args:
        document: as parsed.
        url: where it came from.
        context: says how it is believed.
        named: what the document that led here says of it.

    Raises:
        ContentError: a field is malformed.
        VerificationError: its signature does not hold, or is missing where one is needed.
    """
    verified = accept(
        document,
        parse_model(document),
        belief=context.belief,
        listener=context.listener,
        eksd_signature=(named.signature, named.signature_place) if named else None,
    )
    return SourceDocument(verified=verified, kind=LOCKED_KINDS[document.type], name=_name(document, url), url=url)


def believe_lock(
    raw: bytes, signature: bytes | None, origin: str, context: SourceContext
) -> tuple[Lock, SignedLock | None]:
    """Read a lock, and check its signature with whoever ``--verify`` and the like name.

    Args:
        raw: the lock.
        signature: the sigstore bundle kept with it, if there is one.
        origin: of the lock, for messages.
        context: says how it is believed.

    Returns:
        The lock, and its signature where there is one. Unless that held, nothing counts as ``signed``.

    Raises:
        ContentError: not a lock.
        VerificationError: a signer was named, and did not sign it.
    """
    from bundles.lock import Lock  # noqa: PLC0415 -- only with a lock

    lock = Lock.from_bytes(raw, origin=origin)
    anchors = context.belief.anchors
    kept = SignedLock(raw, signature) if signature else None
    if context.belief.mode == "off":
        return as_unsigned(lock), kept
    if anchors is None:
        state = "its signature was not checked" if signature else "it is not signed"
        context.warn(f"{state}: what it calls signed counts as declared; name who signed it with --verify KEY", origin)
        return as_unsigned(lock), kept
    if signature is None:
        raise VerificationError(
            f"is not signed: there is no {origin.rpartition('/')[2]}{SIGNATURE_SUFFIX} beside it",
            artifact=origin,
            hint="nothing was done; `bundlectl lock --key KEY` signs a lock",
        )
    proof = verify_lock(raw, lock, signature, anchors, origin=origin)
    return as_signed(lock), SignedLock(raw, signature, proof)


def number_of(document: Document) -> int | None:
    """``spec.number`` of Bundles and EKS-D releases."""
    spec = document.root.map("spec")
    text = spec.text("number") if spec else ""
    return read_number(text)


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
            if named.signature:
                believe(known, named.url, self.context, named=named)
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
        self.add(believe(document, named.url, self.context, named=named), follow=True)


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
