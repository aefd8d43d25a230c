from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, TransportError, UsageError
from bundles.sources import read_source

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

    from .conftest import Site

HEX = "a" * 64
INDEX = f"""\
apiVersion: v1
entries:
  web:
  - {{name: web, version: 1.2.3+b1, urls: [files/web.tgz], digest: {HEX}}}
  - {{name: web, version: 2.0.0, urls: ['https://cdn.example/web.tgz']}}
  - {{name: web, version: 3.0.0, urls: ['oci://r.example/web:3.0.0']}}
  - {{name: web, version: 4.0.0, urls: ['https://u:p@cdn.example/web.tgz']}}
"""


@pytest.fixture(autouse=True)
def _index(site: Site) -> None:
    site.files["/docs.example/charts/index.yaml"] = INDEX.encode()


def test_a_chart_of_a_classic_repository_is_found_in_its_index(context: SourceContext) -> None:
    loaded = read_source("chart:https://docs.example/charts#web@1.2.3+b1", context)

    (artifact,) = loaded.contents.artifacts
    assert artifact.reference == "docs.example/charts/web:1.2.3_b1"
    assert artifact.chart_url == "https://docs.example/charts/files/web.tgz"
    assert str(artifact.digest) == f"sha256:{HEX}"
    assert artifact.trust == "declared"


def test_a_chart_without_a_stated_digest_is_taken_with_a_warning(context: SourceContext, site: Site) -> None:
    loaded = read_source("chart:https://docs.example/charts/index.yaml#web@2.0.0", context)

    (artifact,) = loaded.contents.artifacts
    assert (artifact.digest, artifact.trust) == (None, "resolved")
    assert artifact.chart_url == "https://cdn.example/web.tgz"
    assert any("no digest" in warning for warning in site.warnings())


def test_a_missing_version_or_index_is_missing(context: SourceContext) -> None:
    for source in ("chart:https://docs.example/charts#web@9.0.0", "chart:https://docs.example/none#web@1.0.0"):
        with pytest.raises(MissingError):
            read_source(source, context)


def test_an_entry_that_leads_to_a_registry_says_how_to_name_it(context: SourceContext) -> None:
    with pytest.raises(ContentError) as caught:
        read_source("chart:https://docs.example/charts#web@3.0.0", context)

    assert "chart:r.example/web:3.0.0" in (caught.value.hint or "")


def test_an_entry_with_a_password_is_refused_without_telling_it(context: SourceContext) -> None:
    with pytest.raises(ContentError) as caught:
        read_source("chart:https://docs.example/charts#web@4.0.0", context)

    assert "u:p" not in str(caught.value)


def test_a_repository_whose_path_is_no_repository_name_is_wrong_usage(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/Charts/index.yaml"] = INDEX.encode()

    with pytest.raises(UsageError, match="not a reference"):
        read_source("chart:https://docs.example/Charts#web@2.0.0", context)


def test_a_refusal_is_a_transport_error(context: SourceContext, site: Site) -> None:
    site.files["/docs.example/charts/index.yaml"] = 403

    with pytest.raises(TransportError, match="403"):
        read_source("chart:https://docs.example/charts#web@2.0.0", context)
