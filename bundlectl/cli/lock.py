"""``bundlectl lock``."""

from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request
from bundlectl.cli.keying import KeyOptions, open_signing_key
from bundlectl.cli.options import (
    Follow,
    Format,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    Sources,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result
from bundlectl.errors import UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "lock",
        examples=(
            "bundlectl lock eks-a:v0.24.1 --kube-version 1.33 --out bundle.lock.json",
            "bundlectl lock eks-a:v0.24.1 --out bundle.lock.json --key site.key",
        ),
    )
    def lock(
        invocation: Invocation,
        *,
        sources: Sources,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        key: KeyOptions,
        transport: TransportOptions,
        form: FormatOptions,
        out: Annotated[str, option("--out", metavar="FILE", help="Where to write it; - is standard output.")] = "-",
        follow: Follow = None,
    ) -> int:
        """Resolve everything that sources name to digests and sizes.

        The lock is canonical JSON, whatever --output says: the same upstream state gives the
        same bytes. What runs from a lock resolves no tag again. With --out FILE, --output json
        tells of the file: its name, size and digest.

        With --key the lock is signed: the signature, which lists every digest in it, lies beside it
        as FILE.sigstore.json.
        """
        if key.key and out == "-":
            raise UsageError("a signature lies beside a file", hint="write the lock to one with --out FILE")
        signer = open_signing_key(invocation, key, trust, trust)
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.operations.locking import lock as resolve  # noqa: PLC0415 -- not for --help
        from mirror.oci.digest import Digest  # noqa: PLC0415 -- not for --help

        locked = run_session(invocation, connection, lambda session: resolve(request, session=session))
        content = locked.to_bytes()
        # The signature first: a lock is never seen without the one that belongs to it, only the other way round.
        if signer is not None:
            from bundles.lock_signature import SIGNATURE_SUFFIX, sign_lock  # noqa: PLC0415 -- not for --help

            write_result(invocation.console, f"{out}{SIGNATURE_SUFFIX}", sign_lock(content, locked, signer))
        write_result(invocation.console, out, content)
        if out != "-" and form.output is Format.JSON:
            told = {"out": out, "size": len(content), "digest": str(Digest.of(content))}
            signature = f"{out}{SIGNATURE_SUFFIX}" if signer is not None else None
            invocation.console.document({**told, "signature": signature})
        return 0
