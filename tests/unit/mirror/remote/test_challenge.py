"""WWW-Authenticate, as servers write it."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.remote.challenge import Challenge, parse_challenges
from mirror.remote.pagination import next_link

if TYPE_CHECKING:
    from typing import Any

token = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=12)
value = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


def quoted(text: str) -> Any:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ('Basic realm="harbor"', [("basic", {"realm": "harbor"})]),
        (
            'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push repository:c/d:pull"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://a/token",
                        "service": "s",
                        "scope": "repository:a/b:pull,push repository:c/d:pull",
                    },
                )
            ],
        ),
        (
            'Negotiate, Basic realm="x", Bearer realm="y" , service=z',
            [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        ("Negotiate YWJj==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('BEARER REALM = "q\\"uote\\\\d"', [("bearer", {"realm": 'q"uote\\d'})]),
        ("Bearer realm=https://a/token,service=s", [("bearer", {"realm": "https://a/token", "service": "s"})]),
        ("Basic", [("basic", {})]),
    ],
)
def test_challenges_are_read(header: str, challenges: list[Any]) -> None:
    assert parse_challenges(header) == [Challenge(*item) for item in challenges]


@given(st.lists(st.tuples(token, st.dictionaries(token.map(str.lower), value, min_size=1, max_size=4)), max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(challenges: list[Any]) -> None:
    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(text)}" for name, text in parameters.items())
        for scheme, parameters in challenges
    )
    assert parse_challenges(header) == [Challenge(scheme.lower(), parameters) for scheme, parameters in challenges]


@given(st.text(max_size=200))
def test_no_header_makes_the_parser_fail(header: str) -> None:
    parse_challenges(header)


def test_a_huge_header_is_read_in_good_time() -> None:
    parse_challenges('a="' * 100_000)
    parse_challenges("a " * 100_000)
    parse_challenges(", " * 100_000)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", None),
        ('</v2/x?last=a&n=1>; rel="next"', "/v2/x?last=a&n=1"),
        ("</x>; rel=next", "/x"),
        ('</a>; rel="prev" , </b>; rel="next"', "/b"),
        ('</a,b>; title="x, y"; rel="last next"', "/a,b"),
        ('</a>; rel="prev"', None),
        ("</a>", None),
        ("garbage", None),
    ],
)
def test_the_next_page_is_found(header: str, target: str) -> None:
    assert next_link(header) == target


@given(st.text(max_size=200))
def test_no_link_makes_the_parser_fail(header: str) -> None:
    next_link(header)
