"""From options, environment and configuration file to the values that operations take."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.cli.weakening import Weakening
from bundlectl.errors import UsageError
from bundlectl.settings import HostSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bundlectl.cli.command import Invocation
    from bundlectl.cli.environment import Environment
    from bundlectl.cli.options import (
        FillOptions,
        OriginOptions,
        SelectionOptions,
        SourceOptions,
        TargetOptions,
        TransportOptions,
        TrustOptions,
    )
    from bundlectl.operations.preflight import Visibility
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Connection
    from bundles.plan import Naming
    from mirror.http import Transport
    from mirror.remote import Credential

__all__ = [
    "build_connection",
    "build_request",
    "build_target",
    "parse_rate",
    "parse_size",
    "split_pair",
    "target_host",
    "wanted_visibility",
]

_PASSWORD_LIMIT: Final = 64 * 1024
_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)(?:b(?:/s)?)?", re.IGNORECASE)
_STEPS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def build_request(
    invocation: Invocation,
    sources: tuple[str, ...],
    *,
    selection: SelectionOptions,
    origin: SourceOptions,
    trust: TrustOptions,
    follow: bool | None = None,
    key: str = "",
) -> SourceRequest:
    """Say what is wanted, and how it is believed.

    Raises:
        UsageError: a platform or key is malformed.
        KeyProviderError: the key of ``--verify`` cannot be read.
    """
    from bundlectl.cli.believing import build_trust  # noqa: PLC0415 -- not for --help
    from bundlectl.operations.request import RELEASE_URL, SourceRequest  # noqa: PLC0415 -- not for --help
    from bundles.selection import Selection  # noqa: PLC0415 -- not for --help
    from mirror.oci.platform import Platform  # noqa: PLC0415 -- not for --help

    invocation.console.detail(f"reading {', '.join(sources)}")
    believed = build_trust(invocation, trust, source=origin, key=key)
    return SourceRequest(
        sources=sources,
        selection=Selection(
            kube_versions=tuple(version.removeprefix("v") for version in selection.kube_version),
            providers=tuple(provider.value for provider in selection.provider),
            platforms=tuple(Platform.parse(text) for text in selection.platform),
            include=selection.include,
            exclude=selection.exclude,
            referrers=not selection.no_referrers,
            files=not selection.no_files,
            render_charts=origin.render_charts,
        ),
        belief=believed.belief,
        policies=believed.policies,
        weakened=believed.weakened,
        load_key=believed.load_key,
        allow_rollback=trust.allow_rollback,
        follow=follow,
        release_url=origin.release_url or RELEASE_URL,
        package_registry=origin.package_registry or None,
        package_image_registry=origin.package_image_registry or None,
    )


def build_target(options: TargetOptions) -> Naming | None:
    """Read ``--to`` and ``--map``; None when neither is given.

    Raises:
        UsageError: one of them is malformed, or there are rules and no target.
    """
    from bundles.plan import Naming  # noqa: PLC0415 -- not for --help

    if not options.to:
        if options.map:
            raise UsageError("--map without --to", hint="name the registry with --to HOST[:PORT][/PREFIX]")
        return None
    return Naming.parse(options.to, options.map)


def wanted_visibility(options: FillOptions) -> Visibility | None:
    """Read ``--create-projects``; None where nothing is to be made."""
    if options.create_projects is None:
        return None
    return "public" if options.create_projects.value == "public" else "private"


def target_host(options: TargetOptions | None) -> str:
    """The host of ``--to``, empty when there is none."""
    return options.to.partition("/")[0] if options else ""


def build_connection(
    invocation: Invocation,
    transport: TransportOptions,
    *,
    origin: OriginOptions | None = None,
    trust: TrustOptions | None = None,
    target: str = "",
) -> Connection:
    """Say how hosts are reached; tell the user first of whatever weakens trust.

    Args:
        invocation: for the environment, the configuration file, and where an option came from.
        transport: flags of the transport group.
        origin: flags of the origin group, where the command has it.
        trust: flags of the trust group, where the command has it.
        target: the host that ``--username`` is for and that ``--offline`` lets through.

    Raises:
        UsageError: an option is malformed.
    """
    from bundlectl.operations.session import Connection  # noqa: PLC0415 -- imports the HTTP client

    hosts = _hosts(invocation, transport)
    origins = dict(split_pair(text, "--origin") for text in (origin.origin if origin else ()))
    environment = invocation.start.environment
    return Connection(
        transport=_transport(environment, hosts, transport, trust, target),
        credential_files=environment.credential_files,
        credential_inline=environment.credential_json,
        explicit=_explicit(transport, target),
        origins=origins,
        jobs=transport.jobs,
        weakened=_weakened(invocation, transport, origin, trust),
        memory=environment.state_home,
    )


def split_pair(text: str, flag: str) -> tuple[str, str]:
    """Read ``A=B``.

    Raises:
        UsageError: one half is missing.
    """
    left, equals, right = text.partition("=")
    if not equals or not left or not right:
        raise UsageError(f"{flag} {text!r} is not of the form A=B", hint=f"see --help for {flag}")
    return left, right


def parse_rate(text: str) -> int | None:
    """Read bytes a second: ``500000``, ``20MB`` (decimal), ``20MiB`` (binary); None for nothing.

    Raises:
        UsageError: not a rate, or less than a byte a second.
    """
    rate = _bytes(text) if text else None
    if rate is not None and rate < 1:
        raise UsageError(f"{text!r} is not a rate", hint="write bytes a second, such as 20MB or 512KiB")
    return rate


def parse_size(text: str, flag: str) -> int:
    """Read bytes: ``4000000000``, ``700MB`` (decimal), ``4GiB`` (binary).

    Raises:
        UsageError: not a size, or less than a byte.
    """
    size = 0 if text.endswith("/s") else _bytes(text)
    if size < 1:
        raise UsageError(f"{flag} {text!r} is not a size", hint="write bytes, such as 700MB or 4GiB")
    return size


def _bytes(text: str) -> int:
    match = _RATE.fullmatch(text.strip())
    base = 1024 if match and match[3] else 1000
    return int(float(match[1]) * base ** _STEPS[match[2].lower()]) if match else 0


def _transport(
    environment: Environment,
    hosts: Mapping[str, HostSettings],
    options: TransportOptions,
    trust: TrustOptions | None,
    target: str,
) -> Transport:
    from mirror.http.transport import HostTransport, Transport  # noqa: PLC0415 -- imports the HTTP client

    return Transport(
        hosts={
            host: HostTransport(
                plain_http=found.plain_http,
                skip_verify=found.insecure_skip_tls_verify,
                ca_file=found.ca_file,
                client_cert=found.client_cert,
            )
            for host, found in hosts.items()
        },
        http_proxy=environment.http_proxy,
        https_proxy=environment.https_proxy,
        no_proxy=environment.no_proxy,
        limit_rate=parse_rate(options.limit_rate),
        offline_hosts=frozenset({target} - {""}) if trust and trust.offline else None,
    )


def _hosts(invocation: Invocation, options: TransportOptions) -> dict[str, HostSettings]:
    """Join the configuration file's hosts with the flags, which win."""
    hosts = dict(invocation.start.settings.transport)
    for host in options.plain_http:
        _check_host(host, "--plain-http")
        hosts[host] = replace(hosts.get(host, HostSettings()), plain_http=True)
    for host in options.insecure_skip_tls_verify:
        _check_host(host, "--insecure-skip-tls-verify")
        hosts[host] = replace(hosts.get(host, HostSettings()), insecure_skip_tls_verify=True)
    for host, path in _files(options.ca_file, "--ca-file"):
        hosts[host] = replace(hosts.get(host, HostSettings()), ca_file=path)
    for host, path in _files(options.client_cert, "--client-cert"):
        hosts[host] = replace(hosts.get(host, HostSettings()), client_cert=path)
    return hosts


def _files(pairs: Iterable[str], flag: str) -> Iterator[tuple[str, Path]]:
    for pair in pairs:
        host, path = split_pair(pair, flag)
        _check_host(host, flag)
        if not Path(path).is_file():
            raise UsageError(f"{flag}: there is no file {path}", hint=f"write {flag} HOST=FILE with a PEM file")
        yield host, Path(path)


def _check_host(host: str, flag: str) -> None:
    if not host or "/" in host or "@" in host or host.strip() != host:
        raise UsageError(f"{flag}: {host!r} is not a host", hint="write HOST or HOST:PORT, without https://")


def _explicit(options: TransportOptions, target: str) -> dict[str, Credential]:
    if not options.username and not options.password_stdin:
        return {}
    if not options.username or not options.password_stdin:
        raise UsageError("--username and --password-stdin belong together", hint="give both, or neither")
    if not target:
        raise UsageError(
            "--username is for the target only, and this command has none",
            hint="log in to sources with docker login or podman login",
        )
    from mirror.remote import Credential  # noqa: PLC0415 -- imports the HTTP client

    return {target: Credential(options.username, _read_password())}


def _read_password() -> str:
    content = sys.stdin.buffer.read(_PASSWORD_LIMIT + 1)
    if len(content) > _PASSWORD_LIMIT:
        raise UsageError(f"the password on standard input is longer than {_PASSWORD_LIMIT} bytes")
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError("the password on standard input is not UTF-8") from error
    if not password:
        raise UsageError("the password on standard input is empty")
    return password


def _weakened(
    invocation: Invocation,
    transport: TransportOptions,
    origin: OriginOptions | None,
    trust: TrustOptions | None,
) -> tuple[str, ...]:
    """Tell of what weakens trust, with where it came from; return it as it is recorded."""
    path = invocation.start.settings.path
    weakening = Weakening(invocation)
    if trust and trust.verify == "off":
        weakening.tell("signatures of release manifests are not verified", "--verify")
    for host in transport.insecure_skip_tls_verify:
        weakening.tell(f"the certificate of {host} is not checked", "--insecure-skip-tls-verify")
    for host in transport.plain_http:
        weakening.tell(f"{host} is reached by plain HTTP", "--plain-http")
    for host, found in invocation.start.settings.transport.items():
        if found.insecure_skip_tls_verify and host not in transport.insecure_skip_tls_verify:
            weakening.tell_from(f"the certificate of {host} is not checked", f"file {path}")
        if found.plain_http and host not in transport.plain_http:
            weakening.tell_from(f"{host} is reached by plain HTTP", f"file {path}")
    for pair in origin.origin if origin else ():
        weakening.tell(f"origin {pair}", "--origin")
    return weakening.recorded
