"""``bundlectl inventory``."""

import gzip
from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection
from bundlectl.cli.environment import current_time
from bundlectl.cli.keying import KeyOptions, Pkcs11Options, open_signing_key
from bundlectl.cli.options import Format, FormatOptions, OfflineOptions, TransportOptions, TrustOptions
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "inventory",
        examples=(
            "bundlectl inventory registry:harbor.site.example/eks --out site.inventory.json.gz --key site.key",
            "bundlectl inventory store:/data/store --out site.inventory.json.gz",
        ),
    )
    def inventory(
        invocation: Invocation,
        *,
        source: Annotated[
            str,
            typer.Argument(
                metavar="SITE", show_default=False, help="What a site has: store:DIR[#NAME] or registry:HOST[/PREFIX]."
            ),
        ],
        key: KeyOptions,
        pkcs11: Pkcs11Options,
        offline: OfflineOptions,
        transport: TransportOptions,
        form: FormatOptions,
        out: Annotated[
            str,
            option(
                "--out",
                metavar="FILE",
                help="Where to write it; compressed if it ends in .gz; - is standard output.",
            ),
        ] = "-",
    ) -> int:
        """List what a site has, so that the next archive can leave it out.

        Names with their digests, and every blob that is really there; what is missing or damaged is told, and left
        out. It is an in-toto statement; with --key the file is the sigstore bundle that carries it. With --out FILE,
        --output json tells of the file.
        """
        connection = build_connection(
            invocation, transport, trust=TrustOptions(offline=offline.offline), target=_host(source)
        )
        issued = current_time(invocation.start.environment)
        signer = open_signing_key(invocation, key, pkcs11, offline)
        from bundlectl.operations.taking_stock import take_inventory  # noqa: PLC0415 -- not for --help
        from bundles.inventory import sign_inventory  # noqa: PLC0415 -- not for --help
        from mirror.oci.digest import Digest  # noqa: PLC0415 -- not for --help

        taken = run_session(
            invocation, connection, lambda session: take_inventory(source, session=session, issued=issued)
        )
        statement = taken.to_bytes()
        content = sign_inventory(taken, signer) if signer is not None else statement
        if out.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        write_result(invocation.console, out, content)
        if out == "-":
            return 0
        invocation.console.note(f"{taken.name}: {len(taken.refs):,} names, {len(taken.blobs):,} blobs")
        if form.output is Format.JSON:
            told = {
                "out": out,
                "size": len(content),
                "digest": str(Digest.of(content)),
                "inventory": str(Digest.of(statement)),
                "name": taken.name,
                "names": len(taken.refs),
                "blobs": len(taken.blobs),
                "signedBy": signer.public_key.fingerprint if signer is not None else None,
            }
            invocation.console.document(told)
        return 0


def _host(source: str) -> str:
    form, _, rest = source.partition(":")
    return rest.partition("/")[0] if form == "registry" else ""
