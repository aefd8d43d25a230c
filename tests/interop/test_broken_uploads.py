"""Uploads in chunks to real registries, over connections that break in the middle of a chunk."""

from __future__ import annotations

import contextlib
import io
import selectors
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import BundlectlError
from mirror.http import HttpClient, Transport
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.remote import CredentialStore, RemoteRegistry
from tests.interop.programs import distribution3, docker_registry, embedded_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 2_000_000
DATA = bytes(range(256)) * 40_000
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


class BreakingLine:
    """Passes bytes on to a host; closes a connection after so many from the client, as often as it is told."""

    def __init__(self, host: str) -> None:
        name, _, port = host.rpartition(":")
        self._there = (name, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[int] = []
        self.passed = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(here,), daemon=True).start()

    def _pass_on(self, here: socket.socket) -> None:
        left = self.cuts.pop(0) if self.cuts else None
        with (
            contextlib.suppress(OSError),  # an end resets what it has not read
            here,
            socket.create_connection(self._there) as there,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(here, selectors.EVENT_READ, there)
            ready.register(there, selectors.EVENT_READ, here)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is here:
                        self.passed += len(data)
                        if left is not None and (left := left - len(data)) < 0:
                            return
                    key.data.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(params=["docker-registry", "distribution3", "bundlectl serve"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, BreakingLine]]:
    servers = {
        "docker-registry": lambda: docker_registry(tmp_path / "registry"),
        "distribution3": lambda: distribution3(tmp_path / "registry"),
        "bundlectl serve": lambda: embedded_registry(tmp_path / "serve", tmp_path / "store"),
    }
    with servers[request.param]() as host:
        made = BreakingLine(host)
        yield request.param, made
        made.close()


def test_a_blob_arrives_over_a_line_that_breaks_and_our_own_registry_keeps_what_came(
    line: tuple[str, BreakingLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, breaking = line
    monkeypatch.setattr("mirror.remote.chunking._CHUNK", CHUNK)
    # Each connection that is cut takes two chunks and a half; what comes after the last is not.
    breaking.cuts = [5_000_000, 1_000_000]
    with HttpClient(Transport(backoff=0.01)) as client:
        registry = RemoteRegistry(breaking.host, client=client, credentials=CredentialStore())
        registry._connection.body_limits.whole_refused(0)
        repository = registry.repository("a/b")
        upload = repository.begin_blob(BLOB)
        assert not isinstance(upload, str)
        for left in reversed(range(5)):
            try:
                upload.write(lambda: io.BytesIO(DATA[upload.offset() :]))
                break
            except BundlectlError as error:
                if not (error.retryable and left):
                    raise
        assert repository.has(BLOB)
        with repository.open_blob(BLOB) as reader:
            assert Digest.of(reader.read()) == BLOB.digest
    if name == "bundlectl serve":
        # Nothing that was confirmed went over the line a second time.
        assert breaking.passed < len(DATA) + 2 * CHUNK
