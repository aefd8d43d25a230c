"""Writing annotations into the text of a manifest, and changing nothing else of it.

Comments, quoting and order of the original stay: who signs a manifest has reviewed that text. What
was written is read again and held against what was there, so that a text that this module cannot
edit is refused and never spoilt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bundlectl.errors import ContentError
from bundles.tree import MapNode, Node, Scalar, parse_tree, same_value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["annotate"]

_HINT: Final = "write metadata.annotations as plain block YAML, each entry on a line of its own"


class _Edit(NamedTuple):
    """Replace the characters from ``start`` to ``end``."""

    start: int
    end: int
    text: str


def annotate(raw: bytes, annotations: Mapping[str, str], *, origin: str) -> bytes:
    """Set annotations in the text of one YAML or JSON document.

    Args:
        raw: the document; it must be one that ``parse_tree`` takes.
        annotations: names and values; one that is there already is replaced.
        origin: for messages.

    Raises:
        ContentError: not such a document, or written so that it cannot be edited.
    """
    before = parse_tree(raw, origin=origin).root
    import yaml  # noqa: PLC0415 -- 17 ms that commands without documents save

    text = raw.decode()
    root: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    edits = sorted(_edits(text, root, annotations, newline), reverse=True)
    for edit in edits:
        text = text[: edit.start] + edit.text + text[edit.end :]
    result = text.encode()
    try:
        after = parse_tree(result, origin=origin).root
    except ContentError:
        after = None
    if after is None or not _differ_only_in(before, after, annotations):
        raise ContentError("its annotations cannot be edited as they are written", artifact=origin, hint=_HINT)
    return result


def _edits(text: str, root: Any, annotations: Mapping[str, str], newline: str) -> list[_Edit]:  # noqa: ANN401 -- yaml's node
    metadata = _entry(root, "metadata")
    if metadata is None:
        if root.flow_style:
            return [_into_flow(root, {"metadata": {"annotations": dict(annotations)}})]
        last = root.value[-1][0].start_mark
        place, indent = _line_start(text, last.index), " " * last.column
        lines = _block(f"{indent}  annotations:", annotations, f"{indent}    ", newline)
        return [_Edit(place, place, f"{indent}metadata:{newline}{lines}")]
    return _into_metadata(text, metadata, annotations, newline)


def _into_metadata(text: str, metadata: tuple[Any, Any], annotations: Mapping[str, str], newline: str) -> list[_Edit]:
    key, value = metadata
    if not _is_map(value) or not value.value:
        return [_instead(text, key, value, json.dumps({"annotations": dict(annotations)}))]
    held = _entry(value, "annotations")
    if held is not None:
        if not _is_map(held[1]) or not held[1].value:
            return [_instead(text, *held, json.dumps(dict(annotations)))]
        return _into_annotations(text, held[1], annotations, newline)
    if value.flow_style:
        return [_into_flow(value, {"annotations": dict(annotations)})]
    first = value.value[0][0].start_mark
    indent = " " * first.column
    place = _line_start(text, first.index)
    return [_Edit(place, place, _block(f"{indent}annotations:", annotations, f"{indent}  ", newline))]


def _into_annotations(text: str, held: Any, annotations: Mapping[str, str], newline: str) -> list[_Edit]:  # noqa: ANN401
    edits = []
    missing = dict(annotations)
    for key, value in held.value:
        wanted = missing.pop(key.value, None)
        if wanted is not None:
            as_json = held.flow_style or value.style == '"'
            edits.append(_instead(text, key, value, json.dumps(wanted) if as_json else _quoted(wanted)))
    if not missing:
        return edits
    if held.flow_style:
        return [*edits, _into_flow(held, missing)]
    first = held.value[0][0].start_mark
    indent = " " * first.column
    place = _line_start(text, first.index)
    lines = "".join(f"{indent}{name}: {_quoted(value)}{newline}" for name, value in sorted(missing.items()))
    return [*edits, _Edit(place, place, lines)]


def _instead(text: str, key: Any, value: Any, written: str) -> _Edit:  # noqa: ANN401
    """Put something where there is something else, or nothing (``metadata: {}``, ``metadata:``)."""
    if value.start_mark.index == value.end_mark.index:
        place = key.end_mark.index
        colon = text.index(":", place) + 1
        return _Edit(colon, colon, f" {written}")
    return _Edit(value.start_mark.index, _end(text, value), written)


def _into_flow(node: Any, content: Mapping[str, Any]) -> _Edit:  # noqa: ANN401
    inner = json.dumps(content)[1:-1]
    place = node.start_mark.index + 1
    return _Edit(place, place, f"{inner}, " if node.value else inner)


def _block(title: str, annotations: Mapping[str, str], indent: str, newline: str) -> str:
    lines = "".join(f"{indent}{name}: {_quoted(value)}{newline}" for name, value in sorted(annotations.items()))
    return f"{title}{newline}{lines}"


def _quoted(value: str) -> str:
    """Base64 needs no quotes, which is how AWS writes it; the empty text does."""
    return value or '""'


def _entry(node: Any, name: str) -> tuple[Any, Any] | None:  # noqa: ANN401
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _is_map(node: Any) -> bool:  # noqa: ANN401
    return bool(node.id == "mapping")


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _end(text: str, node: Any) -> int:  # noqa: ANN401
    """Where a value ends: the parser's mark of a block scalar is beyond its line break."""
    end: int = node.end_mark.index
    while end > node.start_mark.index and text[end - 1] in "\r\n \t":
        end -= 1
    return end


def _differ_only_in(before: MapNode, after: MapNode, annotations: Mapping[str, str]) -> bool:
    """Whether two documents say the same but for these annotations, and the second has them."""
    metadata = after.map("metadata")
    held = metadata.map("annotations") if metadata else None
    if held is None or any(_text(held.entries.get(name)) != value for name, value in annotations.items()):
        return False
    return same_value(_without(before, annotations), _without(after, annotations))


def _text(node: Node | None) -> str | None:
    return node.text if isinstance(node, Scalar) else None


def _is_nothing(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.is_null)


def _without(root: MapNode, annotations: Mapping[str, str]) -> MapNode:
    """A view that lacks the annotations, and the mappings that were made for them."""
    metadata = root.map("metadata")
    if metadata is None:
        return root.without("metadata") if _is_nothing(root.entries.get("metadata")) else root
    held = metadata.map("annotations")
    if held is None:
        rest = metadata.without("annotations") if _is_nothing(metadata.entries.get("annotations")) else metadata
    else:
        kept = held
        for name in annotations:
            kept = kept.without(name)
        rest = metadata.replaced("annotations", kept) if kept.entries else metadata.without("annotations")
    return root.replaced("metadata", rest) if rest.entries else root.without("metadata")
