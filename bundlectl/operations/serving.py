"""``serve``: the embedded registry over a store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event, Thread
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final, Self

from bundlectl.errors import BundlectlError, UsageError
from bundlectl.events import Listener, Notice, ignore
from bundles.lock import Lock
from bundles.plan import Naming
from mirror.layout import Store
from mirror.oci.artifact import FILES_REPOSITORY, TITLE_ANNOTATION, URL_ANNOTATION, file_tag
from mirror.oci.digest import Digest
from mirror.server import Access, Registry, RegistryServer, ServerOptions, TlsFiles, access_policy, load_users
from mirror.server.selfsigned import self_signed
from mirror.server.serving import parse_listen

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


__all__ = ["RunningServer", "ServeOptions", "serve"]

_FLUSH: Final = 2.0  # seconds
_REFRESH: Final = 1.0  # seconds between two looks at what the store holds, where a name is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The flags of ``serve``; ``tls_directory`` keeps self-signed certificates, one for each store."""

    store: Path
    listen: str = "127.0.0.1:5000"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    tls_directory: Path | None = None
    htpasswd: Path | None = None
    anonymous_pull: bool = False
    anonymous_push: bool = False
    read_only: bool = False


class RunningServer:
    """A registry that answers until ``stop``; a context manager."""

    def __init__(self, server: RegistryServer, store: Store, listener: Listener) -> None:
        self._server = server
        self._store = store
        self._listener = listener
        self._stopped = Event()
        self._keeper = Thread(target=self._keep_index, name="index", daemon=True)
        self._keeper.start()

    def _keep_index(self) -> None:
        """Write what was pushed into ``index.json`` soon, for other tools that read the store."""
        while not self._stopped.wait(_FLUSH):
            try:
                self._store.flush()
            except BundlectlError as error:
                self._listener(Notice("warning", f"index.json is behind: {error.message}", str(self._store.path)))

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self._server.url

    def stop(self) -> None:
        """Stop within a second, and close the store. Harmless when repeated."""
        self._server.stop()
        self._stopped.set()
        self._keeper.join()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


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
    _check_tls(options)
    users = load_users(options.htpasswd) if options.htpasswd else None
    policy = access_policy(
        host=host,
        tls=options.tls_self_signed or options.tls_cert is not None,
        htpasswd=users is not None,
        anonymous_pull=options.anonymous_pull,
        anonymous_push=options.anonymous_push,
        read_only=options.read_only,
    )
    store = Store.open(options.store, create=policy.writable, read_only=not policy.writable)
    try:
        # Behind opening the store: a certificate must not be left in a folder that is none.
        tls = _tls(options, host)
        names = _Names(store)
        app = Registry(
            store,
            resolve_name=names.resolve,
            list_names=names.all,
            files=lambda path: _file(store, path),
            access=Access(policy, users),
            options=ServerOptions(describe_collection=_describe),
            listener=listener,
        )
        server = RegistryServer(app, host=host, port=port, tls=tls, listener=listener)
        server.start()
    except BaseException:
        store.close()
        raise
    return RunningServer(server, store, listener)


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
    """From the names that clients use to repositories of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = Mutex()
        self._table: dict[str, tuple[str, ...]] = {}
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
        naming = Naming("")
        return sorted({_short(naming, repository) for repository in self._store.repositories()})

    def _lookup(self, name: str) -> tuple[str, ...]:
        with self._mutex:
            found = self._table.get(name)
            if found is None and time.monotonic() - self._read_at > _REFRESH:
                self._table = self._read()
                self._read_at = time.monotonic()
                found = self._table.get(name)
            return found or ()

    def _read(self) -> dict[str, tuple[str, ...]]:
        naming = Naming("")
        repositories = sorted(self._store.repositories())
        table: dict[str, tuple[str, ...]] = {}
        for repository in repositories:
            short = _short(naming, repository)
            table[short] = (*table.get(short, ()), repository)
        table.update((repository, (repository,)) for repository in repositories)
        return table


def _short(naming: Naming, repository: str) -> str:
    host = repository.partition("/")[0]
    upstream = "." in host or ":" in host or host == "localhost"
    return naming.repository(repository) if upstream and "/" in repository else repository


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


def _describe(name: str, raw: bytes) -> str:
    try:
        lock = Lock.from_bytes(raw, origin=name)
    except BundlectlError:
        return "not readable by this version"
    sources = ", ".join(source.source for source in lock.sources)
    return f"{len(lock.artifacts)} artifacts, {lock.unique_bytes():,} bytes, from {sources}"
