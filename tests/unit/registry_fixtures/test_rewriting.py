from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from registry_fixtures.reading import read_document
from registry_fixtures.rewriting import Spot, rewrite, spot

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@given(
    before=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")),
    quote=st.sampled_from(["", "'", '"']),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_only_the_digest_changes_whatever_stands_around_it(before: str, quote: str, line_end: str) -> None:
    text = line_end.join(
        [
            f"# {before}",
            "spec:",
            "- uri: x.example/a:1",
            f"  imageDigest: {quote}{OLD}{quote}  # {before}",
            "  os: linux",
            "",
        ]
    )
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    node = root.value[0][1].value[0].value[1][1]
    assert rewrite(text, {spot(text, node): NEW}) == text.replace(OLD, NEW)


def test_a_digest_folded_over_lines_is_refused() -> None:
    text = 'digest: "sha256:\\\n  aaaa"\n'
    node = yaml.compose(text, Loader=yaml.CSafeLoader).value[0][1]
    with pytest.raises(ContentError, match=r"line 1: .* not written in one piece"):
        spot(text, node)


@pytest.mark.parametrize("places", [[Spot(0, "xyz")], [Spot(0, "abc"), Spot(2, "cd")]])
def test_spots_that_do_not_fit_the_text_are_refused(places: list[Spot]) -> None:
    with pytest.raises(ContentError, match="does not hold"):
        rewrite("abcdef", dict.fromkeys(places, "new"))


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfa", b"a: [", b"kind: ConfigMap\napiVersion: v1\n", b"", b"- list\n"])
def test_what_is_no_release_document_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_document(raw)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_document(raw)
