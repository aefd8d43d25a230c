"""Names of files made of URLs: what a web server would look for, and nothing outside of the folder."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.file_places import served_at, url_place

PARTS = st.text(min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://host/a/b.yaml", ("host", "a", "b.yaml")),
        ("http://Host.Example:8080/a", ("host.example:8080", "a")),
        ("https://host/a%20b/c%2Bd.yaml?x=1#y", ("host", "a b", "c+d.yaml")),
        ("https://[::1]/a", ("[::1]", "a")),
    ],
)
def test_the_host_and_the_path(url: str, place: tuple[str, ...]) -> None:
    assert url_place(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "https://host",
        "https://host/",
        "https://host/a/",
        "https://host/../a",
        "https://host/a//b",
        "https://host/%2e%2e/a",
        "https://host/a%2fb",
        "https://host/a%5cb",
        "https://host/a%00",
        "https://host/a%0ab",
        "https://host/%ff",
        f"https://host/{'a' * 256}",
        "https://../a",
        "https://.hidden/a",
        "https:///a",
        "https://[::1/a",
        "file:///etc/passwd",
    ],
)
def test_what_can_be_no_file_is_refused(url: str) -> None:
    with pytest.raises(ContentError):
        url_place(url)


@given(st.lists(PARTS, min_size=1, max_size=4))
@example(["..", "a"])
@example(["%2e%2e", "a"])
@example(["a\\b"])
@example(["\u202e"])
def test_no_url_leads_out_and_each_file_is_served_where_it_lies(parts: list[str]) -> None:
    try:
        place = url_place(f"https://host/{'/'.join(parts)}")
    except ContentError:
        return
    path = PurePosixPath(*place)
    assert path.parts == place
    assert not {"..", ".", ""} & set(place)
    served = urlsplit(served_at("https://site/base/", place))
    assert (served.query, served.fragment) == ("", "")
    assert unquote(served.path) == f"/base/{path}"
