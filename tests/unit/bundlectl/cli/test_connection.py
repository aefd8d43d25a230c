"""From options, environment and file to the values that operations take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.cli.command import Invocation, Start
from bundlectl.cli.connection import build_connection, build_request, build_target, parse_rate, split_pair
from bundlectl.cli.console import Console
from bundlectl.cli.environment import Environment
from bundlectl.cli.options import (
    OriginOptions,
    Provider,
    SelectionOptions,
    SourceOptions,
    TargetOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.errors import UsageError
from bundlectl.settings import HostSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Context:
    """As much of the parser's context as ``came_from`` looks at."""

    sources: Mapping[str, str] = field(default_factory=dict)
    auto_envvar_prefix: str = "BUNDLECTL_MIRROR"

    def get_parameter_source(self, name: str) -> Any:
        return type("Source", (), {"name": self.sources.get(name, "COMMANDLINE")})()


def invocation(environment: Environment | None = None, settings: Settings | None = None, **sources: str) -> Invocation:
    start = Start(console=Console(), environment=environment or Environment(), settings=settings or Settings())
    return Invocation(name="mirror", start=start, context=Context(sources))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", None),
        ("1", 1),
        ("500000", 500000),
        ("20MB", 20_000_000),
        ("20mb/s", 20_000_000),
        ("1.5 KiB", 1536),
        ("2GiB", 2 * 1024**3),
        ("3k", 3000),
    ],
)
def test_rates_are_bytes_a_second_decimal_or_binary(text: str, rate: int | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "fast", "-1", "0.1", "1XB", "inf", "1e9"])
def test_what_is_no_rate_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["a", "=b", "a=", ""])
def test_a_pair_has_two_halves(text: str) -> None:
    with pytest.raises(UsageError, match="A=B"):
        split_pair(text, "--origin")
    assert split_pair("a=b=c", "--origin") == ("a", "b=c")


def test_flags_join_the_file_s_hosts_and_win(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    settings = Settings(
        path=Path("/c"),
        transport={"h": HostSettings(plain_http=True, ca_file=Path("/old")), "g": HostSettings(plain_http=True)},
    )
    connection = build_connection(
        invocation(settings=settings),
        TransportOptions(ca_file=(f"h={ca}",), insecure_skip_tls_verify=("new:5000",), limit_rate="1kB", jobs=3),
    )
    hosts = connection.transport.hosts
    assert (hosts["h"].plain_http, hosts["h"].ca_file) == (True, ca)
    assert hosts["g"].plain_http
    assert hosts["new:5000"].skip_verify
    assert connection.transport.limit_rate == 1000
    assert connection.jobs == 3


def test_the_environment_is_passed_down_as_values() -> None:
    environment = Environment(
        http_proxy="http://p",
        https_proxy="http://q",
        no_proxy="n",
        credential_files=(Path("/a"),),
        credential_json="{}",
    )
    connection = build_connection(invocation(environment), TransportOptions())
    transport = connection.transport
    assert (transport.http_proxy, transport.https_proxy, transport.no_proxy) == ("http://p", "http://q", "n")
    assert connection.credential_files == (Path("/a"),)
    assert connection.credential_inline == "{}"


def test_offline_leaves_the_target_alone() -> None:
    trust = TrustOptions(offline=True)
    with_target = build_connection(invocation(), TransportOptions(), trust=trust, target="t.example:5000")
    assert with_target.transport.offline_hosts == frozenset({"t.example:5000"})
    assert build_connection(invocation(), TransportOptions(), trust=trust).transport.offline_hosts == frozenset()
    assert build_connection(invocation(), TransportOptions(), trust=TrustOptions()).transport.offline_hosts is None


def test_what_weakens_trust_is_told_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    connection = build_connection(
        invocation(settings=Settings(path=Path("/c.toml")), origin="DEFAULT_MAP", plain_http="ENVIRONMENT"),
        TransportOptions(plain_http=("h",)),
        origin=OriginOptions(origin=("a=b",)),
        trust=TrustOptions(verify="off"),
    )
    assert capsys.readouterr().err.splitlines() == [
        "warning: signatures of release manifests are not verified (flag --verify)",
        "warning: h is reached by plain HTTP (environment variable BUNDLECTL_MIRROR_PLAIN_HTTP)",
        "warning: origin a=b (file /c.toml)",
    ]
    assert connection.weakened[-1] == "origin a=b (configuration file)"
    assert connection.origins == {"a": "b"}


@pytest.mark.parametrize(
    "options",
    [
        TransportOptions(plain_http=("http://h",)),
        TransportOptions(insecure_skip_tls_verify=("",)),
        TransportOptions(ca_file=("h=/does/not/exist",)),
        TransportOptions(client_cert=("/just/a/file",)),
        TransportOptions(username="me"),
        TransportOptions(password_stdin=True),
    ],
)
def test_malformed_transport_options_are_wrong_usage(options: TransportOptions) -> None:
    with pytest.raises(UsageError):
        build_connection(invocation(), options, target="t")


def test_a_request_carries_the_selection() -> None:
    request = build_request(
        invocation(),
        ("eks-a:latest",),
        selection=SelectionOptions(
            kube_version=("v1.33",), provider=(Provider.DOCKER,), platform=("linux/amd64",), no_files=True
        ),
        origin=SourceOptions(package_registry="r.example/p"),
        trust=TrustOptions(),
    )
    assert request.selection.kube_versions == ("1.33",)
    assert request.selection.providers == ("docker",)
    assert [str(platform) for platform in request.selection.platforms] == ["linux/amd64"]
    assert (request.selection.files, request.selection.referrers) == (False, True)
    assert (request.belief.mode, request.belief.anchors, request.follow) == ("aws", None, None)
    assert request.package_registry == "r.example/p"


def test_a_target_is_a_host_and_a_prefix() -> None:
    target = build_target(TargetOptions(to="h.example:5000/a/b", map=("public.ecr.aws=x",)))
    assert target is not None
    assert (target.registry, target.prefix, target.maps) == ("h.example:5000", "a/b", (("public.ecr.aws", "x"),))
    assert build_target(TargetOptions()) is None
    with pytest.raises(UsageError, match="--map without --to"):
        build_target(TargetOptions(map=("public.ecr.aws=x",)))
    with pytest.raises(UsageError, match="URL"):
        build_target(TargetOptions(to="https://h.example"))
