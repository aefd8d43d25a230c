"""Changes that know the shape of what they change: trees of JSON, lines of YAML, text, bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

__all__ = ["LINES", "ODD", "TOKENS", "change_bytes", "change_lines", "change_text", "change_tree", "thin"]

HEX = "a" * 64
TOKENS = (
    *(
        "",
        " ",
        "\n",
        "\t",
        "\r",
        "\0",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
        "\U0001f600",
        "é",
        "\u212a",
        "\u017f",
    ),
    *(
        "/",
        "//",
        "../",
        "..",
        ".",
        ":",
        "::",
        "@",
        "@@",
        "#",
        "?",
        "&",
        "*",
        "%",
        "%2f",
        "%00",
        "\\",
        '"',
        "'",
        ",",
        "=",
    ),
    *("-", "--", "_", "__", "{", "}", "[", "]", "<", ">", "|", "!", "~", "{{ .Values.x }}", "{{", "}}", "$(x)", "-\n"),
    *(
        "0",
        "9",
        "٣",
        "a" * 300,
        "0" * 65,
        "sha256:",
        f"sha256:{HEX}",
        f"sha512:{HEX}{HEX}",
        f"@sha256:{HEX}",
        HEX.upper(),
    ),
    *(
        "https://",
        "http://[::1/",
        "https://h:99999/",
        "https://h\u2100/x",
        "https://u:p@h/x",
        "file:///x",
        "s3://b/k",
        "oci://",
    ),
    *(
        "localhost",
        "127.0.0.1:5000/a:b",
        "[::1]:5000/a",
        "registry.example/a/b:1",
        "public.ecr.aws/",
        "v1.33.0",
        "1-33",
        "v1-33-1",
    ),
)
LINES = (
    *(
        "<<: *a",
        "a: &a [*a]",
        "&a",
        "*a",
        "---",
        "...",
        "--- |",
        "%YAML 1.1",
        "%TAG ! tag:x,2000:",
        "? x",
        "- - - x",
        ": x",
    ),
    *(
        "x: !!python/object:os.system y",
        "x: !!binary eA==",
        "x: !!float 1",
        "\tx: y",
        "x: |+",
        "x: >-",
        "# image: a/b:c",
        "'",
        '"',
    ),
    *(
        "image: registry.example/a/b:1",
        "repository: a/b",
        "tag: 1.10",
        "digest: sha256:x",
        "apiVersion: v1",
        "x: .inf",
        "1: y",
    ),
    *(
        "~: y",
        "true: y",
        "2020-01-01: y",
        "x: 0x1F",
        "x: 1_000",
        "x: 12:30:45",
        "x: 1e999",
        "{a: b, a: c}",
        "[a, [b, [c]]]",
    ),
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
)
ODD: tuple[Any, ...] = (None, True, False, *NUMBERS, *TOKENS, {}, [], [[]], [{}], {"": ""}, [None], {"a": None})
BYTES = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x1f\x8b",
    b"\r\n",
    b'"',
    b"{",
    b"[" * 80,
)
FEW = 3


def thin(tree: Any, dice: Random, *, entries: int = 6, items: int = 2, depth: int = 0) -> Any:  # noqa: ANN401 -- JSON
    """A small part of a large tree: some entries of its mappings, a few items of its lists."""
    if isinstance(tree, dict):
        keys = list(tree)
        # The two outermost levels say what a document is.
        kept = keys if depth < 2 or len(keys) <= entries else dice.sample(keys, entries)
        return {
            key: thin(tree[key], dice, entries=entries, items=items, depth=depth + 1) for key in keys if key in kept
        }
    if isinstance(tree, list):
        kept = tree if len(tree) <= items else dice.sample(tree, items)
        return [thin(item, dice, entries=entries, items=items, depth=depth + 1) for item in kept]
    return tree


def change_tree(tree: Any, dice: Random) -> Any:  # noqa: ANN401 -- JSON
    """A tree with a change somewhere; what is not on the way to it is shared with the old one."""
    if isinstance(tree, dict) and tree and dice.random() < 0.85:
        key = dice.choice(list(tree))
        if dice.random() < 0.15:
            return _change_entry(tree, key, dice)
        return {**tree, key: change_tree(tree[key], dice)}
    if isinstance(tree, list) and tree and dice.random() < 0.85:
        at = dice.randrange(len(tree))
        if dice.random() < 0.2:
            return _change_item(tree, at, dice)
        return [*tree[:at], change_tree(tree[at], dice), *tree[at + 1 :]]
    return _change_value(tree, dice)


def change_text(text: str, dice: Random) -> str:
    """A text with one to three changes."""
    for _ in range(dice.randint(1, FEW)):
        start, stop = sorted(dice.randint(0, len(text)) for _ in range(2))
        stop = min(stop, start + 40)
        match dice.randrange(7):
            case 0 | 1:
                text = text[:start] + dice.choice(TOKENS) + text[start:]
            case 2:
                text = text[:start] + text[stop:]
            case 3:
                text = text[:start] + text[start:stop] * dice.choice((2, 2, 3, 50)) + text[stop:]
            case 4:
                text = text[:start] + text[start:stop].swapcase() + text[stop:]
            case 5:
                text = text[:start] + dice.choice(TOKENS) + text[stop:]
            case _:
                text = (
                    text[:start] + chr(dice.choice((dice.randrange(128), dice.randrange(0x3000)))) + text[start + 1 :]
                )
    return text


def change_lines(text: str, dice: Random) -> str:
    """YAML or the like with one to three changes of whole lines, or of the values on them."""
    lines = text.split("\n")
    for _ in range(dice.randint(1, FEW)):
        at = dice.randrange(len(lines))
        line = lines[at]
        indent = line[: len(line) - len(line.lstrip())]
        name, colon, value = line.partition(": ")
        match dice.randrange(10):
            case 0:
                lines[at:at] = [indent + dice.choice(LINES)]
            case 1:
                del lines[at : at + dice.choice((1, 1, 2, 10))]
                lines = lines or [""]
            case 2:
                lines[at:at] = lines[at : at + dice.choice((1, 1, 3))] * dice.choice((1, 1, 2, 30))
            case 3:
                lines[at] = dice.choice(("  ", " ", "\t", "- ")) + line
            case 4:
                lines[at] = line[dice.randint(0, 4) :]
            case 5 | 6 if colon:
                lines[at] = f"{name}: {dice.choice(TOKENS) if dice.random() < 0.5 else change_text(value, dice)}"
            case 7 if colon:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = f"{name}: &a {value}", f"{lines[other].partition(': ')[0]}: *a"
            case 8 if colon:
                lines[at] = f"{change_text(name, dice)}: {value}"
            case _:
                lines[at] = change_text(line, dice)
    return "\n".join(lines)


def change_bytes(data: bytes, dice: Random) -> bytes:
    """Bytes with one to three changes."""
    for _ in range(dice.randint(1, FEW)):
        start = dice.randint(0, len(data))
        match dice.randrange(5):
            case 0:
                data = data[:start] + bytes([dice.randrange(256)]) + data[start + 1 :]
            case 1:
                data = data[:start]
            case 2:
                data = data[:start] + dice.choice(BYTES) + data[start:]
            case 3:
                data = data[:start] + data[start + dice.randint(1, 30) :]
            case _:
                data = data[:start] + data[start : start + 30] * dice.choice((2, 50)) + data[start + 30 :]
    return data


def _change_entry(tree: dict[str, Any], key: str, dice: Random) -> dict[str, Any]:
    changed = dict(tree)
    match dice.randrange(4):
        case 0:
            del changed[key]
        case 1:
            changed[change_text(key, dice)] = changed.pop(key)
        case 2:
            changed[dice.choice(list(tree))] = tree[key]
        case _:
            changed[change_text(key, dice)] = dice.choice(ODD)
    return changed


def _change_item(tree: list[Any], at: int, dice: Random) -> list[Any]:
    match dice.randrange(4):
        case 0:
            return [*tree[:at], *tree[at + 1 :]]
        case 1:
            return [*tree, *([tree[at]] * dice.choice((1, 1, 50)))]
        case 2:
            return [*tree[:at], dice.choice(ODD), *tree[at:]]
        case _:
            return dice.sample(tree, len(tree))


def _change_value(value: Any, dice: Random) -> Any:  # noqa: ANN401 -- JSON
    match dice.randrange(8):
        case 0:
            return [value]
        case 1:
            return {dice.choice(("a", "uri", "digest", "")): value}
        case 2:
            for _ in range(dice.choice((5, 70, 200))):
                value = [value] if dice.random() < 0.5 else {"a": value}
            return value
        case 3 if isinstance(value, str):
            return dice.choice(TOKENS)
        case _ if isinstance(value, str):
            return change_text(value, dice)
        case _:
            return dice.choice(ODD)
