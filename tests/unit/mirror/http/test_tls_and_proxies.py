"""TLS per host, loopback's two schemes, and proxies."""

from __future__ import annotations

import base64
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError, TransportError
from mirror.http import HostTransport, HttpClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.unit.mirror.conftest import Authority, Tunnel, Web


def test_an_unknown_authority_is_refused_with_the_flag_to_use(client: HttpClient, tls_web: Web) -> None:
    with pytest.raises(TransportError, match="is not trusted") as caught:
        client.request("GET", tls_web.url())
    assert f"--ca-file {tls_web.host}=FILE" in caught.value.hint
    assert not caught.value.retryable
    assert tls_web.asked == []


@pytest.mark.parametrize("with_port", [True, False])
def test_a_ca_file_is_trusted_for_its_host(
    make_client: Callable[..., HttpClient], tls_web: Web, authority: Authority, *, with_port: bool
) -> None:
    name = tls_web.host if with_port else "127.0.0.1"
    client = make_client(hosts={name: HostTransport(ca_file=authority.ca)})
    assert client.request("GET", tls_web.url()).status == 200


def test_a_ca_file_is_not_trusted_for_another_host(
    make_client: Callable[..., HttpClient], tls_web: Web, authority: Authority
) -> None:
    client = make_client(hosts={"other.test": HostTransport(ca_file=authority.ca)})
    with pytest.raises(TransportError, match="is not trusted"):
        client.request("GET", tls_web.url())


def test_a_certificate_for_another_name_is_refused(
    make_client: Callable[..., HttpClient], tls_web: Web, authority: Authority
) -> None:
    client = make_client(hosts={"127.0.0.2": HostTransport(ca_file=authority.ca)})
    with socket.create_connection(("127.0.0.1", tls_web.port)):
        pass
    with pytest.raises(TransportError):
        client.request("GET", f"https://127.0.0.2:{tls_web.port}/")


def test_skipping_verification_is_per_host_and_silent(
    make_client: Callable[..., HttpClient], make_web: Callable[..., Web], authority: Authority
) -> None:
    one, other = make_web(authority.server), make_web(authority.server)
    client = make_client(hosts={one.host: HostTransport(skip_verify=True)})
    assert client.request("GET", one.url()).status == 200
    with pytest.raises(TransportError, match="is not trusted"):
        client.request("GET", other.url())


def test_a_client_certificate_is_shown_to_its_host_only(
    make_client: Callable[..., HttpClient], make_web: Callable[..., Web], authority: Authority
) -> None:
    strict, lax = make_web(authority.mutual), make_web(authority.server)
    seen = []
    lax.answer = lambda asked: (seen.append(asked.raw.connection.getpeercert(binary_form=True)), (200, {}, b""))[1]
    mine = HostTransport(ca_file=authority.ca, client_cert=authority.client)
    client = make_client(hosts={strict.host: mine, lax.host: HostTransport(ca_file=authority.ca)}, retries=0)
    assert client.request("GET", strict.url()).status == 200
    assert client.request("GET", lax.url()).status == 200
    assert seen == [None]


def test_files_that_hold_no_certificates_are_configuration_errors(
    make_client: Callable[..., HttpClient], tls_web: Web, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for setting in (HostTransport(ca_file=broken), HostTransport(client_cert=tmp_path / "absent.pem")):
        with pytest.raises(ConfigError) as caught:
            make_client(hosts={tls_web.host: setting}).request("GET", tls_web.url())
        assert caught.value.artifact.endswith(".pem")


def test_loopback_speaks_https_where_it_can_and_http_where_not(client: HttpClient, web: Web, tls_web: Web) -> None:
    assert client.scheme(web.host) == "http"
    assert client.scheme(tls_web.host) == "https"
    assert client.scheme(f"localhost:{web.port}") == "http"
    assert web.asked == tls_web.asked == []


def test_a_server_that_wants_a_client_certificate_speaks_https(
    client: HttpClient, make_web: Callable[..., Web], authority: Authority
) -> None:
    assert client.scheme(make_web(authority.mutual).host) == "https"


def test_nothing_on_loopback_is_not_remembered(client: HttpClient, make_web: Callable[..., Web]) -> None:
    server = make_web()
    server.stop()
    assert client.scheme(server.host) == "https"


def test_other_hosts_speak_https_unless_told_otherwise(make_client: Callable[..., HttpClient]) -> None:
    client = make_client(hosts={"plain.test:5000": HostTransport(plain_http=True)})
    assert client.scheme("plain.test:5000") == "http"
    assert client.scheme("plain.test") == "https"
    assert client.scheme("10.1.2.3:5000") == "https"


def test_tls_where_plain_http_is_spoken_is_explained(make_client: Callable[..., HttpClient], web: Web) -> None:
    with pytest.raises(TransportError, match="does not speak TLS") as caught:
        make_client(retries=0).request("GET", f"https://{web.host}/")
    assert "--plain-http" in caught.value.hint


@pytest.fixture
def through(make_client: Callable[..., HttpClient], tls_web: Web, proxy: Tunnel, authority: Authority) -> Any:
    """A client whose HTTPS goes through the proxy, for a name that only the proxy can reach."""

    def make(address: str | None = None, **settings: Any) -> HttpClient:
        hosts = {"registry.test": HostTransport(ca_file=authority.ca), "files.test": HostTransport(plain_http=True)}
        return make_client(hosts=hosts, https_proxy=address or proxy.host, http_proxy=address or proxy.host, **settings)

    make.url = f"https://registry.test:{tls_web.port}/x"
    return make


def test_https_goes_through_a_tunnel_end_to_end(through: Any, tls_web: Web, proxy: Tunnel) -> None:
    assert through().request("GET", through.url).status == 200
    assert proxy.heads[0].startswith(f"CONNECT registry.test:{tls_web.port} ")
    assert tls_web.lines == ["GET /x"]


def test_proxy_credentials_reach_the_proxy_and_nobody_else(through: Any, tls_web: Web, proxy: Tunnel) -> None:
    proxy.wanted = "Basic " + base64.b64encode(b"user:p@ss").decode()
    client = through(f"http://user:p%40ss@{proxy.host}")
    assert client.request("GET", through.url, headers={"Authorization": "Bearer t"}).status == 200
    assert "bearer" not in proxy.heads[0].lower()
    assert tls_web.asked[0].headers["Authorization"] == "Bearer t"
    assert tls_web.asked[0].headers["Proxy-Authorization"] is None


def test_a_proxy_that_wants_credentials_is_told_without_retries(through: Any, tls_web: Web, proxy: Tunnel) -> None:
    proxy.wanted = "Basic something"
    with pytest.raises(TransportError, match="it wants credentials") as caught:
        through(f"http://user:secret@{proxy.host}").request("GET", through.url)
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert len(proxy.heads) == 1
    assert tls_web.asked == []


def test_plain_http_is_forwarded(through: Any, proxy: Tunnel) -> None:
    client = through(f"http://user:pw@{proxy.host}")
    assert client.request("GET", "http://files.test/a?b=c").read(20) == b"forwarded"
    assert proxy.heads[0].startswith("GET http://files.test/a?b=c ")
    assert "proxy-authorization: basic" in proxy.heads[0].lower()


def test_loopback_bypasses_the_proxy(make_client: Callable[..., HttpClient], web: Web, proxy: Tunnel) -> None:
    client = make_client(http_proxy=proxy.host, https_proxy=proxy.host)
    assert client.request("GET", web.url()).status == 200
    assert proxy.heads == []


def test_no_proxy_is_reached_directly(make_client: Callable[..., HttpClient], proxy: Tunnel) -> None:
    client = make_client(https_proxy=proxy.host, no_proxy=".invalid", retries=0)
    with pytest.raises(TransportError, match="cannot be resolved"):
        client.request("GET", "https://registry.invalid/")
    assert proxy.heads == []


def test_a_socks_proxy_is_a_configuration_error(make_client: Callable[..., HttpClient]) -> None:
    with pytest.raises(ConfigError, match="does not speak"):
        make_client(https_proxy="socks5://127.0.0.1:1").request("GET", "https://registry.invalid/")


def test_the_settings_do_not_show_the_proxy_password(make_client: Callable[..., HttpClient]) -> None:
    assert "secret" not in repr(make_client(https_proxy="http://u:secret@p:1").transport)


def test_a_server_certificate_may_be_its_own_anchor(
    make_client: Callable[..., HttpClient], tls_web: Web, tmp_path: Path
) -> None:
    leaf = tmp_path / "leaf.crt"
    leaf.write_text(ssl.get_server_certificate(("127.0.0.1", tls_web.port)))
    client = make_client(hosts={tls_web.host: HostTransport(ca_file=leaf)})
    assert client.request("GET", f"https://{tls_web.host}/").status == 200
