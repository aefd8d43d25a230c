"""HTML that cannot be broken out of: a tree of elements, escaped by the serializer and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["POLICY", "Element", "element", "render", "table"]

Element = ET.Element

# What a browser would not show as it stands: control characters, and those that turn the direction of text around.
_UNSEEN: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]"
)
_TEXT_MAX: Final = 2048

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th{white-space:nowrap}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{overflow:auto;padding:.6rem;background:#8882;border-radius:.3rem;user-select:all}
summary{cursor:pointer;padding:.2rem 0}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 2rem;padding:0;list-style:none}.facts b{font-size:1.2rem}
.quiet{opacity:.7}.trust{border:1px solid #8886;border-radius:.3rem;padding:0 .35rem;white-space:nowrap}
.signed{border-color:#2a7;background:#2a72}.pushed,.off{border-color:#c80;background:#c802}
input{font:inherit;padding:.25rem .5rem;width:min(24rem,60%)}button{font:inherit;padding:.25rem .8rem}
"""

POLICY: Final = (
    "default-src 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of what `render` makes: this one style sheet, no scripts, nothing from anywhere."""


def element(tag: str, /, *children: Element | str | None, **attributes: str) -> Element:
    """An element. Children that are None are left out; ``class_`` stands for ``class``."""
    made = ET.Element(tag, {name.rstrip("_"): _shown(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            text = _shown(child)
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


def render(title: str, *content: Element | None) -> bytes:
    """A whole page."""
    style = ET.Element("style")
    style.text = _STYLE
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            style,
        ),
        element("body", *content),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{ET.tostring(page, encoding='unicode', method='html')}\n".encode()


def _shown(text: str) -> str:
    if len(text) > _TEXT_MAX:
        text = f"{text[:_TEXT_MAX]}…"
    return _UNSEEN.sub("\ufffd", text)
