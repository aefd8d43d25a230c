"""Writing annotations into a text: they are there afterwards, and every other byte is what it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundlectl.operations.request import SourceRequest
from bundlectl.operations.signing_documents import sign_manifest
from bundlectl.operations.verifying_documents import document_verdict
from bundles.annotating import annotate
from bundles.tree import parse_tree
from tests.unit.bundles.signed_documents import BY_KEY, SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "eksa.aws.com/signature"
VALUE = "MEUCIQCwXIUgFCmdEsUjX6sVaGTu+/=="
NEW = {NAME: VALUE}


def written(text: str, annotations: dict[str, str] | None = None) -> str:
    return annotate(text.encode(), annotations or NEW, origin="made.yaml").decode()


def plain(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "kind: A\nmetadata:\n  name: x\nspec: 1\n",
            f"kind: A\nmetadata:\n  annotations:\n    {NAME}: {VALUE}\n  name: x\nspec: 1\n",
            id="no annotations",
        ),
        pytest.param(
            "kind: A  # one\n# two\nmetadata:  # three\n\n    # four\n    name: x # five\n",
            f"kind: A  # one\n# two\nmetadata:  # three\n\n    # four\n"
            f"    annotations:\n      {NAME}: {VALUE}\n    name: x # five\n",
            id="comments, and an indent of four",
        ),
        pytest.param(
            "kind: A\r\nmetadata:\r\n  name: x\r\n",
            f"kind: A\r\nmetadata:\r\n  annotations:\r\n    {NAME}: {VALUE}\r\n  name: x\r\n",
            id="carriage returns",
        ),
        pytest.param(
            "kind: A\nspec: 1",
            f"kind: A\nmetadata:\n  annotations:\n    {NAME}: {VALUE}\nspec: 1",
            id="no metadata, and no line break at the end",
        ),
        pytest.param(
            "  kind: A\n  spec: 1\n",
            f"  kind: A\n  metadata:\n    annotations:\n      {NAME}: {VALUE}\n  spec: 1\n",
            id="no metadata, all of it indented",
        ),
        pytest.param(
            "kind: A\nmetadata: {}\n", f'kind: A\nmetadata: {{"annotations": {{"{NAME}": "{VALUE}"}}}}\n', id="empty"
        ),
        pytest.param(
            "kind: A\nmetadata: # none\nspec: 1\n",
            f'kind: A\nmetadata: {{"annotations": {{"{NAME}": "{VALUE}"}}}} # none\nspec: 1\n',
            id="nothing, with a comment",
        ),
        pytest.param("metadata:", f'metadata: {{"annotations": {{"{NAME}": "{VALUE}"}}}}', id="nothing else at all"),
        pytest.param(
            "metadata: ~\nkind: A\n", f'metadata: {{"annotations": {{"{NAME}": "{VALUE}"}}}}\nkind: A\n', id="null"
        ),
        pytest.param(
            "metadata: {name: x}\n",
            f'metadata: {{"annotations": {{"{NAME}": "{VALUE}"}}, name: x}}\n',
            id="flow metadata",
        ),
        pytest.param(
            "metadata:\n  annotations: {}\n  name: x\n",
            f'metadata:\n  annotations: {{"{NAME}": "{VALUE}"}}\n  name: x\n',
            id="empty annotations",
        ),
        pytest.param(
            "metadata:\n  annotations:\n  name: x\n",
            f'metadata:\n  annotations: {{"{NAME}": "{VALUE}"}}\n  name: x\n',
            id="annotations that are nothing",
        ),
        pytest.param(
            "metadata:\n  annotations:\n    # mine\n    a: b # kept\n",
            f"metadata:\n  annotations:\n    # mine\n    {NAME}: {VALUE}\n    a: b # kept\n",
            id="annotations of its own",
        ),
        pytest.param(
            "metadata:\n  annotations: {a: b}\n",
            f'metadata:\n  annotations: {{"{NAME}": "{VALUE}", a: b}}\n',
            id="flow annotations",
        ),
        pytest.param(
            f"metadata:\n  annotations:\n    {NAME}: OLD # by whom\n    a: b\n",
            f"metadata:\n  annotations:\n    {NAME}: {VALUE} # by whom\n    a: b\n",
            id="a signature is replaced",
        ),
        pytest.param(
            f"metadata:\n  annotations:\n    {NAME}: |\n      OLD\n      er\n    a: b\n",
            f"metadata:\n  annotations:\n    {NAME}: {VALUE}\n    a: b\n",
            id="a signature over lines is replaced",
        ),
        pytest.param(
            f"metadata:\n  annotations:\n    {NAME}: # none\n    a: b\n",
            f"metadata:\n  annotations:\n    {NAME}: {VALUE} # none\n    a: b\n",
            id="a signature that is nothing is replaced",
        ),
        pytest.param(
            f"metadata:\n  annotations:\n    '{NAME}': 'OLD'\n",
            f"metadata:\n  annotations:\n    '{NAME}': {VALUE}\n",
            id="a quoted signature is replaced",
        ),
        pytest.param(
            '{"kind": "A", "spec": 1}',
            f'{{"metadata": {{"annotations": {{"{NAME}": "{VALUE}"}}}}, "kind": "A", "spec": 1}}',
            id="JSON",
        ),
        pytest.param(
            f'{{\n  "metadata": {{"annotations": {{"a": "b", "{NAME}": "OLD"}}}}\n}}\n',
            f'{{\n  "metadata": {{"annotations": {{"a": "b", "{NAME}": "{VALUE}"}}}}\n}}\n',
            id="JSON with a signature",
        ),
        pytest.param(
            "# é \U0001d538\nkind: é\U0001d538\nmetadata:\n  name: \U0001d538\n",
            f"# é \U0001d538\nkind: é\U0001d538\nmetadata:\n  annotations:\n    {NAME}: {VALUE}\n  name: \U0001d538\n",
            id="letters of several bytes",
        ),
        pytest.param(
            "metadata: &m\n  name: &n x\nspec: {a: *n}\n",
            f"metadata: &m\n  annotations:\n    {NAME}: {VALUE}\n  name: &n x\nspec: {{a: *n}}\n",
            id="anchors",
        ),
        pytest.param(
            "---\nkind: A\nmetadata:\n  name: x\n...\n",
            f"---\nkind: A\nmetadata:\n  annotations:\n    {NAME}: {VALUE}\n  name: x\n...\n",
            id="marks of a document",
        ),
    ],
)
def test_an_annotation_is_written_where_it_belongs_and_nothing_else_changes(text: str, expected: str) -> None:
    assert written(text) == expected
    if text.startswith("{"):
        json.loads(expected)


def test_several_annotations_are_added_and_replaced_at_once() -> None:
    text = f"metadata:\n  annotations:\n    x: y\n    {NAME}: OLD\n"
    assert written(text, {NAME: VALUE, "a": "", "b": "1"}) == (
        f'metadata:\n  annotations:\n    a: ""\n    b: 1\n    x: y\n    {NAME}: {VALUE}\n'
    )


def test_the_same_annotation_again_changes_nothing() -> None:
    text = written("kind: A\nmetadata:\n  name: x\n")
    assert written(text) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("metadata:\n  annotations: &a {x: y}\n  labels: *a\n", id="annotations that are others, too"),
        pytest.param("labels: &a {x: y}\nmetadata:\n  annotations: *a\n", id="annotations that stand elsewhere"),
        pytest.param(f"a: &s OLD\nmetadata:\n  annotations:\n    {NAME}: *s\n", id="a signature that stands elsewhere"),
        pytest.param("? metadata\n: name: x\n", id="a key with a question mark"),
        pytest.param("metadata: &m\n  name: x\nother: *m\n", id="metadata that is something else, too"),
        pytest.param("metadata: []\n", id="metadata that is a list"),
        pytest.param("metadata:\n  annotations: [a]\n", id="annotations that are a list"),
        pytest.param("metadata: text\n", id="metadata that is text"),
        pytest.param("kind: A\rmetadata:\r  name: x\r", id="carriage returns alone"),
    ],
)
def test_a_text_that_cannot_be_edited_is_refused_and_not_spoilt(text: str) -> None:
    with pytest.raises(ContentError, match="its annotations cannot be edited") as caught:
        written(text)
    assert "plain block YAML" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "- a\n", "text", "a: 1\na: 2\n", "a: 1\n---\nb: 1\n", "a: [", "\ufeffa: 1\n"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ContentError):
        written(text)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8) | st.sampled_from(
    [
        "a b",
        "a: b",
        "# x",
        "1.30",
        "yes",
        "~",
        "null",
        "'",
        '"',
        "a\nb\n",
        " x",
        "x ",
        "[",
        "{}",
        "é\U0001d538",
        "&a",
        "*a",
        "|",
    ]
)
SCALARS = WORDS | st.integers(-5, 5) | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)
ANNOTATIONS = st.none() | st.dictionaries(st.sampled_from(["a", "b/c", NAME, "eksa.aws.com/other"]), WORDS, max_size=3)
METADATA = st.none() | st.fixed_dictionaries(
    {}, optional={"name": WORDS, "labels": st.dictionaries(WORDS, WORDS, max_size=2), "annotations": ANNOTATIONS}
)


def _dumps(style: str) -> Callable[[Any], str]:
    match style:
        case "json":
            return json.dumps
        case "indented json":
            return lambda value: json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        case "flow":
            return lambda value: str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False))
        case "mixed":
            return lambda value: str(
                yaml.safe_dump(value, default_flow_style=None, sort_keys=False, allow_unicode=True)
            )
        case _:
            return lambda value: str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, indent=int(style)))


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """The text of an object of any kind."""
    members: dict[str, Any] = {"apiVersion": "example.test/v1", "kind": "Thing"}
    members.update(draw(st.fixed_dictionaries({}, optional={"metadata": METADATA, "spec": VALUES, "data": VALUES})))
    order = draw(st.permutations(list(members)))
    text = _dumps(draw(st.sampled_from(["json", "indented json", "flow", "mixed", "2", "4"])))(
        {name: members[name] for name in order}
    )
    if not text.startswith("{"):
        lines = [
            line + draw(st.sampled_from(["", "", "  # remark"])) if line.endswith(":") else line
            for line in text.split("\n")
        ]
        text = draw(st.sampled_from(["", "# first\n\n", "---\n"])) + "\n".join(lines)
        text += draw(st.sampled_from(["", "# last\n", "\n\n"]))
    return draw(st.sampled_from([text, text.rstrip("\n"), text.replace("\n", "\r\n")]))


def _bare(text: str) -> Any:
    """What a document says beside the signature, and the maps that were made for it."""
    found = plain(text)
    metadata = found.get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != NAME}
    rest = {key: value for key, value in metadata.items() if key != "annotations"}
    return {**{key: value for key, value in found.items() if key != "metadata"}, "": (rest, annotations)}


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(manifests())
def test_any_manifest_is_signed_verifies_and_is_the_same_text_otherwise(text: str) -> None:
    raw = text.encode()
    try:
        parse_tree(raw, origin="made.yaml")
        unsigned = NAME not in text
        signed = sign_manifest(raw, origin="made.yaml", signer=SIGNER).text
    except ContentError:
        assume(False)  # noqa: FBT003 -- no document for other reasons
    result = signed.decode()
    assert document_verdict(signed, "made.yaml", SourceRequest(sources=(), belief=BY_KEY)).verified
    assert _bare(result) == _bare(text)
    if unsigned:
        _check_one_insertion(text, result)
    if text.startswith("{") and _is_json(text):
        json.loads(result)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _check_one_insertion(text: str, result: str) -> None:
    """Whether the result is the text with something put in, or in the place of something empty."""
    ahead = next((at for at, (old, new) in enumerate(zip(text, result, strict=False)) if old != new), len(text))
    assert any(
        text.startswith(empty, ahead) and result.endswith(text[ahead + len(empty) :]) for empty in ("", "null", "~")
    )
