"""Markup is escaped by the serializer, and nothing in a text stays unseen."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.markup import element, only_style, render, size_text, table, visible


class Read(HTMLParser):
    """What a reader of HTML makes of it: elements, attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
@example("</p><script>x</script>", '"><script>x</script>')
@example("<!-- ", "' onload=x")
def test_text_and_attributes_never_become_markup(text: str, attribute: str) -> None:
    made = ET.tostring(element("p", text, element("b", text), text, title=attribute), encoding="unicode", method="html")
    read = Read(made)
    assert read.elements == [("p", [("title", visible(attribute))]), ("b", [])]
    assert read.text == visible(text) * 3


@pytest.mark.parametrize(
    "hidden",
    [
        *(
            "\x00",
            "\x1b",
            "\x85",
            "\xad",
            "\u034f",
            "\u061c",
            "\u115f",
            "\u17b5",
            "\u180e",
            "\u200b",
            "\u202e",
            "\u2066",
        ),
        *(
            "\u3164",
            "\ud800",
            "\ue000",
            "\ufe0f",
            "\ufeff",
            "\uffa0",
            "\ufff9",
            "\U0001d173",
            "\U000e0041",
            "\U000f0000",
        ),
    ],
)
def test_what_a_reader_would_not_see_is_made_visible(hidden: str) -> None:
    assert visible(f"a{hidden}b") == "a\ufffdb"


def test_a_text_has_a_bound() -> None:
    assert len(visible("x" * 5000)) == 2049


def test_the_policy_allows_the_style_sheet_of_the_page_and_nothing_else() -> None:
    style = "p{color:red}"
    page = render("x", element("p", "y"), style=style, meta={"Content-Security-Policy": only_style(style)}).decode()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'" in page
    assert f"<style>{style}</style>" in page


def test_a_column_of_numbers_is_marked() -> None:
    made = ET.tostring(table(("Name", "#Size"), [["a", "1"]]), encoding="unicode")
    assert made.count('class="n"') == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_500_000_000, "1.5 GB"), (10**16, "10,000.0 TB")],
)
def test_sizes_are_told_in_decimal_units(count: int, text: str) -> None:
    assert size_text(count) == text
