"""How a value can be written in YAML and JSON: quotes, escapes, blocks, flows, anchors, and odd text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from tests.interop.hostile_values import FINITE, JSON_PLAIN, PIECES, PLAIN, REAL, UNLIKELY, UNREADABLE, WORDS

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

Node: TypeAlias = "str | Block | Anchored | Map | Seq"
"""A scalar is the text that stands for it, quotes included."""


class Map(list[tuple[str, Any]]):
    """Keys as they are written, each with a node: a key may stand there twice."""


class Seq(list[Any]):
    """Nodes."""


class Block(NamedTuple):
    """A literal or folded scalar: its indicator without indentation, and its lines."""

    indicator: str
    lines: tuple[str, ...]


class Anchored(NamedTuple):
    """A node with an anchor."""

    name: str
    node: Any


def text(dice: Random) -> str:
    """Text that someone might not write down as it is."""
    match dice.randrange(8):
        case 0 | 1 | 2:
            return dice.choice(REAL)
        case 3:
            return dice.choice(PLAIN)
        case 4:
            # Around the width of 80 where lines are folded, and several lines of it.
            words = [
                dice.choice(WORDS) if dice.random() < 0.8 else "w" * dice.randint(1, 90)
                for _ in range(dice.randint(5, 30))
            ]
            return " ".join(words)
        case 5:
            lines = [
                dice.choice(("", "a", " a", "a ", "  ", "\ta", "# a", "- a", "a: b", "é", "x" * 90, "a b " * 30))
                for _ in range(3)
            ]
            return dice.choice(("", "\n", "\n\n", " ")) + "\n".join(lines) + dice.choice(("", "\n", "\n\n", " ", "\n "))
        case _:
            chosen = [dice.choice(PIECES) for _ in range(dice.randint(1, 9))]
            return "".join(chosen) + (dice.choice(UNREADABLE) if dice.random() < 0.02 else "")


class Spelling:
    """How one document is written: how far things are indented, what stands in flows."""

    def __init__(self, dice: Random, *, json: bool) -> None:
        self.dice = dice
        self.json = json
        self.step = dice.choice((1, 2, 2, 2, 4))
        self.flows = dice.choice((0.0, 0.05, 0.3))
        self.lists_indented = dice.random() < 0.5
        self.remarks = dice.random() < 0.1

    def plain(self, *, finite: bool = False) -> str:
        """A scalar without quotes; a finite one is, mostly, one that JSON can hold."""
        if not self.json:
            if finite and self.dice.random() < 0.99:
                return self.dice.choice(FINITE)
            return self.dice.choice(PLAIN if self.dice.random() < 0.99 else UNLIKELY)
        return self.dice.choice(JSON_PLAIN)


def block_text(dice: Random) -> Block:
    """A literal or folded scalar, with any chomping."""
    count = dice.choice((0, 1, 1, 2, 3, 4))
    choices = (
        "a",
        "b c",
        "",
        "",
        " a",
        "  ",
        "a: b",
        "# a",
        "- a",
        "é",
        "a " * 45,
        "a\tb",
        "\U0001f600",
        "1.30",
        "'",
        "a ",
        "\x85",
        "\u2028",
    )
    lines = tuple(dice.choice(choices) for _ in range(count))
    return Block(dice.choice("|>") + dice.choice(("", "-", "+")), lines)


def token_of(said: str, spelling: Spelling, *, quoted: bool | None = None) -> str:
    """Text as it may be written: without quotes where that is likely to work, else in one of two."""
    dice = spelling.dice
    if spelling.json:
        return in_json(said, dice)
    if (
        not quoted
        and said.isascii()
        and said.replace("-", "a").replace("/", "a").replace(".", "a").isidentifier()
        and dice.random() < 0.8
    ):
        return said
    if dice.random() < 0.4 and said.isprintable():
        return _broken("'" + said.replace("'", "''") + "'", dice)
    return _broken(_double(said, dice), dice)


def in_json(said: str, dice: Random) -> str:
    """Text in JSON. Two escapes for one character are more than YAML reads, so they are rare here."""
    return json.dumps(said, ensure_ascii=dice.random() < (0.5 if max(said, default="") < "\U00010000" else 0.02))


_SHORT = {
    "\0": "\\0",
    "\a": "\\a",
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    "\x1b": "\\e",
    "\x85": "\\N",
    "\xa0": "\\_",
    "\u2028": "\\L",
    "\u2029": "\\P",
}


def _double(said: str, dice: Random) -> str:
    escaping = dice.choice((0.0, 0.0, 0.1, 1.0))
    parts = ['"']
    for char in said:
        if char in '"\\':
            parts.append("\\" + char)
        elif char.isprintable() and (not escaping or dice.random() > escaping):
            parts.append(char)
        elif char in _SHORT and dice.random() < 0.5:
            parts.append(_SHORT[char])
        else:
            code = ord(char)
            parts.append(
                f"\\x{code:02x}"
                if code < 0x100 and dice.random() < 0.5
                else f"\\u{code:04X}"
                if code < 0x10000
                else f"\\U{code:08x}"
            )
    parts.append('"')
    return "".join(parts)


def _broken(token: str, dice: Random) -> str:
    """A quoted scalar, at times over several lines."""
    if " " not in token or dice.random() > 0.05:
        return token
    return token.replace(
        " ", dice.choice(("\n" + " " * 40, "\n\n" + " " * 40, " \n" + " " * 40)), dice.choice((1, 1, 5))
    )


def write(node: Node, spelling: Spelling) -> str:
    """The text of a document."""
    if spelling.json:
        pretty = spelling.dice.random() < 0.3
        return _flow(node, ", " if pretty else ",", ": " if pretty else ":") + spelling.dice.choice(("", "\n"))
    if not isinstance(node, Map | Seq) or not node or spelling.dice.random() < 0.03:
        return _flow(node, ", ", ": ") + "\n"
    out: list[str] = []
    _entries(out, node, 0, spelling)
    return "".join(out)


def _entries(out: list[str], node: Map | Seq, indent: int, spelling: Spelling) -> None:
    pad = " " * indent
    if isinstance(node, Seq):
        for item in node:
            out.append(f"{pad}-")
            _beside(out, item, indent, spelling)
        return
    for key, held in node:
        if spelling.remarks and spelling.dice.random() < 0.2:
            out.append(spelling.dice.choice(("# a remark\n", "\n", f"{pad}# x: y\n")))
        out.append(f"{pad}{key}:")
        _beside(out, held, indent, spelling, in_map=True)


def _beside(out: list[str], node: Node, indent: int, spelling: Spelling, *, in_map: bool = False) -> None:
    """Write what comes after a key or a dash."""
    if isinstance(node, Anchored):
        out.append(f" &{node.name}")
        node = node.node
    if isinstance(node, str):
        out.append(f" {node} # x\n" if spelling.remarks and spelling.dice.random() < 0.1 else f" {node}\n")
    elif isinstance(node, Block):
        hint = str(spelling.step) if node.lines and node.lines[0][:1] in (" ", "") else ""
        out.append(f" {node.indicator}{hint}\n")
        inner = " " * (indent + spelling.step)
        out.extend(f"{inner}{line}\n" if line else "\n" for line in node.lines)
    elif not node or spelling.dice.random() < spelling.flows:
        out.append(f" {_flow(node, ', ', ': ')}\n")
    else:
        out.append("\n")
        inside = in_map and isinstance(node, Seq) and not spelling.lists_indented
        _entries(out, node, indent if inside else indent + spelling.step, spelling)


def _flow(node: Node, comma: str, colon: str) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, Anchored):
        return f"&{node.name} {_flow(node.node, comma, colon)}"
    if isinstance(node, Block):
        return json.dumps("\n".join(node.lines))
    if isinstance(node, Map):
        return "{" + comma.join(f"{key}{colon}{_flow(held, comma, colon)}" for key, held in node) + "}"
    return "[" + comma.join(_flow(item, comma, colon) for item in node) + "]"


def read_nodes(path: Path) -> Node:
    """A document as nodes, with the quotes it has."""
    return _node(yaml.compose(path.read_bytes(), Loader=yaml.CSafeLoader))


def _node(found: Any) -> Node:
    if isinstance(found, yaml.MappingNode):
        return Map((_node(key), _node(value)) for key, value in found.value)
    if isinstance(found, yaml.SequenceNode):
        return Seq(_node(item) for item in found.value)
    said: str = found.value
    if not found.style:
        return said
    return "'" + said.replace("'", "''") + "'" if found.style == "'" else json.dumps(said, ensure_ascii=False)
