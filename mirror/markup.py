"""HTML that cannot be broken out of: a tree of elements, escaped by the serializer and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Element", "element", "only_style", "render", "size_text", "table", "visible"]

Element = ET.Element

# What a browser would not show as it stands: control characters, those that turn the direction of text around, those
# that Unicode calls ignorable (DerivedCoreProperties.txt, Default_Ignorable_Code_Point), and those of private use.
_UNSEEN: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_TEXT_MAX: Final = 2048
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_STEP: Final = 1000


def element(tag: str, /, *children: Element | str | None, **attributes: str) -> Element:
    """An element. Children that are None are left out; ``class_`` stands for ``class``."""
    made = ET.Element(tag, {name.rstrip("_"): visible(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            text = visible(child)
            if last is None:
                made.text = (made.text or "") + text
            else:
                last.tail = (last.tail or "") + text
        else:
            made.append(child)
            last = child
    return made


def table(columns: Iterable[str], rows: Iterable[Iterable[Element | str]]) -> Element:
    """A table; a column whose title begins with ``#`` holds numbers."""
    titles = list(columns)
    kinds = [{"class_": "n"} if title.startswith("#") else {} for title in titles]
    head = element("tr", *(element("th", title.lstrip("#"), **kind) for title, kind in zip(titles, kinds, strict=True)))
    body = [
        element("tr", *(element("td", cell, **kind) for cell, kind in zip(row, kinds, strict=True))) for row in rows
    ]
    return element("table", element("thead", head), element("tbody", *body))


def only_style(style: str) -> str:
    """A Content-Security-Policy that allows this one style sheet: no scripts, nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'"


def render(title: str, *content: Element | None, style: str, meta: Mapping[str, str] | None = None) -> bytes:
    """A whole page.

    Args:
        title: of the page.
        content: of its body.
        style: the style sheet.
        meta: what else stands in its head, as values of ``http-equiv``.
    """
    sheet = ET.Element("style")
    sheet.text = style
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            *(element("meta", **{"http-equiv": name, "content": value}) for name, value in (meta or {}).items()),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            sheet,
        ),
        element("body", *content),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{ET.tostring(page, encoding='unicode', method='html')}\n".encode()


def size_text(count: int) -> str:
    """Bytes in the largest decimal unit that leaves at least one: ``1.5 GB``."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{count} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:,.1f} {_UNITS[-1]}"


def visible(text: str) -> str:
    """Text of bounded length in which nothing hides: whatever a reader would not see stands there as U+FFFD."""
    if len(text) > _TEXT_MAX:
        text = f"{text[:_TEXT_MAX]}…"
    return _UNSEEN.sub("\ufffd", text)
