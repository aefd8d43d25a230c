"""NO_PROXY as Go's tools read it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.http.proxies import NoProxy

if TYPE_CHECKING:
    from typing import Any

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z][a-z0-9]{0,8}){1,3}", fullmatch=True)
ports = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "host", "port", "direct"),
    [
        ("*", "anything.test", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "a.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        (".example.com", "example.com", 443, False),
        (".example.com", "a.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("example.com:5000", "example.com", 5000, True),
        ("example.com:5000", "example.com", 443, False),
        ("EXAMPLE.com", "example.COM", 443, True),
        ("example.com", "example.com.", 443, True),
        ("10.0.0.0/8", "10.9.8.7", 443, True),
        ("10.0.0.0/8", "11.9.8.7", 443, False),
        ("10.0.0.0/8", "ten.example.com", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:80", "10.1.2.3", 443, False),
        ("fd00::/8", "fd12::1", 443, True),
        ("[fd12::1]:5000", "fd12::1", 5000, True),
        ("fd12::1", "fd12::1", 443, True),
        ("2.3", "1.2.3", 443, False),
        (" a.test , b.test ", "b.test", 443, True),
        ("", "a.test", 443, False),
        (",,", "a.test", 443, False),
        (".", "a.test", 443, False),
    ],
)
def test_entries_match_what_they_name(text: str, host: str, port: int, *, direct: bool) -> None:
    assert NoProxy(text).matches(host, port) is direct


@given(names, ports, st.lists(names))
def test_a_listed_host_is_always_direct_whatever_else_is_listed(name: str, port: int, others: list[str]) -> None:
    listed = NoProxy(",".join([*others, name]))
    assert listed.matches(name, port)
    assert listed.matches(f"sub.{name}", port)


@given(names, ports, ports)
def test_a_port_narrows_an_entry(name: str, port: int, other: int) -> None:
    assert NoProxy(f"{name}:{port}").matches(name, other) is (port == other)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_holds_its_addresses(address: Any, bits: int) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    assert NoProxy(str(network)).matches(str(address), 443)


@given(st.text(max_size=60), names, ports)
def test_no_text_makes_matching_fail(text: str, name: str, port: int) -> None:
    NoProxy(text).matches(name, port)
