"""The steps of the quickstart, from a release upstream to a verified registry."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bundlectl.cli.console import Console
from bundlectl.cli.render import size_text
from bundlectl.cli.running import run_interruptibly
from bundlectl.cli.writing import write_result
from bundlectl.errors import BundlectlError, ContentError, MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Connection, Session
    from bundles.belief import Belief
    from mirror.copying import CopyReport

__all__ = ["Journey"]

_Result = TypeVar("_Result")

_SOURCE: Final = "eks-a:latest"
_PACKAGES: Final = "packages:1-33"
_STEPS: Final = 11


@dataclass(slots=True)
class Journey:
    """The steps, one after the other; ``steps`` is what was done so far."""

    console: Console
    text: bool
    steps: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """How long it has taken, rounded to milliseconds."""
        return round(time.monotonic() - self.began, 3)

    def go(self, folder: Path, upstream: Callable[[ExitStack], tuple[dict[str, str], str]]) -> None:
        """Take all steps.

        Args:
            folder: empty, for everything that is made.
            upstream: opens an upstream for as long as the journey takes; returns the origins
                that lead to it, and a line about it.

        Raises:
            BundlectlError: a step failed; none follows it.
        """
        with ExitStack() as opened:
            connection, request = self._upstream(opened, upstream)
            lock_file, store = folder / "bundle.lock.json", folder / "store"
            self._look(connection, request)
            private, public, belief = self._key(folder / "site.key")
            self._lock(connection, request, lock_file, private)
            # From here on only what this key signed is believed.
            wanted = replace(request, belief=belief)
            self._download(connection, wanted, lock_file, store, public)
            host = self._registry(opened, folder / "registry")
            self._mirror(connection, wanted, store, host, public)
            self._verify(connection, wanted, lock_file, host, public)
            self._packages(connection, request, host)

    @contextmanager
    def _step(self, command_line: str, title: str) -> Iterator[Callable[[str], None]]:
        """Announce a step; the block tells its result in one line."""
        began = time.monotonic()
        number = len(self.steps) + 1
        if self.text:
            self.console.text(f"{number}/{_STEPS} {title}\n    $ {command_line}")
        told: list[str] = []
        yield told.append
        seconds = round(time.monotonic() - began, 3)
        self.steps.append({"title": title, "command": command_line, "result": told[0], "seconds": seconds})
        if self.text:
            self.console.text(f"    {told[0]} ({seconds:.1f} s)")

    def _run(self, connection: Connection, work: Callable[[Session], _Result]) -> _Result:
        from bundlectl.operations.session import Session  # noqa: PLC0415 -- imports the HTTP client

        # Without a listener: samples are not signed, and every step would say so.
        session = Session(connection)

        def call() -> _Result:
            with session:
                return work(session)

        return run_interruptibly(call, cancel=session.cancel)

    def _upstream(
        self, opened: ExitStack, upstream: Callable[[ExitStack], tuple[dict[str, str], str]]
    ) -> tuple[Connection, SourceRequest]:
        from bundlectl.operations.request import SourceRequest  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.session import Connection  # noqa: PLC0415 -- imports the HTTP client
        from bundles.belief import Belief  # noqa: PLC0415 -- not for --help

        with self._step("bundlectl quickstart", "an upstream on loopback, made from samples") as tell:
            origins, line = upstream(opened)
            tell(line)
        # Nobody's signature can be on samples: their digests are those of what was just made up.
        weakened = (
            "signatures of release manifests are not verified (quickstart)",
            *(f"origin {name}={place} (quickstart)" for name, place in origins.items()),
        )
        connection = Connection(origins=origins, weakened=weakened)
        return connection, SourceRequest(sources=(_SOURCE,), belief=Belief(mode="off"))

    def _look(self, connection: Connection, request: SourceRequest) -> None:
        from bundlectl.operations.inspecting import inspect  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.listing import releases  # noqa: PLC0415 -- not for --help

        with self._step("bundlectl releases", "which releases there are") as tell:
            rows = self._run(connection, lambda session: releases(request.release_url, session=session))
            newest = next((row.version for row in rows if row.latest), "none")
            tell(f"{len(rows)} releases, the latest is {newest}")
        with self._step(f"bundlectl inspect {_SOURCE} --verify off", "what the latest one holds") as tell:
            found = self._run(connection, lambda session: inspect(request, session=session))
            tell(f"{found.count('image')} images, {found.count('chart')} charts, {found.count('file')} files")

    def _key(self, path: Path) -> tuple[Path, Path, Belief]:
        from bundlectl.operations.keymaking import generate_key  # noqa: PLC0415 -- not for --help
        from bundles.belief import Belief  # noqa: PLC0415 -- not for --help
        from signing.identity import NamedKey, TrustAnchors  # noqa: PLC0415 -- cryptography

        with self._step(f"bundlectl keys generate {path}", "a key, to sign what you approve") as tell:
            made = generate_key(path)
            tell(f"{made.public} {made.key.fingerprint}")
        key = NamedKey(str(made.public), made.key)
        return made.private, made.public, Belief(mode="key", key=key, anchors=TrustAnchors(keys=(key,)))

    def _lock(self, connection: Connection, request: SourceRequest, lock_file: Path, key: Path) -> None:
        from bundlectl.operations.locking import lock  # noqa: PLC0415 -- not for --help
        from bundles.lock_signature import SIGNATURE_SUFFIX, sign_lock  # noqa: PLC0415 -- not for --help
        from signing.keys import KeyAccess, open_signer  # noqa: PLC0415 -- not for --help

        wanted = replace(request, sources=(_SOURCE, _PACKAGES))
        line = f"bundlectl lock {_SOURCE} {_PACKAGES} --verify off --key {key} --out {lock_file}"
        with self._step(line, "pin it and curated packages by digest, and sign that") as tell:
            signer = open_signer(str(key), KeyAccess())
            locked = self._run(connection, lambda session: lock(wanted, session=session))
            content, quiet = locked.to_bytes(), Console(quiet=True)
            write_result(quiet, f"{lock_file}{SIGNATURE_SUFFIX}", sign_lock(content, locked, signer))
            write_result(quiet, str(lock_file), content)
            tell(f"{len(locked.artifacts)} artifacts, {len(locked.blobs)} digests, {size_text(locked.unique_bytes())}")

    def _download(
        self, connection: Connection, request: SourceRequest, lock_file: Path, store: Path, key: Path
    ) -> None:
        from bundlectl.operations.downloading import download  # noqa: PLC0415 -- not for --help

        wanted = replace(request, sources=(str(lock_file),))
        line = f"bundlectl download {lock_file} --store {store} --verify {key}"
        with self._step(line, "fetch it: the signature first, then every digest") as tell:
            report = self._run(connection, lambda session: download(wanted, store=store, name=None, session=session))
            tell(_told(report))

    def _registry(self, opened: ExitStack, folder: Path) -> str:
        from bundlectl.operations.serving import ServeOptions, serve  # noqa: PLC0415 -- not for --help

        with self._step(f"bundlectl serve --store {folder} --listen 127.0.0.1:0", "an empty registry: yours") as tell:
            server = serve(ServeOptions(store=folder, listen="127.0.0.1:0"))
            opened.callback(server.stop)
            tell(f"listening on {server.url}")
        return server.url.partition("://")[2].rstrip("/")

    def _mirror(self, connection: Connection, request: SourceRequest, store: Path, host: str, key: Path) -> None:
        from bundlectl.operations.mirroring import mirror  # noqa: PLC0415 -- not for --help
        from bundles.plan import Naming  # noqa: PLC0415 -- not for --help

        wanted = replace(request, sources=(f"store:{store}",))
        target = Naming.parse(f"{host}/eks")
        line = f"bundlectl mirror store:{store} --to {host}/eks --verify {key}"
        for title in ("bring it into the registry", "again: nothing is left to upload"):
            with self._step(line, title) as tell:
                report = self._run(connection, lambda session: mirror(wanted, target=target, session=session))
                tell(_told(report))
        if report.blobs_transferred:
            raise ContentError(
                f"the second run uploaded {report.blobs_transferred} blobs again", artifact=f"{host}/eks"
            )

    def _verify(self, connection: Connection, request: SourceRequest, lock_file: Path, host: str, key: Path) -> None:
        from bundlectl.operations.verifying import verify_registry  # noqa: PLC0415 -- not for --help
        from bundles.plan import Naming  # noqa: PLC0415 -- not for --help

        target = Naming.parse(f"{host}/eks")
        line = f"bundlectl verify registry:{host}/eks --against {lock_file} --deep --key {key}"
        with self._step(line, "read everything back and hash it") as tell:
            report = self._run(
                connection,
                lambda session: verify_registry(
                    target, against=str(lock_file), deep=True, session=session, request=request
                ),
            )
            if report.findings:
                worst = min(report.findings)
                kind = ContentError if report.exit_code == ContentError.exit_code else MissingError
                raise kind(f"{len(report.findings)} findings, the first: {worst.message}", artifact=worst.reference)
            tell(f"{report.artifacts} artifacts and {report.blobs} blobs are what the lock says")

    def _packages(self, connection: Connection, request: SourceRequest, host: str) -> None:
        from bundlectl.operations.packages import bundles_in_registry  # noqa: PLC0415 -- not for --help
        from bundles.plan import Naming  # noqa: PLC0415 -- not for --help

        target = Naming.parse(f"{host}/eks")
        line = f"bundlectl packages list --registry {host}/eks --verify off"
        with self._step(line, "what could be installed from it: curated packages") as tell:
            # The samples' bundle is nobody's: what pins it here is the lock, which was verified before.
            found = self._run(connection, lambda session: bundles_in_registry(request, target, session=session))
            offered = [
                f"{package.name} {package.source.versions[0].name}"
                for bundle in found
                for package in bundle.bundle.spec.packages
            ]
            tell(f"{', '.join(offered)}; next: bundlectl packages install NAME --from {host}/eks")


def _told(report: CopyReport) -> str:
    """Say what a copy did.

    Raises:
        BundlectlError: something failed.
    """
    if report.failed:
        first = report.failed[0]
        kind: type[BundlectlError] = ContentError if report.exit_code == ContentError.exit_code else MissingError
        raise kind(f"{len(report.failed)} artifacts failed, the first: {first.error}", artifact=first.reference)
    return (
        f"{report.artifacts_done} done, {report.artifacts_skipped} up to date; "
        f"{report.blobs_transferred} blobs, {size_text(report.bytes_transferred)}"
    )
