"""Charts and images as a bundle signed them: fetched by digest from the mirror, never by tag, and never by helm.

How the values of a chart are checked is in ``controller.configuration``.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, ContentError, MissingError, UsageError
from bundles.helm.archive import CHART_LIMIT, read_chart_file
from bundles.helm.yamlnodes import Scalar, Table, read_yaml
from mirror.filesystem import mapped_errors, write_all
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import HELM_CHART
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.session import Session
    from bundles.schema.package_bundle import PackageVersion
    from mirror.remote import RemoteRepository

__all__ = ["ChartFetcher", "default_namespace", "missing_images"]

_KEPT: Final = 64
"""Charts that stay on disk: 500 Packages of one chart need it once."""
_BLOCK: Final = 256 * 1024


class ChartFetcher:
    """Fetches charts into a private folder. Thread-safe; a chart that is there, and still whole, is not fetched again.

    Args:
        session: connections, with the mirror's CA and credentials.
        folder: of mode 0700, made when it is not there; nobody else writes into it.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._known: dict[Path, Digest] = {}
        with mapped_errors(folder, action="make"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def fetch(self, repository: str, digest: str) -> Path:
        """Fetch the chart whose manifest has a digest.

        Args:
            repository: ``HOST[/PREFIX]/REPOSITORY`` in the mirror.
            digest: of the chart's manifest, as the signed bundle says it.

        Returns:
            The ``.tgz``, of mode 0600; it stays for a while, the caller does not delete it.

        Raises:
            MissingError: the mirror does not have it.
            ContentError: what came is not what the digest says, is no chart, or is too large; or no repository can be
                called so.
            TransportError, RegistryError: the mirror does not answer, or refuses.
            StoreError: it cannot be written.
        """
        wanted = Digest.parse(digest)
        path = self._folder / f"{wanted.algorithm}-{wanted.encoded}.tgz"
        if self._is_whole(path):
            return path
        artifact = f"{repository}@{digest}"
        source = _repository(self._session, repository)
        try:
            manifest = source.manifest(Descriptor("", wanted, 0))
        except MissingError as error:
            raise MissingError(
                "the chart that the bundle signs is not in the mirror",
                artifact=artifact,
                hint="mirror the bundle's charts and images again",
            ) from error
        layers = [child for child in manifest.children() if child.media_type == HELM_CHART]
        if not manifest.is_chart or len(layers) != 1:
            raise ContentError("is not a Helm chart", artifact=artifact, hint="the bundle pins something else")
        if layers[0].size > CHART_LIMIT:
            raise ContentError(f"the chart is larger than {CHART_LIMIT} bytes", artifact=artifact)
        try:
            with VerifyingReader(source.open_blob(layers[0]), layers[0]) as reader:
                self._store(path, reader)
        except BundlectlError as error:
            error.artifact = artifact
            raise
        self._known[path] = layers[0].digest
        self._forget_oldest()
        return path

    def _is_whole(self, path: Path) -> bool:
        """Whether what lies there is what was verified: a disk may err, and helm reads the file anew."""
        digest = self._known.get(path)
        if digest is None or not path.is_file():
            return False
        with mapped_errors(path, action="read"):
            os.utime(path)
            return Digest.of(path.read_bytes(), digest.algorithm) == digest

    def _store(self, path: Path, reader: VerifyingReader) -> None:
        with mapped_errors(path, action="write"):
            descriptor, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")  # 0600 from the start
            try:
                try:
                    while block := reader.read(_BLOCK):
                        write_all(descriptor, block)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.replace(temporary, path)  # noqa: PTH105 -- both names are at hand as they are
            except BaseException:
                os.unlink(temporary)  # noqa: PTH108
                raise

    def _forget_oldest(self) -> None:
        ages: list[tuple[float, Path]] = []
        for file in self._folder.glob("*.tgz"):
            with suppress(FileNotFoundError):  # another thread forgot it
                ages.append((file.stat().st_mtime, file))
        for _, file in sorted(ages, reverse=True)[_KEPT:]:
            with mapped_errors(file):
                file.unlink(missing_ok=True)


def missing_images(session: Session, registry: str, version: PackageVersion) -> tuple[str, ...]:
    """The images of a package's version that the mirror does not have.

    Args:
        session: connections.
        registry: of the images, ``HOST[/PREFIX]``.
        version: of the signed bundle.

    Returns:
        ``REPOSITORY@DIGEST`` of each, in the order of the bundle.

    Raises:
        ContentError: a digest, or the name of a repository, is not one.
        TransportError, RegistryError: the mirror does not answer, or refuses.
    """
    absent = []
    for image in version.images:
        wanted = Descriptor("", Digest.parse(image.digest), 0)
        if not _repository(session, f"{registry}/{image.repository}").has(wanted):
            absent.append(f"{image.repository}@{image.digest}")
    return tuple(absent)


def _repository(session: Session, name: str) -> RemoteRepository:
    """A repository that a bundle names, and not the user; the signature of a bundle leaves some of these names out."""
    try:
        return session.repository(name)
    except UsageError as error:
        raise ContentError(error.message, artifact=name[:200], hint="the bundle names it; build it again") from error


def default_namespace(chart: Path) -> str:
    """The namespace that a chart wants to be in (``values.defaultNamespace``, ``domain.md`` 5.6), else ``default``.

    Args:
        chart: a ``.tgz`` that `ChartFetcher` fetched.

    Raises:
        ContentError: it is not a chart.
        StoreError: it cannot be read.
    """
    found = read_chart_file(chart)
    values = read_yaml(found.files.get("values.yaml", b""), origin=f"{found.label}!values.yaml")
    wanted = values.entries.get("defaultNamespace") if isinstance(values, Table) else None
    return (wanted.text if isinstance(wanted, Scalar) else "") or "default"
