"""Clients that give up soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mirror.http import HttpClient, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bundlectl.events import Event


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make_client(events: list[Event]) -> Iterator[Callable[..., HttpClient]]:
    made: list[HttpClient] = []

    def make(**settings: Any) -> HttpClient:
        quick = {"retries": 3, "backoff": 0.001, "max_wait": 0.2, "connect_timeout": 5.0, "read_timeout": 5.0}
        made.append(HttpClient(Transport(**{**quick, **settings}), listener=events.append))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., HttpClient]) -> HttpClient:
    return make_client()
