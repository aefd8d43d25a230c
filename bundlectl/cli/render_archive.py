"""What ``export`` and ``import`` say to people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bundlectl.cli.render import render_report, size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["render_export", "render_import"]

_SHOWN = 20


def render_export(document: Mapping[str, Any]) -> str:
    """What was written, and how to go on."""
    volumes, blobs, size = document["volumes"], document["blobs"], document["bytes"]
    rows = [
        ("archive", document["name"]),
        ("folder", document["folder"]),
        ("artifacts", str(document["artifacts"])),
        ("blobs", f"{blobs['total'] - blobs['present']} ({size_text(size['total'] - size['present'])})"),
    ]
    if blobs["present"]:
        rows.append(("the site has", f"{blobs['present']} ({size_text(size['present'])}), left out"))
    rows.append(("signed by", document["signedBy"] or "nobody: an import takes it only with --verify off"))
    if document["tool"]:
        rows.append(("tool", ", ".join(item["name"] for item in document["tool"])))
    if document["excluded"]:
        rows.append(("left out", f"{document['excluded']}, see `bundlectl inspect` for the reasons"))
    parts = [*volumes, *document["parity"]]
    listed = [(item["name"], size_text(item["size"]), item["state"], _short(item["sha256"])) for item in parts[:_SHOWN]]
    lines = [*table(rows), "", *table(listed, head=("VOLUME", "SIZE", "STATE", "SHA256"), right=frozenset({1}))]
    if len(parts) > _SHOWN:
        lines.append(f"and {len(parts) - _SHOWN} more")
    return "\n".join([*lines, "", *_afterwards(document, parts)])


def _short(sha256: str | None) -> str:
    return f"{sha256[:16]}…" if sha256 else ""


def _afterwards(document: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """How much it is, and what to do next."""
    states = Counter(item["state"] for item in parts)
    if states["planned"]:
        size = sum(item["size"] for item in parts)
        yield f"total: {len(parts)} volumes, {size:,} bytes ({size_text(size)}); nothing was written"
        return
    left = [item["number"] for item in document["volumes"] if item["state"] == "left"]
    if left:
        in_a_row = len(left) > 1 and left[-1] - left[0] == len(left) - 1
        numbers = f"{left[0]}-{left[-1]}" if in_a_row else ",".join(map(str, left))
        yield f"{document['folder']} has no room for more: insert the next medium, and run the same command"
        yield f"with its folder and --volumes {numbers}"
        return
    yield f"to check it at any time: cd {document['folder']} && sha256sum -c SHA256SUMS"
    trust = "--key KEY.pub" if document["signedBy"] else "--verify off"
    yield f"then carry the whole folder, and at the site: bundlectl import {document['folder']} --store DIR {trust}"


def render_import(document: Mapping[str, Any], *, exit_code: int) -> str:
    """What was imported, what is lacking, and what to do next at the site."""
    archive, volumes = document["archive"], document["volumes"]
    lines = table(
        [
            ("archive", f"{archive['name']}, issued {archive['issued']}"),
            ("signed by", archive["signedBy"] or "not checked"),
            ("volumes", _volumes(volumes)),
        ]
    )
    lines += [f"  {item['name']} ({item['kind']}): {item['message']}" for item in volumes["problems"]]
    lines += ["", render_report(document, exit_code=exit_code)]
    lines += _lacking(document)
    for step in document["next"]:
        lines += ["", f"{step['title']}:", *(f"  {line}" for line in step["text"].split("\n"))]
    return "\n".join(lines)


def _volumes(volumes: Mapping[str, Any]) -> str:
    kinds = Counter(item["kind"] for item in volumes["problems"])
    told = [str(volumes["total"]), *(f"{kinds[kind]} {kind}" for kind in sorted(kinds))]
    if volumes["repaired"]:
        told.append(f"{len(volumes['repaired'])} repaired: {', '.join(volumes['repaired'])}")
    return ", ".join(told)


def _lacking(document: Mapping[str, Any]) -> Iterable[str]:
    lacking = document["lacking"]
    if not lacking:
        return
    blobs = "blob" if len(lacking) == 1 else "blobs"
    yield from ("", f"lacking: {len(lacking)} {blobs} of {size_text(sum(item['size'] for item in lacking))}")
    yield from (f"  {item['digest']}: {item['reason']}" for item in lacking[:_SHOWN])
    if len(lacking) > _SHOWN:
        yield f"  and {len(lacking) - _SHOWN} more (--output json lists them all)"
    yield from ("", "to get them, here and then where the archive was made:")
    yield from (f"  {command}" for command in document["repair"])
