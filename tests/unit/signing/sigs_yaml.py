"""Documents, and what ``sigs.k8s.io/yaml`` 1.6.0 wrote for them. ``tests/interop`` compares at large."""

from __future__ import annotations

import pytest

ROOTS = [
    pytest.param(None, b"null\n", id="null"),
    pytest.param(True, b"true\n", id="true"),
    pytest.param(False, b"false\n", id="false"),
    pytest.param("word", b"word\n", id="a word"),
    pytest.param("", b'""\n', id="an empty string"),
    pytest.param([], b"[]\n", id="an empty list"),
    pytest.param({}, b"{}\n", id="an empty object"),
    pytest.param(0, b"0\n", id="zero"),
    pytest.param("12", b'"12"\n', id="a number as text"),
    pytest.param("a\nb\n", b"|\n  a\n  b\n", id="a literal"),
    pytest.param("a\nb", b"|-\n  a\n  b\n", id="a literal without a last break"),
    pytest.param(["a", "b"], b"- a\n- b\n", id="a list"),
    pytest.param({"b": 1, "a": 2}, b"a: 2\nb: 1\n", id="an object"),
    pytest.param("word " * 19 + "word", b"word " * 16 + b"word\n  word word word\n", id="a folded text at the root"),
]

STRUCTURES = [
    pytest.param({"key": ["a", "b"]}, b"key:\n- a\n- b\n", id="a list is not indented below its key"),
    pytest.param(
        {"a": [["b", "c"], ["d"]]}, b"a:\n- - b\n  - c\n- - d\n", id="a list in a list begins on the line of its dash"
    ),
    pytest.param(
        [{"a": 1, "b": 2}, {"c": 3}],
        b"- a: 1\n  b: 2\n- c: 3\n",
        id="an object in a list begins on the line of its dash",
    ),
    pytest.param(
        {"a": {}, "b": [], "c": [{}, [], [[]], [{}]], "d": {"e": {}, "f": []}},
        b"a: {}\nb: []\nc:\n- {}\n- []\n- - []\n- - {}\nd:\n  e: {}\n  f: []\n",
        id="empty collections at every place",
    ),
    pytest.param(
        {"a": {"b": [{"c": {"d": ["e"]}, "f": 1}]}},
        b"a:\n  b:\n  - c:\n      d:\n      - e\n    f: 1\n",
        id="objects in objects in lists",
    ),
    pytest.param(
        {"a": None, "b": True, "c": False, "d": 1, "e": 1.5},
        b"a: null\nb: true\nc: false\nd: 1\ne: 1.5\n",
        id="null, booleans and numbers as members",
    ),
    pytest.param(
        {"a": ["x\ny", "z\n"], "b": {"c": "x\n\n", "d": 1}},
        b"a:\n- |-\n  x\n  y\n- |\n  z\nb:\n  c: |+\n    x\n\n  d: 1\n",
        id="literals in a list and in an object",
    ),
]

NUMBERS = [
    (-1, b"-1\n"),
    (-0.0, b"0\n"),
    (0.0, b"0\n"),
    (2.0, b"2\n"),
    (1.5, b"1.5\n"),
    (100000.5, b"100000.5\n"),
    (999999.5, b"999999.5\n"),
    (1000000.5, b"1.0000005e+06\n"),
    (1234567.25, b"1.23456725e+06\n"),
    (0.0001, b"0.0001\n"),
    (0.00012, b"0.00012\n"),
    (1e-05, b"1e-05\n"),
    (1e-06, b"1e-06\n"),
    (1e-07, b"1e-07\n"),
    (-1.25e-07, b"-1.25e-07\n"),
    (1e20, b"1e+20\n"),
    (9223372036854775807, b"9223372036854776000\n"),
    (9223372036854775808, b"9223372036854776000\n"),
    (18446744073709547520, b"18446744073709548000\n"),
    (18446744073709551616, b"1.8446744073709552e+19\n"),
    (100000000000000000000, b"1e+20\n"),
    (999999999999999900000, b"9.999999999999999e+20\n"),
    (1e21, b"1e+21\n"),
    (-9223372036854775808, b"-9.223372036854776e+18\n"),
    (-9223372036854777856, b"-9.223372036854778e+18\n"),
    (1e22, b"1e+22\n"),
    (5e-324, b"5e-324\n"),
    (1.7976931348623157e308, b"1.7976931348623157e+308\n"),
]

STYLES = [
    pytest.param("a: b", b"'a: b'\n", id="a colon before a blank"),
    pytest.param("a:", b"'a:'\n", id="a colon at the end"),
    pytest.param("a:b", b"a:b\n", id="a colon within a word"),
    pytest.param("a #b", b"'a #b'\n", id="a number sign after a space"),
    pytest.param("a#b", b"a#b\n", id="a number sign within a word"),
    pytest.param(" a", b"' a'\n", id="a leading space"),
    pytest.param("a ", b"'a '\n", id="a trailing space"),
    pytest.param(" ", b"' '\n", id="only a space"),
    pytest.param("---", b"'---'\n", id="a document start"),
    pytest.param("---a", b"'---a'\n", id="a document start and more"),
    pytest.param("...x", b"'...x'\n", id="a document end"),
    pytest.param("--a", b"--a\n", id="two dashes"),
    pytest.param("-", b"'-'\n", id="a dash"),
    pytest.param("- a", b"'- a'\n", id="a dash before a space"),
    pytest.param("-a", b"-a\n", id="a dash before a letter"),
    pytest.param("?", b"'?'\n", id="a question mark"),
    pytest.param("?a", b"?a\n", id="a question mark before a letter"),
    pytest.param(":a", b":a\n", id="a colon before a letter"),
    pytest.param("? a", b"'? a'\n", id="a question mark before a space"),
    pytest.param("a[0],{b}", b"a[0],{b}\n", id="brackets within"),
    pytest.param("'a' 'b'", b"'''a'' ''b'''\n", id="a quote in single quotes"),
    pytest.param('a "b"', b'a "b"\n', id="double quotes within"),
    pytest.param("a\\b", b"a\\b\n", id="a backslash"),
    pytest.param("a%b", b"a%b\n", id="a percent sign within"),
    pytest.param("a\tb", b'"a\\tb"\n', id="a tab"),
    pytest.param("a\rb", b'"a\\rb"\n', id="a carriage return"),
    pytest.param('\x00\x07\x08\t\x0b\x0c\r\x1b"\\', b'"\\0\\a\\b\\t\\v\\f\\r\\e\\"\\\\"\n', id="escapes with a letter"),
    pytest.param("\x01\x1f", b'"\\x01\\x1F"\n', id="escapes without a letter"),
    pytest.param("'\"\x02", b'"\'\\"\\x02"\n', id="a quote beside a control character"),
    pytest.param(
        "\xe9\u4e2d\ue000\ufffd\xa0\xad",
        b"\xc3\xa9\xe4\xb8\xad\xee\x80\x80\xef\xbf\xbd\xc2\xa0\xc2\xad\n",
        id="beyond ASCII",
    ),
    pytest.param("a\U0001f600", b'"a\\U0001F600"\n', id="beyond 16 bits"),
    pytest.param("\U0010ffff", b'"\\U0010FFFF"\n', id="the last character"),
    pytest.param("a\ufeffb", b'"a\\uFEFFb"\n', id="a byte order mark within"),
    pytest.param(
        '\ufeffa "\xe9\xa0\u2028\U0001f600',
        b'"\\uFEFF\\x61\\x20\\"\\xE9\\_\\L\\U0001F600"\n',
        id="a byte order mark at the start",
    ),
    pytest.param("a\u2028b", b"'a\xe2\x80\xa8  b'\n", id="a line separator"),
    pytest.param("it's\u2028\u2029it's", b"'it''s\xe2\x80\xa8\xe2\x80\xa9  it''s'\n", id="line separators and quotes"),
    pytest.param("a\u2028", b"'a\xe2\x80\xa8'\n", id="a line separator at the end"),
    pytest.param("\u2028a", b"'\xe2\x80\xa8  a'\n", id="a line separator at the start"),
    pytest.param("a\u2028 b", b'"a\\L b"\n', id="a space after a line separator"),
    pytest.param("a \u2029b", b'"a \\Pb"\n', id="a space before a line separator"),
    pytest.param("1\u2028", b"'1\xe2\x80\xa8'\n", id="a line separator and a number"),
]

LITERALS = [
    pytest.param("a\nb", b"|-\n  a\n  b\n", id="no break at the end"),
    pytest.param("a\nb\n", b"|\n  a\n  b\n", id="one"),
    pytest.param("a\n\n", b"|+\n  a\n\n", id="two"),
    pytest.param("\n", b"|2+\n\n", id="a break alone"),
    pytest.param("\n\n", b"|2+\n\n\n", id="breaks alone"),
    pytest.param(" a\nb", b"|2-\n   a\n  b\n", id="a leading space"),
    pytest.param("\na", b"|2-\n\n  a\n", id="a leading break"),
    pytest.param("a\n  b\n", b"|\n  a\n    b\n", id="an indented line"),
    pytest.param("a\n\nb", b"|-\n  a\n\n  b\n", id="an empty line"),
    pytest.param("a\nb ", b'"a\\nb "\n', id="a trailing space"),
    pytest.param("a \nb", b'"a \\nb"\n', id="a space before a break"),
    pytest.param("a\n\tb", b'"a\\n\\tb"\n', id="a tab"),
    pytest.param("a\n\u2028b\u2029", b"|\n  a\n\xe2\x80\xa8  b\xe2\x80\xa9", id="a line separator"),
    pytest.param("a\n\u2028", b"|+\n  a\n\xe2\x80\xa8", id="a line separator at the end"),
    pytest.param("# 'a': [b]\n- c", b"|-\n  # 'a': [b]\n  - c\n", id="a quote and indicators"),
    pytest.param(
        "word " * 30 + "\nx", b'"' + b"word " * 16 + b"word\n " + b" word" * 13 + b' \\nx"\n', id="a long line"
    ),
    pytest.param("\u2028a\nb", b"|2-\n\xe2\x80\xa8  a\n  b\n", id="a leading line separator"),
]

FOLDINGS = [
    pytest.param("a" * 79 + " b", b"a" * 79 + b" b\n", id="plain, the space in column 80"),
    pytest.param("a" * 80 + " b", b"a" * 80 + b" b\n", id="plain, the space in column 81"),
    pytest.param("a" * 81 + " b", b"a" * 81 + b"\n  b\n", id="plain, the space in column 82"),
    pytest.param(
        "lorem ipsum dolor " * 14 + "sit",
        b"lorem ipsum dolor " * 4
        + b"lorem ipsum\n "
        + b" dolor lorem ipsum" * 4
        + b" dolor lorem\n "
        + b" ipsum dolor lorem" * 4
        + b" ipsum dolor\n  sit\n",
        id="plain, many words",
    ),
    pytest.param("a" * 84 + "  b c d", b"a" * 84 + b"  b\n  c d\n", id="plain, two spaces"),
    pytest.param(
        "\xe9" * 79 + " \xe9" * 20,
        b"\xc3\xa9" * 79 + b" \xc3\xa9\n " + b" \xc3\xa9" * 19 + b"\n",
        id="plain, characters count and not bytes",
    ),
    pytest.param(
        "'lorem ipsum " * 14 + "sit",
        b"'"
        + b"''lorem ipsum " * 5
        + b"''lorem ipsum\n "
        + b" ''lorem ipsum" * 6
        + b"\n  ''lorem ipsum ''lorem ipsum sit'\n",
        id="single quotes, many words",
    ),
    pytest.param("'" * 40 + "a b", b"'" * 81 + b"a\n  b'\n", id="single quotes, doubled quotes count"),
    pytest.param(": " + "a" * 84 + "  b c d", b"': " + b"a" * 84 + b"  b\n  c d'\n", id="single quotes, two spaces"),
    pytest.param("a" * 84 + " b ", b"'" + b"a" * 84 + b"\n  b '\n", id="single quotes, a trailing space"),
    pytest.param(
        "'" + "a b " * 12 + "c\u2028" + "d e " * 30 + "f",
        b"'''" + b"a b " * 12 + b"c\xe2\x80\xa8 " + b" d e" * 20 + b"\n " + b" d e" * 10 + b" f'\n",
        id="single quotes, a line separator",
    ),
    pytest.param(
        "\x01lorem ipsum " * 14 + "sit",
        b'"'
        + b"\\x01lorem ipsum " * 5
        + b"\\x01lorem\n "
        + b" ipsum \\x01lorem" * 5
        + b"\n "
        + b" ipsum \\x01lorem" * 3
        + b' ipsum sit"\n',
        id="double quotes, many words",
    ),
    pytest.param(
        "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01 b",
        b'"' + b"\\x01" * 20 + b'\n  b"\n',
        id="double quotes, escapes count",
    ),
    pytest.param(
        "\x01" + "a" * 79 + "  b  c", b'"\\x01' + b"a" * 79 + b'\n  \\ b  c"\n', id="double quotes, two spaces"
    ),
    pytest.param("\x01" + "a" * 79 + " ", b'"\\x01' + b"a" * 79 + b' "\n', id="double quotes, a trailing space"),
    pytest.param(
        "\x01" + "a" * 79 + "  ", b'"\\x01' + b"a" * 79 + b'\n  \\ "\n', id="double quotes, two trailing spaces"
    ),
    pytest.param(
        "   \x01" + "a" * 79 + " b", b'"   \\x01' + b"a" * 79 + b'\n  b"\n', id="double quotes, leading spaces"
    ),
    pytest.param(
        "\x01" + "a" * 72 + " b", b'"\\x01' + b"a" * 72 + b' b"\n', id="double quotes, a space alone before the limit"
    ),
    pytest.param("QUJD" * 40, b"QUJD" * 40 + b"\n", id="a base64 text is not folded"),
]

KEYS = [
    pytest.param(
        {"": 1, "y": 2, "12": 3, "a: b": 4, "- c": 5, "\xe9": 6, "\t": 7, "null": 8, "2001-01-01": 9},
        b'"": 1\n"\\t": 7\n\'- c\': 5\n"12": 3\n"2001-01-01": 9\n\'a: b\': 4\n"null": 8\n"y": ' + b"2\n\xc3\xa9: 6\n",
        id="keys that need quotes",
    ),
    pytest.param({"k" * 128: "v"}, b"k" * 128 + b": v\n", id="128 bytes"),
    pytest.param({"k" * 129: "v"}, b"? " + b"k" * 129 + b"\n: v\n", id="129 bytes"),
    pytest.param({"\xe9" * 64: "v"}, b"\xc3\xa9" * 64 + b": v\n", id="64 characters of 2 bytes"),
    pytest.param({"\xe9" * 64 + "k": "v"}, b"? " + b"\xc3\xa9" * 64 + b"k\n: v\n", id="65 characters of 2 bytes"),
    pytest.param(
        {"word " * 30 + "end": 1},
        b"?" + b" word" * 16 + b"\n " + b" word" * 14 + b" end\n: 1\n",
        id="a complex key folds",
    ),
    pytest.param({"word " * 24 + "end": 1}, b"word " * 24 + b"end: 1\n", id="a simple key does not fold"),
    pytest.param(
        {"k" * 129: {"a": [1], "b": 2}, "l" * 129: ["x", ["y"]], "m" * 129: {}, "n" * 129: []},
        b"? "
        + b"k" * 129
        + b"\n: a:\n  - 1\n  b: 2\n? "
        + b"l" * 129
        + b'\n: - x\n  - - "y"\n? '
        + b"m" * 129
        + b"\n: {}\n? "
        + b"n" * 129
        + b"\n: []\n",
        id="a complex key with collections",
    ),
    pytest.param(
        {"a": {"x\ny": {"z": ["w"]}}}, b"a:\n  ? |-\n    x\n    y\n  : z:\n    - w\n", id="a complex key below a key"
    ),
    pytest.param({"a\nb": "c", "d\n": ["e"]}, b"? |-\n  a\n  b\n: c\n? |\n  d\n: - e\n", id="a key of lines"),
    pytest.param({"a\rb": 1}, b'? "a\\rb"\n: 1\n', id="a key with a carriage return"),
    pytest.param(
        {"a\u2028b": 1, "\u2029": 2},
        b"? '\xe2\x80\xa9'\n: 2\n? 'a\xe2\x80\xa8  b'\n: 1\n",
        id="a key with a line separator",
    ),
    pytest.param(
        {"k" * 60: "word " * 6 + "end"},
        b"k" * 60 + b": word word word word\n  word word end\n",
        id="a value after a long key folds by its column",
    ),
    pytest.param(
        {"b": {"1": "word " * 16 + "end"}},
        b'b:\n  "1":' + b" word" * 15 + b"\n    word end\n",
        id="a number of a key does not count as one",
    ),
    pytest.param({"k" * 1022: 1}, b"? " + b"k" * 1022 + b"\n: 1\n", id="1022 characters"),
]

ORDERS = [
    pytest.param(["b", "a", "B", "\xe9", "Z"], ["B", "Z", "a", "b", "\xe9"], id="letters by code point"),
    pytest.param(["ab", "a", "abc"], ["a", "ab", "abc"], id="a prefix first"),
    pytest.param(["a10", "a9", "a1", "a100"], ["a1", "a9", "a10", "a100"], id="digits by number"),
    pytest.param(
        ["a_b", "aBc", "a-b", "a1", "a.b", "_", "aa"],
        ["_", "a-b", "a.b", "a_b", "a1", "aBc", "aa"],
        id="others before letters",
    ),
    pytest.param(
        ["a01", "a1", "a001", "a0", "a00", "a2"], ["a0", "a00", "a1", "a01", "a001", "a2"], id="leading zeros"
    ),
    pytest.param(["a10", "a1", "a100", "a1-", "a11"], ["a1", "a1-", "a10", "a11", "a100"], id="zeros within a number"),
    pytest.param(["a00", "a0-", "a01"], ["a0-", "a00", "a01"], id="zeros after a zero"),
    pytest.param(["10", "1a"], ["10", "1a"], id="a number before a letter"),
    pytest.param(
        ["9223372036854775808", "1", "18446744073709551617"],
        ["9223372036854775808", "1", "18446744073709551617"],
        id="numbers that wrap at 64 bits",
    ),
    pytest.param(["\u0663", "4", "-", "9999"], ["-", "4", "\u0663", "9999"], id="digits of other scripts"),
    pytest.param(
        ["v1.10.0", "v1.9.0", "v1.9.0-1", "v1.9"], ["v1.9", "v1.9.0", "v1.9.0-1", "v1.10.0"], id="semantic versions"
    ),
    pytest.param(
        ["app.kubernetes.io/name", "app", "app-1", "helm.sh/chart", "app_1"],
        ["app", "app-1", "app.kubernetes.io/name", "app_1", "helm.sh/chart"],
        id="labels",
    ),
    pytest.param(
        ["\u02b0", "\u2160", "\xb2", "a"], ["\xb2", "\u2160", "a", "\u02b0"], id="letters that are no cased ones"
    ),
]

NEXT_LINES = [
    pytest.param("a\x85b", b"a b\n", id="one U+0085 becomes a space"),
    pytest.param("a\x85\x85\x85b", b"|-\n  a\n\n  b\n", id="more become line breaks"),
    pytest.param("a \x85 \x85 b", b"|-\n  a\n  b\n", id="spaces around go"),
    pytest.param("a\t\x85\tb", b'"a\\t \\tb"\n', id="tabs stay"),
    pytest.param("a\x85", b"'a '\n", id="at the end"),
    pytest.param("\x85", b"' '\n", id="alone"),
    pytest.param("a\x85 --- b", b"a --- b\n", id="a document mark after a space"),
    pytest.param("a\x85---b", b"a ---b\n", id="a document mark and more"),
]

_QUOTED = """
    y Y yes Yes YES n N no No NO on On ON off Off OFF true True TRUE false False FALSE ~ null Null NULL
    .nan .NaN .NAN .inf .Inf .INF +.inf -.Inf +.INF 0 -0 +1 12 1_000 1__ 07 08 00 0x1F 0X1f -0x1
    +0x7fffffffffffffff 0xFFFFFFFFFFFFFFFF -0x8000000000000000 0o17 0O7 0b1 0B1 -0b1 0b-1 0b+1 0_b1 1.
    .5 -.5 +.5 1.5e3 1e3 1E+3 1e-400 .1_0 .5e1_0 18446744073709551616 1:20 -1:20:30.5 1_0:5:59.
    2001-01-01 2001-1-1 0000-1-1 2000-02-29 2001-1-1T1:2:3Z 2001-1-1t01:02:03.5+01:00 2001-1-1T1:2:3,5Z
    2001-1-1T1:2:3+24:60
"""
QUOTED = [
    *_QUOTED.split(),
    "",
    "2001-1-1 1:2:3",
    "2001-1-1   01:02:03.123456789123",
    "9" * 300,
]

_PLAIN = """
    yeS nO oN tRue nul ~a << = .NaNs +.nan .iNF ._5 .5_ .1__0 . +. .e5 0x 0o 0b 0xg 0b2 0o8
    +0xFFFFFFFFFFFFFFFF 0x10000000000000000 -0x8000000000000001 0b+2 -0b+1 1e 1e+ 1e999 1.2.3 v1 1-33 1a
    -a + 1:60 1:a a:1 1:20:30.a 2001-13-01 2001-0-1 2001-02-29 1900-2-29 2001-1-32 2001-1-0 20010-1-1
    201-1-1 2001-1-1T1:2:3 2001-1-1T24:2:3Z 2001-1-1T1:60:3Z 2001-1-1T1:2:60Z 2001-1-1T1:2:3+25:00
    2001-1-1T1:2:3+01:61 2001-1-1T1:2:3+1:00 2001-1-1T1:2:3.Z 2001-1-1T1:2:3z 2001-1-1T1:2Z
    2001-1-1x1:2:3
"""
PLAIN = [
    *_PLAIN.split(),
    "\u0661\u0662",
    "2001-1-1 1:2:3Z",
    "2001-1-1 24:2:3",
    "2001-1-1 1:2:3.",
    "9" * 310,
]
