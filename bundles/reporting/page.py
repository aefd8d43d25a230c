"""The report as one HTML file: nothing is loaded, nothing runs, and it prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from bundles.reporting.attachments_part import attachments_part
from bundles.reporting.chart import size_chart
from bundles.reporting.concerns import concerns
from bundles.reporting.contents_part import contents_part
from bundles.reporting.look import HEAD, STYLE
from bundles.reporting.marks import NO_COMPONENT, code, gravity_mark, signer
from bundles.reporting.vouching_part import uncovered_part, vouching_part
from mirror.markup import Element, element, render, size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bundles.reporting.carried import Carried, CarriedFile
    from bundles.reporting.report import Report, Share

__all__ = ["render_page"]

_PARTS: Final = {
    "concerns": "What to look at first",
    "vouching": "Who vouches for it",
    "uncovered": "What no signature covers",
    "since": "Since the last transfer",
    "totals": "How much it is",
    "contents": "Contents",
    "attached": "SBOMs, attestations and vulnerability reports",
    "archive": "The archive",
    "left-out": "What was left out",
    "weakened": "What decided or weakened trust",
    "decision": "Decision",
}
_CHOICES: Final = {
    "kubeVersions": "only Kubernetes",
    "providers": "only for",
    "platforms": "only the platforms",
    "include": "only what is called",
    "exclude": "nothing that is called",
}
_WITHOUT: Final = {"referrers": "no signatures, SBOMs and attestations", "files": "no files"}
_GONE_MAX: Final = 1_000


def render_page(report: Report) -> bytes:
    """Render the whole file; the same report gives the same bytes."""
    return render(
        f"What crosses: {report.name}",
        element("h1", f"What crosses the gap: {report.name}"),
        *_head(report),
        *_part("concerns", *_concerns(report)),
        *_part("vouching", *vouching_part(report)),
        *_part("uncovered", *uncovered_part(report)),
        *_part("since", *_since(report)),
        *_part("totals", *_totals(report)),
        *_part("contents", *contents_part(report)),
        *_part("attached", *attachments_part(report)),
        *_part("archive", *_archives(report)),
        *_part("left-out", *_left_out(report)),
        *_part("weakened", *_weakened(report)),
        *_part("decision", *_decision(report)),
        style=STYLE,
        meta=HEAD,
    )


def _part(name: str, *content: Element) -> Iterator[Element]:
    yield element("h2", _PARTS[name], id=name)
    yield from content


def _head(report: Report) -> Iterator[Element]:
    kinds = Counter(item.artifact.type for item in report.artifacts)
    facts = [
        (f"{len(report.artifacts):,}", "artifacts"),
        *((f"{kinds[kind]:,}", f"{kind}s") for kind in ("image", "chart", "file")),
        (size_text(report.size), "each blob once"),
    ]
    if report.since:
        facts.append((size_text(report.since.size), "new to the site"))
    made_from = f", made from {', '.join(report.made_from)}" if report.made_from else ""
    yield element("p", f"From {', '.join(report.sources)}{made_from}", class_="quiet")
    yield element("ul", *(element("li", element("b", value), f" {what}") for value, what in facts), class_="facts")
    links = (element("li", element("a", title, href=f"#{name}")) for name, title in _PARTS.items())
    yield element("ul", *links, class_="contents")


def _concerns(report: Report) -> Iterator[Element]:
    shown = (
        element("li", gravity_mark(item.gravity), " ", element("a", item.text, href=f"#{item.part}"))
        for item in concerns(report)
    )
    yield element("ul", *shown, class_="concerns")


def _since(report: Report) -> Iterator[Element]:
    since = report.since
    if since is None:
        yield element("p", "Nothing was given to compare with: name the site's inventory with --since.")
        return
    yield element(
        "p",
        f"Compared with the inventory of {since.statement.inventory.name}, made {_when(since.statement.issued)}, ",
        code(str(since.statement.digest)),
        ": ",
        signer(since.statement.says, since.statement.verified_by, since.statement.unverified),
    )
    counts = [
        ("new", "the site has nothing under this name", f"{since.count('new'):,}"),
        ("changed", "the site has other content under this name", f"{since.count('changed'):,}"),
        ("renamed", "the site has this content under another name", f"{since.count('renamed'):,}"),
        ("same", "the site has it already", f"{since.count('same'):,}"),
        ("gone", "a name of the site that is not in this transfer; nothing is deleted there", f"{len(since.gone):,}"),
    ]
    yield table(("What", "Meaning", "#Artifacts"), counts)
    yield element("p", f"{since.size:,} bytes ({size_text(since.size)}) are not at the site yet, each blob once.")
    moved = [(item, item.change) for item in report.artifacts if item.change and item.change.kind == "changed"]
    if moved:
        yield element("h3", "Changed")
        rows = [
            [code(item.artifact.reference), code(str(change.was)), code(str(item.artifact.digest))]
            for item, change in moved
        ]
        yield table(("Artifact", "The site has", "It would have"), rows)
    if since.gone:
        yield element("h3", "Gone")
        rows = [[code(name), code(str(digest))] for name, digest in since.gone[:_GONE_MAX]]
        yield table(("Name at the site", "Digest"), rows)
        if len(since.gone) > _GONE_MAX:
            yield element("p", f"and {len(since.gone) - _GONE_MAX:,} more; all of them are in the JSON")


def _totals(report: Report) -> Iterator[Element]:
    documents = sum(item.size for item in report.lock.manifests)
    yield element(
        "p",
        f"{report.size:,} bytes in {len(report.lock.blobs):,} blobs, each once; "
        f"{documents:,} of them are release documents.",
    )
    columns = ("", "#Artifacts", "#Bytes", "#Size", "#That nothing else needs")
    for title, shares in (("By type", report.by_type()), ("By component", report.by_component())):
        yield element("h3", title)
        if title == "By component":
            yield size_chart(shares, "Unique bytes by component")
        yield table(columns, map(_share, shares))


def _share(share: Share) -> list[str]:
    return [
        share.name or NO_COMPONENT,
        f"{share.artifacts:,}",
        f"{share.size:,}",
        size_text(share.size),
        size_text(share.own),
    ]


def _archives(report: Report) -> Iterator[Element]:
    if not report.archives:
        yield element("p", "No archive was looked at.")
    for archive in report.archives:
        yield from _archive(archive)


def _archive(archive: Carried) -> Iterator[Element]:
    statement, contents = archive.statement, archive.contents
    yield element(
        "p",
        f"{archive.source}, exported {_when(statement.issued)}. Its inventory, ",
        code(str(statement.digest)),
        ": ",
        signer(statement.says, statement.verified_by, statement.unverified),
        ". The archive's own digest, which two exports of the same have in common: ",
        code(str(statement.inventory.archive_id)),
    )
    told = [f"{len(archive.of_kind('volume')):,} volumes, {contents.parity:,} parity volumes."]
    if contents.present:
        told.append(f"{len(contents.present):,} blobs were left out, as the site has them.")
    if contents.since:
        told.append(f"That was said by {', '.join(map(str, contents.since))}.")
    yield element("p", " ".join(told))
    yield element(
        "p",
        "Checksums are those that the inventory, the sum files and SHA256SUMS state. Volumes were not read for this "
        "report: sha256sum -c SHA256SUMS and bundlectl verify do that.",
        class_="quiet",
    )
    groups = (
        ("Volumes", archive.of_kind("volume", "parity")),
        ("The tool", archive.of_kind("tool")),
        ("Other files", archive.of_kind("inventory", "lock", "lock-signature", "sum", "other")),
    )
    for title, files in groups:
        if files:
            yield element("h3", title)
            yield table(("File", "#Bytes", "sha256", "State"), [_file(item) for item in files])


def _file(item: CarriedFile) -> list[Element | str]:
    size = item.size if item.size is not None else item.found
    if item.problem:
        state = element("span", item.problem, class_="mark bad")
    elif item.found is None:
        state = element("span", "not in this folder", class_="mark ask")
    else:
        state = element("span", "read, as stated" if item.hashed else "there, size as stated")
    return [code(item.name), f"{size:,}" if size is not None else "", code(item.sha256 or ""), state]


def _left_out(report: Report) -> Iterator[Element]:
    if report.unpinned:
        yield element("h3", "Could not be pinned")
        yield table(("Artifact", "Why"), [[code(item.reference), item.error] for item in report.unpinned])
    chosen = _selection(report.lock.selection)
    if chosen:
        yield element("p", f"Chosen was {'; '.join(chosen)}.")
    excluded = report.lock.excluded
    if not excluded:
        yield element("p", "Nothing that the sources name was left out.")
        return
    yield table(("What", "Why"), [[code(item.reference), item.reason] for item in excluded])


def _selection(selection: Mapping[str, Any]) -> list[str]:
    """What narrows a selection; what is absent or empty narrows nothing."""
    told = [f"{text} {', '.join(map(str, selection[key]))}" for key, text in _CHOICES.items() if selection.get(key)]
    told += [text for key, text in _WITHOUT.items() if not selection.get(key, True)]
    return told


def _weakened(report: Report) -> Iterator[Element]:
    if not report.weakened:
        yield element("p", "Nothing is recorded.")
        return
    yield element("ul", *(element("li", text) for text in report.weakened))


def _decision(report: Report) -> Iterator[Element]:
    yield element("p", "Approved is what the lock pins, ", code(str(report.vouching.digest)), ", and nothing else.")
    lines = table(("Name", "Decision", "Date", "Signature"), [["", "", "", ""]])
    lines.set("class", "decision")
    yield lines


def _when(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
