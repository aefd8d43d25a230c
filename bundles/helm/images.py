"""The images a chart needs, found without rendering it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from bundles.artifact import Excluded
from bundles.helm.appversion import AppVersionTag, app_version_tag
from bundles.helm.values import ChartValues, chart_values
from bundles.helm.yamlnodes import Scalar, Table, read_yaml
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundles.helm.archive import Chart
    from mirror.oci.digest import Digest

__all__ = ["PLACES_LIMIT", "ChartImages", "FoundImage", "find_images", "judge_reference", "too_many_images"]

_LITERAL: Final = re.compile(rb"""^[ \t]*(?:-[ \t]+)?["']?image["']?:[ \t]+["']?([^\s"'#{}]+)["']?[ \t]*(?:#.*)?$""")
_TEMPLATES: Final = (".yaml", ".yml", ".tpl", ".txt")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN: Final = 300
PLACES_LIMIT: Final = 10_000
"""Places of a chart at which images are named; large charts have some hundreds."""
_HUB_IMAGES: Final = "artifacthub.io/images"


@dataclass(frozen=True, slots=True, order=True)
class FoundImage:
    """An image that a chart names.

    ``reference`` is ``registry/repository:tag``, or ``registry/repository@digest`` where no tag
    is named; ``where`` is ``CHART-VERSION!file:line``.
    """

    reference: str
    digest: Digest | None
    where: str


@dataclass(frozen=True, slots=True)
class ChartImages:
    """What ``find_images`` found and what it had to leave out, each sorted, each place once."""

    images: tuple[FoundImage, ...]
    excluded: tuple[Excluded, ...]


@dataclass(slots=True)
class _Findings:
    label: str
    images: set[FoundImage]
    excluded: set[Excluded]
    places: int = 0

    def count(self) -> None:
        """Count a place at which an image is named.

        Raises:
            ContentError: there are too many of them.
        """
        self.places += 1
        if self.places > PLACES_LIMIT:
            raise too_many_images(self.label)

    def add(self, text: str, where: str) -> None:
        """Judge a reference as it stands."""
        self.count()
        found = judge_reference(text, where)
        if isinstance(found, FoundImage):
            self.images.add(found)
        else:
            self.excluded.add(found)

    def leave_out(self, text: str, reason: str, where: str) -> None:
        self.count()
        self.excluded.add(Excluded(text[:_SHOWN], reason, where))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What completes the names in one chart: its registries, and the tag when none is written."""

    source_registry: str
    global_registry: str
    version_tag: AppVersionTag


def find_images(chart: Chart, *, source_registry: str = "") -> ChartImages:
    """Find the images that a chart and the charts vendored in it name.

    Looked at: ``values.yaml`` (mappings with ``repository``, ``registry``, ``tag``, ``digest``;
    scalars under keys that end in ``image``), ``requires.yaml`` of AWS's packages (``domain.md``
    section 6), the annotation ``artifacthub.io/images``, and ``image:`` lines of templates that
    are not computed. Nothing is implied: a name without registry, or without tag, digest and
    appVersion, is excluded with its reason.

    Args:
        chart: what ``read_chart`` read.
        source_registry: what takes the place of AWS's top-level value ``sourceRegistry``: the
            package controller always sets it.

    Raises:
        ContentError: YAML in the chart is broken or beyond a limit, or images are named in more than 10,000 places.
    """
    findings = _Findings(chart.label, set(), set())
    tags: dict[int, AppVersionTag] = {}
    required: dict[int, list[tuple[Table, Scalar]]] = {}
    for one in chart_values(chart):
        known = id(one.chart)
        # Under a further alias a chart differs by its values alone.
        if known not in tags:
            tags[known] = app_version_tag(one.chart)
            required[known] = list(_required(one.chart, chart.label))
            _in_annotation(one.chart, chart.label, findings)
            _in_templates(one.chart, chart.label, findings)
        scope = _Scope(source_registry or one.values.text("sourceRegistry"), _global_registry(one.values), tags[known])
        _in_values(one, scope, findings)
        for table, name in required[known]:
            _complete(table, name, scope, findings)
    # A digest may be absent, and None has no order.
    images = sorted(findings.images, key=lambda image: (image.reference, str(image.digest or ""), image.where))
    return ChartImages(tuple(images), tuple(sorted(findings.excluded)))


def too_many_images(label: str) -> ContentError:
    """What is told of a chart that would keep a registry busy for hours."""
    return ContentError(
        f"names images in more than {PLACES_LIMIT} places",
        artifact=label,
        hint="no chart of good faith needs this; ask its author, or leave it out with --exclude",
    )


def judge_reference(text: str, where: str) -> FoundImage | Excluded:
    """Say whether ``text`` is a full reference with tag or digest, or why it is not."""
    name = text.removeprefix("docker://")
    try:
        reference = Reference.parse(name)
    except UsageError as error:
        reason = "names no registry" if "names no registry" in error.message else "is not an image reference"
        return Excluded(text[:_SHOWN], reason, where)
    if reference.tag:
        return FoundImage(f"{reference.name}:{reference.tag}", reference.digest, where)
    if reference.digest:
        return FoundImage(str(reference), reference.digest, where)
    return Excluded(text[:_SHOWN], "names no tag and no digest", where)


def _global_registry(values: Table) -> str:
    shared = values.table("global")
    return shared.text("imageRegistry") if shared else ""


def _in_values(one: ChartValues, scope: _Scope, findings: _Findings) -> None:
    for table in one.tables():
        for key, value in table.entries.items():
            if not isinstance(value, Scalar) or not value.text:
                continue
            if key == "repository":
                _complete(table, value, scope, findings)
            elif key.lower().endswith("image"):
                _scalar_image(table, key, value, scope, findings)


def _scalar_image(table: Table, key: str, value: Scalar, scope: _Scope, findings: _Findings) -> None:
    """A scalar ``image:``; its tag may stand beside it (``image: host/name``, ``tag: 1.2``)."""
    if key == "image" and "repository" not in table.entries and not _has_version(value.text):
        if "tag" in table.entries or "digest" in table.entries:
            _complete(table, value, scope, findings)
            return
        if "/" not in value.text:
            return
    where = _place(value)
    found = judge_reference(value.text, where)
    if isinstance(found, FoundImage):
        findings.add(value.text, where)
    elif _has_version(value.text) or key == "image":
        findings.leave_out(value.text, _computed(value.text) or found.reason, where)


def _complete(table: Table, name: Scalar, scope: _Scope, findings: _Findings) -> None:
    """Put together what a mapping says of an image in parts."""
    where = _place(name)
    text = name.text.removeprefix("docker://")
    tag, digest = table.text("tag"), table.text("digest")
    sha = table.text("sha")
    if not digest and _HEX.fullmatch(sha):
        digest = f"sha256:{sha}"
    for part in (text, table.text("registry"), tag, digest):
        if _computed(part):
            findings.leave_out(text, _computed(part), where)
            return
    if "://" in text or text.startswith("git@"):
        # A chart repository or a git repository, not an image's.
        findings.count()
        return
    full = _with_registry(text, table.text("registry"), scope)
    if tag.startswith("sha256:"):
        tag, digest = "", digest or tag
    if tag and not _has_version(full):
        full += f":{tag}"
    if digest and "@" not in full:
        full += f"@{digest}"
    if not _has_version(full):
        fallback = scope.version_tag
        if not fallback.tag:
            findings.leave_out(full, fallback.reason, where)
            return
        full += f":{fallback.tag}"
        where += " with appVersion"
    findings.add(full, where)


def _with_registry(name: str, registry: str, scope: _Scope) -> str:
    if registry:
        return name if name.startswith(f"{registry}/") else f"{registry.rstrip('/')}/{name}"
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return name
    found = scope.source_registry or scope.global_registry
    return f"{found.rstrip('/')}/{name}" if found else name


def _required(chart: Chart, label: str) -> Iterable[tuple[Table, Scalar]]:
    """The images in ``requires.yaml``, each with its repository."""
    raw = chart.files.get("requires.yaml")
    if raw is None:
        return
    document = read_yaml(raw, origin=f"{label}!{chart.path}requires.yaml")
    spec = document.table("spec") if isinstance(document, Table) else None
    for item in spec.items("images") if spec else []:
        repository = item.entries.get("repository") if isinstance(item, Table) else None
        if isinstance(item, Table) and isinstance(repository, Scalar) and repository.text:
            yield item, repository


def _in_annotation(chart: Chart, label: str, findings: _Findings) -> None:
    annotations = chart.metadata.table("annotations")
    text = annotations.entries.get(_HUB_IMAGES) if annotations else None
    if not isinstance(text, Scalar):
        return
    where = f"{label}!{chart.path}Chart.yaml:{text.line}"
    try:
        listed = read_yaml(text.source.encode(), origin=where)
    except ContentError:
        findings.leave_out(_HUB_IMAGES, "the annotation is not YAML", where)
        return
    for item in listed.entries if listed is not None and not isinstance(listed, Scalar | Table) else []:
        if isinstance(item, Table) and item.text("image"):
            findings.add(item.text("image"), where)


def _in_templates(chart: Chart, label: str, findings: _Findings) -> None:
    for path, line, text in _literals(chart):
        findings.add(text, f"{label}!{chart.path}{path}:{line}")


def _literals(chart: Chart) -> Iterable[tuple[str, int, str]]:
    for path, data in sorted(chart.files.items()):
        if not path.startswith("templates/") or not path.endswith(_TEMPLATES) or b"image" not in data:
            continue
        for number, line in enumerate(data.split(b"\n"), start=1):
            match = _LITERAL.match(line.rstrip(b"\r")) if b"image" in line else None
            if match:
                yield path, number, match[1].decode("utf-8", "replace")


def _place(value: Scalar) -> str:
    return f"{value.origin}:{value.line}"


def _has_version(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]


def _computed(text: str) -> str:
    return "is computed by a template" if "{{" in text else ""
