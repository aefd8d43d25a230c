"""Looking up what a bundle of packages holds: charts, their images and schemas, each by digest."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, TypeVar

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, UsageError
from bundlectl.events import Notice, PhaseStarted
from bundles.helm.archive import CHART_LIMIT, read_chart
from bundles.helm.conversion import chart_tag
from bundles.helm.images import find_images
from bundles.helm.rendering import Rendering, render
from bundles.helm.values import chart_values
from bundles.package_requires import read_requires
from bundles.package_versions import newest_tag, prefix_of_latest
from bundles.plan import Naming
from bundles.schema.package_bundle import BundledPackage, PackageImage, PackageSource, PackageVersion
from bundles.sources.layers import read_layer
from mirror.copying.working import Workers, check_cancelled
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import HELM_CHART
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bundlectl.operations.session import Session
    from bundles.artifact import Excluded
    from bundles.helm.archive import Chart
    from bundles.helm.images import ChartImages, FoundImage
    from bundles.package_input import PackageInput, PackageProject
    from bundles.package_requires import Requires
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.remote import RemoteRepository

__all__ = ["BundleRequest", "PackageResolver"]

T = TypeVar("T")

_COLLECTED: Final = (3, 4, 2)
"""Exit codes of what is wrong with one package, the worst first; any other error concerns all of them."""
_OPENED: Final = 2
"""Charts that are unpacked or rendered at a time: each may take some hundred MiB, and helm a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest:
    """What a bundle is built of.

    ``input`` is the path of a file in AWS's format. ``registry`` is ``HOST[:PORT][/PREFIX]`` of the
    charts, empty for those that the input names; ``image_registry`` that of the images, empty for the
    charts'. ``name`` stands in for the input's. ``render_charts`` finds images by helm, too.
    """

    input: Path
    registry: str = ""
    image_registry: str = ""
    name: str = ""
    render_charts: bool = False


class PackageResolver:
    """Looks up every version of every package, several at a time; one instance a run.

    Args:
        request: where.
        wanted: which.
        session: to reach the registries.

    Raises:
        UsageError: a registry is malformed.
    """

    def __init__(self, request: BundleRequest, wanted: PackageInput, session: Session) -> None:
        self._origin = str(request.input)
        self._projects = wanted.projects
        self._session = session
        self._charts = _registry(request.registry)
        self._images = _registry(request.image_registry)
        helm = shutil.which("helm") if request.render_charts else None
        self._rendering = (
            Rendering(
                helm=Path(helm) if helm else None,
                kube_version=f"{wanted.name.kube_version}.0",
                cancel=session.cancelled,
            )
            if request.render_charts
            else None
        )
        self._opening = BoundedSemaphore(_OPENED)
        self._failed: list[BundlectlError] = []
        self._excluded: set[Excluded] = set()
        self._warnings: set[str] = set()

    def excluded(self) -> tuple[Excluded, ...]:
        """Images that charts name and that could not be told, sorted."""
        return tuple(sorted(self._excluded))

    def packages(self) -> tuple[BundledPackage, ...]:
        """All packages, in the order of the input.

        Raises:
            MissingError, ContentError, UsageError: something is not there, or not what it should be; the
                rest of what was found is told as warnings.
        """
        tasks = [(project, version) for project in self._projects for version in project.versions]
        self._session.listener(PhaseStarted("building", len(tasks)))
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            found = workers.map(self._attempt_version, tasks)
        self._raise_failed()
        for warning in sorted(self._warnings):
            self._session.listener(Notice("warning", warning))
        for item in self.excluded():
            told = f"the image {item.reference} is left out: it {item.reason}"
            self._session.listener(Notice("warning", told, item.found_in))
        versions: dict[str, dict[str, PackageVersion]] = {}
        for (project, _), version in zip(tasks, found, strict=True):
            if version is not None:
                versions.setdefault(project.name, {}).setdefault(version.name, version)
        return tuple(
            BundledPackage(
                name=project.name,
                workloadonly=project.workloadonly,
                source=PackageSource(repository=project.repository, versions=tuple(versions[project.name].values())),
            )
            for project in self._projects
        )

    def _raise_failed(self) -> None:
        if not self._failed:
            return
        # 3 beats 4 (``cli.md``); in an order that does not depend on who was faster.
        first, *others = sorted(self._failed, key=lambda error: (_COLLECTED.index(error.exit_code), str(error)))
        for error in others:
            self._session.listener(Notice("warning", error.message, error.artifact))
        if others:
            first.message += f" (and {len(others)} more)"
        raise first

    def _collect(self, call: Callable[[], T]) -> T | None:
        """Call, and keep what is wrong with one package: whoever builds a bundle wants to know all of it."""
        try:
            return call()
        except InterruptError:
            raise
        except BundlectlError as error:
            if error.exit_code not in _COLLECTED:
                raise
            self._failed.append(error)
            return None

    def _attempt_version(self, task: tuple[PackageProject, str]) -> PackageVersion | None:
        return self._collect(lambda: self._version(*task))

    def _version(self, project: PackageProject, wanted: str) -> PackageVersion:
        registry = self._charts or project.registry
        if not registry:
            raise UsageError(
                f"names no registry for the package {project.name}",
                artifact=self._origin,
                hint="say where the charts are: --registry HOST[:PORT][/PREFIX]",
            )
        repository = self._session.repository(f"{registry}/{project.repository}")
        name, manifest = self._chosen(repository, wanted)
        place = f"{repository.name}:{chart_tag(name)}"
        archive = self._archive(repository, manifest, place)
        images = self._images or registry
        requires, found = self._opened(archive, place, images)
        self._warnings.update(requires.warnings)
        if requires.images:
            listed = [
                self._image(f"{images}/{item.repository}", item.tag, item.digest, f"{place}!requires.yaml")
                for item in requires.images
            ]
        else:
            listed = sorted((self._found_image(item, images) for item in found), key=str)
        unique = dict.fromkeys(item for item in listed if item is not None)
        return PackageVersion(
            name=name,
            digest=str(manifest.descriptor.digest),
            images=tuple(
                PackageImage(repository=reference.name.removeprefix(f"{images}/"), digest=str(reference.digest))
                for reference in unique
            ),
            schema=requires.schema,
            dependencies=requires.dependencies,
        )

    def _chosen(self, repository: RemoteRepository, wanted: str) -> tuple[str, Manifest]:
        """The version that is meant, and the manifest of its chart."""
        prefix = prefix_of_latest(wanted)
        if prefix is None:
            return wanted, self._manifest(repository, wanted)
        try:
            moving = self._manifest(repository, wanted)
        except MissingError:
            tags = self._session.persist(repository.tags)
            # The other way round than ``chart_tag``: programs that install take versions, with their ``+``.
            name = newest_tag(tags, prefix, place=repository.name).replace("_", "+")
            return name, self._manifest(repository, name)
        place = f"{repository.name}:{wanted}"
        archive = self._archive(repository, moving, place)
        with self._opening:
            name = read_chart(archive, origin=place).version
        fixed = self._manifest(repository, name)
        if fixed.descriptor.digest != moving.descriptor.digest:
            raise ContentError(
                f"is a chart that calls itself {name}, and the tag {chart_tag(name)} leads to another",
                artifact=place,
                hint="name a version instead, or tag the chart anew",
            )
        return name, fixed

    def _manifest(self, repository: RemoteRepository, name: str) -> Manifest:
        tag = chart_tag(name)
        try:
            descriptor = self._session.persist(lambda: repository.resolve(tag))
            return self._session.persist(lambda: repository.manifest(descriptor))
        except MissingError as error:
            error.hint = "push the chart there, or correct --registry, the repository or the version"
            raise

    def _archive(self, repository: RemoteRepository, manifest: Manifest, place: str) -> bytes:
        layer = next((child for child in manifest.children() if child.media_type == HELM_CHART), None)
        if not manifest.is_chart or layer is None:
            raise ContentError("is not a Helm chart", artifact=place, hint="push it with helm push, or mirror it")
        if layer.size > CHART_LIMIT:
            raise ContentError(f"the chart is larger than {CHART_LIMIT} bytes", artifact=place)
        return self._session.persist(lambda: read_layer(repository, layer, limit=CHART_LIMIT, place=place))

    def _opened(self, archive: bytes, place: str, images: str) -> tuple[Requires, Iterable[FoundImage]]:
        """What a chart needs; the images that are found in it where it lists none itself."""
        with self._opening:
            check_cancelled(self._session.cancelled)
            chart = read_chart(archive, origin=place)
            requires = read_requires(chart)
            return requires, () if requires.images else self._found_in(chart, archive, images)

    def _found_in(self, chart: Chart, archive: bytes, images: str) -> Iterable[FoundImage]:
        """The images that a chart names, each once."""
        found: list[ChartImages] = [find_images(chart, source_registry=images)]
        if self._rendering:
            rendering = self._rendering
            if "sourceRegistry" in next(chart_values(chart)).values.entries:
                rendering = replace(rendering, values={"sourceRegistry": images})
            with tempfile.NamedTemporaryFile(suffix=".tgz", prefix="bundlectl-") as file:
                file.write(archive)
                file.flush()
                found.append(render(Path(file.name), chart.label, rendering))
        self._excluded.update(item for each in found for item in each.excluded)
        # In however many places: each is asked for once.
        return {(image.reference, image.digest): image for each in found for image in each.images}.values()

    def _found_image(self, image: FoundImage, images: str) -> Reference | None:
        """An image as the chart names it, at the registry of images: the host that it names is dropped."""
        named = Reference.parse(image.reference)
        below = named.name.removeprefix(f"{images}/") if named.name.startswith(f"{images}/") else named.repository
        return self._image(f"{images}/{below}", named.tag or "", image.digest, image.where)

    def _image(self, name: str, tag: str, digest: Digest | None, where: str) -> Reference | None:
        """An image with the digest that its registry has it by."""

        def look() -> Reference:
            repository = self._session.repository(name)
            place = f"{name}@{digest}" if digest else f"{name}:{tag}"
            try:
                found = Descriptor("", digest, 0) if digest else self._session.persist(lambda: repository.resolve(tag))
                place = f"{name}@{found.digest}"
                # Whatever a registry calls the digest of a tag: what is signed must be there under it.
                self._session.persist(lambda: repository.manifest(found))
            except MissingError as error:
                raise MissingError(
                    f"the image is not in the registry; {where} needs it",
                    artifact=place,
                    hint="bring it there with bundlectl mirror, or say where images are with --image-registry",
                ) from error
            return Reference.parse(place)

        return self._collect(look)


def _registry(text: str) -> str:
    """A registry as ``HOST[:PORT][/PREFIX]``, or nothing.

    Raises:
        UsageError: it is a URL, or malformed.
    """
    if not text:
        return ""
    naming = Naming.parse(text)
    return f"{naming.registry}/{naming.prefix}" if naming.prefix else naming.registry
