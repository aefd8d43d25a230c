"""What we say a signature is over, against what upstream's own libraries say, document for document.

Either both give the same bytes, or both refuse, or we alone refuse for one of ``STRICTER``. All else
is a difference, made small. One again, and then its bytes there:

    python -m tests.interop.differential NUMBER [SEED]
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bundlectl.errors import BundlectlError, ContentError
from bundles.canonical import canonical_bytes
from bundles.tree import parse_tree
from signing import canonical_json, canonical_yaml
from tests.interop.documents import Document, Generator
from tests.interop.programs import DATA, provided
from tests.interop.spelling import Node, read_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

BATCH: Final = 256
_OURS: Final = {"packagebundle": "PackageBundle", "bundles": "Bundles", "eksd": "EksdRelease", "object": "object"}

REAL: Final = {
    "packagebundle-v1-24-116.aws-signed.yaml": "packagebundle",
    "bundles-minimal.aws-kms-signed.yaml": "bundles",
    "eksa-bundles-small.yaml": "bundles",
    "eksa-bundles-main.yaml": "bundles",
    "kubernetes-1-20-eks-1.yaml": "eksd",
    "kubernetes-1-21-eks-4.yaml": "eksd",
    "eksa-releases.yaml": "object",
    "package-input-1-33.yaml": "object",
}
"""The real documents, each with the kind that it is compared as."""

STRICTER: Final = {
    "a key twice with different values": "given twice with different values",
    "two keys that are one field": "becomes the field",
    "keys without an order": "have no order",
    "an anchor twice": "the anchor .* is there twice",
    "a merge key": "merge keys",
    "a key that is not text for every reader": "is not text for every reader|a key must be text",
    "a tag": "the tag .* is not read|the directive %TAG",
    "more than one document": "more than one document",
    "a byte order mark, or not UTF-8": "byte order mark|not UTF-8",
    "not a map": "the document must be a map|the document is empty",
    "too deep": "nested deeper than",
    "a selector outside the grammar": "invalid selector|more than .* selectors",
    "not YAML for libyaml": "not YAML",
}
"""Why we refuse what upstream takes, and how our message says so."""


class Answer(NamedTuple):
    """What one side says: bytes, or why there are none."""

    signed: bytes | None
    why: str = ""
    broken: bool = False
    """Not refused, but broken down: a difference in any case."""

    def __str__(self) -> str:
        return f"refused: {self.why}" if self.signed is None else f"{self.signed!r}"


class Upstream:
    """The program of ``canonical/``, kept running."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, documents: Sequence[Document]) -> None:
        """Send documents; it works on them meanwhile."""
        parts = [struct.pack(">I", len(documents))]
        for kind, text in documents:
            parts += (struct.pack(">I", len(kind)), kind.encode(), struct.pack(">I", len(text)), text)
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(parts))
        self._process.stdin.flush()

    def answers(self, count: int) -> list[Answer]:
        """What it says of the documents sent before, in order."""
        found = []
        for _ in range(count):
            status, length = struct.unpack(">cI", self._read(5))
            said = self._read(length)
            found.append(Answer(said) if status == b"o" else Answer(None, said.decode(errors="replace")))
        return found

    def one(self, document: Document) -> Answer:
        self.ask([document])
        return self.answers(1)[0]

    def _read(self, length: int) -> bytes:
        assert self._process.stdout is not None
        said = self._process.stdout.read(length)
        assert len(said) == length, f"canonical ended with {self._process.wait()}"
        return said


@contextmanager
def upstream(program: Path) -> Iterator[Upstream]:
    """The running program; stopped at the end."""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Upstream(process)
        finally:
            process.kill()


def shapes(program: Path) -> dict[str, Any]:
    """The fields of each kind, as upstream's types have them."""
    said: dict[str, Any] = json.loads(subprocess.run([program, "shapes"], capture_output=True, check=True).stdout)
    return said


def real_documents() -> list[tuple[str, Node]]:
    """Those that are beside this checkout."""
    return [(kind, read_nodes(DATA / name)) for name, kind in REAL.items() if (DATA / name).is_file()]


def ours(document: Document) -> Answer:
    """What this checkout says."""
    try:
        return Answer(_ours(document))
    except BundlectlError as error:
        return Answer(None, str(error))
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must not come out of there
        return Answer(None, f"{type(error).__name__}: {error}", broken=True)


def _ours(document: Document) -> bytes:
    kind, text = document
    if kind in _OURS:
        return canonical_bytes(parse_tree(text, origin="document").root, _OURS[kind], origin="document")  # type: ignore[arg-type]
    value = _value(text)
    return canonical_yaml.render(value) if kind == "yaml" else canonical_json.render(value)


def _value(text: bytes) -> Any:
    try:
        return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
    except ValueError as error:
        raise ContentError(str(error)) from error


@dataclass
class Difference:
    """A document that the two sides do not agree on, and where it came from."""

    document: Document
    ours: Answer
    theirs: Answer
    number: int = -1

    @property
    def sort(self) -> tuple[bool, bool, bool]:
        """Which side refuses, or breaks down; a smaller document must do so too."""
        return self.ours.signed is None, self.theirs.signed is None, self.ours.broken

    def __str__(self) -> str:
        return (
            f"document {self.number}, {self.document.kind}: {self.document.text!r}\n"
            f"   ours: {self.ours}\n theirs: {self.theirs}"
        )


@dataclass
class Tally:
    """How many documents came out how."""

    documents: int = 0
    equal: int = 0
    refused: int = 0
    alone: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """Of the equal ones."""

    def add(self, document: Document, us: Answer, them: Answer, number: int) -> None:
        self.documents += 1
        if us.signed is not None and us.signed == them.signed:
            self.equal += 1
            self.kinds[document.kind] += 1
        elif us.signed is None and them.signed is None and not us.broken:
            self.refused += 1
        elif us.signed is None and not us.broken and (reason := stricter(us.why)):
            self.alone[reason] += 1
        else:
            self.differences.append(Difference(document, us, them, number))

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.documents + other.documents,
            self.equal + other.equal,
            self.refused + other.refused,
            self.alone + other.alone,
            self.differences + other.differences,
            self.kinds + other.kinds,
        )

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.alone.most_common())
        return (
            f"differential: {self.documents} documents, {self.equal} equal, {self.refused} refused by both, "
            f"{self.alone.total()} refused by us alone ({reasons or 'none'}), {len(self.differences)} differences"
        )


def stricter(why: str) -> str | None:
    """The reason for which we refuse more than upstream; None when there is none that we meant."""
    return next((reason for reason, said in STRICTER.items() if re.search(said, why)), None)


def compare(asked: Upstream, documents: Iterable[tuple[int, Document]], *, most: int = 20) -> Tally:
    """Ask both sides about numbered documents, in batches; end early with so many differences."""
    tally, waiting = Tally(), iter(documents)
    while batch := list(islice(waiting, BATCH)):
        asked.ask([document for _, document in batch])
        said = [ours(document) for _, document in batch]
        for (number, document), us, them in zip(batch, said, asked.answers(len(batch)), strict=True):
            tally.add(document, us, them, number)
        if len(tally.differences) >= most:
            break
    return tally


def smaller(asked: Upstream, found: Difference, *, tries: int = 600) -> Difference:
    """The same sort of difference in a document of fewer lines, then of fewer characters."""
    kept = found
    for unit in (b"\n", b""):
        size = len(_cut(kept.document.text, unit))
        while size:
            at = 0
            while at < len(parts := _cut(kept.document.text, unit)) and tries:
                tries -= 1
                text = b"".join(parts[:at] + parts[at + size :])
                tried = _difference(asked, Document(kept.document.kind, text), kept)
                kept, at = (tried, at) if tried else (kept, at + size)
            size //= 2
    return kept


def _cut(text: bytes, unit: bytes) -> list[bytes]:
    return (
        text.splitlines(keepends=True)
        if unit
        else [char.encode("utf-8", "surrogateescape") for char in text.decode("utf-8", "surrogateescape")]
    )


def _difference(asked: Upstream, document: Document, like: Difference) -> Difference | None:
    tally = Tally()
    tally.add(document, ours(document), asked.one(document), like.number)
    return next((found for found in tally.differences if found.sort == like.sort), None)


def main() -> None:
    """Make one document again and tell what both sides say."""
    program = provided("canonical")
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    document = Generator(shapes(program), seed, real_documents()).document(int(sys.argv[1]))
    with upstream(program) as asked:
        print(document.kind, document.text.decode(errors="replace"), sep="\n")  # noqa: T201 -- run by hand
        print("ours:", ours(document), "theirs:", asked.one(document), sep="\n")  # noqa: T201 -- run by hand


if __name__ == "__main__":
    main()
