"""``bundlectl serve``."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from bundlectl.cli.command import Invocation, OptionGroup, command, option
from bundlectl.cli.options import Format, FormatOptions, StoreOption
from bundlectl.cli.progress import PlainProgress

__all__ = ["register"]

_LOOK: Final = 0.5
"""Seconds between two looks for a signal."""

_WORKERS: Final = 4
"""More would share what one disk and one store's lock give."""

_LISTEN = "127.0.0.1:5000"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions(OptionGroup):
    """What HTTPS is served with."""

    tls_cert: Annotated[
        Path | None, option("--tls-cert", metavar="FILE", help="Certificate chain (PEM) to serve HTTPS with.")
    ] = None
    tls_key: Annotated[Path | None, option("--tls-key", metavar="FILE", help="Private key (PEM) of --tls-cert.")] = None
    tls_self_signed: Annotated[
        bool, option("--tls-self-signed", help="Serve HTTPS with a certificate made for this store.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions(OptionGroup):
    """Who may do what."""

    htpasswd: Annotated[
        Path | None, option("--htpasswd", metavar="FILE", help="Users and bcrypt passwords who may push and pull.")
    ] = None
    htpasswd_pull: Annotated[
        Path | None, option("--htpasswd-pull", metavar="FILE", help="Users and bcrypt passwords who may pull only.")
    ] = None
    anonymous_pull: Annotated[
        bool, option("--anonymous-pull", help="Let everybody pull, though there is --htpasswd.")
    ] = False
    anonymous_push: Annotated[bool, option("--anonymous-push", help="Let everybody push.")] = False
    read_only: Annotated[bool, option("--read-only", help="Let nobody push.")] = False


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
        workers: Annotated[
            int | None,
            option("--workers", metavar="N", min=1, help="Processes that serve; by default one a processor, up to 4."),
        ] = None,
        tls: TlsOptions,
        access: AccessOptions,
        access_log: Annotated[
            Path | None,
            option("--access-log", metavar="FILE", help="Write a line of JSON for each request; - is standard error."),
        ] = None,
    ) -> int:
        """Serve a store as an OCI registry, its files under /files/, until stopped.

        Without --htpasswd loopback may push; on any other address nobody may, unless told
        otherwise. Ctrl-C or SIGTERM ends it, which is no failure: the exit code is 0.
        """
        from bundlectl.operations.serving import GRACE, ServeOptions  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.serving import serve as start  # noqa: PLC0415 -- not for --help

        if access.anonymous_push:
            invocation.console.warning(f"everybody may push ({invocation.came_from('--anonymous-push')})")
        options = ServeOptions(
            store=store,
            listen=listen,
            workers=workers or min(os.cpu_count() or 1, _WORKERS),
            tls_cert=tls.tls_cert,
            tls_key=tls.tls_key,
            tls_self_signed=tls.tls_self_signed,
            tls_directory=invocation.start.environment.state_home / "tls",
            htpasswd=access.htpasswd,
            htpasswd_pull=access.htpasswd_pull,
            anonymous_pull=access.anonymous_pull,
            anonymous_push=access.anonymous_push,
            read_only=access.read_only,
            access_log=access_log,
        )
        server = start(options, listener=PlainProgress(invocation.console))
        try:
            if form.output is Format.JSON:
                invocation.console.document({"url": server.url})
            else:
                invocation.console.text(f"listening on {server.url}")
            # In short waits: a signal may reach another thread first, which does not wake this one.
            while True:
                time.sleep(_LOOK)
                server.watch()
        except KeyboardInterrupt:
            invocation.console.note("stopping")
            try:
                server.stop(GRACE)
            except KeyboardInterrupt:
                invocation.console.note("cutting what still runs")
        finally:
            server.stop(0)
        return 0
