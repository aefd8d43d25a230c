"""Pinning artifacts: from a reference or URL to digests, sizes, children and referrers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, StoreError
from bundlectl.events import Notice
from bundlectl.operations.measuring import Measuring
from bundlectl.operations.referring import ReferrerFinder
from bundles.artifact import Artifact, Excluded, merge_artifacts
from bundles.helm.archive import CHART_LIMIT, read_chart
from bundles.helm.conversion import convert
from bundles.helm.images import find_images
from bundles.helm.rendering import Rendering, render
from bundles.lock import LockedArtifact
from bundles.plan import upstream_name
from bundles.selection import Selection
from mirror.copying import Failure
from mirror.copying.working import Workers, check_cancelled
from mirror.graph import walk
from mirror.oci.artifact import wrap_file
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import HELM_CHART, OCTET_STREAM
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bundlectl.operations.session import Session
    from bundles.artifact import TrustLevel
    from mirror.graph import Tree
    from mirror.layout import Store
    from mirror.oci.repository import ReadRepository

__all__ = ["Pinned", "Resolver"]

_BLOCK: Final = 1024 * 1024


@dataclass(slots=True)
class Pinned:
    """What resolution came to. ``sizes`` has every digest that the artifacts need."""

    artifacts: list[LockedArtifact] = field(default_factory=list)
    sizes: dict[Digest, int] = field(default_factory=dict)
    excluded: list[Excluded] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


class Resolver:
    """Pins artifacts in parallel; one instance a run.

    Args:
        session: connections.
        repository: where an image or chart of this upstream name is read.
        selection: platforms of images, whether referrers are wanted, and which images that charts
            name are not. What a chart needs comes with it, whatever ``include`` says.
        store: files of unknown digest are kept here while they are hashed, so that they need
            not be fetched twice.
        rendering: charts are rendered too, to find images that no value names.
    """

    def __init__(
        self,
        session: Session,
        *,
        repository: Callable[[str], ReadRepository] | None = None,
        selection: Selection | None = None,
        store: Store | None = None,
        rendering: Rendering | None = None,
    ) -> None:
        self._session = session
        self._rendering = rendering
        self._repository = repository or session.source
        self._selection = replace(selection or Selection(), include=())
        self._referrers = ReferrerFinder(session) if self._selection.referrers else None
        self._store = store
        self._mutex = Mutex()
        self._pinned = Pinned()

    def resolve(self, artifacts: Iterable[Artifact], *, charts: bool = True) -> Pinned:
        """Pin all artifacts, then the images that their charts name, until none is new.

        An artifact that cannot be pinned is listed in ``failed``, the others go on.

        Raises:
            InterruptError: cancelled.
            StoreError: the store cannot take anything any more.
        """
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            pending = list(artifacts)
            # By reference alone: whether it is an image or a chart shows when it is pinned.
            known = {item.reference: item for item in pending}
            while pending:
                found = [image for images in workers.map(self._pin, pending) for image in images]
                if not charts:
                    break
                pending = []
                chosen, left = self._selection.part(merge_artifacts(found))
                self._pinned.excluded.extend(left)
                for image in chosen:
                    if image.reference not in known:
                        pending.append(image)
                        known[image.reference] = image
                    else:
                        self._also_in_chart(image)
        return self._pinned

    def _also_in_chart(self, image: Artifact) -> None:
        if image.digest is None:
            return
        for index, locked in enumerate(self._pinned.artifacts):
            if locked.reference == image.reference:
                if locked.digest != image.digest:
                    places = ", ".join(sorted(image.found_in))
                    error = ContentError(
                        f"is pinned to {locked.digest}, but {places} names {image.digest}", artifact=image.reference
                    )
                    self._fail(image, error)
                else:
                    found = (*locked.found_in, *image.found_in)
                    self._pinned.artifacts[index] = replace(locked, found_in=tuple(sorted(set(found))))
                return

    def _pin(self, artifact: Artifact) -> list[Artifact]:
        """Pin one artifact; return the images that it names, when it is a chart."""
        try:
            check_cancelled(self._session.cancelled)
            if artifact.type == "file":
                self._pin_file(artifact)
                return []
            if artifact.chart_url:
                return self._pin_classic_chart(artifact)
            return self._pin_manifest(artifact)
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            self._fail(artifact, error)
            return []

    def _fail(self, artifact: Artifact, error: BundlectlError) -> None:
        asked = f" ({error.artifact})" if error.artifact not in (None, artifact.reference) else ""
        told = f"{artifact.reference}: {error.message}{asked}"
        with self._mutex:
            self._pinned.failed.append(Failure.of(artifact.reference, error, told=told))

    def _add(self, locked: LockedArtifact, sizes: dict[Digest, int]) -> None:
        with self._mutex:
            self._pinned.artifacts.append(locked)
            self._pinned.sizes.update(sizes)

    def _pin_manifest(self, artifact: Artifact) -> list[Artifact]:
        name, tag, digest = upstream_name(artifact.reference)
        repository = self._repository(name)
        wanted = artifact.digest or digest
        if wanted is not None:
            descriptor = Descriptor("", wanted, 0)
        elif tag is not None:
            descriptor = self._session.persist(lambda: repository.resolve(tag))
        else:
            raise MissingError("names neither a tag nor a digest", artifact=artifact.reference)
        tree = self._session.persist(lambda: walk(repository, descriptor, platforms=self._selection.platforms))
        sizes = tree.sizes()
        referrers = self._referrers.find(repository, tree, sizes) if self._referrers else ()
        kind = "chart" if tree.root.is_chart else artifact.type
        locked = LockedArtifact(
            type=kind,
            name=artifact.name,
            reference=artifact.reference,
            digest=tree.root.descriptor.digest,
            size=tree.size,
            media_type=tree.root.descriptor.media_type,
            trust=_learned(artifact, stated=wanted is not None),
            platforms=tree.platforms,
            components=tuple(sorted(artifact.components)),
            kube_versions=_kube_versions(artifact),
            found_in=tuple(sorted(artifact.found_in)),
            manifests=tuple(item.descriptor.digest for item in tree.manifests),
            blobs=tuple(blob.digest for blob in tree.blobs),
            referrers=referrers,
        )
        images = self._images_of_chart(artifact, repository, tree) if kind == "chart" else []
        self._add(locked, sizes)
        return images

    def _images_of_chart(self, artifact: Artifact, repository: ReadRepository, tree: Tree) -> list[Artifact]:
        if not tree.root.is_chart:
            raise ContentError("is not a Helm chart: its manifest has no config of Helm", artifact=artifact.reference)
        layer = next((child for child in tree.root.children() if child.media_type == HELM_CHART), None)
        if layer is None:
            raise ContentError("is not a Helm chart: its manifest has no chart layer", artifact=artifact.reference)
        if layer.size > CHART_LIMIT:
            raise ContentError(f"the chart is larger than {CHART_LIMIT} bytes", artifact=artifact.reference)

        def read() -> bytes:
            with repository.open_blob(layer) as reader:
                return _read_exactly(reader.read, layer, artifact.reference)

        return self._images_in(self._session.persist(read), artifact)

    def _images_in(self, archive: bytes, artifact: Artifact) -> list[Artifact]:
        chart = read_chart(archive, origin=artifact.reference)
        found = [find_images(chart, source_registry=artifact.image_registry)]
        if self._rendering:
            with tempfile.NamedTemporaryFile(suffix=".tgz", prefix="bundlectl-") as file:
                file.write(archive)
                file.flush()
                found.append(render(Path(file.name), chart.label, self._rendering))
        with self._mutex:
            self._pinned.excluded.extend(entry for each in found for entry in each.excluded)
        return [
            Artifact(
                type="image",
                name=Reference.parse(image.reference).repository.rpartition("/")[2],
                reference=image.reference,
                digest=image.digest,
                components=artifact.components,
                kube_versions=artifact.kube_versions,
                providers=artifact.providers,
                found_in=frozenset({image.where}),
                trust=artifact.trust if image.digest else _learned(artifact, stated=False),
                management=artifact.management,
            )
            for each in found
            for image in each.images
        ]

    def _pin_classic_chart(self, artifact: Artifact) -> list[Artifact]:
        url = artifact.chart_url or ""
        archive = self._session.client.fetch(self._session.reach(url), limit=CHART_LIMIT)
        chart = convert(archive, origin=url)
        if artifact.digest and chart.layer.digest != artifact.digest:
            raise ContentError(
                f"the chart archive should have digest {artifact.digest} but has {chart.layer.digest}",
                artifact=artifact.reference,
                hint="the repository's index and its archive disagree; nothing was stored",
            )
        children = {child.digest: child.size for child in chart.manifest.children()}
        root = chart.manifest.descriptor
        locked = LockedArtifact(
            type="chart",
            name=artifact.name,
            reference=artifact.reference,
            digest=root.digest,
            size=root.size + sum(children.values()),
            media_type=root.media_type,
            trust=_learned(artifact, stated=artifact.digest is not None),
            components=tuple(sorted(artifact.components)),
            kube_versions=_kube_versions(artifact),
            found_in=tuple(sorted(artifact.found_in)),
            manifests=(root.digest,),
            blobs=tuple(children),
            chart_url=url,
        )
        images = self._images_in(archive, artifact)
        self._add(locked, {root.digest: root.size, **children})
        return images

    def _pin_file(self, artifact: Artifact) -> None:
        digest, size = artifact.digest, artifact.size
        if digest is not None and size is None:
            size = self._session.client.head(self._session.reach(artifact.reference))
        if digest is None or size is None:
            digest, size = self._measure(artifact)
        wrapped = wrap_file(artifact.reference, digest, size, sha512=artifact.sha512)
        root = wrapped.manifest.descriptor
        sizes = {root.digest: root.size, digest: size}
        sizes.update((key, len(data)) for key, data in wrapped.blobs.items())
        locked = LockedArtifact(
            type="file",
            name=artifact.name,
            reference=artifact.reference,
            digest=digest,
            size=size,
            media_type=artifact.media_type or OCTET_STREAM,
            trust=_learned(artifact, stated=artifact.digest is not None),
            platforms=artifact.platforms,
            components=tuple(sorted(artifact.components)),
            kube_versions=_kube_versions(artifact),
            found_in=tuple(sorted(artifact.found_in)),
            manifests=(root.digest,),
            blobs=(digest, *wrapped.blobs),
            sha512=artifact.sha512,
        )
        self._add(locked, sizes)

    def _measure(self, artifact: Artifact) -> tuple[Digest, int]:
        """Read a file once to learn its digest and size; a cut goes on where it stopped."""
        measuring = Measuring(self._session, artifact, self._store)
        try:
            return self._session.persist(measuring.attempt)
        except BundlectlError:
            measuring.abort()
            raise
        finally:
            self._session.listener(
                Notice("info", "has no stated size or digest; read once to pin it", artifact.reference)
            )


def _learned(artifact: Artifact, *, stated: bool) -> TrustLevel:
    """The trust of an artifact whose digest was, or was not, stated by whoever named it."""
    return artifact.trust if stated or artifact.trust == "off" else "resolved"


def _kube_versions(artifact: Artifact) -> tuple[str, ...]:
    """Those that need it; none, which means all, where every cluster's management does."""
    return () if artifact.management else tuple(sorted(artifact.kube_versions))


def _read_exactly(read: Callable[[int], bytes], descriptor: Descriptor, name: str) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while block := read(_BLOCK):
        size += len(block)
        if size > descriptor.size:
            break
        blocks.append(block)
    data = b"".join(blocks)
    if size != descriptor.size or Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
        raise ContentError(f"{descriptor.digest} is not what its digest says", artifact=name)
    return data
