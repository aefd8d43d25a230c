"""An upstream made from any release manifest: registries and file servers that hold what it names.

>>> with Upstream.synthesise([Path("bundles.yaml")]) as upstream, upstream.serve() as served:
...     served.origins  # pairs for ``bundlectl --origin``
...     served.requests.count("GET", "/v2/*/blobs/*")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from mirror.oci.platform import Platform
from registry_fixtures.attachments import Attacher
from registry_fixtures.cdn import Cdn
from registry_fixtures.depot import BlobDepot
from registry_fixtures.exchange import RequestLog
from registry_fixtures.faults import FaultPlan
from registry_fixtures.features import Features
from registry_fixtures.files import FileMaker
from registry_fixtures.holdings import Holdings
from registry_fixtures.images import ImageMaker
from registry_fixtures.noise import Dice
from registry_fixtures.registry import Registry
from registry_fixtures.synthesis import Synthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from mirror.oci.digest import Digest
    from registry_fixtures.accounts import Accounts
    from registry_fixtures.cdn import StoredFile
    from registry_fixtures.files import MadeFile
    from registry_fixtures.synthesis import UpstreamDocument

__all__ = ["Served", "Upstream"]


class Upstream:
    """Everything a set of release documents names, and those documents with digests that fit.

    A context manager: leaving it removes the temporary folder of large blobs.
    """

    def __init__(self, depot: BlobDepot, synthesis: Synthesis, documents: tuple[UpstreamDocument, ...]) -> None:
        self._depot = depot
        self._synthesis = synthesis
        self.documents = documents
        """The given documents in their order, then those made up because they are pointed at."""

    @classmethod
    def synthesise(
        cls,
        documents: Sequence[bytes | Path],
        *,
        seed: int = 0,
        scale: float = 1e-4,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64/v8"),
        directory: Path | None = None,
        finish: Callable[[str, bytes], bytes] | None = None,
    ) -> Self:
        """Make an upstream for Bundles, EKS-A Release, EKS-D Release and PackageBundle documents.

        Only digests change in their text (``imageDigest``, ``sha256``, ``sha512``, ``digest``), so a
        signature of AWS's does not hold any more where it covers one. What they point at and what
        is not among them is made up: EKS-D releases of a Bundles document, the release index.

        Args:
            documents: their bytes, or files to read.
            seed: other content for another seed, the same for the same.
            scale: multiplies real sizes (images of 5 to 300 MB, an OVA of a gigabyte); 1e-4 for tests.
            platforms: of multi-platform images, as ``os/architecture[/variant]``.
            directory: for blobs over 64 KiB; a temporary folder when None.
            finish: takes kind and bytes of each rewritten document and returns what to serve: signs it, say.

        Raises:
            ContentError: a document is none of these kinds.
            UsageError: two documents would lie in one place, or a platform is malformed.
        """
        depot, dice = BlobDepot(directory), Dice(seed)
        holdings = Holdings(depot)
        parsed = tuple(Platform.parse(platform) for platform in platforms)
        synthesis = Synthesis(
            holdings,
            ImageMaker(holdings, dice, scale, parsed),
            FileMaker(depot, dice, scale),
            Attacher(holdings, dice),
            finish,
        )
        raws = [document if isinstance(document, bytes) else document.read_bytes() for document in documents]
        return cls(depot, synthesis, synthesis.run(raws))

    @property
    def images(self) -> Mapping[str, Digest]:
        """Images by ``host/repository:tag``, and the digest of each."""
        return self._synthesis.references

    @property
    def charts(self) -> Mapping[str, Digest]:
        """Charts by ``host/repository:tag``, and the digest of each manifest."""
        return self._synthesis.charts

    @property
    def files(self) -> Mapping[str, MadeFile]:
        """Files by URL; release documents and checksum files are not among them."""
        return self._synthesis.files.made

    @property
    def holdings(self) -> Holdings:
        """What the registries hold, as repositories ``host/path``; for looking, not for changing."""
        return self._synthesis.holdings

    def document(self, kind: str, name: str = "") -> UpstreamDocument:
        """The first document of a kind (and name).

        Raises:
            KeyError: there is none.
        """
        for document in self.documents:
            if document.kind == kind and name in ("", document.name):
                return document
        raise KeyError(kind)

    def write_documents(self, directory: Path) -> list[Path]:
        """Write every document to ``directory``, as ``<kind>-<name>.yaml``; return the paths in order."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = []
        for document in self.documents:
            path = directory / f"{document.kind.lower()}-{document.name or 'unnamed'}.yaml"
            path.write_bytes(document.raw)
            paths.append(path)
        return paths

    def serve(
        self,
        *,
        features: Features | None = None,
        accounts: Accounts | None = None,
        faults: FaultPlan | None = None,
        ports: tuple[int, int] = (0, 0),
    ) -> Served:
        """Serve on loopback until the returned context manager is closed.

        Args:
            features: of the registry; read-only when None.
            accounts: who may pull; everyone when None.
            faults: of registry and file server alike (registry paths begin with ``/v2/``).
            ports: of registry and file server; 0 picks free ones.
        """
        return Served(self, features or Features(read_only=True), accounts, faults or FaultPlan(), ports)

    def close(self) -> None:
        """Forget all content."""
        self._depot.close()

    def stored_files(self) -> Mapping[str, StoredFile]:
        """What a ``Cdn`` over the same depot serves, by path."""
        return self._synthesis.files.stored

    def registry_hosts(self) -> Mapping[str, str]:
        """Registry hosts, and the first part of their repositories' names."""
        return self._synthesis.hosts

    def file_sites(self) -> list[str]:
        """``scheme://host`` of every URL that is served, sorted."""
        urls = [*self.files, *(document.location for document in self.documents)]
        found = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, urls) if parts.netloc}
        return sorted(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Served:
    """An upstream on loopback ports; a context manager.

    ``registry`` and ``cdn`` are the parts behind the servers; a request log and a fault plan
    are shared by both. What is pushed or changed here does not change the upstream.
    """

    def __init__(
        self,
        upstream: Upstream,
        features: Features,
        accounts: Accounts | None,
        faults: FaultPlan,
        ports: tuple[int, int],
    ) -> None:
        self.upstream = upstream
        self.requests = RequestLog()
        self.faults = faults
        holdings = upstream.holdings.copy()
        if not features.referrers_api:
            holdings.write_fallback_tags()
        self.registry = Registry(holdings, features=features, accounts=accounts, faults=faults, log=self.requests)
        self.cdn = Cdn(upstream.stored_files(), depot=holdings.depot, faults=faults, log=self.requests)
        self._registry_server = self.registry.serve(port=ports[0])
        self._cdn_server = self.cdn.serve(port=ports[1])
        self.registry_host = self._registry_server.host
        """``127.0.0.1:PORT`` of the registry; repositories are ``upstream-host/path``."""
        self.cdn_url = self._cdn_server.url

    @property
    def origins(self) -> tuple[str, ...]:
        """``FROM=TO`` for ``--origin``: each upstream host, and where it is to be reached."""
        hosts = sorted(self.upstream.registry_hosts().items())
        registries = [f"{host}={self.registry_host}/{prefix}" for host, prefix in hosts]
        sites = [
            f"{site}={self.cdn_url}/{urlsplit(site).netloc.replace(':', '-')}" for site in self.upstream.file_sites()
        ]
        return (*registries, *sites)

    @property
    def origin_map(self) -> dict[str, str]:
        """The same as a mapping."""
        return dict(pair.split("=", 1) for pair in self.origins)

    def url(self, original: str) -> str:
        """Where a file of an upstream URL is to be fetched."""
        parts = urlsplit(original)
        return f"{self.cdn_url}/{parts.netloc.replace(':', '-')}{parts.path}"

    def close(self) -> None:
        """Stop both servers."""
        self._registry_server.close()
        self._cdn_server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
