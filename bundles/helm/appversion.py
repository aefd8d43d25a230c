"""What a chart's templates take for a tag when values name none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.helm.archive import Chart

__all__ = ["AppVersionTag", "app_version_tag"]

_PRINTF: Final = re.compile(r'printf\s+"([^"%]*)%[sv]([^"%]*)"\s[^"}]*AppVersion')
_REPLACE: Final = re.compile(r'replace\s+"\+"\s+"([^"]*)"')
_LABELS: Final = ("app.kubernetes.io/", "helm.sh/", "labels")


@dataclass(frozen=True, slots=True)
class AppVersionTag:
    """The tag that stands in for a missing one, or why there is none."""

    tag: str
    reason: str = ""


def app_version_tag(chart: Chart) -> AppVersionTag:
    """Work out the tag of images without one.

    Charts made by ``helm create`` write ``.Values.image.tag | default .Chart.AppVersion``; many
    put a ``v`` before it. The templates' lines that speak of both decide, those of vendored
    (library) charts included; where they differ, nothing is guessed.
    """
    if not chart.app_version:
        return AppVersionTag("", "names no tag and no digest, and the chart has no appVersion")
    templates = list(_templates(chart))
    mentions = [line for text in templates for line in text.splitlines() if "AppVersion" in line]
    if templates and not mentions:
        return AppVersionTag("", "names no tag and no digest, and no template uses the chart's appVersion")
    telling = [line for line in mentions if _speaks_of_tags(line)]
    found = {_form(line, chart.app_version) for line in telling} or {chart.app_version}
    if len(found) > 1:
        return AppVersionTag("", "names no tag, and the templates make several of the chart's appVersion")
    tag = found.pop()
    if "+" in tag:
        return AppVersionTag("", f"names no tag, and the appVersion {tag[:100]} is not one")
    return AppVersionTag(tag)


def _templates(chart: Chart) -> Iterator[str]:
    for path, data in chart.files.items():
        if path.startswith("templates/") and path.endswith((".yaml", ".yml", ".tpl")):
            yield data.decode("utf-8", "replace")
    for subchart in chart.subcharts:
        yield from _templates(subchart)


def _speaks_of_tags(line: str) -> bool:
    lowered = line.lower()
    return ("tag" in lowered or "image" in lowered) and not any(word in lowered for word in _LABELS)


def _form(line: str, app_version: str) -> str:
    replaced = _REPLACE.search(line)
    version = app_version.replace("+", replaced[1]) if replaced else app_version
    printed = _PRINTF.search(line)
    return f"{printed[1]}{version}{printed[2]}" if printed else version
