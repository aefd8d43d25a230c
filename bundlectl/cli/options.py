"""The flag groups of the command line, each defined once (``docs/reference/cli.md``).

A field is an option: its name with ``-`` is the flag, and with ``BUNDLECTL_<COMMAND>_`` before
it the environment variable. Defaults live in the field. Nothing is interpreted here.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from bundlectl.cli.command import OptionGroup, option

__all__ = [
    "LONE_VALUES",
    "ChartOptions",
    "Cluster",
    "DocumentFormat",
    "DocumentFormatOptions",
    "FillOptions",
    "Follow",
    "Format",
    "FormatOptions",
    "Kubeconfig",
    "OfflineOptions",
    "OriginOptions",
    "Pkcs11Module",
    "Provider",
    "SelectionOptions",
    "SinceKey",
    "SourceOptions",
    "Sources",
    "StoreDirectory",
    "StoreOption",
    "TargetOptions",
    "TransportOptions",
    "TrustOptions",
    "Visibility",
]

LONE_VALUES: Final = {"--create-projects": "private", "--with-tool": "auto"}
"""What an option means when it stands alone, where its value is optional and comes after ``=``."""


class Format(StrEnum):
    """How a result is shown."""

    TEXT = "text"
    JSON = "json"


class DocumentFormat(StrEnum):
    """How a result is shown that is a Kubernetes object, or tells of some."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Provider(StrEnum):
    """Infrastructure providers of EKS Anywhere."""

    VSPHERE = "vsphere"
    TINKERBELL = "tinkerbell"
    NUTANIX = "nutanix"
    DOCKER = "docker"
    SNOW = "snow"
    CLOUDSTACK = "cloudstack"


class Visibility(StrEnum):
    """Who may read a project that is made."""

    PRIVATE = "private"
    PUBLIC = "public"


Sources = Annotated[
    tuple[str, ...],
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="eks-a:v0.24.1, eks-d:1-33, packages:1-33, a document or its URL, image:REF, chart:REF, file:URL, "
        "store:DIR[#NAME], archive:DIR, registry:HOST[/PREFIX]; several may be given.",
    ),
]

StoreDirectory = Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="The store.")]
StoreOption = Annotated[
    Path,
    option("--store", metavar="DIR", show_default=False, help="The store: an OCI image layout on disk."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions(OptionGroup):
    """How the result is shown: every command has these."""

    output: Annotated[
        Format, option("--output", "-o", help="Format of the result on standard output.", case_sensitive=False)
    ] = Format.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFormatOptions(OptionGroup):
    """How the result is shown, by commands about objects of Kubernetes."""

    output: Annotated[
        DocumentFormat, option("--output", "-o", help="Format of the result on standard output.", case_sensitive=False)
    ] = DocumentFormat.TEXT


Cluster = Annotated[
    str, option("--cluster", metavar="NAME", show_default=False, help="The cluster whose packages are meant.")
]
Kubeconfig = Annotated[
    Path | None,
    option(
        "--kubeconfig",
        metavar="FILE",
        show_default=False,
        help="How the cluster with the package controller is reached; else the first file that KUBECONFIG names.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions(OptionGroup):
    """Which artifacts are wanted."""

    kube_version: Annotated[
        tuple[str, ...],
        option("--kube-version", metavar="VERSION", help="Only this Kubernetes version, such as 1.33; repeatable."),
    ] = ()
    provider: Annotated[
        tuple[Provider, ...],
        option("--provider", help="Only what this infrastructure provider needs; repeatable.", case_sensitive=False),
    ] = ()
    platform: Annotated[
        tuple[str, ...],
        option("--platform", metavar="OS/ARCH", help="Only this platform, such as linux/amd64; repeatable."),
    ] = ()
    include: Annotated[
        tuple[str, ...],
        option("--include", metavar="GLOB", help="Only components or artifacts of this name; repeatable."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        option("--exclude", metavar="GLOB", help="No components or artifacts of this name; repeatable."),
    ] = ()
    no_referrers: Annotated[
        bool, option("--no-referrers", help="Leave out signatures, SBOMs and attestations of images.")
    ] = False
    no_files: Annotated[bool, option("--no-files", help="Leave out files such as archives and OVAs.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartOptions(OptionGroup):
    """How the images of charts are found."""

    render_charts: Annotated[
        bool, option("--render-charts", help="Find images by rendering charts too (needs helm, without network).")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions(ChartOptions):
    """Where the SOURCE forms look."""

    release_url: Annotated[
        str,
        option("--release-url", metavar="URL", show_default=False, help="The release index behind eks-a: sources."),
    ] = ""
    package_registry: Annotated[
        str,
        option(
            "--package-registry",
            metavar="HOST[/PREFIX]",
            show_default=False,
            help="Where curated-package bundles and charts are.",
        ),
    ] = ""
    package_image_registry: Annotated[
        str,
        option(
            "--package-image-registry",
            metavar="HOST[/PREFIX]",
            show_default=False,
            help="Where the images of curated packages are.",
        ),
    ] = ""


Follow = Annotated[
    bool | None,
    option(
        "--follow/--no-follow",
        show_default=False,
        help="Read the documents that a document names, too. Always done for eks-a:, and by whatever copies or locks.",
    ),
]

SinceKey = Annotated[
    str,
    option(
        "--since-key",
        metavar="KEY",
        show_default=False,
        help="Who must have signed the inventories of --since: the site's key. Without it no signature is asked for.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginOptions(OptionGroup):
    """Where things are fetched from, their names staying what they are."""

    origin: Annotated[
        tuple[str, ...],
        option(
            "--origin", metavar="FROM=TO", help="Fetch whatever FROM names from TO, with TO's credentials; repeatable."
        ),
    ] = ()


Pkcs11Module = Annotated[
    Path | None,
    option(
        "--pkcs11-module",
        metavar="FILE",
        show_default=False,
        help="The library that reaches the token of a pkcs11: key; an absolute path.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineOptions(OptionGroup):
    """Whether the network beyond the target is used."""

    offline: Annotated[bool, option("--offline", help="Connect to nothing but the target and loopback.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustOptions(OfflineOptions):
    """What is believed."""

    verify: Annotated[
        str,
        option(
            "--verify",
            metavar="aws|KEY|off",
            show_default=False,
            help="Whose signature manifests and locks need: AWS's (the default), a key's, or nobody's.",
        ),
    ] = ""
    pkcs11_module: Pkcs11Module = None
    policy: Annotated[
        Path | None,
        option(
            "--policy",
            metavar="FILE",
            show_default=False,
            help="A policy that must be met, in addition to a Collection's.",
        ),
    ] = None
    trusted_root: Annotated[
        Path | None,
        option(
            "--trusted-root",
            metavar="FILE",
            show_default=False,
            help="Sigstore's trusted root, for signatures by identity; nothing is fetched.",
        ),
    ] = None
    certificate_identity: Annotated[
        str,
        option(
            "--certificate-identity", metavar="SUBJECT", show_default=False, help="Who must have signed without a key."
        ),
    ] = ""
    certificate_oidc_issuer: Annotated[
        str,
        option(
            "--certificate-oidc-issuer",
            metavar="URL",
            show_default=False,
            help="Who must have vouched for that identity.",
        ),
    ] = ""
    allow_rollback: Annotated[
        bool, option("--allow-rollback", help="Let the latest, or an archive, be older than what was there before.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions(OptionGroup):
    """A registry that is or will be filled, and the names in it."""

    to: Annotated[
        str,
        option("--to", metavar="HOST[:PORT][/PREFIX]", show_default=False, help="The target registry."),
    ] = ""
    map: Annotated[
        tuple[str, ...],
        option(
            "--map", metavar="FROM=NAMESPACE", help="Put what FROM names under this namespace; the longest FROM counts."
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FillOptions(TargetOptions):
    """The registry that is filled, where whatever it lacks may be made."""

    create_projects: Annotated[
        Visibility | None,
        option(
            "--create-projects",
            metavar="[=private|public]",
            show_default=False,
            case_sensitive=False,
            help="Make the projects that are missing (Harbor); private unless =public is added.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions(OptionGroup):
    """How hosts are reached. Loopback tries HTTPS, then HTTP, by itself."""

    plain_http: Annotated[
        tuple[str, ...],
        option("--plain-http", metavar="HOST[:PORT]", help="Use HTTP without TLS for this host; repeatable."),
    ] = ()
    insecure_skip_tls_verify: Annotated[
        tuple[str, ...],
        option(
            "--insecure-skip-tls-verify",
            metavar="HOST[:PORT]",
            help="Do not check this host's certificate; repeatable.",
        ),
    ] = ()
    ca_file: Annotated[
        tuple[str, ...],
        option("--ca-file", metavar="HOST=FILE", help="Certificate authorities (PEM) for this host; repeatable."),
    ] = ()
    client_cert: Annotated[
        tuple[str, ...],
        option(
            "--client-cert", metavar="HOST=FILE", help="Client certificate and key (PEM) for this host; repeatable."
        ),
    ] = ()
    username: Annotated[
        str,
        option("--username", metavar="NAME", show_default=False, help="User at the target; needs --password-stdin."),
    ] = ""
    password_stdin: Annotated[
        bool, option("--password-stdin", help="Read the target's password from standard input.")
    ] = False
    jobs: Annotated[
        int, option("--jobs", metavar="N", min=0, max=256, help="Transfers at a time; 0 lets bundlectl choose.")
    ] = 0
    limit_rate: Annotated[
        str,
        option(
            "--limit-rate", metavar="RATE", show_default=False, help="Bytes a second over all transfers, such as 20MB."
        ),
    ] = ""
