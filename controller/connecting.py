"""How an API server is reached: the account of a pod, a kubeconfig, and what is between."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection

from bundlectl.errors import ConfigError
from controller.api import Api
from controller.encoding import encode_json
from mirror.filesystem import mapped_errors
from mirror.http.addresses import origin_of
from mirror.http.proxies import NoProxy, proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.http.transport import Transport

__all__ = ["connect", "connect_in_cluster", "connect_with_file", "in_cluster_kubeconfig"]

_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_POOL: Final = 16
_LONGEST: Final = 120.0
"""Seconds within which an answer of a workload cluster must be there in full, however it is dripped."""
_TOKEN_KEPT: Final = 60.0
"""Seconds for which the file of a token is not read again, as in a pod."""
_KEEPALIVE: Final = (
    ("SOL_SOCKET", "SO_KEEPALIVE", 1),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", 15),
    ("IPPROTO_TCP", "TCP_KEEPINTVL", 5),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 30_000),
)
"""A server that went without a word (a machine that failed, a balancer that forgot) is noticed after 30 s."""


class _Limited(io.RawIOBase):
    """The receiving side of a socket, for some time."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._until = time.monotonic() + _LONGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- a buffer, as in the base class
        if time.monotonic() > self._until:
            raise TimeoutError("timed out")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- passed through
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Limited(sock.makefile("rb", buffering=0)))


class _LimitedConnection(HTTPSConnection):
    response_class = _Reply


class _LimitedPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedConnection


def connect(document: Mapping[str, Any], name: str, folder: Path | None = None) -> Api:
    """Connect as a kubeconfig says that somebody put into the cluster; nothing that the server does takes for ever.

    Args:
        document: of the kubeconfig.
        name: of the cluster, for messages.
        folder: private, where keys that are in it are written for OpenSSL; that of temporary files by default.

    Raises:
        ConfigError: it is malformed.
    """
    from kubernetes import config  # noqa: PLC0415 -- 700 models, only where a cluster is used
    from kubernetes.client import Configuration  # noqa: PLC0415

    settings = Configuration()
    try:
        config.load_kube_config_from_dict(
            dict(document),
            client_configuration=settings,
            persist_config=False,
            temp_file_path=str(folder) if folder else None,
        )
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"the kubeconfig cannot be used: {str(error)[:200]}", artifact=name) from error
    api, client = _opened(settings, name)
    client.rest_client.pool_manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _LimitedPool}
    return api


def connect_in_cluster(name: str) -> Api:
    """Connect as the account of the pod that this runs in.

    Raises:
        ConfigError: this is no pod.
    """
    from kubernetes import config  # noqa: PLC0415 -- 700 models, only where a cluster is used
    from kubernetes.client import Configuration  # noqa: PLC0415

    settings = Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        raise ConfigError(
            "this is no pod, and no cluster was named", hint="name a kubeconfig with --kubeconfig FILE"
        ) from error
    return _opened(settings, name)[0]


def connect_with_file(kubeconfig: Path, name: str, transport: Transport | None = None) -> Api:
    """Connect as a kubeconfig file of the operator's says; it may run programs and name files.

    Args:
        kubeconfig: the file.
        name: of the cluster, for messages.
        transport: whose proxies stand before the API server, if any.

    Raises:
        ConfigError: there is no such file, or it is malformed.
    """
    from kubernetes import config  # noqa: PLC0415 -- 700 models, only where a cluster is used

    try:
        settings = _loaded(kubeconfig)
    except (config.ConfigException, OSError) as error:
        raise ConfigError(f"the kubeconfig cannot be used: {str(error)[:200]}", artifact=str(kubeconfig)) from error
    _reread_tokens(settings, kubeconfig)
    return _opened(settings, name, transport)[0]


def _loaded(kubeconfig: Path) -> Any:  # noqa: ANN401 -- the library's Configuration
    """Read a kubeconfig. One that is malformed is the library's error, whatever the library makes of it."""
    from kubernetes import config  # noqa: PLC0415 -- loaded already
    from kubernetes.client import Configuration  # noqa: PLC0415
    from yaml import YAMLError  # noqa: PLC0415

    settings = Configuration()
    try:
        config.load_kube_config(str(kubeconfig), client_configuration=settings, persist_config=False)
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise config.ConfigException(str(error)) from error
    return settings


def _reread_tokens(settings: Any, kubeconfig: Path) -> None:  # noqa: ANN401 -- the library's Configuration
    """Where a kubeconfig names a token's file, have it read again: somebody renews it, which the library misses."""
    with mapped_errors(kubeconfig, action="read"):
        if b"tokenFile" not in kubeconfig.read_bytes():
            return
    due = [time.monotonic() + _TOKEN_KEPT]

    def renew(into: Any) -> None:  # noqa: ANN401 -- the library's Configuration
        if time.monotonic() >= due[0]:
            into.api_key.update(_loaded(kubeconfig).api_key)
            due[0] = time.monotonic() + _TOKEN_KEPT

    settings.refresh_api_key_hook = renew


def in_cluster_kubeconfig(api: Api) -> bytes:
    """A kubeconfig that says what `connect_in_cluster` does, for helm: the token stays where it is renewed."""
    cluster = {"server": api.server, "certificate-authority": f"{_ACCOUNT}/ca.crt"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "own",
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
        "clusters": [{"name": "own", "cluster": cluster}],
        "users": [{"name": "own", "user": {"tokenFile": f"{_ACCOUNT}/token"}}],
    }
    return encode_json(document)


def _opened(settings: Any, name: str, transport: Transport | None = None) -> tuple[Api, Any]:  # noqa: ANN401
    from kubernetes.client import ApiClient  # noqa: PLC0415 -- 700 models, only where a cluster is used

    settings.connection_pool_maxsize = _POOL
    settings.retries = False
    # By itself the library goes by HTTP_PROXY, and never by NO_PROXY.
    proxy = proxy_for(origin_of(settings.host), transport, NoProxy(transport.no_proxy)) if transport else None
    settings.proxy = str(origin_of(proxy)) if proxy else None
    login = urlsplit(proxy or "")
    if login.username:
        both = f"{unquote(login.username)}:{unquote(login.password or '')}"
        settings.proxy_headers = make_headers(proxy_basic_auth=both)
    client = ApiClient(settings)
    options = [(getattr(socket, level), getattr(socket, option, None), value) for level, option, value in _KEEPALIVE]
    client.rest_client.pool_manager.connection_pool_kw["socket_options"] = [
        *HTTPConnection.default_socket_options,
        *(one for one in options if one[1] is not None),
    ]
    return Api(client, name), client
