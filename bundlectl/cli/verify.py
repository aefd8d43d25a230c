"""``bundlectl verify``."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bundlectl.cli.command import Invocation, OptionGroup, command, option
from bundlectl.cli.connection import build_connection, build_request, build_target, target_host
from bundlectl.cli.console import Console
from bundlectl.cli.keying import KeyOptions
from bundlectl.cli.options import (
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    TargetOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_verification
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result
from bundlectl.errors import BundlectlError, InterruptError, MissingError, UsageError

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundlectl.operations.verdict import Verdict
    from bundlectl.operations.verifying import VerifyReport

__all__ = ["register"]

_REGISTRY: Final = "registry:"
_STORE: Final = "store:"
_ARCHIVE: Final = "archive:"
_URL: Final = re.compile(r"(?:https?|s3)://")
_DOCUMENT: Final = (".yaml", ".yml", ".json")
_SEVERITY: Final = (3, 4, 1, 2, 0)
"""Exit codes: different or untrusted beats missing beats what could not be looked at."""

_NAMED_IMAGE: Final = ("image", "chart")


class As(StrEnum):
    """How an artifact in a registry is checked."""

    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions(OptionGroup):
    """How targets are verified."""

    bundle: Annotated[
        Path | None,
        option("--bundle", metavar="FILE", show_default=False, help="The signature of TARGET, then any file."),
    ] = None
    as_: Annotated[
        As | None,
        option(
            "--as",
            envvar="BUNDLECTL_VERIFY_AS",
            show_default=False,
            help="Check a package bundle in a registry as cosign checks an image.",
        ),
    ] = None
    against: Annotated[
        str,
        option("--against", metavar="LOCK|STORE", show_default=False, help="What a registry is compared with."),
    ] = ""
    deep: Annotated[bool, option("--deep", help="Read every blob of a registry back and hash it.")] = False
    show_canonical: Annotated[
        bool, option("--show-canonical", help="Print the exact bytes that the signature of a manifest is over.")
    ] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "verify",
        examples=(
            "bundlectl verify bundle-release.yaml",
            "bundlectl verify bundle.lock.json --key site.pub",
            "bundlectl verify harbor.example.com/eks/app:v1 --key site.pub",
            "bundlectl verify notes.txt --bundle notes.txt.sigstore.json --key site.pub",
            "bundlectl verify store:/data/store",
            "bundlectl verify archive:/media/usb/eks-a --key transfer.pub",
            "bundlectl verify registry:harbor.example.com/eks --against bundle.lock.json --deep",
        ),
    )
    def verify(
        invocation: Invocation,
        *,
        target: TargetOptions,
        trust: TrustOptions,
        source: SourceOptions,
        origin: OriginOptions,
        transport: TransportOptions,
        form: FormatOptions,
        how: VerifyOptions,
        key: KeyOptions,
        targets: Annotated[
            tuple[str, ...],
            typer.Argument(
                metavar="TARGET",
                show_default=False,
                help="A manifest, lock or other file, a SOURCE such as packages:1-33, an image HOST/PATH:TAG, "
                "store:DIR[#NAME], archive:DIR, or registry:HOST[/PREFIX].",
            ),
        ] = (),
    ) -> int:
        """Check signatures, and that everything is there and is what it should be.

        Of a manifest or lock: who signed it, and what the signature does not protect. Of an image:
        whose signature it has. Of a registry, store or archive: whether all of it is there; a store
        and an archive are always read and hashed in full, and of an archive it is told how far it could
        be repaired. Exit code 3 when anything is different or not signed as it must be, 4 when
        something is only missing.
        """
        named = _targets(targets, target)
        if how.show_canonical and len(named) != 1:
            raise UsageError("--show-canonical is for one document", hint="name one target")
        hosts = {name.removeprefix(_REGISTRY).partition("/")[0] for name in named if name.startswith(_REGISTRY)}
        host = next(iter(hosts)) if len(hosts) == 1 else target_host(target)
        connection = build_connection(invocation, transport, trust=trust, origin=origin, target=host)
        request = build_request(
            invocation, tuple(named), selection=SelectionOptions(), origin=source, trust=trust, key=key.key
        )
        reports = run_session(
            invocation,
            connection,
            lambda session: [
                report
                for name in named
                for report in _attempt(name, target, how, request, session, alone=len(named) == 1)
            ],
        )
        _tell(invocation, form, reports, canonical=how.show_canonical)
        return min((report.exit_code for report in reports), key=_SEVERITY.index)


def _tell(
    invocation: Invocation, form: FormatOptions, reports: "list[Verdict | VerifyReport]", *, canonical: bool
) -> None:
    for report in reports:
        for warning in getattr(report, "warnings", ()):
            invocation.console.warning(f"{report.target}: {warning}")
    if canonical:
        _write_canonical(invocation.console, reports[0])
        return
    documents: list[dict[str, Any]] = [report.to_json() for report in reports]
    if len(documents) == 1:
        show(invocation, form, documents[0], render_verification)
    else:
        show(invocation, form, documents, lambda found: "\n".join(render_verification(item) for item in found))


def _targets(targets: tuple[str, ...], options: TargetOptions) -> list[str]:
    named = [*targets, *([f"{_REGISTRY}{options.to}"] if options.to else [])]
    if not named:
        raise UsageError(
            "nothing to verify", hint="name a manifest, a lock, an image, store:DIR, or registry:HOST with --against"
        )
    return list(dict.fromkeys(named))


def _attempt(
    name: str,
    target: TargetOptions,
    how: VerifyOptions,
    request: "SourceRequest",
    session: "Session",
    *,
    alone: bool,
) -> "list[Verdict | VerifyReport]":
    """Verify one target; among several, what goes wrong with it hides nothing that is found out of the others."""
    try:
        return _verify(name, target, how, request, session)
    except InterruptError:
        raise
    except BundlectlError as error:
        if alone:
            raise
        from bundlectl.operations.verdict import Verdict  # noqa: PLC0415 -- not for --help

        return [Verdict.undecided(name, error)]


def _verify(
    name: str, target: TargetOptions, how: VerifyOptions, request: "SourceRequest", session: "Session"
) -> "list[Verdict | VerifyReport]":
    """Tell what a target is (``cli.md``, "Trust"), and verify it as that."""
    from bundles.sources import form_of  # noqa: PLC0415 -- not for --help

    name = _with_form(name)
    by_content = name.startswith((_REGISTRY, _STORE, _ARCHIVE))
    if request.policies and (by_content or how.bundle is not None):
        raise UsageError(
            "--policy is for manifests, locks, images and charts",
            artifact=name,
            hint="a policy over what a lock, store or archive holds is met by mirror, download and import",
        )
    if name.startswith(_REGISTRY):
        return [_verify_registry(name, target, how, request, session)]
    if how.bundle is not None:
        return [_verify_file(Path(name), how.bundle, request)]
    form, rest = form_of(name)
    if by_content:
        return _verify_kept(name, rest, request, session)
    if _URL.match(name) or _is_path(name):
        return [_verify_document(name, request, session)]
    from bundlectl.operations.verifying_documents import verify_image, verify_source  # noqa: PLC0415

    if form and form not in _NAMED_IMAGE:
        return [*verify_source(name, request, session=session)]
    from mirror.oci.reference import Reference  # noqa: PLC0415

    reference = Reference.parse(rest if form else name)
    return [verify_image(reference, request, session=session, as_image=how.as_ is As.IMAGE)]


def _with_form(name: str) -> str:
    """What a folder is that is named by its path alone: a store, or an archive."""
    folder = Path(name)
    if (folder / "oci-layout").is_file():
        return f"{_STORE}{name}"
    return f"{_ARCHIVE}{name}" if folder.is_dir() and any(folder.glob("*.inventory.json")) else name


def _verify_kept(name: str, rest: str, request: "SourceRequest", session: "Session") -> "list[Verdict | VerifyReport]":
    """Verify a store or an archive."""
    if name.startswith(_ARCHIVE):
        from bundlectl.operations.verifying_archives import verify_archive  # noqa: PLC0415
        from bundles.archive import archive_folders  # noqa: PLC0415

        return [*verify_archive(archive_folders(rest), request=request, session=session)]
    from bundlectl.operations.verifying import verify_store  # noqa: PLC0415
    from bundles.sources.store import split_store  # noqa: PLC0415

    return [*_store_signatures(name, request, session), verify_store(split_store(rest)[0], session=session)]


def _verify_document(name: str, request: "SourceRequest", session: "Session") -> "Verdict":
    """Verify what lies at a path or URL: a manifest, a lock, or the inventory of a site."""
    from bundlectl.operations.taking_stock import is_inventory  # noqa: PLC0415
    from bundlectl.operations.verifying_archives import verify_inventory  # noqa: PLC0415
    from bundlectl.operations.verifying_documents import verify_manifest  # noqa: PLC0415

    if not _URL.match(name) and not Path(name).exists():
        raise MissingError("there is no such file", artifact=name, hint="check the path")
    if is_inventory(Path(name)):
        return verify_inventory(Path(name), request)
    return verify_manifest(name, request, session=session)


def _is_path(name: str) -> bool:
    return Path(name).exists() or name.startswith((".", "/")) or name.endswith(_DOCUMENT)


def _store_signatures(name: str, request: "SourceRequest", session: "Session") -> "list[Verdict]":
    """With a key named, whose signature the collection has, too."""
    if request.belief.anchors is None:
        return []
    from bundlectl.operations.verifying_documents import verify_source  # noqa: PLC0415

    return verify_source(name, request, session=session)


def _verify_file(path: Path, bundle: Path, request: "SourceRequest") -> "Verdict":
    from bundlectl.operations.signing_files import verify_file  # noqa: PLC0415

    if request.belief.anchors is None:
        raise UsageError("nobody is named who should have signed it", artifact=str(path), hint="say who: --key KEY")
    return verify_file(path, bundle, request.belief.anchors)


def _verify_registry(
    name: str, target: TargetOptions, how: VerifyOptions, request: "SourceRequest", session: "Session"
) -> "VerifyReport":
    from bundlectl.operations.verifying import verify_registry  # noqa: PLC0415 -- not for --help

    if not how.against:
        raise UsageError(
            "there is nothing to compare the registry with", artifact=name, hint="add --against LOCK or STORE"
        )
    registry = build_target(TargetOptions(to=name.removeprefix(_REGISTRY), map=target.map))
    if registry is None:
        raise UsageError("names no registry", artifact=name, hint="write registry:HOST[:PORT][/PREFIX]")
    return verify_registry(registry, against=how.against, deep=how.deep, session=session, request=request)


def _write_canonical(console: Console, report: "Verdict | VerifyReport") -> None:
    canonical = getattr(report, "canonical", None)
    if canonical is None:
        raise UsageError(
            "has no canonical form to show",
            artifact=report.target,
            hint=getattr(report, "reason", None) or "it is for manifests with a signature in their annotations",
        )
    write_result(console, "-", canonical)
