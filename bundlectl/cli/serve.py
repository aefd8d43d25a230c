"""``bundlectl serve``."""

import threading
from pathlib import Path
from typing import Annotated, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.options import Format, FormatOptions, StoreOption
from bundlectl.cli.progress import PlainProgress

__all__ = ["register"]

_LOOK: Final = 0.5
"""Seconds between two looks for a signal."""

_LISTEN = "127.0.0.1:5000"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "serve",
        examples=(
            "bundlectl serve --store /data/store",
            "bundlectl serve --store /data/store --listen 0.0.0.0:5000 --tls-self-signed --read-only",
        ),
    )
    def serve(
        invocation: Invocation,
        *,
        store: StoreOption,
        form: FormatOptions,
        listen: Annotated[
            str, option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 picks a free one.")
        ] = _LISTEN,
        tls_cert: Annotated[
            Path | None, option("--tls-cert", metavar="FILE", help="Certificate chain (PEM) to serve HTTPS with.")
        ] = None,
        tls_key: Annotated[
            Path | None, option("--tls-key", metavar="FILE", help="Private key (PEM) of --tls-cert.")
        ] = None,
        tls_self_signed: Annotated[
            bool, option("--tls-self-signed", help="Serve HTTPS with a certificate made for this store.")
        ] = False,
        htpasswd: Annotated[
            Path | None, option("--htpasswd", metavar="FILE", help="Users and bcrypt passwords who may push and pull.")
        ] = None,
        anonymous_pull: Annotated[
            bool, option("--anonymous-pull", help="Let everybody pull, though there is --htpasswd.")
        ] = False,
        anonymous_push: Annotated[bool, option("--anonymous-push", help="Let everybody push.")] = False,
        read_only: Annotated[bool, option("--read-only", help="Let nobody push.")] = False,
    ) -> int:
        """Serve a store as an OCI registry, its files under /files/, until stopped.

        Without --htpasswd loopback may push; on any other address nobody may, unless told
        otherwise. Ctrl-C or SIGTERM ends it, which is no failure: the exit code is 0.
        """
        from bundlectl.operations.serving import ServeOptions  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.serving import serve as start  # noqa: PLC0415 -- not for --help

        if anonymous_push:
            invocation.console.warning(f"everybody may push ({invocation.came_from('--anonymous-push')})")
        options = ServeOptions(
            store=store,
            listen=listen,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_self_signed=tls_self_signed,
            tls_directory=invocation.start.environment.state_home / "tls",
            htpasswd=htpasswd,
            anonymous_pull=anonymous_pull,
            anonymous_push=anonymous_push,
            read_only=read_only,
        )
        server = start(options, listener=PlainProgress(invocation.console))
        try:
            if form.output is Format.JSON:
                invocation.console.document({"url": server.url})
            else:
                invocation.console.text(f"listening on {server.url}")
            stopped = threading.Event()
            # In short waits: a signal may reach another thread first, which does not wake this one.
            while not stopped.wait(_LOOK):
                pass
        except KeyboardInterrupt:
            invocation.console.note("stopping")
        finally:
            server.stop()
        return 0
