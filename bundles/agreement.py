"""Whether a document that another one led to is the one that was meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bundlectl.errors import VerificationError
from bundles.tree import MapNode

if TYPE_CHECKING:
    from bundles.document import Document

__all__ = ["NamedDocument"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDocument:
    """A document named by another, and what the other says of it (empty: nothing).

    The Bundles that a release index leads to must agree with its entry, an EKS-D release with the
    signed ``eksD`` fields that lead to it (``cli.md``, "How upstream is believed"): otherwise who
    controls the address of one could put an older release, or another channel, in its place.
    """

    type: Literal["Bundles", "EksdRelease"]
    url: str
    found_in: str
    """``ORIGIN#path`` of the field with the URL."""
    number: str = ""
    version: str = ""
    name: str = ""
    channel: str = ""
    kube_version: str = ""
    signature: str = ""
    """Base64 of a signature over an EKS-D release, which AWS keeps with the Bundles that lead to it."""
    signature_place: str = ""

    def check(self, document: Document) -> None:
        """Hold the document that came from ``url`` against what was said of it.

        Raises:
            VerificationError: it is of another kind, or a field differs.
        """
        if document.type != self.type:
            self._differs(document, "kind", self.type, document.type)
        if self.type == "Bundles":
            self._check_bundles(document)
        else:
            self._check_eksd(document)

    def _check_bundles(self, document: Document) -> None:
        spec = document.root.map("spec")
        number = spec.text("number") if spec else ""
        if self.number not in ("", "0"):
            if number != self.number:
                self._differs(document, "spec.number", self.number, number)
            if document.name and document.name != f"bundles-{self.number}":
                self._differs(document, "metadata.name", f"bundles-{self.number}", document.name)
        if spec is None or not self.version:
            return
        from bundles.release_index import compare_versions  # noqa: PLC0415 -- semver only with a release index

        for field, wrong in (("cliMinVersion", -1), ("cliMaxVersion", 1)):
            bound = spec.text(field)
            if bound and compare_versions(self.version, bound) == wrong:
                side = "at most" if wrong == -1 else "at least"
                self._differs(document, f"spec.{field}", f"{side} {self.version}", bound)

    def _check_eksd(self, document: Document) -> None:
        spec = document.root.map("spec")
        channel = spec.text("channel") if spec else ""
        if self.channel and channel != self.channel:
            self._differs(document, "spec.channel", self.channel, channel)
        if self.name and document.name != self.name:
            self._differs(document, "metadata.name", self.name, document.name)
        status = document.root.map("status")
        for component in status.items("components") if status else ():
            if isinstance(component, MapNode) and component.text("name") == "kubernetes":
                tag = component.text("gitTag")
                if self.kube_version and tag and tag != self.kube_version:
                    self._differs(document, "the version of Kubernetes", self.kube_version, tag)

    def _differs(self, document: Document, field: str, expected: str, found: str) -> None:
        raise VerificationError(
            f"{field} should be {expected}, as {self.found_in[:300]} says, but is {found[:100] or 'missing'}",
            artifact=document.origin,
            hint="it is not the document that was meant; nothing of it was used",
        )
