from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import UsageError
from bundles.sources import form_of, forms, read_source

if TYPE_CHECKING:
    from pathlib import Path

    from bundles.sources.context import SourceContext

SHA = "sha256:" + "1" * 64


def test_the_forms_are_those_of_the_contract() -> None:
    assert forms() == ("archive", "chart", "eks-a", "eks-d", "file", "image", "packages", "registry", "store")


def test_a_known_form_comes_before_a_url() -> None:
    assert form_of("chart:https://host/x#a@1") == ("chart", "https://host/x#a@1")
    assert form_of("https://host/x") == ("", "https://host/x")
    assert form_of("s3://bucket/key") == ("", "s3://bucket/key")
    assert form_of("./image:x") == ("", "./image:x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "image:",
        "nothing.yaml",
        "imagine:x",
        "context:x",
        "s3:x",
        "ftp://host/x",
        "file:///etc/passwd",
        "a\0b",
        "x" * 5000,
        "image:nginx",
        "image:nginx:1.2",
        "image:r.example/nginx",
        "image:r.example/Nginx:1",
        "chart:r.example/nginx",
        "chart:https://host.example/x",
        "chart:https://host.example/x#a",
        "chart:https://host.example/x#@1",
        "chart:https://host.example/x?y#a@1",
        "chart:https://user:secret@host.example/x#a@1",
        "file:relative",
        "file:s3://bucket/key",
        "file:https://user:secret@host.example/x",
        "file:https://host.example/x#y",
        "file:https://host.example:port/x",
        "file:https://user:secret@host.example:port/x",
        "eks-d:1.33",
        "eks-d:1-33-eks-0",
        "eks-d:1-33-eks-12/../x",
        "eks-d:1-33-eks-\uff11",
        "packages:1.33",
        "packages:1-33-120",
        "packages:v1-33-x/y",
        "registry:nowhere",
    ],
)
def test_what_makes_no_sense_is_wrong_usage_and_says_what_to_write(text: str, context: SourceContext) -> None:
    with pytest.raises(UsageError) as caught:
        read_source(text, context)

    assert "secret" not in str(caught.value)
    assert caught.value.hint or caught.value.artifact


def test_a_folder_is_told_to_be_a_store(tmp_path: Path, context: SourceContext) -> None:
    with pytest.raises(UsageError) as caught:
        read_source(str(tmp_path), context)

    assert f"store:{tmp_path}" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "reference", "digest", "trust"),
    [
        ("image:r.example/a/b:1", "r.example/a/b:1", "", "resolved"),
        (f"image:r.example/a/b:1@{SHA}", "r.example/a/b:1", SHA, "declared"),
        (f"image:localhost:5000/b@{SHA}", f"localhost:5000/b@{SHA}", SHA, "declared"),
        ("chart:r.example/a/b:1", "r.example/a/b:1", "", "resolved"),
        ("chart:oci://r.example/a/b:1", "r.example/a/b:1", "", "resolved"),
        ("file:https://host.example/a/b%20c.iso?x=1", "https://host.example/a/b%20c.iso?x=1", "", "resolved"),
    ],
)
def test_a_single_artifact_is_named_without_asking_anyone(
    text: str, reference: str, digest: str, trust: str, context: SourceContext
) -> None:
    loaded = read_source(text, context)

    (artifact,) = loaded.contents.artifacts
    assert artifact.type == text.partition(":")[0]
    assert (artifact.reference, str(artifact.digest or ""), artifact.trust) == (reference, digest, trust)
    assert (loaded.kind, loaded.source, artifact.found_in) == (artifact.type, text, frozenset({text}))


def test_a_file_is_called_by_the_end_of_its_path(context: SourceContext) -> None:
    loaded = read_source("file:https://host.example/a/b%20c.iso?x=1", context)

    assert loaded.contents.artifacts[0].name == "b c.iso"


def test_a_name_that_no_lock_could_record_is_refused(context: SourceContext) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        read_source("manifest\udcff.yaml", context)
