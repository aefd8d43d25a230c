"""Who signed what, and what no signature covers."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from bundles.reporting.marks import TRUST, change_mark, code, signer, trust_mark
from mirror.markup import Element, element, size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.coverage import Gap
    from bundles.reporting.report import Report, ReportedDocument

__all__ = ["uncovered_part", "vouching_part"]


def vouching_part(report: Report) -> Iterator[Element]:
    """The lock, the archive's inventory, release documents, and the signatures attached to artifacts."""
    vouching = report.vouching
    rows: list[list[Element | str]] = [
        [
            "The lock, which pins every digest" + (" (made by this run)" if vouching.made_here else ""),
            code(str(vouching.digest)),
            _signed(vouching.says, vouching.verified_by),
        ]
    ]
    for archive in report.archives:
        statement = archive.statement
        rows.append(
            [
                f"The inventory of the archive {statement.inventory.name}",
                code(str(statement.digest)),
                _signed(statement.says, statement.verified_by),
            ]
        )
    yield table(("What", "Digest", "Signed by"), rows)
    yield element("p", vouching.checked)
    yield element("h3", "Release documents", id="documents")
    if report.documents:
        verified_by = "Verified by" if vouching.made_here else "Verified by, as the lock says"
        rows = [_document(item) for item in report.documents]
        yield table(("Document", "Where it is from", "Trust", verified_by), rows)
    else:
        yield element("p", "No release document names what crosses.")
    yield element("h3", "Signatures attached to artifacts")
    yield from _signatures(report)


def _signed(says: str | None, verified_by: str | None) -> Element | str:
    return signer(says, verified_by) if says or verified_by else "nobody signed it"


def _document(item: ReportedDocument) -> list[Element | str]:
    document = item.document
    return [
        element(
            "div",
            element("div", element("b", document.name), f" {document.kind}, {size_text(document.size)}"),
            change_mark(item.change) if item.change else None,
        ),
        element("div", element("div", code(document.url)), element("div", code(str(document.digest)))),
        trust_mark(document.trust, item.recorded),
        document.verified_by or element("span", "not verified", class_="quiet"),
    ]


def _signatures(report: Report) -> Iterator[Element]:
    found = Counter(
        (item.what, item.says, item.verified_by, item.unverified or item.problem)
        for artifact in report.artifacts
        for item in artifact.attached
        if item.kind == "signature"
    )
    held = sum(bool(item.verified_by) for item in report.artifacts)
    yield element(
        "p",
        f"{held:,} of {len(report.artifacts):,} artifacts have a signature of their own that was verified here. "
        "Whatever is attached beyond that is the word of whoever attached it.",
    )
    if found:
        ordered = sorted(found.items(), key=lambda entry: [part or "" for part in entry[0]])
        yield table(
            ("Kind", "Signer", "#Signatures"),
            ([what, signer(says, by, why), f"{count:,}"] for (what, says, by, why), count in ordered),
        )


def uncovered_part(report: Report) -> Iterator[Element]:
    """Trust levels of artifacts, and the gaps of each document's signature."""
    believed = Counter[str](item.artifact.trust for item in report.artifacts)
    recorded = Counter[str](item.recorded for item in report.artifacts)
    levels: list[list[Element | str]] = [
        [trust_mark(level), meaning, f"{believed[level]:,}", f"{recorded[level]:,}"] for level, meaning in TRUST.items()
    ]
    yield table(("Level", "Meaning", "#Artifacts, as believed now", "#As the lock recorded it"), levels)
    if report.vouching.verified_by:
        yield element(
            "p",
            "The lock's signature covers every digest, so all of them count as signed now. What the lock recorded is "
            "how each came to be believed when it was made: below signed, the lock's signer alone vouches for it.",
        )
    for gaps, items in groupby(sorted(report.documents, key=_most_first), key=lambda item: item.gaps):
        documents = list(items)
        yield element("h3", ", ".join(f"{item.document.kind} {item.document.name}" for item in documents))
        for item in documents:
            if item.problem:
                yield element("p", f"{item.document.name}: {item.problem}")
        if gaps:
            yield table(("What somebody could do", "Where no signature is over it"), _gaps(gaps))


def _most_first(item: ReportedDocument) -> tuple[int, tuple[Gap, ...]]:
    return (-len(item.gaps), item.gaps)


def _gaps(gaps: tuple[Gap, ...]) -> Iterator[list[Element | str]]:
    paths: dict[str, list[str]] = {}
    for gap in gaps:
        paths.setdefault(gap.allows, []).append(gap.path)
    for allows, found in paths.items():
        yield [allows, element("div", *(part for path in found for part in (code(path), " ")))]
