"""Classic chart repositories: ``index.yaml`` and what it says of one chart version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import semver
import yaml

from bundlectl.errors import ContentError, MissingError
from bundles.helm.yamlnodes import Listing, Scalar, Table, YamlEvents
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INDEX_LIMIT", "IndexEntry", "find_entry"]

_HINT: Final = "the repository's index is at fault: tell who keeps it, or name a chart in a registry"
INDEX_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an ``index.yaml``; the largest public ones have some ten million."""

_SHOWN: Final = 5
_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of one chart: where its archive is, and the digest it must have, if stated."""

    name: str
    version: str
    urls: tuple[str, ...]
    digest: Digest | None


def find_entry(raw: bytes, name: str, version: str, *, base_url: str) -> IndexEntry:
    """Look up a chart in an ``index.yaml``.

    Only this chart's entries are built; the rest of the file is skipped over.

    Args:
        raw: the file, at most 16 MiB.
        name: the chart.
        version: exact; versions that are equal as semantic versions match (``v1.2.3``, ``1.2.3``),
            and one that is equal letter for letter is preferred.
        base_url: the URL of the index, that relative URLs are relative to.

    Raises:
        MissingError: no such chart or version.
        ContentError: not a repository index, or an entry without URL or with a bad digest.
    """
    if len(raw) > INDEX_LIMIT:
        raise ContentError(f"the index is larger than {INDEX_LIMIT} bytes", artifact=base_url, hint=_HINT)
    entries = [entry for entry in _entries(raw, name, base_url) if isinstance(entry, Table)]
    exact = [entry for entry in entries if entry.text("version") == version]
    found = exact or [entry for entry in entries if _same(entry.text("version"), version)]
    if not found:
        known = ", ".join(entry.text("version") for entry in entries[:_SHOWN])
        raise MissingError(
            f"the repository has no chart {name} of version {version}",
            artifact=base_url,
            hint=f"it has {known}" + (" and more" if len(entries) > _SHOWN else "") if known else "check its name",
        )
    entry = found[0]
    place = f"{base_url}:{entry.line}"
    stated = entry.text("name") or name
    if stated != name:
        raise ContentError(f"the entry of {name} is one of {stated[:100]!r}", artifact=place, hint=_HINT)
    urls = tuple(_absolute(item.text, base_url, place) for item in entry.items("urls") if isinstance(item, Scalar))
    if not urls:
        raise ContentError(f"the entry of {name} {version} has no URL", artifact=place, hint=_HINT)
    return IndexEntry(name, entry.text("version"), urls, _digest(entry.text("digest"), place))


def _entries(raw: bytes, name: str, origin: str) -> list[object]:
    events = YamlEvents(raw, origin=origin)
    _open_mapping(events, origin)
    for key in _keys(events):
        if key != "entries":
            events.skip(events.next())
            continue
        if not isinstance(events.next(), yaml.MappingStartEvent):
            break
        for chart in _keys(events):
            event = events.next()
            if chart != name:
                events.skip(event)
                continue
            node = events.build(event)
            if not isinstance(node, Listing):
                raise ContentError(
                    f"the entries of {name} are not a list", artifact=f"{origin}:{node.line}", hint=_HINT
                )
            return list(node.entries)
        return []
    raise ContentError(
        "not a chart repository index: it has no entries",
        artifact=origin,
        hint="the URL must be the folder that holds index.yaml",
    )


def _open_mapping(events: YamlEvents, origin: str) -> None:
    while (event := events.next()) is not None:
        if isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.MappingStartEvent):
                return
            break
    raise ContentError("not a chart repository index: it is not a mapping", artifact=origin, hint=_HINT)


def _keys(events: YamlEvents) -> Iterator[str]:
    """The keys of the mapping that was just opened; the caller consumes each value."""
    while (event := events.next()) is not None and not isinstance(event, yaml.MappingEndEvent):
        if isinstance(event, yaml.ScalarEvent):
            yield event.value
        else:
            events.skip(event)
            yield ""


def _same(first: str, second: str) -> bool:
    try:
        left = semver.Version.parse(first.removeprefix("v"))
        right = semver.Version.parse(second.removeprefix("v"))
    except (ValueError, TypeError):
        return False
    # Semantic versions ignore build metadata when they compare; two builds are two charts.
    return left == right and left.build == right.build


def _absolute(url: str, base_url: str, place: str) -> str:
    try:
        found = urljoin(base_url, url)
        scheme = urlsplit(found).scheme
    except ValueError as error:
        raise ContentError(f"{url[:200]!r} is not a URL", artifact=place, hint=_HINT) from error
    if scheme not in {"https", "http", "oci"}:
        raise ContentError(f"{url[:200]!r} is not a URL that bundlectl fetches", artifact=place, hint=_HINT)
    return found


def _digest(text: str, place: str) -> Digest | None:
    if not text:
        return None
    match = _HEX.fullmatch(text)
    if not match:
        raise ContentError(f"{text[:100]!r} is not a sha256 digest", artifact=place, hint=_HINT)
    return Digest.parse(f"sha256:{match[1].lower()}")
