"""A handler behind a real HTTP server on a free loopback port."""

from __future__ import annotations

import threading
import traceback
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

from registry_fixtures.exchange import Answer, HangUpError, Request, RequestLog
from registry_fixtures.faults import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from registry_fixtures.exchange import Handler, LoggedRequest

__all__ = ["LoopbackServer"]

_THREADS: Final = 12
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class LoopbackServer:
    """Serves a handler, with faults and a log, until closed; a context manager.

    Args:
        handler: answers requests; called from several threads.
        faults: what goes wrong on purpose.
        log: where requests are written down.
        port: 0 picks a free one.
        tls: PEM files of the certificate chain and of its key; plain HTTP when None.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        faults: FaultPlan | None = None,
        log: RequestLog | None = None,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        from cheroot.ssl.builtin import BuiltinSSLAdapter  # noqa: PLC0415 -- the plugin must load fast
        from cheroot.wsgi import Server  # noqa: PLC0415

        self._handler = handler
        self.faults = faults or FaultPlan()
        self.requests = log or RequestLog()
        server: Any = Server(("127.0.0.1", port), self._application, numthreads=_THREADS, shutdown_timeout=1)
        server.ConnectionClass = _connection_class()
        server.error_log = _quiet
        server.expiration_interval = 0.05  # seconds; also how long stopping waits
        if tls:
            server.ssl_adapter = BuiltinSSLAdapter(str(tls[0]), str(tls[1]))
        server.prepare()
        self._server = server
        self.host: str = f"127.0.0.1:{server.bind_addr[1]}"
        self.url: str = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=server.serve, name=f"fixture {self.host}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server and its threads."""
        self._server.stop()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _application(self, environ: dict[str, Any], start_response: Callable[..., object]) -> _Sending:
        from cheroot.errors import FatalSSLAlert  # noqa: PLC0415

        request = Request.from_environ(environ)
        entry = self.requests.begin(request)
        try:
            answer = self.faults.around(self._handler)(request)
        except HangUpError as error:
            # cheroot closes the connection on this one without a word to the client or the console.
            raise FatalSSLAlert from error
        except Exception as error:  # noqa: BLE001 -- a bug of the fixture must be seen by the test, as a 500
            entry.error = "".join(traceback.format_exception(error))
            answer = Answer.of(HTTPStatus.INTERNAL_SERVER_ERROR, entry.error.encode(), {"Content-Type": "text/plain"})
        entry.status = answer.status
        reason = _REASONS.get(answer.status, "Unknown")
        start_response(f"{int(answer.status)} {reason}", list(answer.headers.items()))
        return _Sending(answer, entry, silent=request.method == "HEAD")


class _Sending:
    """The WSGI iterable of an answer: counts bytes, turns a planned cut into a closed connection."""

    def __init__(self, answer: Answer, entry: LoggedRequest, *, silent: bool) -> None:
        self._blocks = iter(()) if silent else iter(answer.body)
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        from cheroot.errors import FatalSSLAlert  # noqa: PLC0415

        try:
            block = next(self._blocks)
        except HangUpError as error:
            raise FatalSSLAlert from error
        self._entry.sent += len(block)
        return block

    def close(self) -> None:
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()


@cache
def _connection_class() -> type:
    from cheroot.server import HTTPConnection  # noqa: PLC0415 -- the plugin must load fast

    class Connection(HTTPConnection):
        """One that forgets what it could not send: flushed when collected, it would fail on a closed socket."""

        def close(self) -> None:
            getattr(self.wfile, "_write_buf", bytearray()).clear()
            super().close()

    return Connection


def _quiet(*_arguments: object, **_options: object) -> None:
    """Take what cheroot would print: clients that break off are what these servers are for."""
