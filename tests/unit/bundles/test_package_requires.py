"""requires.yaml, and the schemas of values."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.helm.archive import read_chart
from bundles.package_requires import RequiredImage, Requires, decode_schema, encode_schema, read_requires
from mirror.oci.digest import Digest
from registry_fixtures.layers import tar_gzip

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "1" * 64
SCHEMA = b'{"type": "object", "properties": {"sourceRegistry": {}}, "additionalProperties": false}'


def requires(files: dict[str, bytes]) -> Requires:
    head = {"a/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n"}
    return read_requires(read_chart(tar_gzip(head | {f"a/{name}": data for name, data in files.items()}), origin="a"))


def spec(**fields: Any) -> dict[str, bytes]:
    return {"requires.yaml": yaml.safe_dump({"kind": "Requires", "metadata": {"a": 1}, "spec": fields}).encode()}


def test_everything_is_read() -> None:
    packed = base64.b64encode(gzip.compress(SCHEMA)).decode()
    found = requires(
        spec(
            images=[
                {"repository": "a/b", "tag": "1.10", "digest": DIGEST},
                {"repository": "c", "tag": "v1"},
                {"repository": "c", "tag": "v1"},
            ],
            schema=packed,
            dependencies=["cert-manager", "", "cert-manager"],
            configurations=[{"name": "a", "required": True, "default": 3}],
        )
    )
    assert found == Requires(
        images=(RequiredImage("a/b", "1.10", Digest.parse(DIGEST)), RequiredImage("c", "v1", None)),
        schema=packed,
        dependencies=("cert-manager",),
        warnings=(),
    )


def test_what_the_build_of_aws_writes_for_a_chart_without_images_is_read() -> None:
    text = b"---\nkind: EksaPackageRequires\nmetadata:\n  name: a-1.0.0\n  namespace: eksa-packages\nspec:\n  images:\n"
    assert requires({"requires.yaml": text, "values.schema.json": SCHEMA}).images == ()


def test_the_schema_is_the_charts_own_where_requires_has_none() -> None:
    found = requires(spec(dependencies=[]) | {"values.schema.json": SCHEMA})
    assert decode_schema(found.schema, origin="a") == SCHEMA
    assert found.warnings == ()


def test_without_any_schema_everything_is_accepted_with_a_warning() -> None:
    found = requires({})
    accepted = jsonschema_rs.validator_for(json.loads(decode_schema(found.schema, origin="a")))
    assert accepted.is_valid({"whatever": 1})
    assert "no schema" in found.warnings[0]


def test_a_schema_that_forbids_what_the_controller_sets_is_told() -> None:
    found = requires({"values.schema.json": b'{"additionalProperties": false, "properties": {"a": {}}}'})
    assert found.warnings[0].startswith("a-1.0.0!values.schema.json does not allow sourceRegistry")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (spec(images=[{"repository": "a"}]), "a-1.0.0!requires.yaml:6: spec.images[0]: an image has"),
        (spec(images=[{"repository": "A", "tag": "1"}]), "spec.images[0].repository: "),
        (spec(images=[{"repository": "a", "digest": "sha256:1"}]), "spec.images[0].digest: "),
        (spec(image=[]), "Additional properties"),
        (spec(schema="e30="), "the schema is not base64 of gzip"),
        (spec(schema=base64.b64encode(gzip.compress(b"{")).decode()), "the schema is not JSON"),
        (spec(schema=base64.b64encode(gzip.compress(b"3")).decode()), "and not a JSON Schema"),
        ({"requires.yaml": b"spec:\n  images:\n" + b"  - {repository: a, tag: b}\n" * 10_001}, "spec.images: "),
        ({"requires.yaml": b"kind: a\n"}, 'requires.yaml:1: "spec" is a required'),
        ({"requires.yaml": b"spec: [\n"}, "not YAML"),
        ({"values.schema.json": b"[]"}, "and not a JSON Schema"),
        ({"values.schema.json": b'{"maximum": NaN}'}, "values.schema.json: the schema is not JSON: NaN"),
        ({"values.schema.json": b"\xef\xbb\xbf" + SCHEMA}, "the schema is not JSON: Unexpected UTF-8 BOM"),
        ({"values.schema.json": SCHEMA.decode().encode("utf-16")}, "the schema is not JSON: 'utf-8'"),
        ({"values.schema.json": b'{"type": "map"}'}, "values.schema.json: the schema cannot be used: "),
        ({"values.schema.json": b'{"pattern": "("}'}, "the schema cannot be used: "),
        ({"values.schema.json": b'{"$ref": "#/definitions/a"}'}, "'/definitions/a' does not exist"),
        ({"values.schema.json": b'{"$ref": "https://a.example/b.json"}'}, "a.example/b.json lies elsewhere"),
        ({"values.schema.json": b'{"$ref": "file:///etc/hostname"}'}, "file:///etc/hostname lies elsewhere"),
        (spec(schema=base64.b64encode(gzip.compress(b'{"type": 3}')).decode()), "requires.yaml: the schema cannot be"),
    ],
)
def test_a_fault_is_told_with_chart_file_and_field(files: dict[str, bytes], told: str) -> None:
    with pytest.raises(ContentError) as caught:
        requires(files)
    assert told in str(caught.value)


def test_a_schema_that_unpacks_to_too_much_is_refused() -> None:
    packed = base64.b64encode(gzip.compress(b'{"a":"' + b" " * 5_000_000 + b'"}')).decode()
    with pytest.raises(ContentError, match="larger than"):
        decode_schema(packed, origin="a")


@pytest.mark.parametrize("change", [lambda raw: raw[:-3], lambda raw: raw + b"more", lambda raw: raw[:-8] + b"\0" * 8])
def test_a_schema_that_is_cut_or_longer_or_damaged_is_refused(change: Any) -> None:
    with pytest.raises(ContentError, match="not base64 of gzip"):
        decode_schema(base64.b64encode(change(gzip.compress(SCHEMA))).decode(), origin="a")


@given(st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=20))
def test_every_schema_comes_back_as_it_was_and_as_gzip_reads_it(value: Any) -> None:
    raw = json.dumps({"x": value}).encode()
    text = encode_schema(raw, origin="a")
    assert decode_schema(text, origin="a") == gzip.decompress(base64.b64decode(text)) == raw
    assert text == encode_schema(raw, origin="b")


def test_line_breaks_in_the_base64_do_not_matter_and_do_not_go_into_the_bundle() -> None:
    packed = base64.encodebytes(gzip.compress(SCHEMA)).decode()
    assert requires(spec(schema=packed)).schema == packed.replace("\n", "")


def test_the_schemas_of_aws_are_read(shared_data: Path) -> None:
    bundle = yaml.load(
        shared_data.joinpath("packagebundle-v1-24-116.aws-signed.yaml").read_bytes(), Loader=yaml.CSafeLoader
    )
    schemas = [version["schema"] for package in bundle["spec"]["packages"] for version in package["source"]["versions"]]
    assert schemas
    for text in schemas:
        assert requires(spec(schema=text)).schema == text
