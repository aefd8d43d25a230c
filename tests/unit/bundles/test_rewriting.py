"""Other addresses in a document: they are there afterwards, and every other byte is what it was."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.canonical import canonical_bytes, kind_of_root
from bundles.document import Document, parse_document
from bundles.release import findings
from bundles.rewriting import is_covered, place_of, rewrite
from tests.unit.bundles.documents import BUNDLES, EKSD, shared

HEAD = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nspec:\n  number: 1\n  versionsBundles:\n"
MANIFEST = "spec.versionsBundles[0].certManager.manifest.uri"


def bundles(text: str) -> Document:
    return parse_document(text.encode(), origin="made.yaml")


def one(written: str) -> Document:
    return bundles(f'{HEAD}  - kubeVersion: "1.33"\n    certManager:\n      manifest:\n{written}')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("        uri: https://a/b # why\n", "        uri: x/y.yaml # why\n", id="plain, with a comment"),
        pytest.param('        uri: "https://a/b"\n', '        uri: "x/y.yaml"\n', id="double quotes"),
        pytest.param("        'uri':   'https://a/b'\r\n", "        'uri':   \"x/y.yaml\"\r\n", id="single quotes"),
        pytest.param("        {uri: https://a/b, x: 1}\n", "        {uri: x/y.yaml, x: 1}\n", id="flow"),
        pytest.param(
            "        uri: >-\n          https://a/b\n\n    kindnetd: {}\n",
            '        uri: "x/y.yaml"\n\n    kindnetd: {}\n',
            id="folded",
        ),
    ],
)
def test_only_the_text_itself_is_replaced(before: str, after: str) -> None:
    document = one(before)
    result = rewrite(document, {MANIFEST: "x/y.yaml"}).decode()
    assert result == document.raw.decode().replace(before, after)


def test_json_stays_json() -> None:
    document = bundles(
        '{"apiVersion":"anywhere.eks.amazonaws.com/v1alpha1","kind":"Bundles","spec":{"number":1,'
        '"versionsBundles":[{"kubeVersion":"1.33","certManager":{"manifest":{"uri":"https://a/b"}}}]}}'
    )
    result = rewrite(document, {MANIFEST: 'x/"y"'})
    assert result == document.raw.replace(b'"https://a/b"', b'"x/\\"y\\""')


def test_nothing_to_replace_is_the_document() -> None:
    document = one("        uri: https://a/b\n")
    assert rewrite(document, {}) == document.raw


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(ContentError, match="cannot be edited"):
        rewrite(one("        uri: https://a/b\n"), {"spec.versionsBundles[0].flux.uri": "x/y"})


def test_a_text_that_stands_for_two_is_refused_unless_both_are_meant() -> None:
    document = bundles(
        f'{HEAD}  - kubeVersion: "1.33"\n    certManager:\n      manifest: {{uri: &a https://a/b}}\n'
        "    kindnetd:\n      manifest: {uri: *a}\n"
    )
    with pytest.raises(ContentError, match="cannot be edited"):
        rewrite(document, {MANIFEST: "x/y"})


@pytest.mark.parametrize("name", ["kubeVersion", "eksD.ova.bottlerocket.uri", "eksD.name"])
def test_what_a_signature_is_over_is_never_changed(name: str) -> None:
    document = bundles(BUNDLES)
    with pytest.raises(ContentError, match="a signature is over"):
        rewrite(document, {f"spec.versionsBundles[0].{name}": "x/y.yaml"})


def test_of_an_eks_d_release_all_addresses_may_change_and_of_bundles_most() -> None:
    eksd, made = bundles(EKSD), bundles(BUNDLES)
    assert not any(is_covered(eksd, found) for found in findings(eksd))
    covered = {place_of(found) for found in findings(made) if is_covered(made, found)}
    assert covered == {"spec.versionsBundles[0].eksD.ova.bottlerocket.uri"}
    texts = {place_of(found): "x/y" for found in findings(eksd) if found.uri.startswith("https://")}
    assert texts
    changed = bundles(rewrite(eksd, texts).decode())
    assert {found.uri for found in findings(changed) if place_of(found) in texts} == {"x/y"}


@given(st.text(min_size=1, max_size=60))
@example("eks-anywhere-downloads/1.33/a: b")
@example("a/b # c")
@example("a/b:")
@example("- a/b")
@example("https://h/{a},[b]")
@example("\U0001f600")
def test_any_text_is_read_again_as_it_was_given_or_refused(text: str) -> None:
    for written in ("        uri: https://a/b\n", '        {uri: "https://a/b"}\n', "        {uri: https://a/b}\n"):
        document = one(written)
        try:
            result = rewrite(document, {MANIFEST: text})
        except ContentError:
            continue
        (found,) = findings(bundles(result.decode()))
        assert found.uri == text


@pytest.mark.parametrize("name", ["eksa-bundles-main.yaml", "eksa-bundles-small.yaml"])
def test_real_bundles_are_signed_as_before_whatever_else_they_name(name: str) -> None:
    document = parse_document(shared(name), origin=name)
    kind = kind_of_root(document.root)
    open_to_change = [found for found in findings(document) if not is_covered(document, found)]
    texts = {place_of(found): f"x/{index}" for index, found in enumerate(open_to_change)}
    after = parse_document(rewrite(document, texts), origin=name)
    assert canonical_bytes(after.root, kind, origin=name) == canonical_bytes(document.root, kind, origin=name)
    assert {place_of(found): found.uri for found in findings(after) if place_of(found) in texts} == texts
