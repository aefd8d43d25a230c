"""One run's connections: HTTP, registries, credentials, and the way to stop it all."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Self, TypeVar

from bundlectl.errors import UsageError
from bundlectl.events import Listener, ignore
from bundles.origins import rewrite
from bundles.sources.context import SourceContext
from mirror.http.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bundlectl.operations.request import SourceRequest
    from mirror.copying import Persistence
    from mirror.copying.manifests import ManifestMemory
    from mirror.copying.remembered import TargetMemory
    from mirror.http import HttpClient
    from mirror.oci.repository import ReadRepository
    from mirror.remote import Credential, CredentialStore, RemoteRegistry, RemoteRepository

__all__ = ["Connection", "Session"]

_JOBS = 32
"""Requests at a time: with 30 ms to each registry half of them would leave the line idle (docs/concepts/copying.md)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How hosts are reached: values only, read from flags, files and the environment by the CLI.

    ``jobs`` 0 means to choose. ``weakened`` says in words what of it weakens trust, and where
    that came from; it is recorded in locks and reports. ``memory`` is the directory where is kept
    what spares the next run requests; None keeps nothing.
    """

    transport: Transport = field(default_factory=Transport)
    credential_files: tuple[Path, ...] = ()
    credential_inline: str = field(default="", repr=False)
    explicit: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 0
    weakened: tuple[str, ...] = ()
    memory: Path | None = None

    @property
    def offline(self) -> bool:
        """Whether only loopback and named hosts may be reached."""
        return self.transport.offline_hosts is not None


class Session:
    """Open connections of one run; a context manager, safe to share between threads."""

    def __init__(self, connection: Connection | None = None, *, listener: Listener = ignore) -> None:
        self.connection = connection or Connection()
        self.listener = listener
        self.cancelled = Event()
        self.jobs = self.connection.jobs or _JOBS
        self._client: HttpClient | None = None
        self._credentials: CredentialStore | None = None
        self._registries: dict[tuple[str, str, bool], RemoteRegistry] = {}
        self._manifests: ManifestMemory | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            # Threads that are still at it must not keep the program from ending.
            self.cancel()
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._client.close()
        if self._manifests is not None:
            self._manifests.close()

    def cancel(self) -> None:
        """Stop everything under way within a second; safe to call from a signal handler's thread."""
        self.cancelled.set()
        if self._client is not None:
            self._client.cancel()

    @property
    def client(self) -> HttpClient:
        """The HTTP client, opened when it is first asked for: documents on disk need none."""
        with self._lock:
            if self._client is None:
                from mirror.http import HttpClient  # noqa: PLC0415 -- see above

                self._client = HttpClient(self.connection.transport, listener=self.listener, pool_size=self.jobs + 2)
                if self.cancelled.is_set():
                    # ``cancel`` came before there was a client that it could stop.
                    self._client.cancel()
            return self._client

    @property
    def persistence(self) -> Persistence:
        """How long a step is tried: as often, and with the same waits, as a single request."""
        from mirror.copying.working import Persistence  # noqa: PLC0415 -- documents on disk need none

        transport = self.connection.transport
        return Persistence(tries=transport.retries + 1, backoff=transport.backoff, longest=transport.max_wait)

    def persist(self, attempt: Callable[[], T]) -> T:
        """Call ``attempt`` until it succeeds, fails for good, or the tries are used up.

        Raises:
            BundlectlError: the last error.
            InterruptError: cancelled while waiting.
        """
        from mirror.copying.working import persist  # noqa: PLC0415 -- documents on disk need none

        return persist(attempt, self.cancelled, self.persistence)

    def registry(self, host: str) -> RemoteRegistry:
        """The registry called ``host``, reached where ``--origin`` says."""
        return self._registry(host, rewrite(host, self.connection.origins))

    def target(self, host: str) -> RemoteRegistry:
        """The registry ``host`` as a target: no ``--origin`` applies to what is written to."""
        return self._registry(host, host, push=True)

    def memory(self, host: str) -> TargetMemory:
        """What earlier runs confirmed about the registry ``host`` as a target; to be closed."""
        from mirror.copying.remembered import TargetMemory  # noqa: PLC0415 -- documents on disk need none

        folder = self.connection.memory
        return TargetMemory(folder / "targets" if folder else None, host, listener=self.listener)

    def repository(self, name: str) -> RemoteRepository:
        """The repository ``registry/path``, reached where ``--origin`` says.

        Raises:
            UsageError: an origin replaces the name of a repository by something else.
        """
        host, _, path = name.partition("/")
        reached = rewrite(name, self.connection.origins)
        if reached == name:
            return self._registry(host, host).repository(path)
        # The recorded name and the contacted one share their last components: those after FROM.
        suffix = _common_suffix(name, reached)
        if not suffix:
            raise UsageError(
                f"--origin cannot rename {name} to {reached}", hint="let FROM and TO name a registry or a namespace"
            )
        return self._registry(name.removesuffix(f"/{suffix}"), reached.removesuffix(f"/{suffix}")).repository(suffix)

    def source(self, name: str) -> ReadRepository:
        """The repository ``registry/path`` to copy from: what was read of it by digest is not read again."""
        from mirror.copying.manifests import ManifestMemory, RememberingRepository  # noqa: PLC0415 -- see above

        repository, folder = self.repository(name), self.connection.memory
        if folder is None:
            return repository
        with self._lock:
            if self._manifests is None:
                self._manifests = ManifestMemory(folder / "manifests.sqlite", listener=self.listener)
            return RememberingRepository(repository, self._manifests)

    def reach(self, url: str) -> str:
        """The URL to ask for what is called ``url``."""
        return rewrite(url, self.connection.origins)

    def requests(self) -> int:
        """Requests sent to registries so far, tokens not counted."""
        return sum(registry.requests for registry in self._registries.values())

    def context(self, request: SourceRequest, *, follow: bool) -> SourceContext:
        """What readers of sources need; ``follow`` is what the command does unless told otherwise."""
        return SourceContext(
            connect=lambda: self.client,
            offline=self.connection.offline,
            registry=self.registry,
            repository=self.repository,
            origins=self.connection.origins,
            belief=request.belief,
            follow=follow if request.follow is None else request.follow,
            no_follow=request.follow is False,
            release_url=request.release_url,
            package_registry=request.package_registry,
            package_image_registry=request.package_image_registry,
            listener=self.listener,
            archives=request.archives,
        )

    def _registry(self, host: str, reached: str, *, push: bool = False) -> RemoteRegistry:
        from mirror.remote import CredentialStore, RemoteRegistry  # noqa: PLC0415 -- documents on disk need none

        client = self.client
        with self._lock:
            if self._credentials is None:
                self._credentials = CredentialStore(
                    files=self.connection.credential_files,
                    inline=self.connection.credential_inline,
                    explicit=self.connection.explicit,
                    providers=() if self.connection.offline else (_ecr_credential,),
                )
            registry = self._registries.get((host, reached, push))
            if registry is None:
                registry = RemoteRegistry(
                    host,
                    client=client,
                    credentials=self._credentials,
                    origin=reached if reached != host else None,
                    push=push,
                )
                self._registries[host, reached, push] = registry
            return registry


def _common_suffix(name: str, reached: str) -> str:
    shared: list[str] = []
    # The host never counts, on either side.
    for ours, theirs in zip(reversed(name.split("/")[1:]), reversed(reached.split("/")[1:]), strict=False):
        if ours != theirs:
            break
        shared.append(ours)
    return "/".join(reversed(shared))


def _ecr_credential(host: str) -> Credential | None:
    if not (".dkr.ecr" in host or ".dkr-ecr" in host):
        return None
    from bundles.sources.ecr import ecr_credential  # noqa: PLC0415 -- boto3, only where a private ECR is asked

    return ecr_credential(host)
