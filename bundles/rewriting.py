"""Other addresses in the text of a release document, where no signature is over them, and nothing else changed.

Comments, quoting and order of the original stay. What was written is read again and held against what
was there: a text that this module cannot edit is refused, and so is an edit that a signature would notice.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from bundles.canonical import canonical_bytes, kind_of_root
from bundles.coverage import covers
from bundles.tree import ListNode, MapNode, Scalar, parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bundles.document import Document
    from bundles.tree import Node
    from bundles.walk import Found

__all__ = ["is_covered", "place_of", "rewrite"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+(?::/)?/[A-Za-z0-9._%+@=:/-]*[A-Za-z0-9._%+@=/-]", re.ASCII)
"""Text with a slash that means itself without quotes, wherever it stands."""


def place_of(found: Found) -> str:
    """The dotted path of the text that holds a URI."""
    return found.path if found.plain else f"{found.path}.uri"


def is_covered(document: Document, found: Found) -> bool:
    """Whether the document's signature, if it has one, is over a URI in it."""
    return covers(kind_of_root(document.root), document.root, found.path)


def rewrite(document: Document, texts: Mapping[str, str]) -> bytes:
    """The bytes of a document with other texts in some places.

    Args:
        document: Bundles, an EKS-D release, or an EKS-A release index.
        texts: what shall stand there, by place (``place_of``).

    Raises:
        ContentError: a place is not there, the document is written so that it cannot be edited, or
            what a signature is over would change.
    """
    if not texts:
        return document.raw
    import yaml  # noqa: PLC0415 -- 17 ms that commands without documents save

    text = document.raw.decode()
    edits: dict[int, tuple[int, str]] = {}
    for place, node in _scalars(yaml.compose(text, Loader=yaml.CSafeLoader)):
        if place in texts:
            start = node.start_mark.index
            # The parser's mark of the end of a block scalar is beyond its line break.
            end = start + len(text[start : node.end_mark.index].rstrip("\r\n \t"))
            edits[start] = (end, _written(texts[place], plain=not node.style))
    for start, (end, written) in sorted(edits.items(), reverse=True):
        text = text[:start] + written + text[end:]
    result = text.encode()
    try:
        after = parse_tree(result, origin=document.origin).root
    except ContentError:
        after = None
    if after is None or not _differs_only_in(document.root, after, texts):
        raise ContentError(
            "its addresses cannot be edited as they are written",
            artifact=document.origin,
            hint="write them out as plain text, each on its line, without anchors and aliases",
        )
    _check_signed(document, after)
    return result


def _check_signed(document: Document, after: MapNode) -> None:
    kind = kind_of_root(document.root)
    if kind == "object":
        return
    if canonical_bytes(document.root, kind, origin=document.origin) != canonical_bytes(
        after, kind, origin=document.origin
    ):
        raise ContentError(
            "a signature is over what would be changed",
            artifact=document.origin,
            hint="nothing was written; please report this document",
        )


def _scalars(root: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 -- yaml's node
    """Every text of a composed document, with its place."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if node.id == "mapping":
            waiting.extend((f"{path}.{key.value}" if path else key.value, value) for key, value in node.value)
        elif node.id == "sequence":
            waiting.extend((f"{path}[{index}]", item) for index, item in enumerate(node.value))
        else:
            yield path, node


def _written(text: str, *, plain: bool) -> str:
    if plain and _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _differs_only_in(before: Node, after: Node, texts: Mapping[str, str]) -> bool:
    """Whether two trees say the same but in these places, and the second says there what it should."""
    left = set(texts)
    waiting: list[tuple[str, Node, Node]] = [("", before, after)]
    while waiting:
        path, one, two = waiting.pop()
        if isinstance(one, Scalar) and isinstance(two, Scalar):
            wanted = texts.get(path)
            left.discard(path)
            if two.text != wanted if wanted is not None else (one.text, one.plain) != (two.text, two.plain):
                return False
        elif isinstance(one, MapNode) and isinstance(two, MapNode) and one.entries.keys() == two.entries.keys():
            waiting.extend(
                (f"{path}.{key}" if path else key, node, two.entries[key]) for key, node in one.entries.items()
            )
        elif isinstance(one, ListNode) and isinstance(two, ListNode) and len(one.items) == len(two.items):
            pairs = zip(one.items, two.items, strict=True)
            waiting.extend((f"{path}[{index}]", item, other) for index, (item, other) in enumerate(pairs))
        else:
            return False
    return not left
