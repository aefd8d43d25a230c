"""A bare HTTP client, so that the fixtures are tried without the product's."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from mirror.oci.mediatype import ACCEPT_MANIFESTS


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


Ask: TypeAlias = Callable[..., Reply]


def _ask(
    host: str, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    connection = http.client.HTTPConnection(host.removeprefix("http://"), timeout=10)
    try:
        path = path.removeprefix(f"http://{host}")
        connection.request(method, path, body=body, headers={"Accept": ACCEPT_MANIFESTS, **(headers or {})})
        with connection.getresponse() as response:
            return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture
def ask() -> Ask:
    return _ask
