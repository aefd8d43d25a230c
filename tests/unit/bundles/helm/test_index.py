from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError, MissingError
from bundles.helm.index import find_entry

BASE = "https://charts.example/stable/index.yaml"
HEX = "a" * 64
INDEX = f"""\
apiVersion: v1
generated: 2024-01-01
serverInfo: {{a: [1, 2, {{b: c}}]}}
entries:
  other:
  - name: other
    version: 1.2.3
    urls: [https://elsewhere.example/other.tgz]
  web:
  - name: web
    version: 2.0.0
    urls: [charts/web-2.0.0.tgz]
    digest: {HEX}
  - name: web
    version: v1.2.3
    urls: [https://cdn.example/web-1.2.3.tgz, web-mirror.tgz]
    digest: sha256:{HEX}
  - name: web
    version: 1.2.3+b2
    urls: [/charts/web.tgz]
"""


def test_a_version_is_found_with_its_urls_and_digest() -> None:
    entry = find_entry(INDEX.encode(), "web", "2.0.0", base_url=BASE)

    assert entry.urls == ("https://charts.example/stable/charts/web-2.0.0.tgz",)
    assert str(entry.digest) == f"sha256:{HEX}"


def test_a_version_matches_when_it_is_equal_as_a_semantic_version() -> None:
    entry = find_entry(INDEX.encode(), "web", "1.2.3", base_url=BASE)

    assert entry.version == "v1.2.3"
    assert entry.urls == ("https://cdn.example/web-1.2.3.tgz", "https://charts.example/stable/web-mirror.tgz")


def test_build_metadata_tells_two_versions_apart() -> None:
    assert find_entry(INDEX.encode(), "web", "1.2.3+b2", base_url=BASE).urls == (
        "https://charts.example/charts/web.tgz",
    )


def test_a_missing_version_names_those_there_are() -> None:
    with pytest.raises(MissingError) as caught:
        find_entry(INDEX.encode(), "web", "3.0.0", base_url=BASE)

    assert "2.0.0" in (caught.value.hint or "")


def test_a_missing_chart_is_missing() -> None:
    with pytest.raises(MissingError):
        find_entry(INDEX.encode(), "nothing", "3.0.0", base_url=BASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>403</html>",
        "[]",
        "apiVersion: v1\n",
        "entries: []\n",
        "entries:\n  web: {}\n",
        "entries:\n  web:\n  - {name: web, version: 1.0.0}\n",
        "entries:\n  web:\n  - {name: db, version: 1.0.0, urls: [x]}\n",
        "entries:\n  web:\n  - {name: web, version: 1.0.0, urls: [x], digest: md5}\n",
        "entries:\n  web:\n  - {name: web, version: 1.0.0, urls: ['file:///etc/passwd']}\n",
        "entries:\n  web:\n  - {name: web, version: 1.0.0, urls: ['https://[']}\n",
    ],
)
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(ContentError):
        find_entry(text.encode(), "web", "1.0.0", base_url=BASE)


def test_a_large_index_is_searched_without_building_it() -> None:
    bulk = "".join(
        f"  - {{name: bulk, version: 0.0.{n}, urls: [u{n}.tgz], digest: {HEX}, description: '{'x' * 300}'}}\n"
        for n in range(20_000)
    )
    raw = f"entries:\n  bulk:\n{bulk}  web:\n  - {{name: web, version: 1.0.0, urls: [w.tgz]}}\n".encode()

    assert find_entry(raw, "web", "1.0.0", base_url=BASE).digest is None


@given(st.binary(max_size=300))
def test_any_bytes_give_an_error_of_ours(raw: bytes) -> None:
    with pytest.raises((ContentError, MissingError)):
        find_entry(raw, "web", "1.0.0", base_url=BASE)
