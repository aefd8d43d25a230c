"""Documents made up for two readers to disagree about: one text for one number of one seed.

The fields of a kind are whatever the other implementation says they are. About half of the documents
say only what upstream's decoder takes, in as many spellings as YAML has; the others have something
wrong in them, anywhere.
"""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tests.interop.hostile_values import (
    INTEGERS,
    KEYS,
    LIKELY_SELECTORS,
    NOT_INTEGERS,
    NOT_TIMES,
    NOT_TRUTHS,
    ODD_SELECTORS,
    REAL,
    SELECTORS,
    TIMES,
    TRUTHS,
)
from tests.interop.spelling import Anchored, Map, Node, Seq, Spelling, block_text, in_json, text, token_of, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = ("packagebundle", "bundles", "eksd", "object", "yaml", "json")
_WEIGHTS = (30, 25, 12, 14, 12, 7)
_BUDGETS = (8, 20, 40, 40, 80, 160)
_WHOLE = 0.02
"""Of the documents that have every field there is."""
_PART_OF_REAL = 0.12
"""Of the documents that are parts of real ones, with changes."""
_GARBLED = 0.05
"""Of the documents whose text is changed at last, not their structure."""

Shape: TypeAlias = "dict[str, Any] | list[Any] | str"

_HEADS = {
    "packagebundle": ("packages.eks.amazonaws.com/v1alpha1", "PackageBundle"),
    "bundles": ("anywhere.eks.amazonaws.com/v1alpha1", "Bundles"),
    "eksd": ("distro.eks.amazonaws.com/v1alpha1", "Release"),
    "object": ("v1", "Pod"),
}
_TAILS = ("\n", "", "\n\n", "...\n", "---\n", "--- \na: b\n", "# end\n", "\t\n", "  \n", "\n...\n# end\n", "\0", "]\n")
_FRONTS = (
    "---\n",
    "%YAML 1.1\n---\n",
    "# first\n",
    "\n",
    "\ufeff",
    "--- # here\n",
    "%TAG ! x:\n---\n",
    "---\n---\n",
    "...\n",
)


class Document(NamedTuple):
    """What both sides are asked about."""

    kind: str
    text: bytes


class Generator:
    """Makes documents. ``shapes`` has for each kind its fields; ``real`` some documents to take parts of."""

    def __init__(self, shapes: Mapping[str, Shape], seed: int, real: Sequence[tuple[str, Node]] = ()) -> None:
        self._shapes = shapes
        self._seed = seed
        self._real = real

    def document(self, number: int) -> Document:
        dice = Random(f"{self._seed} {number}")
        if self._real and dice.random() < _PART_OF_REAL:
            kind, tree = dice.choice(self._real)
            node = _thin(tree, dice)
            for _ in range(dice.choice((0, 0, 1, 2))):
                node = _changed(node, dice)
            return Document(kind, _garbled(write(node, Spelling(dice, json=False)), dice))
        kind = dice.choices(KINDS, _WEIGHTS)[0]
        return Document(kind, self._made(kind, dice))

    def _made(self, kind: str, dice: Random) -> bytes:
        plain_value = kind in ("yaml", "json")
        spelling = Spelling(dice, json=plain_value or dice.random() < 0.15)
        if plain_value:
            return write(_Maker(spelling, breaking=0.0).anything(dice.choice((0, 1, 2, 2, 3))), spelling).encode()
        breaking = dice.choice((0.02, 0.05, 0.15)) if dice.random() < 0.45 else 0.0
        maker = _Maker(spelling, breaking)
        shape = self._shapes.get(kind) or _object_shape(self._shapes)
        return _garbled(write(maker.root(shape, kind), spelling), dice)


def _object_shape(shapes: Mapping[str, Any]) -> Shape:
    metadata = {name: "any" if isinstance(of, list) else of for name, of in shapes["packagebundle"]["metadata"].items()}
    spec = {"*": "any", "packages": "any", "minControllerVersion": "any", "containers": "any"}
    return {
        "apiVersion": "string",
        "kind": "string",
        "metadata": metadata,
        "spec": spec,
        "status": "any",
        "data": "any",
    }


class _Maker:
    """One document's worth of decisions."""

    def __init__(self, spelling: Spelling, breaking: float) -> None:
        self._spelling = spelling
        self._dice = spelling.dice
        self._whole = self._dice.random() < _WHOLE
        self._breaking = 0.0 if self._whole else breaking
        self._left = 1 << 20 if self._whole else self._dice.choice(_BUDGETS)
        self._anchors: list[tuple[str, int]] = []
        self._named = 0
        self._aliases = not spelling.json and self._dice.random() < 0.15

    def root(self, shape: Shape, kind: str) -> Node:
        """A document with, nearly always, its head and what upstream cannot do without."""
        assert isinstance(shape, dict)
        dice, pairs = self._dice, Map()
        for name, said in zip(("apiVersion", "kind"), _HEADS[kind], strict=True):
            if dice.random() < 0.95:
                pairs.append(
                    (self._key(name), self.value("string") if dice.random() < 0.05 else token_of(said, self._spelling))
                )
        for name in dice.sample(list(shape), len(shape)):
            if name == "metadata" and dice.random() < 0.95:
                pairs.append((self._key(name), self._metadata(shape[name], kind)))
            elif name == "spec" and dice.random() < 0.97:
                pairs.append((self._key(name), self._spec(shape[name])))
            elif name not in ("apiVersion", "kind", "metadata", "spec") and dice.random() < 0.3:
                pairs.append((self._key(name), self.value(shape[name])))
        if dice.random() < 0.3:
            dice.shuffle(pairs)
        return self._spoilt(pairs)

    def _spec(self, shape: Shape) -> Node:
        if not isinstance(shape, dict) or self._dice.random() < self._breaking:
            return self.value(shape)
        pairs = Map((self._key(name), self.value(of)) for name, of in shape.items() if self._dice.random() < 0.93)
        self._dice.shuffle(pairs)
        return self._spoilt(pairs)

    def _metadata(self, shape: Shape, kind: str) -> Node:
        node = self.value(shape)
        if not isinstance(node, Map) or self._dice.random() < 0.3:
            return node
        dice = self._dice
        annotations = self._text_map("any string" if kind == "object" else "string")
        domain = "anywhere.eks.amazonaws.com" if kind in ("bundles", "eksd") else "eksa.aws.com"
        if dice.random() < 0.8:
            annotations.append((self._key(f"{domain}/excludes"), token_of(self._excludes(), self._spelling)))
        if dice.random() < 0.5:
            annotations.append(
                (
                    self._key(f"{domain}/{dice.choice(('signature', 'includes', 'excludesX'))}"),
                    token_of(text(dice), self._spelling, quoted=True),
                )
            )
        rest = Map(pair for pair in node if "annotations" not in pair[0].lower())
        rest.insert(dice.randint(0, len(rest)), (self._key("annotations"), self._spoilt(annotations)))
        return rest

    def _excludes(self) -> str:
        dice = self._dice
        odd = dice.random() < max(0.12, self._breaking)
        lines = [
            dice.choice(LIKELY_SELECTORS if dice.random() < 0.75 else SELECTORS)
            for _ in range(dice.choice((0, 1, 2, 2, 3)))
        ]
        if odd:
            lines.insert(dice.randint(0, len(lines)), dice.choice(ODD_SELECTORS))
        if dice.random() < 0.1:
            lines.insert(dice.randint(0, len(lines)), "")
        encoded = base64.b64encode(("\n".join(lines) + dice.choice(("", "\n"))).encode()).decode()
        match dice.randrange(30 if odd else 60):
            case 0:
                return encoded[:-1]
            case 1:
                return encoded + dice.choice(("=", " ", "!", "A", "====", "\n", "\r\n"))
            case 2:
                return encoded[:4] + dice.choice(("\n", "\r\n", " ", "\t", "-", "_", "*")) + encoded[4:]
            case 3 if encoded.endswith("="):
                return encoded.rstrip("=")[:-1] + "f" + "=" * encoded.count("=")
        return encoded

    def value(self, shape: Shape) -> Node:
        """A value of a shape; with a chance, something else."""
        dice = self._dice
        self._left -= 1
        if dice.random() < 0.03:
            return "null"
        if self._breaking and dice.random() < self._breaking:
            return self.anything(2)
        if self._aliases and not isinstance(shape, str):
            if self._anchors and dice.random() < 0.3:
                fitting = [name for name, of in self._anchors if of == id(shape)]
                if fitting:
                    return f"*{dice.choice(fitting)}"
            if dice.random() < 0.3:
                self._named += dice.random() < 0.97
                name = f"a{self._named}"
                node = self._container(shape)
                self._anchors.append((name, id(shape)))
                return Anchored(name, node)
        return self._scalar(shape) if isinstance(shape, str) else self._container(shape)

    def _container(self, shape: dict[str, Any] | list[Any]) -> Node:
        dice = self._dice
        if isinstance(shape, list):
            count = 1 if self._whole else dice.choice((0, 1, 1, 2, 2, 3)) if self._left > 0 else 0
            return Seq(self.value(shape[0]) for _ in range(count))
        if list(shape) == ["*"]:
            return self._spoilt(self._text_map(shape["*"]))
        few = len(shape) if self._whole else dice.choice((1, 2, 3, 4, 6, len(shape)))
        names = dice.sample(list(shape), min(len(shape), few)) if self._left > 0 else []
        return self._spoilt(Map((self._key(name), self.value(shape[name])) for name in names))

    def _text_map(self, of: Shape) -> Map:
        names = self._names((0, 1, 2, 3))
        return Map((self._quoted_key(name), self.value(of)) for name in names if name != "<<")

    def _names(self, counts: Sequence[int]) -> list[str]:
        """Different names, half of them such that their order is not plain to see."""
        dice = self._dice
        names = dice.sample(KEYS, dice.choice(counts))
        if dice.random() < 0.5:
            names += ["".join(dice.choices("aabB_-.0011239éß\u0663", k=dice.randint(1, 6))) for _ in names]
        return list(dict.fromkeys(names))

    def _scalar(self, shape: str) -> Node:
        dice, spelling = self._dice, self._spelling
        if shape == "string":
            return self._string()
        if shape == "any string":
            return token_of(text(dice), spelling, quoted=True)
        if shape in ("int", "int64"):
            return _said(NOT_INTEGERS if dice.random() < self._breaking else INTEGERS, spelling)
        if shape == "bool":
            return _said(NOT_TRUTHS if dice.random() < self._breaking else TRUTHS, spelling)
        if shape == "Time":
            return _said(NOT_TIMES if dice.random() < self._breaking else TIMES, spelling)
        return self.anything(2)

    def _string(self) -> Node:
        dice, spelling = self._dice, self._spelling
        if self._whole:
            # Of hundreds of odd texts there is always one that is refused.
            return token_of(dice.choice(REAL), spelling)
        if spelling.json:
            return in_json(text(dice), dice)
        chance = dice.random()
        if chance < 0.2:
            return spelling.plain()
        return block_text(dice) if chance < 0.32 else token_of(text(dice), spelling)

    def anything(self, depth: int) -> Node:
        """Any value at all."""
        dice = self._dice
        self._left -= 1
        kind = dice.randrange(10) if depth and self._left > 0 else dice.randrange(6)
        if kind < 3:
            return self._string()
        if kind < 6:
            return self._spelling.plain(finite=True)
        if kind < 8:
            return Seq(self.anything(depth - 1) for _ in range(dice.choice((0, 1, 2, 3))))
        if dice.random() < 0.02:
            return _deep(dice)
        names = self._names((0, 1, 2, 3, 5))
        return Map((self._quoted_key(name), self.anything(depth - 1)) for name in names)

    def _key(self, name: str) -> str:
        """The name of a field, now and then in another case, which upstream takes for the same."""
        dice = self._dice
        if dice.random() < 0.01 + self._breaking / 4:
            at = dice.randrange(len(name))
            other = (
                {"s": "\u017f", "k": "\u212a"}.get(name[at], name[at].swapcase())
                if dice.random() < 0.3
                else name[at].swapcase()
            )
            name = dice.choice((name.upper(), name.lower(), name[:at] + other + name[at + 1 :]))
        return token_of(name, self._spelling, quoted=self._spelling.json or dice.random() < 0.1 or None)

    def _quoted_key(self, name: str) -> str:
        return token_of(
            name,
            self._spelling,
            quoted=None if name.isalpha() and name.isascii() and len(name) < 4 and name != "y" else True,
        )

    def _spoilt(self, pairs: Map) -> Map:
        """A map with an unknown field, or one that stands there twice, or whose key is no text."""
        dice = self._dice
        if dice.random() < 0.08 and self._left > 0:
            pairs.insert(
                dice.randint(0, len(pairs)),
                (self._quoted_key(dice.choice(("unknown", "x-y", "naem", "K"))), self.anything(2)),
            )
        if not self._breaking or dice.random() > self._breaking / 2:
            return pairs
        spoiling = dice.randrange(4)
        if spoiling == 0 and pairs:
            pairs.append(dice.choice(pairs))
        elif spoiling == 1 and pairs:
            pairs.append((dice.choice(pairs)[0], self.anything(1)))
        elif spoiling == 2 and not self._spelling.json:
            pairs.append(
                (
                    dice.choice(("1", "true", "~", "1.5", "2020-01-01", "<<", "y", "? []", "!!str a", "? a")),
                    self.anything(1),
                )
            )
        else:
            name = dice.choice(pairs)[0] if pairs else "name"
            pairs.append((name.swapcase(), self.anything(1)))
        return pairs


def _said(choices: Sequence[str], spelling: Spelling) -> str:
    """One of some YAML scalars; in JSON one that JSON has."""
    said = spelling.dice.choice(choices)
    if not spelling.json:
        return said
    try:
        json.loads(said)
    except ValueError:
        return "null" if said in ("~", "") else json.dumps(said.strip("'"))
    return said


def _deep(dice: Random) -> Node:
    """Around the depth that is bounded here, and not there."""
    node: Node = "1"
    for _ in range(dice.choice((10, 50, 60, 70, 120))):
        node = Seq([node]) if dice.random() < 0.7 else Map([('"a"', node)])
    return node


def _thin(node: Node, dice: Random, depth: int = 0) -> Node:
    """A small part of a large document."""
    if isinstance(node, Map):
        kept = len(node) if depth < 2 else dice.choice((2, 4, 8))
        chosen = sorted(dice.sample(range(len(node)), min(len(node), kept)))
        return Map((node[at][0], _thin(node[at][1], dice, depth + 1)) for at in chosen)
    if isinstance(node, Seq):
        return Seq(_thin(item, dice, depth + 1) for item in dice.sample(node, min(len(node), dice.choice((1, 1, 2)))))
    return node


def _changed(node: Node, dice: Random) -> Node:
    """A document with one change somewhere in it."""
    maker = _Maker(Spelling(dice, json=False), breaking=0.1)
    if isinstance(node, Map) and node:
        at, pairs = dice.randrange(len(node)), Map(node)
        key, held = pairs[at]
        match dice.randrange(12):
            case 0:
                del pairs[at]
            case 1:
                pairs[at] = (key.swapcase(), held)
            case 2:
                pairs.append((key, maker.anything(1)))
            case 3:
                pairs.append(("unknown", maker.anything(2)))
            case 4:
                pairs.reverse()
            case _:
                pairs[at] = (key, _changed(held, dice))
        return pairs
    if isinstance(node, Seq) and node and dice.random() < 0.9:
        at = dice.randrange(len(node))
        return Seq([*node[:at], _changed(node[at], dice), *node[at + 1 :]])
    return maker.value("string") if dice.random() < 0.6 else maker.anything(1)


def _garbled(written: str, dice: Random) -> bytes:
    """The text of a document, at times with other line ends, other ends, or a change anywhere."""
    if dice.random() > _GARBLED:
        return written.encode("utf-8", "surrogatepass")
    at = dice.randint(0, len(written))
    match dice.randrange(8):
        case 0:
            written = written.replace("\n", dice.choice(("\r\n", "\r")))
        case 1 | 2:
            written += dice.choice(_TAILS)
        case 3 | 4:
            written = dice.choice(_FRONTS) + written
        case 5:
            written = written[:at] + written[at + dice.randint(1, 4) :]
        case 6:
            written = (
                written[:at]
                + dice.choice((":", "-", "\t", " ", "\n", '"', "'", "#", "!!str ", "&a ", "*a", "{", ","))
                + written[at:]
            )
        case _:
            raw = written.encode("utf-8", "surrogatepass")
            return (
                raw[:at]
                + dice.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\x1b", b"\x7f", b"\xc2\x85"))
                + raw[at:]
            )
    return written.encode("utf-8", "surrogatepass")
