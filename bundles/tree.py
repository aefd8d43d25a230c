"""YAML and JSON read once into a located tree: what stands where, nothing interpreted.

The tree is built from libyaml's events and never by a constructor, for three reasons: a
constructor turns ``1.30`` into ``1.3`` and dates into objects, where the signatures of AWS are
over Go's reading of the same text; it recurses as deep as the document asks; and it forgets
lines. Everything that two readers could understand differently (duplicate keys, merge keys,
tags, keys that are numbers) is refused, because one of them may be the one that verifies.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from bundlectl.errors import ContentError
from bundles.scalars import NULLS, TAG_DIRECTIVE, yaml_type

__all__ = ["ListNode", "MapNode", "Node", "Scalar", "Tree", "content_error", "parse_tree", "same_value"]

SIZE_LIMIT: Final = 16 * 1024 * 1024
DEPTH_LIMIT: Final = 64
ALIAS_LIMIT: Final = 200
NODE_LIMIT: Final = 1_000_000
SECONDS_LIMIT: Final = 20.0
_NOT_USED: Final = "nothing of the document was used; correct it there, or fetch the original again"
_QUOTE: Final = "put it in quotes"
_CLOCK_MASK: Final = 4095
_OVERHEAD: Final = 4
"""Bytes of a value beside its text, at least, wherever it is written out."""
_BOM: Final = b"\xef\xbb\xbf"


class _Mark(Protocol):
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class _Located:
    """Where a node begins. The parser's own mark is kept and asked only when an error is told."""

    __slots__ = ("_mark",)
    _mark: _Mark

    @property
    def line(self) -> int:
        """Line, from 1."""
        return self._mark.line + 1

    @property
    def column(self) -> int:
        """Column in characters, from 1."""
        return self._mark.column + 1

    def place(self, mark: _Mark | None) -> None:
        """Move the node to where its key is; only while the tree is built."""
        self._mark = mark or self._mark


class Scalar(_Located):
    """Text as the document writes it (escapes and folding resolved), of no type yet."""

    __slots__ = ("plain", "text")

    def __init__(self, text: str, plain: bool, mark: _Mark) -> None:  # noqa: FBT001 -- one call, in the hot loop
        self.text = text
        self.plain = plain
        self._mark = mark

    @property
    def is_null(self) -> bool:
        """Whether it is written as nothing, ``~`` or ``null``, without quotes."""
        return self.plain and self.text in NULLS

    @property
    def what(self) -> str:
        """What it is, for messages: ``text``, ``an integer``, ``a number``, ``true or false``, ``nothing``."""
        return _WHAT[yaml_type(self.text)] if self.plain else "text"

    def __repr__(self) -> str:
        return f"Scalar({self.text[:80]!r}, line {self.line})"


class MapNode(_Located):
    """A mapping. Its place is that of the key that holds it."""

    __slots__ = ("entries",)
    what = "a map"

    def __init__(self, mark: _Mark) -> None:
        self.entries: dict[str, Node] = {}
        self._mark = mark

    def text(self, key: str) -> str:
        """The text under ``key``; empty when there is none, or null, or not text."""
        node = self.entries.get(key)
        if type(node) is not Scalar or (node.plain and node.text in NULLS):
            return ""
        return node.text

    def map(self, key: str) -> MapNode | None:
        """The mapping under ``key``, if there is one."""
        node = self.entries.get(key)
        return node if type(node) is MapNode else None

    def without(self, key: str) -> MapNode:
        """A view of this mapping that lacks one key."""
        view = MapNode(self._mark)
        view.entries = {name: node for name, node in self.entries.items() if name != key}
        return view

    def replaced(self, key: str, node: Node) -> MapNode:
        """A view of this mapping with another value under ``key``."""
        view = MapNode(self._mark)
        view.entries = {**self.entries, key: node}
        return view

    def items(self, key: str) -> list[Node]:
        """The items of the list under ``key``; none when it is not a list."""
        node = self.entries.get(key)
        return node.items if type(node) is ListNode else []


class ListNode(_Located):
    """A sequence. Its place is that of the key that holds it."""

    __slots__ = ("items",)
    what = "a list"

    def __init__(self, mark: _Mark) -> None:
        self.items: list[Node] = []
        self._mark = mark


Node: TypeAlias = Scalar | MapNode | ListNode

_WHAT: Final = {
    "null": "nothing",
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "timestamp": "text",
    "text": "text",
}


class Tree(NamedTuple):
    """A parsed document: its root mapping, and what was tolerated with a warning."""

    root: MapNode
    warnings: tuple[str, ...]


def content_error(origin: str, line: int, field: str, why: str, hint: str | None = None) -> ContentError:
    """Tell what is wrong where, as ``ORIGIN:LINE: FIELD: WHY``."""
    return ContentError(f"{field}: {why}" if field else why, artifact=f"{origin}:{line}", hint=hint or _NOT_USED)


def parse_tree(raw: bytes, *, origin: str, expanded: int = SIZE_LIMIT) -> Tree:
    """Read one YAML or JSON document whose root is a mapping.

    Bounds: 16 MiB, 64 levels, 200 aliases, 1,000,000 nodes with aliases expanded, 20 seconds.

    Args:
        raw: UTF-8 without a byte order mark.
        origin: the path or URL, for messages.
        expanded: bytes that it may have where its aliases are written out.

    Raises:
        ContentError: not such a document, or ambiguous (see the module).
    """
    if len(raw) > SIZE_LIMIT:
        raise ContentError(
            f"larger than {SIZE_LIMIT // 1024 // 1024} MiB", artifact=origin, hint="a release document is far smaller"
        )
    if raw.startswith(_BOM):
        raise content_error(origin, 1, "", "begins with a byte order mark", "save it as UTF-8 without one")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise content_error(
            origin, line, "", f"not UTF-8 (byte {raw[error.start]:#04x})", "only UTF-8 is read; is this YAML?"
        ) from error
    if directive := TAG_DIRECTIVE.search(raw):
        line = raw.count(b"\n", 0, directive.end()) + 1
        raise content_error(origin, line, "", "the directive %TAG is not read", "remove it, and the tags that need it")
    import yaml  # noqa: PLC0415 -- 17 ms that commands without documents save

    builder = _Builder(origin, raw.decode() if b"\\/" in raw else "", expanded)
    try:
        builder.build(yaml.CSafeLoader(raw), yaml)
    except yaml.YAMLError as error:
        raise _syntax_error(error, raw, origin) from error
    return builder.tree()


def _syntax_error(error: Any, raw: bytes, origin: str) -> ContentError:  # noqa: ANN401 -- yaml is imported late
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    before = raw.count(b"\n", 0, max(getattr(error, "position", 0), 0))
    line = (mark.line if mark is not None else before) + 1
    why = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return content_error(origin, line, "", f"not YAML: {why}")


class _Open:
    """A container being filled: itself, its anchor, and the key whose value comes next."""

    __slots__ = ("anchor", "flow", "key", "key_mark", "node", "start", "text")

    def __init__(self, node: MapNode | ListNode, event: Any, start: int, text: int) -> None:  # noqa: ANN401 -- late
        self.node = node
        self.anchor: str | None = event.anchor
        self.flow: bool = event.flow_style
        self.start = start
        self.text = text
        self.key: str | None = None
        self.key_mark: _Mark | None = None


class _Anchored(NamedTuple):
    node: Node
    size: int
    height: int
    text: int


class _Builder:
    """Turns events into nodes, counting what the document costs as it grows."""

    def __init__(self, origin: str, escaping: str, expanded: int) -> None:
        """``escaping`` is the text, where a slash in it may be escaped; ``expanded`` how long it may become."""
        self._origin = origin
        self._expanded = expanded
        self._text = 0  # characters of keys and scalars, aliases written out
        self._escaping = escaping
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._count = 0
        self._aliases = 0
        self._anchors: dict[str, _Anchored] = {}
        self._names: set[str] = set()
        self._heights: list[tuple[int, int]] = []  # of each open anchored container: its depth, the deepest below it
        self._keys: dict[str, str] = {}
        self._warnings: list[str] = []
        self._documents = 0

    def tree(self) -> Tree:
        root = self._root
        if root is None or (type(root) is Scalar and root.is_null):
            raise self._error(1, "the document is empty", "is this the right file?")
        if type(root) is not MapNode:
            raise self._error(root.line, f"the document must be a map, not {root.what}", "is this the right file?")
        return Tree(root, tuple(self._warnings))

    def build(self, parser: Any, yaml: Any) -> None:  # noqa: ANN401 -- yaml is imported late
        """Read all events.

        Raises:
            ContentError: a bound is passed, or something is ambiguous.
        """
        scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        deadline = time.monotonic() + SECONDS_LIMIT
        get = parser.get_event
        while True:
            event = get()
            kind = type(event)
            if kind is scalar:
                self._scalar(event)
            elif kind is mapping:
                self._start(MapNode(event.start_mark), event)
            elif kind is sequence:
                self._start(ListNode(event.start_mark), event)
            elif kind in ends:
                self._end()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self._document(event)
            elif kind is yaml.StreamEndEvent:
                return
            if not self._count & _CLOCK_MASK and time.monotonic() > deadline:
                raise self._error(event.start_mark.line + 1, f"took more than {SECONDS_LIMIT:.0f} seconds to read")

    def _document(self, event: Any) -> None:  # noqa: ANN401
        self._documents += 1
        if self._documents > 1:
            raise self._error(
                event.start_mark.line + 1, "more than one document in the file", "split it at the lines with ---"
            )

    def _scalar(self, event: Any) -> None:  # noqa: ANN401
        text, mark = event.value, event.start_mark
        plain = not event.style
        self._counted(event)
        self._text += len(text)
        if plain and "?" in text and self._stack and self._stack[-1].flow:
            raise self._error(
                mark.line + 1, f"{self._path()}: readers differ on a question mark between brackets", _QUOTE
            )
        if self._escaping and event.style == '"' and _escapes_slash(self._escaping, event):
            raise self._error(
                mark.line + 1,
                f"{self._path()}: an escaped slash (\\/) is no text for readers of YAML 1.1",
                "write / alone",
            )
        top = self._stack[-1] if self._stack else None
        if top is not None and top.key is None and type(top.node) is MapNode:
            top.key = self._keys.get(text) if plain else text
            if top.key is None:
                top.key = self._new_key(text, mark)
            top.key_mark = mark
            return
        node = Scalar(text, plain, mark)
        if event.anchor:
            self._name(event.anchor, node)
            self._anchors[event.anchor] = _Anchored(node, 1, 0, len(text))
        self._attach(node, top)

    def _new_key(self, text: str, mark: _Mark) -> str:
        """Check a key written without quotes for the first time."""
        if text == "<<":
            raise self._error(
                mark.line + 1, f"{self._path()}: merge keys (<<) are not read", "write the entries out in full"
            )
        kind = yaml_type(text)
        if kind != "text":
            raise self._error(
                mark.line + 1,
                f"{self._path()}: the key {text[:80]!r} is not text for every reader of YAML",
                _QUOTE,
            )
        self._keys[text] = text
        return text

    def _start(self, node: MapNode | ListNode, event: Any) -> None:  # noqa: ANN401
        stack = self._stack
        self._counted(event)
        if stack:
            top = stack[-1]
            if type(top.node) is MapNode:
                if top.key is None:
                    raise self._error(node.line, f"{self._path()}: a key must be text, not {node.what}")
                node.place(top.key_mark)
        if len(stack) >= DEPTH_LIMIT:
            raise self._error(node.line, f"nested deeper than {DEPTH_LIMIT} levels")
        if event.anchor:
            self._name(event.anchor, node)
            self._heights.append((len(stack), len(stack)))
        stack.append(_Open(node, event, self._count, self._text))
        if self._heights:
            self._reached(len(stack))

    def _name(self, anchor: str, node: Node) -> None:
        """Refuse an anchor that was there before: readers differ on what an alias means inside of the second."""
        if anchor in self._names:
            raise self._error(
                node.line, f"{self._path()}: the anchor &{anchor[:80]} is there twice", "rename one of them"
            )
        self._names.add(anchor)

    def _reached(self, depth: int) -> None:
        start, deepest = self._heights[-1]
        self._heights[-1] = (start, max(deepest, depth))

    def _end(self) -> None:
        done = self._stack.pop()
        if done.anchor:
            start, deepest = self._heights.pop()
            size, text = self._count - done.start + 1, self._text - done.text
            self._anchors[done.anchor] = _Anchored(done.node, size, deepest - start, text)
            if self._heights:
                self._reached(deepest)
        self._attach(done.node, self._stack[-1] if self._stack else None)

    def _alias(self, event: Any) -> None:  # noqa: ANN401
        line = event.start_mark.line + 1
        top = self._stack[-1] if self._stack else None
        if top is not None and top.key is None and type(top.node) is MapNode:
            raise self._error(line, f"{self._path()}: a key must be text, not an alias")
        target = self._anchors.get(event.anchor)
        if target is None:
            raise self._error(line, f"{self._path()}: the alias *{event.anchor[:80]} names nothing before it")
        self._aliases += 1
        if self._aliases > ALIAS_LIMIT:
            raise self._error(line, f"more than {ALIAS_LIMIT} aliases", "write the values out in full")
        self._count += target.size
        if self._count > NODE_LIMIT:
            raise self._error(line, f"aliases expand it to more than {NODE_LIMIT} values")
        self._text += target.text
        if self._text + _OVERHEAD * self._count > self._expanded:
            raise self._error(line, f"aliases expand it to more than {self._expanded} bytes", "use fewer of them")
        depth = len(self._stack) + target.height
        if depth > DEPTH_LIMIT:
            raise self._error(line, f"nested deeper than {DEPTH_LIMIT} levels")
        if self._heights:
            self._reached(depth)
        self._attach(target.node, top)

    def _attach(self, node: Node, top: _Open | None) -> None:
        if top is None:
            self._root = node
        elif isinstance(top.node, ListNode):
            top.node.items.append(node)
        elif top.key is not None:
            entries = top.node.entries
            if top.key in entries:
                self._duplicate(entries[top.key], node, top)
            else:
                entries[top.key] = node
            top.key = None

    def _duplicate(self, first: Node, second: Node, top: _Open) -> None:
        """Refuse a key given twice, unless with one value: then all readers agree.

        Upstream's own test documents repeat ``cloudStack`` word for word.
        """
        line = (top.key_mark.line if top.key_mark else 0) + 1
        path = self._path()
        if not same_value(first, second):
            raise self._error(
                line,
                f"{path}: given twice with different values (first on line {first.line})",
                "readers disagree which of them counts; remove one",
            )
        self._warnings.append(f"{self._origin}:{line}: {path}: given twice with one value (line {first.line})")

    def _counted(self, event: Any) -> None:  # noqa: ANN401
        self._count += 1
        if self._count > NODE_LIMIT:
            raise self._error(event.start_mark.line + 1, f"more than {NODE_LIMIT} values")
        if event.tag is not None:
            raise self._error(
                event.start_mark.line + 1,
                f"{self._path()}: the tag {event.tag[:80]} is not read",
                "remove it; text that looks like a number goes in quotes",
            )

    def _path(self) -> str:
        parts: list[str] = []
        for frame in self._stack:
            if type(frame.node) is ListNode:
                parts.append(f"[{len(frame.node.items)}]")
            elif frame.key is not None:
                parts.append(f".{frame.key}")
        return "".join(parts).lstrip(".") or "the document"

    def _error(self, line: int, why: str, hint: str | None = None) -> ContentError:
        return content_error(self._origin, line, "", why, hint)


def _escapes_slash(text: str, event: Any) -> bool:  # noqa: ANN401 -- yaml is imported late
    written = text[event.start_mark.index : event.end_mark.index]
    return "\\/" in written.replace("\\\\", "")


def same_value(first: Node, second: Node) -> bool:
    """Whether two subtrees say the same, quoting included."""
    pairs: list[tuple[Node, Node]] = [(first, second)]
    while pairs:
        one, two = pairs.pop()
        if one is two:
            continue
        if isinstance(one, Scalar) and isinstance(two, Scalar):
            if (one.text, one.plain) != (two.text, two.plain):
                return False
        elif isinstance(one, MapNode) and isinstance(two, MapNode):
            if one.entries.keys() != two.entries.keys():
                return False
            pairs.extend((node, two.entries[key]) for key, node in one.entries.items())
        elif isinstance(one, ListNode) and isinstance(two, ListNode):
            if len(one.items) != len(two.items):
                return False
            pairs.extend(zip(one.items, two.items, strict=True))
        else:
            return False
    return True
