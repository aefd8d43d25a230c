"""What bundles offer, whatever their schemas say."""

from __future__ import annotations

import base64
import gzip

import pytest

from bundlectl.operations.packages import FoundBundle, describe_package
from bundles.document import parse_document
from bundles.package_bundle import render_package_bundle
from bundles.schema import parse_model
from bundles.schema.package_bundle import BundledPackage, PackageBundle, PackageSource, PackageVersion
from mirror.oci.digest import Digest


@pytest.mark.parametrize("required", ["[{}]", "5", '["size", []]'])
def test_a_schema_that_says_oddly_what_is_required_is_described_all_the_same(required: str) -> None:
    schema = f'{{"properties": {{"size": {{"type": "integer"}}}}, "required": {required}}}'
    packed = base64.b64encode(gzip.compress(schema.encode())).decode()
    version = PackageVersion(name="1.0.0", digest=f"sha256:{'a' * 64}", schema=packed)
    package = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    raw = render_package_bundle("v1-33-1", (package,))
    model = parse_model(parse_document(raw, origin="bundle"))
    assert isinstance(model, PackageBundle)
    found = FoundBundle(bundle=model, raw=raw, digest=Digest.of(raw), trust="off", verified_by=None, origin="x")
    (value,) = describe_package(found, "hello")["versions"][0]["values"]
    assert value == {"name": "size", "type": "integer", "default": None, "required": "size" in required}
