"""Results for people, rendered from the documents that ``--output json`` shows.

So the two never differ in substance. Plain text, the same on a terminal and in a file. Every text in
a document is on one line when it comes here (``bundlectl.cli.result``).
"""

from __future__ import annotations

from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "render_collected",
    "render_difference",
    "render_files",
    "render_inspection",
    "render_plan",
    "render_releases",
    "render_report",
    "render_stats",
    "render_store",
    "render_verification",
    "size_text",
    "table",
]

_KINDS: Final = (("image", "images"), ("chart", "charts"), ("file", "files"))
_STEP: Final = 1024
_SHORT: Final = 19


def size_text(size: int | None) -> str:
    """Bytes in the largest binary unit that leaves at least one: ``1.5 GiB``; ``?`` for None."""
    if size is None:
        return "?"
    if size < _STEP:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= _STEP
        if value < _STEP or unit == "TiB":
            return f"{value:.1f} {unit}"
    raise AssertionError


def table(rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), right: frozenset[int] = frozenset()) -> list[str]:
    """Align columns.

    Args:
        rows: cells; all rows of one length.
        head: titles above them.
        right: columns that are aligned to the right.
    """
    lines = [*([list(head)] if head else []), *(list(row) for row in rows)]
    if not lines:
        return []
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def render_inspection(document: Mapping[str, Any]) -> str:
    """What sources hold, grouped by type."""
    lines = [
        f"{source['kind']} {source['name']}" + (f" (number {source['number']})" if source.get("number") else "")
        for source in document["sources"]
    ]
    for kind, plural in _KINDS:
        found = [item for item in document["artifacts"] if item["type"] == kind]
        if found:
            rows = [
                (
                    item["reference"],
                    _short_digest(item["digest"]),
                    size_text(item["size"]),
                    item["trust"],
                    _not_followed(item),
                )
                for item in found
            ]
            head = ("REFERENCE", "DIGEST", "SIZE", "TRUST", "")
            lines += ["", f"{plural} ({len(found)})", *_indent(table(rows, head=head, right=frozenset({2})))]
    lines += _excluded(document["excluded"])
    lines += _failures(document.get("failed", []))
    totals = document["totals"]
    total_bytes = "" if totals["bytes"] is None else f", {_exact(totals['bytes'])}"
    lines += ["", f"total: {', '.join(_count(totals[plural], plural) for _, plural in _KINDS)}{total_bytes}"]
    return "\n".join(lines).lstrip("\n")


def render_report(document: Mapping[str, Any], *, exit_code: int) -> str:
    """What ``download`` or ``mirror`` did; the last line says how to go on."""
    artifacts, blobs, moved = document["artifacts"], document["blobs"], document["bytes"]
    rows = [
        (
            "artifacts",
            (
                f"{artifacts['done']} done, {artifacts['skipped']} up to date, {artifacts['failed']} failed, "
                f"of {artifacts['total']}"
            ),
        ),
        (
            "blobs",
            (
                f"{blobs['transferred']} transferred, {blobs['mounted']} mounted, {blobs['present']} present, "
                f"of {blobs['total']}"
            ),
        ),
        ("bytes", f"{size_text(moved['transferred'])} of {size_text(moved['total'])}"),
        ("requests", f"{document['requests']['source']} source, {document['requests']['target']} target"),
        ("time", f"{document['seconds']:.1f} s"),
    ]
    if document.get("excluded"):
        rows.insert(1, ("left out", f"{document['excluded']}, see `bundlectl inspect` for the reasons"))
    lines = table(rows)
    lines += _failures(document["failed"])
    if document.get("notAddressable"):
        lines += [
            "",
            "not addressable at the target (it refuses indexes of which only some platforms are there):",
            *_indent(document["notAddressable"]),
        ]
    return "\n".join([*lines, *_ending(exit_code)])


def render_files(document: Mapping[str, Any], *, exit_code: int) -> str:
    """What ``files`` wrote, what was left out and why, and what to do with the folder."""
    files, moved = document["files"], document["bytes"]
    rows = [
        (
            "files",
            f"{files['written']} written, {files['skipped']} up to date, {files['failed']} failed, of {files['total']}",
        ),
        ("bytes", f"{size_text(moved['written'])} of {size_text(moved['total'])}"),
        *[("rewritten", f"{item['path']}: {_count(item['urls'], 'addresses')}") for item in document["rewritten"]],
        ("time", f"{document['seconds']:.1f} s"),
    ]
    lines = [*table(rows), *_excluded(document["excluded"])]
    if document["kept"]:
        lines += ["", f"kept as they are, for a signature covers them ({len(document['kept'])})"]
        lines += _indent(f"{item['url']} in {item['document']}" for item in document["kept"])
    lines += _failures(document["failed"])
    override = document["bundlesOverride"]
    if override:
        where = "" if override.startswith("https://") else ", in the folder that holds this one"
        lines += ["", f"next{where}: eksctl anywhere create cluster -f CLUSTER.yaml --bundles-override {override}"]
    return "\n".join([*lines, *_ending(exit_code)])


def render_plan(document: Mapping[str, Any]) -> str:
    """What ``mirror --dry-run`` would do."""
    rows = [
        ("=" if item["upToDate"] else "+", item["reference"], "->", item["target"]) for item in document["artifacts"]
    ]
    rows += [
        ("*", f"{item['kind']} {item['name']}", "->", target)
        for item in document["manifests"]
        for target in item["targets"]
    ]
    totals = document["totals"]
    lines = table(rows)
    lines += _failures(document["failed"])
    pending = totals["artifacts"] - totals["upToDate"]
    total = (
        f"total: {pending} of {_count(totals['artifacts'], 'artifacts')} to copy, {_count(totals['blobs'], 'blobs')}, "
        f"{_exact(totals['bytes'])}; nothing was changed"
    )
    lines += ["", total]
    return "\n".join(lines).lstrip("\n")


def render_difference(document: Mapping[str, Any]) -> str:
    """What ``diff`` found."""
    rows = [("-", item["reference"], _short_digest(item["digest"])) for item in document["removed"]]
    rows += [("+", item["reference"], _short_digest(item["digest"])) for item in document["added"]]
    rows += [
        ("~", item["reference"], f"{_short_digest(item['digest']['from'])} -> {_short_digest(item['digest']['to'])}")
        for item in document["changed"]
    ]
    total = (
        f"{len(document['added'])} added, {len(document['removed'])} removed, {len(document['changed'])} changed; "
        f"{'unknown bytes' if document['bytes'] is None else _exact(document['bytes'])} to fetch"
    )
    return "\n".join([*table(rows), *([""] if rows else []), total])


def render_verification(document: Mapping[str, Any]) -> str:
    """What ``verify`` found at one target."""
    if "checked" not in document:
        return _render_verdict(document)
    checked = document["checked"]
    lines = [f"different {item['reference']}: {item['reason']}" for item in document["different"]]
    lines += [f"missing   {item['reference']}: {item['reason']}" for item in document["missing"]]
    depth = f", {size_text(checked['bytes'])} read and hashed" if document["deep"] else ""
    looked = f"{_count(checked['artifacts'], 'artifacts')}, {_count(checked['blobs'], 'blobs')}{depth}"
    if document["verified"]:
        lines.append(f"{document['target']}: verified ({looked})")
    else:
        found = f"{len(document['different'])} different, {len(document['missing'])} missing"
        lines.append(f"{document['target']}: {found} ({looked})")
    if "volumes" in document:
        lines += _indent(_repairable(document))
    return "\n".join(lines)


def _repairable(document: Mapping[str, Any]) -> Iterable[str]:
    """How many volumes of an archive are right, and what can be done about the others."""
    volumes, parity, lacking = document["volumes"], document["parity"], document["lacking"]
    told = f"{volumes['total'] - volumes['problems']} of {_count(volumes['total'], 'volumes')}"
    yield told + (
        f" and {parity['right']} of {parity['total']} parity volumes are right" if parity["total"] else " right"
    )
    if lacking:
        yield f"not repairable: {_count(lacking, 'volumes')} more must be found, copied or exported again"
        yield "  (what does not lie in the lost ones can be imported all the same)"
    elif volumes["problems"]:
        yield "repairable: `bundlectl import` gives back what is missing or damaged"


def _render_verdict(document: Mapping[str, Any]) -> str:
    """Whose signature a document or image has, and what it does not protect."""
    key, name = document["key"], f"{document['kind']} {document['name']}".rstrip()
    if not document["verified"]:
        return f"{document['target']}: NOT VERIFIED: {document['reason']} ({name})"
    signer = key["source"] + (f" ({key['fingerprint']})" if key["fingerprint"] else "")
    lines = [f"{document['target']}: verified, signed by {signer} ({name})"]
    if document["digest"]:
        lines.append(f"  signed digest  {document['digest']}")
    reasons: dict[str, list[str]] = {}
    for gap in document["gaps"]:
        reasons.setdefault(gap["allows"], []).append(gap["path"])
    if reasons:
        lines.append("  the signature does not cover:")
    for reason, paths in reasons.items():
        lines += _folded(paths, "    ")
        lines.append(f"      -> {reason}")
    return "\n".join(lines)


def _folded(paths: Sequence[str], indent: str) -> list[str]:
    folded = fill(", ".join(paths), 110, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return folded.split("\n")


def render_releases(document: Mapping[str, Any]) -> str:
    """The EKS-A releases, newest first as they come."""
    rows = [
        (
            item["version"],
            item["date"] or "",
            str(item["number"]) if item["number"] is not None else "",
            ", ".join(item["kubeVersions"]),
            "latest" if item["latest"] else "",
        )
        for item in document["releases"]
    ]
    return "\n".join(table(rows, head=("VERSION", "DATE", "BUNDLE", "KUBERNETES", ""), right=frozenset({2})))


def render_store(document: Mapping[str, Any]) -> str:
    """What a store holds."""
    collections = [
        (item["name"], _count(item["artifacts"], "artifacts"), size_text(item["bytes"]))
        for item in document["collections"]
    ]
    refs = [(item["reference"], _short_digest(item["digest"]), item["trust"]) for item in document["refs"]]
    lines = [f"collections ({len(collections)})", *_indent(table(collections, right=frozenset({1, 2})))]
    lines += ["", f"references ({len(refs)})"]
    lines += _indent(table(refs, head=("REFERENCE", "DIGEST", "TRUST")) if refs else [])
    return "\n".join(lines)


def render_collected(document: Mapping[str, Any]) -> str:
    """What ``store gc`` removed, or would: blob by blob where that is only told."""
    dry = document["dryRun"]
    rows = [
        ("would be removed" if dry else "removed", _counted(document["removed"])),
        ("named, and kept", _counted(document["kept"])),
        ("arrived lately, and kept", _counted(document["young"])),
        ("referrers without subject", str(document["referrers"])),
        ("free on the disk", _exact(document["freeBytes"])),
    ]
    blobs = [f"{blob['digest']}  {size_text(blob['size'])}" for blob in document["blobs"]] if dry else []
    return "\n".join([*blobs, *([""] if blobs else []), *table(rows)])


def _counted(part: Mapping[str, int]) -> str:
    return f"{part['blobs']:,} blobs, {_exact(part['bytes'])}"


def render_stats(document: Mapping[str, Any]) -> str:
    """Counts of a store."""
    rows = [
        ("repositories", str(document["repositories"])),
        ("references", str(document["refs"])),
        ("collections", str(document["collections"])),
        ("blobs", str(document["blobs"])),
        ("bytes", _exact(document["bytes"])),
        ("unreferenced", _exact(document["unreferencedBytes"])),
        ("partial", _exact(document["partialBytes"])),
    ]
    return "\n".join(table(rows))


def _excluded(excluded: Sequence[Mapping[str, Any]]) -> list[str]:
    if not excluded:
        return []
    reasons = Counter(item["reason"] for item in excluded)
    lines = ["", f"excluded ({len(excluded)})"]
    for reason, count in sorted(reasons.items()):
        lines.append(f"  {reason} ({count})")
        names = Counter(item["reference"] for item in excluded if item["reason"] == reason)
        lines += [
            f"    {name or '(nothing)'}{f' ({times} times)' if times > 1 else ''}"
            for name, times in sorted(names.items())
        ]
    return lines


def _failures(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    if not failed:
        return []
    lines = ["", f"failed ({len(failed)})"]
    following = [*(item.get("hint") for item in failed[1:]), None]
    for item, next_hint in zip(failed, following, strict=True):
        told = item["error"] if item["error"].startswith(item["reference"]) else f"{item['reference']}: {item['error']}"
        lines.append(f"  {told}")
        if item.get("hint") and item["hint"] != next_hint:
            lines.append(f"    hint: {item['hint']}")
    return lines


def _ending(exit_code: int) -> list[str]:
    if exit_code == 3:  # noqa: PLR2004 -- cli.md
        return ["", "something was not what it should be; nothing that depends on it was published"]
    if exit_code == 4:  # noqa: PLR2004 -- cli.md
        return ["", "everything else is done; run the same command again to resume"]
    return []


def _not_followed(item: Mapping[str, Any]) -> str:
    return "not followed" if item.get("followed") is False else ""


def _short_digest(digest: str | None) -> str:
    return digest[:_SHORT] if digest else "?"


def _count(count: int, plural: str) -> str:
    return f"{count} {plural.removesuffix('s') if count == 1 else plural}"


def _exact(size: int) -> str:
    return f"{size:,} bytes" if size < _STEP else f"{size:,} bytes ({size_text(size)})"


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
