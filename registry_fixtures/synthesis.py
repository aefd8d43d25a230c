"""Making up everything that release documents name, and documents that agree with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import UsageError
from mirror.oci.mediatype import AWS_BUNDLE_CONFIG, OCI_LAYER, OCI_MANIFEST
from registry_fixtures.charts import ChartImage, build_chart, push_chart
from registry_fixtures.reading import FileUse, ImageUse, PackageUse, Reading, read_document
from registry_fixtures.releases import (
    EKSD_SITE,
    RELEASE_INDEX_URL,
    bundles_url,
    eksd_channel,
    eksd_release,
    eksd_url,
    release_index,
)
from registry_fixtures.rewriting import Spot, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from registry_fixtures.attachments import Attacher
    from registry_fixtures.files import FileMaker
    from registry_fixtures.holdings import Holdings
    from registry_fixtures.images import ImageMaker

__all__ = ["IMAGE_REGISTRY", "PACKAGE_BUNDLES", "PACKAGE_REGISTRY", "Synthesis", "UpstreamDocument"]

PACKAGE_REGISTRY: Final = "public.ecr.aws/eks-anywhere"
"""Where AWS keeps package bundles and the charts of packages."""
IMAGE_REGISTRY: Final = "783794618700.dkr.ecr.us-west-2.amazonaws.com"
"""Where AWS keeps the images of packages."""
PACKAGE_BUNDLES: Final = f"{PACKAGE_REGISTRY}/eks-anywhere-packages-bundles"

_PACKAGE_BUNDLE_NAME: Final = re.compile(r"(v\d+-\d+)-.+")
_EKSD_NAME: Final = re.compile(r"kubernetes-(\d+-\d+)-eks-(\d+)")


@dataclass(frozen=True, slots=True)
class UpstreamDocument:
    """A release document as the upstream serves it, and where: a URL, or a reference of a PackageBundle."""

    kind: str
    """``Bundles``, ``Release`` (the index), ``EksdRelease`` or ``PackageBundle``."""
    name: str
    location: str
    raw: bytes = field(repr=False)
    synthesised: bool
    """Whether it was made up because another document points at it."""


@dataclass(slots=True)
class _Draft:
    """A document on its way: read, to be rewritten, to be put at ``location``."""

    reading: Reading
    location: str = ""
    synthesised: bool = False


@dataclass(slots=True)
class Synthesis:
    """One run over a set of documents; used once.

    Args:
        finish: applied to each document after its digests were rewritten (kind, bytes → bytes),
            to sign it, say.
    """

    holdings: Holdings
    images: ImageMaker
    files: FileMaker
    attacher: Attacher
    finish: Callable[[str, bytes], bytes] | None = None
    made: dict[str, Descriptor] = field(default_factory=dict)
    """What was made for each ``ImageUse.key``."""
    references: dict[str, Digest] = field(default_factory=dict)
    """Every image by ``host/repository:tag``."""
    charts: dict[str, Digest] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    """Registry hosts, and the first part of their repositories' names in the holdings."""

    def run(self, documents: Iterable[bytes]) -> tuple[UpstreamDocument, ...]:
        """Make the upstream of these documents and return what it serves, the given ones first.

        Raises:
            ContentError: a document is not one of the kinds.
            UsageError: two documents would lie in one place.
        """
        drafts = [_Draft(read_document(raw)) for raw in documents]
        drafts += self._place(drafts)
        readings = [draft.reading for draft in drafts]
        self._make_images([use for reading in readings for use in reading.images if not use.chart])
        self._make_charts(readings)
        for package in [use for reading in readings for use in reading.packages]:
            self._make_package(package)
        for file in [use for reading in readings for use in reading.files]:
            self.files.make(file.url)
            if file.sha256 or file.sha512:
                self.files.make_checksums(file.url)
        return tuple(self._publish(draft) for draft in drafts)

    def _place(self, drafts: list[_Draft]) -> list[_Draft]:
        """Decide where each document lies; return those that must be made up besides."""
        bundles = [draft for draft in drafts if draft.reading.kind == "Bundles"]
        indexes = [draft for draft in drafts if draft.reading.kind == "Release"]
        added = _place_eksd_releases(drafts, bundles)
        named = {entry.get("number"): entry for index in indexes for entry in index.reading.followed}
        for draft in bundles:
            url = named.get(str(draft.reading.number), {}).get("bundleManifestUrl", "")
            draft.location = url if url.startswith("https://") else bundles_url(draft.reading.number or 0)
        for index in indexes:
            index.location = RELEASE_INDEX_URL
        if bundles and not indexes:
            added.append(_index(bundles))
        for draft in drafts:
            if draft.reading.kind == "PackageBundle":
                draft.location = f"{PACKAGE_BUNDLES}:{draft.reading.name}"
        taken = [draft.location for draft in [*drafts, *added]]
        doubled = sorted({place for place in taken if taken.count(place) > 1})
        if doubled:
            raise UsageError("two of the documents would lie in one place", artifact=doubled[0])
        return added

    def _make_images(self, uses: list[ImageUse]) -> None:
        architectures: dict[str, set[str]] = {}
        for use in uses:
            architectures.setdefault(use.key, set()).update(use.architectures)
        for use in uses:
            if use.key not in self.made:
                reference = use.reference
                tag = reference.tag or f"unnamed-{str(reference.digest)[-12:]}"
                repository = self._repository(reference.registry, reference.repository)
                self._make_image(use.key, repository, tag, architectures[use.key])

    def _make_image(self, key: str, repository: str, tag: str, architectures: Iterable[str] = ()) -> None:
        descriptor = self.images.make(repository, tag, architectures=architectures)
        host = next(host for host, prefix in self.hosts.items() if repository.startswith(f"{prefix}/"))
        self.attacher.attach(host, repository, descriptor)
        self.made[key] = descriptor
        self.references[f"{host}{repository.removeprefix(host.replace(':', '-'))}:{tag}"] = descriptor.digest

    def _make_charts(self, readings: list[Reading]) -> None:
        """Make the charts of Bundles, each with the images of its component."""
        contents: dict[str, tuple[ImageUse, dict[str, ImageUse]]] = {}
        for reading in readings:
            components: dict[tuple[str | int, ...], list[ImageUse]] = {}
            for use in reading.images:
                if not use.chart:
                    components.setdefault(use.component, []).append(use)
            for use in reading.images:
                if use.chart:
                    _, images = contents.setdefault(use.key, (use, {}))
                    images.update({image.key: image for image in components.get(use.component, [])})
        for chart, images in contents.values():
            alias = chart.reference.repository.partition("/")[0]
            source = f"{chart.reference.registry}/{alias}"
            inside = [
                ChartImage(
                    image.reference.name.removeprefix(f"{source}/"), image.reference.tag, self.made[image.key].digest
                )
                for image in images.values()
                if image.reference.tag and image.reference.name.startswith(f"{source}/")
            ]
            tag = chart.reference.tag or "0.0.0"
            repository = self._repository(chart.reference.registry, chart.reference.repository)
            archive = build_chart(repository.rpartition("/")[2], tag, source_registry=source, images=inside)
            self._push_chart(chart.key, repository, tag, archive)

    def _make_package(self, use: PackageUse) -> None:
        registry, _, prefix = (use.registry or PACKAGE_REGISTRY).partition("/")
        path = "/".join(part for part in (prefix, use.repository) if part)
        inside = [self._package_image(use, repository, place) for repository, place in use.images]
        key = f"{registry}/{path}:{use.version}"
        if key in self.made:
            return
        repository = self._repository(registry, path)
        archive = build_chart(
            repository.rpartition("/")[2],
            use.version,
            source_registry=IMAGE_REGISTRY,
            images=inside,
            requires=True,
            dependencies=use.dependencies,
        )
        self._push_chart(key, repository, use.version, archive)

    def _package_image(self, use: PackageUse, path: str, place: Spot) -> ChartImage:
        """Make an image that a package names by digest alone; packages of one digest share it."""
        key = f"{IMAGE_REGISTRY}/{path}@{place.text}"
        repository = self._repository(IMAGE_REGISTRY, path)
        held = self.holdings.repository(repository)
        if key not in self.made:
            tag = f"v{use.version}"
            self._make_image(key, repository, tag if tag not in held.tags else f"{tag}-{len(held.tags)}")
        digest = self.made[key].digest
        if use.registry:
            host, _, prefix = use.registry.partition("/")
            self.holdings.duplicate(repository, self._repository(host, "/".join(filter(None, (prefix, path)))))
        tag = next(tag for tag, found in held.tags.items() if found == digest)
        return ChartImage(path, tag, digest)

    def _push_chart(self, key: str, repository: str, tag: str, archive: bytes) -> None:
        self.made[key] = push_chart(self.holdings, repository, tag, archive, version=tag)
        self.charts[key] = self.made[key].digest

    def _repository(self, host: str, path: str) -> str:
        """The name in the holdings: repositories of different hosts stay apart."""
        self.hosts[host] = host.replace(":", "-")
        return f"{self.hosts[host]}/{path}"

    def _publish(self, draft: _Draft) -> UpstreamDocument:
        """Write the document with its new digests and put it where it lies."""
        reading = draft.reading
        changes: dict[Spot, str] = {}
        for use in reading.images:
            changes |= {place: str(self.made[use.key].digest) for place in use.digests}
        for file in reading.files:
            changes |= self._checksums(file)
        for package in reading.packages:
            changes |= self._package_digests(package)
        raw = rewrite(reading.text, changes).encode()
        if self.finish is not None:
            raw = self.finish(reading.kind, raw)
        if reading.kind == "PackageBundle":
            self._push_package_bundle(reading.name, raw)
        else:
            self.files.put(draft.location, raw, "application/yaml")
        found = _EKSD_NAME.fullmatch(reading.name)
        if reading.kind == "EksdRelease" and found:
            channel = eksd_channel(found[1], int(found[2]))
            self.files.put(f"{EKSD_SITE}/releasechannels/{found[1]}.yaml", channel, "application/yaml")
        return UpstreamDocument(reading.kind, reading.name, draft.location, raw, draft.synthesised)

    def _checksums(self, use: FileUse) -> dict[Spot, str]:
        made = self.files.make(use.url)
        pairs = ((use.sha256, made.digest.encoded), (use.sha512, made.sha512))
        return {place: text for place, text in pairs if place is not None}

    def _package_digests(self, use: PackageUse) -> dict[Spot, str]:
        changes = {
            place: str(self.made[f"{IMAGE_REGISTRY}/{repository}@{place.text}"].digest)
            for repository, place in use.images
        }
        if use.digest is not None:
            key = f"{use.registry or PACKAGE_REGISTRY}/{use.repository}:{use.version}"
            changes[use.digest] = str(self.made[key].digest)
        return changes

    def _push_package_bundle(self, name: str, raw: bytes) -> None:
        """Push as AWS does, with ORAS 0.12: one layer that is called a tar and is plain YAML."""
        host, _, path = PACKAGE_BUNDLES.partition("/")
        repository = self._repository(host, path)
        config, layer = self.holdings.put_blob(repository, b"{}"), self.holdings.put_blob(repository, raw)
        manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": AWS_BUNDLE_CONFIG, "digest": str(config), "size": 2},
            "layers": [
                {
                    "mediaType": OCI_LAYER,
                    "digest": str(layer),
                    "size": len(raw),
                    "annotations": {"org.opencontainers.image.title": "bundle.yaml"},
                }
            ],
        }
        found = _PACKAGE_BUNDLE_NAME.fullmatch(name)
        for tag in (name, f"{found[1]}-latest" if found else name):
            self.holdings.put_manifest(repository, json.dumps(manifest).encode(), OCI_MANIFEST, tag=tag)


def _place_eksd_releases(drafts: list[_Draft], bundles: list[_Draft]) -> list[_Draft]:
    """Put the EKS-D releases where the Bundles documents look for them; return those made up for it."""
    added: list[_Draft] = []
    releases = {draft.reading.name: draft for draft in drafts if draft.reading.kind == "EksdRelease"}
    for eksd in [eksd for draft in bundles for eksd in draft.reading.followed]:
        url = eksd.get("manifestUrl", "")
        name = url.rpartition("/")[2].removesuffix(".yaml")
        if not url.startswith(("https://", "http://")):
            continue
        if name not in releases:
            releases[name] = _Draft(read_document(eksd_release(eksd)), synthesised=True)
            added.append(releases[name])
        releases[name].location = url
    for name, draft in releases.items():
        draft.location = draft.location or eksd_url(name)
    return added


def _index(bundles: list[_Draft]) -> _Draft:
    entries = []
    for draft in sorted(bundles, key=lambda draft: draft.reading.number or 0):
        number = draft.reading.number or 0
        entries.append((number, draft.reading.versions[1] or f"v0.{number}.0", draft.location))
    return _Draft(read_document(release_index(entries)), RELEASE_INDEX_URL, synthesised=True)
