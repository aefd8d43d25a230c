"""``bundlectl keys generate|show``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.keying import Pkcs11Options, build_key_access, new_password
from bundlectl.cli.options import FormatOptions
from bundlectl.cli.result import show

__all__ = ["KeyFormat", "register"]


class KeyFormat(StrEnum):
    """How a public key is shown."""

    PEM = "pem"
    BASE64 = "base64"
    FINGERPRINT = "fingerprint"


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="Make keys, and show public ones.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="keys")
    _register_generate(noun)
    _register_show(noun)


def _register_generate(noun: typer.Typer) -> None:
    @command(
        noun,
        "generate",
        path="keys",
        examples=("bundlectl keys generate site.key", "bundlectl keys generate cosign.key --cosign"),
    )
    def generate(
        invocation: Invocation,
        *,
        path: Annotated[
            Path,
            typer.Argument(metavar="PATH", show_default=False, help="The private key; PATH.pub is the public one."),
        ],
        form: FormatOptions,
        cosign: Annotated[
            bool, option("--cosign", help="Encrypt it as cosign does, with COSIGN_PASSWORD or what is typed.")
        ] = False,
    ) -> int:
        """Make a key pair: ECDSA on P-256, what AWS's manifests and cosign are signed with.

        PATH is readable by its owner only. An existing file is never overwritten.
        """
        from bundlectl.operations.keymaking import generate_key  # noqa: PLC0415 -- not for --help

        made = generate_key(path, password=new_password(invocation, str(path)) if cosign else None)
        document = {
            "private": str(made.private),
            "public": str(made.public),
            "fingerprint": made.key.fingerprint,
            "algorithm": made.key.algorithm,
        }
        show(
            invocation,
            form,
            document,
            lambda found: f"{found['private']}\n{found['public']} {found['fingerprint']}",
        )
        return 0


def _register_show(noun: typer.Typer) -> None:
    @command(
        noun,
        "show",
        path="keys",
        examples=(
            "bundlectl keys show site.key.pub",
            "bundlectl keys show awskms:///alias/release --format fingerprint",
        ),
    )
    def show_(
        invocation: Invocation,
        *,
        key: Annotated[
            str,
            typer.Argument(
                metavar="KEY",
                show_default=False,
                help="A key or certificate file, base64:MFkw…, awskms:///alias/NAME, pkcs11:token=…;object=….",
            ),
        ],
        pkcs11: Pkcs11Options,
        form: FormatOptions,
        format: Annotated[  # noqa: A002 -- named like its flag
            KeyFormat, option("--format", help="How the public key is written.", case_sensitive=False)
        ] = KeyFormat.PEM,
    ) -> int:
        """Show the public key of a KEY, and nothing else. From a private key it is derived."""
        from signing.keys import load_public_key  # noqa: PLC0415 -- not for --help

        named = load_public_key(key, build_key_access(invocation, pkcs11=pkcs11))
        document = {
            "source": named.source,
            "fingerprint": named.key.fingerprint,
            "algorithm": named.key.algorithm,
            "pem": named.key.pem(),
            "base64": named.key.base64(),
        }
        # Not what ``show`` hands over: PEM has lines, and is what was made here of the key.
        show(invocation, form, document, lambda _: document[format].rstrip("\n"))
        return 0
