"""Values that are written down in many ways, or that look like something else: what documents are made of."""

# ruff: noqa: SIM905 -- words in rows are read more easily than a column of quotes

from __future__ import annotations

PLAIN = (
    *"""
        1 0 -1 +1 007 0o7 0o17 0x1F 0XfF 0b11 1_000 1__0 _1 0_1 1_ -0 +0 1.5 1.30 1.0 1. .5 -.5 +.5 0.1 -0.0 1_0.5
        1.5_0 .5_0 1.5.2 v1.30 1-33 1e3 1E3 1e+3 1e-3 1e 1e+ e3 1e21 1e20 1e-7 123456789.125 3.4e38 1e39 1e-50 1e400
        -1e400 1e-400 0.000001 0.0000001 16777217 16777217.5 0.30000000000000004 2e0_0 9007199254740993
        9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808
        -9223372036854775809 123456789012345678901234567890 100000000000000000000000 .inf -.inf +.inf .Inf .INF .iNf
        inf .nan .NaN .NAN -.nan nan +.nan true True TRUE tRue false False FALSE y Y yes Yes YES n N no No NO on On ON
        off Off OFF ~ null Null NULL nUll oN t f 2020-01-01 2020-1-1 2020-01-01T00:00:00Z 2001-12-14t21:59:43.10-05:00
        2020-13-01 2020-02-30 20-01-01 12:30:45 1:20 190:20:30 190:20:30.15 -1:20 1:60 0x 0b2 08 09 0o8 0x_1 0b_1 0b-1
        -0b1 +0b1 0b+1 -0x1 -0o7 = 0x1p-2 0x1.8p1 1e1_0 sha256:abc https://h/x:1 a#b a:b -a ?a :a a- a? a.b ...a --
        2020-02-29 2021-02-29 0000-01-01 0001-01-01 10000-01-01 2020-01-01T1:2:3Z 2020-01-01T00:00:00
        2020-01-01T24:00:00Z 2020-01-01t00:00:00z 2020-01-01T00:00:00.123456789123+24:00 2020-01-01T00:00:00,5+24:60
        2020-1-1T0:0:0Z 2020-01-01T00:00:60Z 2020-01-01T00:00:00+25:00 1e99999999999 -1e-99999999999
        0xffffffffffffffff 0x10000000000000000 -0x8000000000000000 -0x8000000000000001 +0x7fffffffffffffff
        0777777777777777777777 01777777777777777777777 02000000000000000000000 5.e3 .e3 ._ .5. 1..2 1.5e3.5 0.0 00.5
        00 -00 0_ 1e_3 1_e3 .1_ 0x1_F 0b1_1 0o1_7 ++1 +-1 a'b a"b << =a ~a a=b <a> a&b a*b a|b a! /
    """.split(),
    "", "2001-12-14 21:59:43.10 -5", "2020-01-01 1:2:3", "2020-01-01  01:02:03", "2020-01-01 00:00:00.5", "a b",
    "9" * 5000, "1" + "0" * 308, "1" + "0" * 309, "0." + "1" * 400, "0" * 300, "0b" + "1" * 64,
    "0b" + "1" * 65, "\uff21", "é", "\u0663", "\U0001f600", "\\", "a\\nb",
)  # fmt: skip
"""Scalars to write without quotes."""
FINITE = tuple(said for said in PLAIN if "inf" not in said.lower() and "nan" not in said.lower())

UNLIKELY = (
    *"""
        %a @a `a !a &a *a |a >a [ { ] } , # a,b a:
    """.split(),
    "a\tb", "a: b", "? a", "- a",
)  # fmt: skip
"""Those that are something else then, or nothing, which is for both sides to refuse."""

JSON_PLAIN = tuple(
    """
        null true false [] {} 0 1 -1 -0 -0.0 10.0 1.5 -2.5 1.30 0.1 0.1e1 1E5 1e3 1e+3 1e20 1e21 1e22 123456789e13
        1e-3 0.00001 0.000001 123e-8 1e-7 5e-324 9007199254740993 9223372036854775807 9223372036854775808
        18446744073709551615 18446744073709551616 -9223372036854775808 -9223372036854775809
        123456789012345678901234567890 1.7976931348623157e308 0.30000000000000004 123456.5 1234567.5 16777217 1000000
        1000000.5 0.0001 0.00009 3.4e38
    """.split()
)
"""What JSON has besides text."""

REAL = (
    *"""
        v1.33.0-eks-1-33-5 1.33 1-33 public.ecr.aws/eks-anywhere/cli-tools:v0.20.0-eks-a-101 linux amd64
        https://anywhere-assets.eks.amazonaws.com/releases/bundles/122/artifacts/x.yaml arm64 bottlerocket
        sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 <placeholder> 0.1.2-abcdef0123456789
        783794618700.dkr.ecr.us-west-2.amazonaws.com H4sIAAAAAAAA/6tWKkktLlGyUlAqS8wpTVWqBQBT
    """.split(),
    "Container image for x", "",
)  # fmt: skip
"""Text as release documents have it."""

WORDS = (
    *"""
        a of the image container kubernetes # : - a: ' " {} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    """.split(),
    "é", "\u4e2d\u6587\u5b57", "\U0001f600", "", "\t", "\x1b", "\u2028", "a\u2028b",
)  # fmt: skip

PIECES = (
    *"""
        : # - ? , [ ] { } & * ! | > ' " % @ ` ~ = < &amp; / a b Z 0 1 9 . _ --- ... <<
    """.split(),
    " ", " ", ": ", " #", "- ", "\\", "\\n", "\x08", "\x0c", "\t", "\n", "\n\n", "\r", "\x00", "\x01", "\x07",
    "\x1b", "\x85", "\xa0", "\xad", "\u200b", "\u2028", "\u2029", "\ufeff", "\ud7ff", "\ue000", "\ufffd",
    "\U00010000", "\U0001f600", "\U0010ffff", "é", "é", "ß", "\u4e2d", "\u0660",
)  # fmt: skip
"""Of hostile text."""

UNREADABLE = (
    "\x7f", "\x80", "\x84", "\x86", "\x9f", "\ufffe", "\uffff",
)  # fmt: skip
"""What go-yaml does not read back from JSON."""

KEYS = (
    *"""
        a b ab aB a_b a-b a.b/c A _ - a1 a10 a2 a01 a001 a1b a12b 1 10 9 01 y null 1.5 ~ true << name image # ' "
        eksa.aws.com/includes 0x1F = 2020-01-01 a9a a99999999999
    """.split(),
    "", " ", "é", "ß", "\u4e2d", "\U0001f600", "\u2028", "key with spaces", "a: b", "\\", "\n", "\t",
    "a" * 127, "b" * 128, "c" * 129, "é" * 64,
    "d " * 70, "x\ny", "k" * 1100,
)  # fmt: skip
"""Names in maps; some of them have no natural order."""

INTEGERS = tuple(
    """
        0 1 7 42 122 -1 +5 0x1F 0b101 0o17 017 1_000 -0x10 1.0 1e3 2.50e1 9007199254740993 9223372036854775807
        -9223372036854775808 1_0.0 -0 -0.0 null ~ 1e18
    """.split()
)

NOT_INTEGERS = tuple(
    """
        9223372036854775808 1.5 '1' 1e19 true 18446744073709551615 1:20 0o8 abc .inf 1e-3 9223372036854775807.0 1e400
        0x 2020-01-01 08 1__0 0b-1 -0b+1 _1 +.inf 0x_1
    """.split()
)

TRUTHS = (
    *"""
        true false True FALSE y N yes No on OFF null ~
    """.split(),
    "",
)  # fmt: skip

NOT_TRUTHS = tuple(
    """
        'true' 1 0 1.0 yEs truE 'y' t "false" [] {}
    """.split()
)

TIMES = tuple(
    """
        2026-07-28T00:00:00Z '2026-07-28T12:30:45Z' "2026-07-28T12:30:45.123+02:00" null ~ 0001-01-01T00:00:00Z
        2026-07-28T1:30:45Z 2026-07-28T12:30:45,5Z 9999-12-31T11:59:59-12:00
    """.split()
)

NOT_TIMES = (
    *"""
        2026-07-28 '' 5 true 2026-02-30T00:00:00Z 2026-07-28T24:00:00Z []
    """.split(),
    "2026-07-28 12:30:45",
)  # fmt: skip

ODD_SELECTORS = (
    *"""
        . .[] .. invalid .spec.packages[0] .spec.packages[1:] .a? .a-b .a..b .a.[] .a.[0] .1 .["a","b"] .a[ ."kind
        .and .if .__loc__ .spec.packages[-1] $x .a[]? .a["b"]? del(.a) empty error .metadata."name".x .kind.x .kind[]
        .metadata.name[] .spec["packages"][]["source"].registry .A
    """.split(),
    'import "x"', ".a as $x | .b", ".a | .b", ".a, .b", ".a .b", " .kind ", ".kind\t", ".kind # said", ".é",
    '."\\u006bind"', '."a\\(1)"', ".a = 1", ".spec.packages[].source | empty", ".kind\r", "\r",
)  # fmt: skip
"""What upstream splices into its program, takes, or refuses."""

LIKELY_SELECTORS = tuple(
    """
        .spec.packages[].source.registry .spec.packages[].source.repository .metadata.name .kind .spec
        .spec.packages[].source.versions[].digest .spec.packages[].source.versions[].images[].repository .apiVersion
        .metadata .metadata.annotations .metadata.labels .potato .spec.packages .a.b.c .spec.packages[]
        .spec.packages[].source.versions[] .spec["packages"][].name .spec.packages[].source
    """.split()
)
"""Those that fit most package bundles."""

SELECTORS = tuple(
    r"""
        .metadata.labels["a.b/c"] .["kind"] .metadata["name"] ."kind" .spec."packages" .status .a[] .spec[] .spec.a[]
        .metadata.annotations["eksa.aws.com/excludes"] .spec.packages[][] .metadata[] .metadata.annotations[]
        .metadata.labels[] .spec.packages[].source.versions[].images[]
        .spec.packages[].source.versions[].dependencies[] ."a\/b" ."\u006bind" ."\ud83d\ude00" ."\ud800"
        ."\ud800\u0041" .["a\"b"] .metadata["labels"][] ."" .[""] ."a"["b"].c
    """.split()
)
"""More of what AWS's grammar has."""
