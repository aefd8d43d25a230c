from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError
from bundles.helm.conversion import chart_tag, convert
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    PackChart = Callable[..., bytes]

CHART = """\
apiVersion: v2
name: web
version: 1.2.3+build
appVersion: "1.10"
description: A web server
home: https://web.example
sources: [https://git.example/web]
maintainers:
- {name: Ada, email: ada@example.org}
- {name: Bob}
dependencies:
- {name: db, version: 1.x, repository: "oci://r.example/charts", enabled: true, alias: store}
annotations:
  org.opencontainers.image.title: lies
  team: blue
somethingNew: ignored
"""


def test_the_manifest_has_the_shape_that_helm_gives_it(pack_chart: PackChart) -> None:
    archive = pack_chart({"Chart.yaml": CHART})

    chart = convert(archive, origin="web.tgz")

    document = json.loads(chart.manifest.raw)
    assert "mediaType" not in document
    assert document["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    assert [layer["mediaType"] for layer in document["layers"]] == [
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    ]
    assert document["layers"][0]["digest"] == str(Digest.of(archive))
    assert chart.blobs[chart.layer.digest] == archive
    assert chart.manifest.annotations == {
        "org.opencontainers.image.title": "web",
        "org.opencontainers.image.version": "1.2.3+build",
        "org.opencontainers.image.description": "A web server",
        "org.opencontainers.image.url": "https://web.example",
        "org.opencontainers.image.source": "https://git.example/web",
        "org.opencontainers.image.authors": "Ada (ada@example.org), Bob",
        "team": "blue",
    }


def test_the_config_is_chart_yaml_as_json(pack_chart: PackChart) -> None:
    chart = convert(pack_chart({"Chart.yaml": CHART}), origin="web.tgz")

    config = json.loads(chart.blobs[chart.manifest.children()[0].digest])

    assert config["appVersion"] == "1.10"
    assert config["dependencies"] == [
        {"name": "db", "version": "1.x", "repository": "oci://r.example/charts", "enabled": True, "alias": "store"}
    ]
    assert "somethingNew" not in config


def test_the_same_archive_gives_the_same_manifest(pack_chart: PackChart) -> None:
    archive = pack_chart({"Chart.yaml": CHART})

    first, second = convert(archive, origin="a"), convert(archive, origin="b")

    assert first.manifest.raw == second.manifest.raw
    assert first.manifest.descriptor.digest == Digest.of(first.manifest.raw)


def test_a_plus_in_a_version_becomes_an_underscore_in_the_tag() -> None:
    assert chart_tag("1.2.3+build.1") == "1.2.3_build.1"


def test_what_is_no_chart_is_not_converted() -> None:
    with pytest.raises(ContentError):
        convert(gzip.compress(b"x"), origin="x.tgz")
