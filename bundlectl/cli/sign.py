"""``bundlectl sign``."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection
from bundlectl.cli.keying import KeyOptions, Pkcs11Options, build_key_access
from bundlectl.cli.options import Format, FormatOptions, OfflineOptions, TransportOptions, TrustOptions
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signing.signature import Signer

__all__ = ["SignatureFormat", "register"]

_MANIFEST_LIMIT: Final = 16 * 1024 * 1024
_DOCUMENT_ENDINGS: Final = (".yaml", ".yml", ".json")


class SignatureFormat(StrEnum):
    """How the signature of an image is stored."""

    TAG = "tag"
    BUNDLE = "bundle"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "sign",
        examples=(
            "bundlectl sign bundles.yaml --key site.key --out bundles.signed.yaml",
            "bundlectl sign harbor.example.com/eks/app:v1 --key cosign.key",
            "bundlectl sign node.ova --blob --key awskms:///alias/release",
        ),
    )
    def sign(
        invocation: Invocation,
        *,
        target: Annotated[
            str,
            typer.Argument(
                metavar="TARGET",
                show_default=False,
                help="A manifest (a file), an image or chart (HOST/PATH:TAG or @DIGEST), or with --blob any file.",
            ),
        ],
        key: KeyOptions,
        pkcs11: Pkcs11Options,
        offline: OfflineOptions,
        transport: TransportOptions,
        form: FormatOptions,
        exclude: Annotated[
            tuple[str, ...],
            option("--exclude", metavar="JQ_PATH", help="Leave this path of a manifest unsigned; repeatable."),
        ] = (),
        out: Annotated[
            str,
            option(
                "--out",
                metavar="FILE",
                show_default=False,
                help="Where to write the signed manifest (- is standard output, the default) or the bundle of a "
                "file (FILE.sigstore.json beside it).",
            ),
        ] = "",
        signature_format: Annotated[
            SignatureFormat | None,
            option(
                "--signature-format",
                case_sensitive=False,
                show_default=False,
                help="How an image's signature is stored: cosign's tag, which every verifier reads; a sigstore "
                "bundle, as cosign 3 does; both. Left out: the tag, and a bundle too where there are bundles.",
            ),
        ] = None,
        blob: Annotated[bool, option("--blob", help="TARGET is any file; sign its bytes as they are.")] = False,
    ) -> int:
        """Sign a manifest as AWS does, an image or chart as cosign does, or any file.

        A manifest gets AWS's annotations, and is otherwise the same text. An image is signed by its
        digest, in its registry. No transparency log and no other host is asked.
        """
        is_file = blob or _is_file(target)
        _check_options(invocation, form, out, is_file=is_file, blob=blob)
        if not key.key:
            raise UsageError("there is no key to sign with", artifact=target, hint="add --key KEY")

        def open_() -> "Signer":
            from signing.keys import open_signer  # noqa: PLC0415 -- not for --help

            return open_signer(key.key, build_key_access(invocation, pkcs11=pkcs11, offline=offline.offline))

        if blob:
            document = _sign_blob(invocation, Path(target), open_, out)
        elif is_file:
            document = _sign_manifest(invocation, Path(target), open_, exclude, out or "-")
        else:
            document = _sign_reference(invocation, target, open_, signature_format, offline, transport)
        if document["out"] != "-":
            show(invocation, form, document, _render)
        return 0


def _is_file(target: str) -> bool:
    """Whether a target is a file: ``cli.md``, "verify TARGET"."""
    # Path.exists() raises for a name that no file can have.
    return target.startswith((".", "/")) or target.endswith(_DOCUMENT_ENDINGS) or os.path.exists(target)  # noqa: PTH110


def _check_options(invocation: Invocation, form: FormatOptions, out: str, *, is_file: bool, blob: bool) -> None:
    """Refuse flags without a meaning for the target: nobody should think that they had an effect."""
    wrong = {
        "--exclude": None if is_file and not blob else "manifests",
        "--out": None if is_file else "files",
        "--signature-format": "images and charts" if is_file else None,
    }
    for flag, only in wrong.items():
        # What stands in a configuration file is meant for the targets that it fits.
        if only and invocation.came_from(flag) == f"flag {flag}":
            raise UsageError(f"{flag} is only for {only}", hint="leave it out")
    if is_file and form.output is Format.JSON and (out or ("" if blob else "-")) == "-":
        raise UsageError(
            "the result itself goes to standard output, and --output json would, too", hint="add --out FILE"
        )


# A signer is opened, and a password or PIN asked for, only once it is clear what there is to sign.


def _sign_manifest(
    invocation: Invocation, path: Path, open_signer: "Callable[[], Signer]", excludes: tuple[str, ...], out: str
) -> dict[str, Any]:
    from bundlectl.operations.signing_documents import sign_manifest  # noqa: PLC0415 -- not for --help
    from bundles.sources.local import read_local  # noqa: PLC0415 -- not for --help

    raw = read_local(path, limit=_MANIFEST_LIMIT)
    signed = sign_manifest(raw, origin=str(path), signer=open_signer(), excludes=excludes)
    write_result(invocation.console, out, signed.text)
    return signed.to_json(str(path), out)


def _sign_blob(invocation: Invocation, path: Path, open_signer: "Callable[[], Signer]", out: str) -> dict[str, Any]:
    from bundlectl.operations.signing_files import (  # noqa: PLC0415 -- not for --help
        BUNDLE_SUFFIX,
        check_readable,
        sign_file,
    )

    check_readable(path)
    signed = sign_file(path, open_signer())
    out = out or f"{path}{BUNDLE_SUFFIX}"
    write_result(invocation.console, out, signed.bundle)
    return signed.to_json(out)


def _sign_reference(
    invocation: Invocation,
    target: str,
    open_signer: "Callable[[], Signer]",
    form: SignatureFormat | None,
    offline: OfflineOptions,
    transport: TransportOptions,
) -> dict[str, Any]:
    from bundlectl.operations.signing_images import sign_reference  # noqa: PLC0415 -- not for --help
    from mirror.oci.reference import Reference  # noqa: PLC0415 -- not for --help

    reference = Reference.parse(target)
    connection = build_connection(
        invocation, transport, trust=TrustOptions(offline=offline.offline), target=reference.registry
    )
    signer = open_signer()
    signed = run_session(
        invocation,
        connection,
        lambda session: sign_reference(reference, signer, session=session, form=form.value if form else None),
    )
    return signed.to_json()


def _render(document: "Mapping[str, Any]") -> str:
    what = f"{document['target']} {document['digest']}" if document["kind"] != "image" else document["target"]
    lines = [f"signed {what}", f"  key   {document['key']['fingerprint']}"]
    if document["out"]:
        lines.append(f"  in    {document['out']}")
    for item in document["signatures"]:
        told = "" if item["written"] else ", as it was before"
        where = f"{item['tag']} " if item["tag"] else ""
        lines.append(f"  {item['format']:<6}{where}{item['digest']}{told}")
    return "\n".join(lines)
