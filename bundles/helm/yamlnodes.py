"""YAML of charts, with the line of every value.

Charts are a third party's YAML: anchors, merge keys and several documents are usual there,
and Helm renders a value as its YAML type prints, not as it was written. Release documents
are read by ``bundles.document``, which is stricter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import yaml

from bundlectl.errors import ContentError
from bundles.scalars import NULLS, TAG_DIRECTIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Listing", "Node", "Scalar", "Table", "YamlEvents", "read_yaml", "read_yaml_documents"]

_DEPTH: Final = 64
_NODES: Final = 1_000_000
_REPEATED: Final = 100_000
"""Values that aliases stand for, written out."""
_HINT: Final = "no chart of good faith needs this; ask its author, or leave it out with --exclude"
_FLOAT: Final = re.compile(r"[-+]?\d+\.\d*")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is neither mapping nor list.

    ``line`` counts from 1, in the text called ``origin``.
    """

    source: str
    line: int
    plain: bool
    """Written without quotes, so that its type is read from how it looks."""
    origin: str = ""

    @property
    def text(self) -> str:
        """How Helm prints it in a template; empty for null.

        An unquoted ``1.10`` is the number 1.1 there (Helm reads YAML through JSON).
        """
        if not self.plain:
            return self.source
        if self.source in NULLS:
            return ""
        if _FLOAT.fullmatch(self.source):
            return repr(float(self.source)).removesuffix(".0")
        return self.source


@dataclass(slots=True)
class Table:
    """A mapping with text keys."""

    line: int
    origin: str = ""
    entries: dict[str, Node] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """The scalar under ``key`` as Helm prints it; empty when absent, null or no scalar."""
        found = self.entries.get(key)
        return found.text if isinstance(found, Scalar) else ""

    def table(self, key: str) -> Table | None:
        """The mapping under ``key``."""
        found = self.entries.get(key)
        return found if isinstance(found, Table) else None

    def items(self, key: str) -> list[Node]:
        """The list under ``key``; empty when there is none."""
        found = self.entries.get(key)
        return found.entries if isinstance(found, Listing) else []


@dataclass(slots=True)
class Listing:
    """A list."""

    line: int
    origin: str = ""
    entries: list[Node] = field(default_factory=list)


Node: TypeAlias = Scalar | Table | Listing


class _Anchored(NamedTuple):
    node: Node
    size: int
    """Values, itself and written-out aliases included."""
    height: int


class YamlEvents:
    """The events of a YAML stream, built into nodes on demand.

    Building only what is wanted keeps a 16 MiB repository index at a second or two.

    Args:
        raw: the whole text.
        origin: for messages.

    Raises:
        ContentError: it has ``%TAG`` directives.
    """

    def __init__(self, raw: bytes, *, origin: str) -> None:
        self._origin = origin
        self._anchors: dict[str, _Anchored] = {}
        self._budget = _NODES
        self._repeatable = _REPEATED
        self._deepest = 0
        if TAG_DIRECTIVE.search(raw):
            raise ContentError("the YAML has the directive %TAG", artifact=origin, hint=_HINT)
        self._events: Iterator[Any] = yaml.parse(raw.removeprefix(b"\xef\xbb\xbf"), Loader=yaml.CSafeLoader)

    def next(self) -> Any:  # noqa: ANN401 -- PyYAML's events have no common typed shape
        """The next event, ``None`` at the end of the stream.

        Raises:
            ContentError: not YAML.
        """
        try:
            return next(self._events, None)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{self._origin}:{mark.line + 1}" if mark is not None else self._origin
            problem = getattr(error, "problem", None) or "unreadable characters"
            raise ContentError(
                f"not YAML: {str(problem)[:200]}",
                artifact=place,
                hint="package the chart again with correct YAML, or leave it out with --exclude",
            ) from error
        except (ValueError, RecursionError) as error:
            raise ContentError(
                "not YAML: unreadable characters",
                artifact=self._origin,
                hint="package the chart again with correct YAML, or leave it out with --exclude",
            ) from error

    def skip(self, event: Any) -> None:  # noqa: ANN401
        """Read past the node that ``event`` begins."""
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth <= 0 or event is None:
                return
            event = self.next()

    def build(self, event: Any, depth: int = 0) -> Node:  # noqa: ANN401
        """The node that ``event`` begins.

        Raises:
            ContentError: nested deeper than 64, more than 1,000,000 nodes (both with aliases and
                merge keys written out), an unknown alias.
        """
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._spend(1, depth, event)
        before, outer, self._deepest = self._budget + 1, self._deepest, depth
        line = event.start_mark.line + 1
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, line, event.style in (None, "") and event.tag in (None, ""), self._origin)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Listing(line, self._origin)
            while not isinstance(child := self.next(), yaml.SequenceEndEvent):
                node.entries.append(self.build(child, depth + 1))
        else:
            node = Table(line, self._origin)
            self._fill(node, depth, event)
        # Registered only once complete, so that an alias can never point at its own parent.
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(node, before - self._budget, self._deepest - depth)
        self._deepest = max(self._deepest, outer)
        return node

    def documents(self) -> Iterator[Node]:
        """Each document of the stream."""
        while (event := self.next()) is not None:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
            elif isinstance(event, yaml.NodeEvent):
                yield self.build(event)

    def _fill(self, table: Table, depth: int, start: Any) -> None:  # noqa: ANN401
        merged: list[Node] = []
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.build(event, depth + 1)
            value = self.build(self.next(), depth + 1)
            if not isinstance(key, Scalar):
                continue
            if key.plain and key.source == "<<":
                merged += value.entries if isinstance(value, Listing) else [value]
            else:
                table.entries[key.source] = value
        for other in merged:
            if isinstance(other, Table):
                self._spend(len(other.entries), depth, start)  # one alias of a list merges all its mappings
                for name, value in other.entries.items():
                    table.entries.setdefault(name, value)

    def _alias(self, event: Any, depth: int) -> Node:  # noqa: ANN401
        """The node of an anchor, shared; who walks over it walks as far as if it were written out."""
        found = self._anchors.get(event.anchor)
        if found is None:
            raise ContentError("the YAML refers to an unknown anchor", artifact=self._place(event), hint=_HINT)
        self._repeatable -= found.size
        if self._repeatable < 0:
            raise ContentError(
                f"aliases of the YAML stand for more than {_REPEATED} values", artifact=self._place(event), hint=_HINT
            )
        self._spend(found.size, depth + found.height, event)
        self._deepest = max(self._deepest, depth + found.height)
        return found.node

    def _spend(self, values: int, depth: int, event: Any) -> None:  # noqa: ANN401
        self._budget -= values
        if depth > _DEPTH or self._budget < 0:
            what = f"values nested deeper than {_DEPTH}" if depth > _DEPTH else f"more than {_NODES} values"
            raise ContentError(f"the YAML has {what}", artifact=self._place(event), hint=_HINT)

    def _place(self, event: Any) -> str:  # noqa: ANN401
        return f"{self._origin}:{event.start_mark.line + 1}"


def read_yaml(raw: bytes, *, origin: str) -> Node | None:
    """The first document of ``raw``, ``None`` when there is none.

    Raises:
        ContentError: not YAML, or beyond a limit.
    """
    return next(YamlEvents(raw, origin=origin).documents(), None)


def read_yaml_documents(raw: bytes, *, origin: str) -> Iterator[Node]:
    """All documents of ``raw``.

    Raises:
        ContentError: not YAML, or beyond a limit; raised while iterating.
    """
    return YamlEvents(raw, origin=origin).documents()
