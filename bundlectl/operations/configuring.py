"""``registry config``: what clusters must be told to find at a registry what ``mirror`` put there.

All of these know one rule for each upstream registry, so they can say what ``--map`` does to
whole registries. Sources: ``domain.md`` 3.6; containerd, docs/hosts.md; k3s and RKE2, "Private
Registry Configuration".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import ConfigError, UsageError
from bundles.packages import PACKAGE_IMAGE_REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bundlectl.operations.session import Session
    from bundles.plan import Naming

__all__ = ["ConfigFile", "MirrorForm", "RegistryConfig", "SiteRegistry", "configure_clusters", "site_registry"]

MirrorForm: TypeAlias = Literal["eks-a", "containerd", "registries-yaml"]

_PUBLIC_REGISTRY: Final = "public.ecr.aws"
_PRODUCTION: Final = re.compile(r"783794618700\.dkr\.ecr\..*\.amazonaws\.com")
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_CA_LIMIT: Final = 1024 * 1024
_PROBE: Final = "bundlectl-names-nothing-so"
"""The name of a repository that no rule is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRegistry:
    """The registry as clusters see it, besides its names.

    ``authorities``: PEM certificates of whoever vouches for it; empty where every machine knows them anyway.
    """

    authorities: str = ""
    skip_verify: bool = False
    plain_http: bool = False
    wants_login: bool = False


def site_registry(naming: Naming, session: Session) -> SiteRegistry:
    """How clusters reach a registry, taken from how this session reaches it.

    Raises:
        ConfigError: its CA file cannot be read.
    """
    from mirror.http.addresses import origin_of  # noqa: PLC0415 -- not for the page of `serve`

    host = session.connection.transport.host(origin_of(f"https://{naming.registry}"))
    authorities = ""
    if host.ca_file is not None:
        try:
            with host.ca_file.open("rb") as file:
                authorities = file.read(_CA_LIMIT).decode("ascii", errors="replace")
        except OSError as error:
            raise ConfigError(f"the CA file cannot be read: {error.strerror}", artifact=str(host.ca_file)) from error
    return SiteRegistry(
        authorities=authorities,
        skip_verify=host.skip_verify,
        plain_http=host.plain_http,
        wants_login=session.target(naming.registry).credential(naming.own("x")) is not None,
    )


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file, or a part of one, and where it belongs."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """What to paste where, and what to see to besides."""

    target: str
    form: MirrorForm
    files: tuple[ConfigFile, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "target": self.target,
            "format": self.form,
            "files": [{"path": file.path, "content": file.content} for file in self.files],
            "notes": list(self.notes),
        }


def configure_clusters(
    naming: Naming, form: MirrorForm, *, site: SiteRegistry | None = None, upstreams: Iterable[str] = ()
) -> RegistryConfig:
    """Say to clusters what ``naming`` says to ``mirror``.

    Args:
        naming: the target and the rules that it is filled with.
        form: what reads the configuration.
        site: how the registry is reached.
        upstreams: further registries that were mirrored; those of EKS Anywhere and of the rules are always named.

    Raises:
        UsageError: the rules part what lies in one upstream registry.
        ConfigError: this form cannot say how the registry is reached.
    """
    place = site or SiteRegistry()
    mapped = [source.partition("/")[0] for source, _ in naming.maps]
    hosts = list(dict.fromkeys((_PUBLIC_REGISTRY, PACKAGE_IMAGE_REGISTRY, *mapped, *sorted(upstreams))))
    namespaces = {host: _namespace(naming, host) for host in hosts}
    certificates = _certificates(place.authorities) if place.authorities else []
    render: Mapping[MirrorForm, Callable[..., tuple[list[ConfigFile], list[str]]]] = {
        "eks-a": _eks_anywhere,
        "containerd": _containerd,
        "registries-yaml": _registries_yaml,
    }
    files, notes = render[form](naming.registry, namespaces, place, certificates)
    target = f"{naming.registry}/{naming.prefix}" if naming.prefix else naming.registry
    return RegistryConfig(target, form, tuple(files), tuple(notes))


def _namespace(naming: Naming, host: str) -> str:
    """What comes before the name of every repository of an upstream registry."""
    namespace = naming.repository(f"{host}/{_PROBE}").removesuffix(_PROBE).rstrip("/")
    for source, _ in naming.maps:
        registry, _, path = source.partition("/")
        if registry == host and path and naming.repository(source) != "/".join(filter(None, (namespace, path))):
            raise UsageError(
                f"--map {source}=… parts it from the rest of {host}, and clusters take one rule a registry",
                hint=f"map all of it: --map {host}=NAMESPACE, here and for mirror",
            )
    return namespace


def _certificates(text: str) -> list[str]:
    found = ["\n".join(line.strip() for line in item.splitlines()) for item in _CERTIFICATE.findall(text)]
    if not found:
        raise ConfigError("the CA file holds no PEM certificate", hint="--ca-file takes PEM certificates")
    return found


def _endpoint(registry: str) -> tuple[str, str]:
    """Host (an IPv6 address without brackets) and port."""
    host, _, port = registry.rpartition(":") if re.search(r":[0-9]+$", registry) else (registry, "", "443")
    return host.strip("[]"), port


def _eks_anywhere(
    registry: str, namespaces: Mapping[str, str], site: SiteRegistry, certificates: list[str]
) -> tuple[list[ConfigFile], list[str]]:
    if site.plain_http:
        raise ConfigError(
            "EKS Anywhere reaches a registry mirror by TLS only",
            artifact=registry,
            hint="give the registry a certificate; a private authority will do (--ca-file)",
        )
    production = [host for host in namespaces if _PRODUCTION.fullmatch(host)]
    if len(production) > 1:
        raise UsageError(
            f"EKS Anywhere takes one registry of curated packages, and these are {' and '.join(production)}",
            hint="leave out the --map of all but one",
        )
    host, port = _endpoint(registry)
    lines = [
        "spec:",
        "  registryMirrorConfiguration:",
        f"    endpoint: {_quoted(host)}",
        f"    port: {_quoted(port)}",
        "    ociNamespaces:",
    ]
    for upstream, namespace in namespaces.items():
        lines += [f"      - registry: {_quoted(upstream)}", f"        namespace: {_quoted(namespace)}"]
    if site.wants_login:
        lines.append("    authenticate: true")
    if site.skip_verify:
        lines.append("    insecureSkipVerify: true")
    if certificates:
        lines.append("    caCertContent: |")
        lines += [f"      {line}" for certificate in certificates for line in certificate.splitlines()]
    notes = []
    if site.wants_login:
        notes.append("set REGISTRY_USERNAME and REGISTRY_PASSWORD where eksctl anywhere runs")
    if len(certificates) > 1:
        notes.append("EKS Anywhere checks the registry with the first of these certificates alone")
    if site.skip_verify:
        notes.append("Bottlerocket refuses insecureSkipVerify; give the authority with --ca-file instead")
    return [ConfigFile("cluster.yaml", "\n".join(lines) + "\n")], notes


def _containerd(
    registry: str, namespaces: Mapping[str, str], site: SiteRegistry, certificates: list[str]
) -> tuple[list[ConfigFile], list[str]]:
    scheme = "http" if site.plain_http else "https"
    files = []
    for upstream, namespace in namespaces.items():
        folder = f"/etc/containerd/certs.d/{upstream}"
        url = f"{scheme}://{registry}/v2/{namespace}".rstrip("/")
        lines = [
            f'[host."{url}"]',
            '  capabilities = ["pull", "resolve"]',
            "  override_path = true",
        ]
        if certificates:
            lines.append(f'  ca = "{folder}/ca.crt"')
            files.append(ConfigFile(f"{folder}/ca.crt", "\n".join(certificates) + "\n"))
        if site.skip_verify:
            lines.append("  skip_verify = true")
        files.append(ConfigFile(f"{folder}/hosts.toml", "\n".join(lines) + "\n"))
    notes = ["containerd reads these where config_path of its CRI plugin is /etc/containerd/certs.d"]
    if site.wants_login:
        notes.append("credentials go with the pull: imagePullSecrets, or a credential provider of the kubelet")
    return files, notes


def _registries_yaml(
    registry: str, namespaces: Mapping[str, str], site: SiteRegistry, certificates: list[str]
) -> tuple[list[ConfigFile], list[str]]:
    scheme = "http" if site.plain_http else "https"
    folder = "/etc/rancher/k3s"
    lines = ["mirrors:"]
    for upstream, namespace in namespaces.items():
        lines += [f"  {_quoted(upstream)}:", "    endpoint:", f"      - {_quoted(f'{scheme}://{registry}')}"]
        if namespace:
            lines += ["    rewrite:", f'      "^(.*)$": {_quoted(f"{namespace}/$1")}']
    files, notes = [], ["on RKE2 the folder is /etc/rancher/rke2; restart the service after a change"]
    if certificates or site.skip_verify:
        lines += ["configs:", f"  {_quoted(registry)}:", "    tls:"]
        if certificates:
            lines.append(f"      ca_file: {_quoted(f'{folder}/registry-ca.crt')}")
            files.append(ConfigFile(f"{folder}/registry-ca.crt", "\n".join(certificates) + "\n"))
        if site.skip_verify:
            lines.append("      insecure_skip_verify: true")
    if site.wants_login:
        notes.append(f"credentials go below configs, {registry}, auth: username and password")
    return [ConfigFile(f"{folder}/registries.yaml", "\n".join(lines) + "\n"), *files], notes


def _quoted(text: str) -> str:
    """A YAML string; hosts, namespaces and paths hold nothing that would need escaping."""
    return f'"{text}"'
