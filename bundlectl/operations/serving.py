"""``serve``: the embedded registry over a store."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final, Self

from bundlectl.errors import BundlectlError, UsageError
from bundlectl.events import Listener, Notice, ignore
from bundlectl.operations.presenting import StoreDescription
from bundles.plan import Naming
from mirror.layout import Store
from mirror.oci.artifact import FILES_REPOSITORY, TITLE_ANNOTATION, URL_ANNOTATION, file_tag
from mirror.oci.digest import Digest
from mirror.server import Access, Registry, RegistryServer, ServerOptions, TlsFiles, access_policy, load_users
from mirror.server.access_log import AccessLog
from mirror.server.metrics import Metrics
from mirror.server.selfsigned import self_signed
from mirror.server.serving import address_url, listen, parse_listen
from mirror.server.workers import Workers

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from types import TracebackType


__all__ = ["GRACE", "RunningServer", "ServeOptions", "serve"]

GRACE: Final = 5.0
"""Seconds that transfers get to end when a worker process stops."""

_WORKERS_MAX: Final = 64
_FLUSH: Final = 2.0  # seconds
_SWEEP: Final = 3600.0  # seconds between two looks for uploads that were given up
_REFRESH: Final = 1.0  # seconds between two looks at which repositories the store has


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The flags of ``serve``; ``tls_directory`` keeps self-signed certificates, one for each store.

    Without workers the calling process serves, in threads. Otherwise it forks them, and so must have no
    other thread; it only watches then (``RunningServer.watch``).
    """

    store: Path
    listen: str = "127.0.0.1:5000"
    workers: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    tls_directory: Path | None = None
    htpasswd: Path | None = None
    htpasswd_pull: Path | None = None
    anonymous_pull: bool = False
    anonymous_push: bool = False
    read_only: bool = False
    access_log: Path | None = None
    """``-`` is standard error."""


class RunningServer:
    """A registry that answers until ``stop``; a context manager."""

    def __init__(self, url: str, sock: socket.socket, running: _Worker | Workers) -> None:
        self._url = url
        self._sock = sock
        self._running = running

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self._url

    def watch(self) -> None:
        """Replace workers that ended. To be called about twice a second by the thread that called ``serve``.

        Raises:
            ConfigError: they end as soon as they start.
        """
        if isinstance(self._running, Workers):
            self._running.watch()

    def stop(self, grace: float = 0.4) -> None:
        """Stop accepting, let transfers end, cut those that do not, close the store. Harmless when repeated.

        Args:
            grace: seconds until transfers are cut, at most ``GRACE`` with workers.
        """
        if isinstance(self._running, Workers):
            self._sock.close()  # each worker has it, too, and closes it when it is to end
        self._running.stop(grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What was checked before anything listens, and each worker is made from."""

    options: ServeOptions
    access: Access
    writable: bool
    tls: TlsFiles | None
    sock: socket.socket
    metrics: Metrics
    listener: Listener


class _Worker:
    """One process's registry: the store, the threads that serve it, and one that keeps the store in shape."""

    def __init__(self, site: _Site, number: int) -> None:
        self._site = site
        site.metrics.take(number)
        self._store = Store.open(site.options.store, read_only=not site.writable)
        self._stopped = Event()
        self._keeper = Thread(target=self._keep_store, name="keeper", daemon=True)
        self._closing = ExitStack()
        self._closing.callback(self._store.close)
        try:
            self._server = self._serve()
        except BaseException:
            self._closing.close()
            raise
        self._keeper.start()

    def _serve(self) -> RegistryServer:
        site, store = self._site, self._store
        names = _Names(store)
        log = site.options.access_log
        app = Registry(
            store,
            resolve_name=names.resolve,
            list_names=names.all,
            files=lambda path: _file(store, path),
            access=site.access,
            options=ServerOptions(
                description=StoreDescription(store),
                metrics=site.metrics,
                access_log=self._closing.enter_context(AccessLog(None if str(log) == "-" else log)) if log else None,
            ),
            listener=site.listener,
        )
        server = RegistryServer(app, tls=site.tls, listener=site.listener)
        server.start(site.sock)
        return server

    def _keep_store(self) -> None:
        """Write what was pushed into ``index.json`` soon, for other tools that read it; drop abandoned uploads."""
        swept = time.monotonic()
        while not self._stopped.wait(_FLUSH):
            try:
                self._store.flush()
                if self._site.writable and time.monotonic() - swept > _SWEEP:
                    swept = time.monotonic()
                    self._store.remove_stale()
            except BundlectlError as error:
                self._site.listener(Notice("warning", f"the store is not kept: {error.message}", str(self._store.path)))

    def stop(self, grace: float) -> None:
        """Stop serving and close the store. Harmless when repeated."""
        self._server.stop(grace)
        self._stopped.set()
        self._keeper.join()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(GRACE)


def serve(options: ServeOptions, *, listener: Listener = ignore) -> RunningServer:
    """Start serving a store.

    What was downloaded is served under the names that ``mirror`` would give it (the upstream host
    dropped), and under its full upstream name; what was pushed, under the name it was pushed as.

    Raises:
        UsageError: the options contradict each other.
        ConfigError: passwords without TLS off loopback, a bad certificate, an address in use.
        StoreError: the store cannot be used.
    """
    host, port = parse_listen(options.listen)
    _check(options)
    users = None
    if options.htpasswd or options.htpasswd_pull:
        users = load_users(options.htpasswd, options.htpasswd_pull)
    policy = access_policy(
        host=host,
        tls=options.tls_self_signed or options.tls_cert is not None,
        htpasswd=options.htpasswd is not None,
        htpasswd_pull=options.htpasswd_pull is not None,
        anonymous_pull=options.anonymous_pull,
        anonymous_push=options.anonymous_push,
        read_only=options.read_only,
    )
    # Made and healed here, once: workers only open it.
    Store.open(options.store, create=policy.writable, read_only=not policy.writable).close()
    # Behind opening the store: a certificate must not be left in a folder that is none.
    tls = _tls(options, host)
    if tls:
        tls.context()  # so that a bad one is told here, not by a worker
    sock = listen(host, port)
    try:
        site = _Site(
            options=options,
            access=Access(policy, users),
            writable=policy.writable,
            tls=tls,
            sock=sock,
            metrics=Metrics(max(1, options.workers)),
            listener=listener,
        )
        url = address_url(host, sock.getsockname()[1], tls=tls is not None)
        if not options.workers:
            return RunningServer(url, sock, _Worker(site, 0))
        workers = Workers(lambda number: _Worker(site, number), options.workers, listener=listener)
        workers.start()
        return RunningServer(url, sock, workers)
    except BaseException:
        sock.close()
        raise


def _check(options: ServeOptions) -> None:
    if not 0 <= options.workers <= _WORKERS_MAX:
        raise UsageError(f"{options.workers} workers cannot be", hint=f"1 to {_WORKERS_MAX}; one a processor does best")
    _check_tls(options)


def _check_tls(options: ServeOptions) -> None:
    if options.tls_self_signed and (options.tls_cert or options.tls_key):
        raise UsageError("--tls-self-signed makes its own certificate", hint="leave --tls-cert and --tls-key out")
    if options.tls_self_signed and options.tls_directory is None:
        raise UsageError("a self-signed certificate needs a directory to be kept in", hint="give tls_directory")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("a certificate needs its key, and a key its certificate", hint="give --tls-cert and --tls-key")


def _tls(options: ServeOptions, host: str) -> TlsFiles | None:
    if options.tls_self_signed and options.tls_directory:
        # Beside the store, not in it: stores are carried about, a private key is not.
        folder = Digest.of(str(options.store.resolve()).encode()).encoded[:16]
        return self_signed(options.tls_directory / folder, host)
    return TlsFiles(options.tls_cert, options.tls_key) if options.tls_cert and options.tls_key else None


class _Names:
    """From the names that clients use to repositories of the store.

    What somebody pushed answers to the name it was pushed under, and behind what a release put
    there: it cannot stand in for it, whatever name it has.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = Mutex()
        self._table: dict[str, tuple[str, ...]] = {}
        self._known: tuple[list[str], set[str]] = ([], set())
        self._read_at = float("-inf")

    def resolve(self, path: str, namespace: str | None) -> tuple[str, ...]:
        """The repositories that ``path`` stands for; ``namespace`` is the upstream host, where it is told.

        A package's chart and its image may have one name: they come from two registries that map to
        one namespace (``Naming``).
        """
        if namespace is not None:
            full = f"{namespace}/{path}"
            if self._lookup(full):
                return (full,)
        return self._lookup(path)

    def all(self) -> list[str]:
        """Every repository, by the name that is shortest to pull it by."""
        released = self._store.released()
        return sorted({_short(name) if name in released else name for name in self._store.repositories()})

    def _lookup(self, name: str) -> tuple[str, ...]:
        with self._mutex:
            if time.monotonic() - self._read_at > _REFRESH:
                self._refresh()
                self._read_at = time.monotonic()
            return self._table.get(name, ())

    def _refresh(self) -> None:
        """Make the table anew if the store has other repositories than before, by whichever process."""
        known = self._store.repositories(), self._store.released()
        if known == self._known:
            return
        repositories, released = known
        table: dict[str, tuple[str, ...]] = {}
        for repository in sorted(repositories, key=lambda name: (name not in released, name)):
            for name in {repository, _short(repository)} if repository in released else {repository}:
                table[name] = (*table.get(name, ()), repository)
        self._table, self._known = table, known


def _short(repository: str) -> str:
    host = repository.partition("/")[0]
    upstream = "." in host or ":" in host or host == "localhost"
    return Naming("").repository(repository) if upstream and "/" in repository else repository


def _file(store: Store, path: str) -> tuple[Digest, int, str] | None:
    """A file by ``HOST/PATH`` of its upstream URL."""
    for scheme in ("https", "http"):
        url = f"{scheme}://{path}"
        ref = store.ref(FILES_REPOSITORY, file_tag(url))
        if ref is not None:
            manifest = store.repository(FILES_REPOSITORY).manifest(ref.descriptor)
            if manifest.is_index or manifest.annotations.get(URL_ANNOTATION) != url or not manifest.children():
                continue  # somebody pushed another thing under a file's name
            layer = manifest.children()[-1]
            return layer.digest, layer.size, layer.annotations.get(TITLE_ANNOTATION, "")
    return None
