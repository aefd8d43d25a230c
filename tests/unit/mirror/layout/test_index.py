from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import StoreError
from mirror.layout import Store
from mirror.oci.reference import by_digest_tag

if TYPE_CHECKING:
    from pathlib import Path

NAME = "public.ecr.aws/eks-anywhere/kind"
REF_NAME = "org.opencontainers.image.ref.name"


def entries(path: Path) -> list[dict[str, Any]]:
    found = json.loads((path / "index.json").read_bytes())["manifests"]
    assert isinstance(found, list)
    return found


def names(path: Path) -> list[str | None]:
    return [entry.get("annotations", {}).get(REF_NAME) for entry in entries(path)]


def test_each_ref_is_an_entry_with_its_full_reference(store: Store, path: Path, content: Any) -> None:
    image, chart = content.image(b"layer"), content.image(b"chart", artifactType="application/x.chart")
    store.repository(NAME).put_manifest(image, tag="v1")
    store.repository(NAME).put_manifest(chart, tag=by_digest_tag(chart.descriptor.digest))
    store.flush()
    tagged, kept = f"{NAME}:v1", f"{NAME}@{chart.descriptor.digest}"
    found = {entry["annotations"][REF_NAME]: entry for entry in entries(path)}
    assert found == {
        tagged: image.descriptor.to_json() | {"annotations": {REF_NAME: tagged, "io.containerd.image.name": tagged}},
        kept: chart.descriptor.to_json() | {"annotations": {REF_NAME: kept, "io.containerd.image.name": kept}},
    }
    assert found[kept]["artifactType"] == "application/x.chart"


def test_referrers_are_entries_without_a_name_once(store: Store, path: Path, content: Any) -> None:
    image = content.image(b"layer")
    sbom = content.image(b"sbom", subject=image)
    for name in ("a.example/x", "a.example/y"):
        store.repository(name).put_manifest(image, tag="v1")
        store.repository(name).put_manifest(sbom)
    store.flush()
    assert names(path) == ["a.example/x:v1", "a.example/y:v1", None]


def test_the_index_is_written_on_close(store: Store, path: Path, content: Any) -> None:
    store.repository(NAME).put_manifest(content.image(b"layer"), tag="v1")
    assert names(path) == []
    store.close()
    assert names(path) == [f"{NAME}:v1"]


def test_the_index_is_written_while_refs_are_written_for_long(
    store: Store, path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.layout.log._PUBLISH_INTERVAL", 0.0)
    store.repository(NAME).put_manifest(content.image(b"layer"), tag="v1")
    assert names(path) == [f"{NAME}:v1"]


@pytest.mark.parametrize("damage", ["old", "foreign", "absent", "empty"])
def test_an_index_that_is_not_up_to_date_is_rewritten_on_open(
    store: Store, path: Path, content: Any, damage: str
) -> None:
    index = path / "index.json"
    old = index.read_bytes()
    store.repository(NAME).put_manifest(content.image(b"layer"), tag="v1")
    store.close()
    right = index.read_bytes()
    if damage == "old":
        index.write_bytes(old)
    elif damage == "foreign":
        document = json.loads(right)
        document["manifests"].append(document["manifests"][0] | {"annotations": {REF_NAME: "evil.example/x:v1"}})
        index.write_text(json.dumps({"schemaVersion": 2} | document))
    elif damage == "absent":
        index.unlink()
    else:
        index.write_bytes(b"")
    with Store.open(path, read_only=True) as reader:
        assert [str(ref) for ref in reader.refs()] == [f"{NAME}:v1"]
    with Store.open(path):
        assert index.read_bytes() == right


def test_an_index_that_is_up_to_date_is_left_alone(store: Store, path: Path) -> None:
    store.close()
    before = (path / "index.json").stat()
    Store.open(path).close()
    after = (path / "index.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def foreign_layout(store: Store, path: Path, content: Any) -> None:
    """Make of a store what skopeo, buildx or ctr would have written."""
    first, second, third = content.image(b"one"), content.image(b"two"), content.image(b"three")
    for image in (first, second):
        store.put(image.raw)
    store.close()
    document = {
        "schemaVersion": 2,
        "manifests": [
            first.descriptor.to_json() | {"annotations": {REF_NAME: f"{NAME}:v1"}},
            second.descriptor.to_json()
            | {"annotations": {REF_NAME: "v2", "io.containerd.image.name": "docker.io/library/x:v2"}},
            second.descriptor.to_json() | {"annotations": {REF_NAME: "bare"}},
            third.descriptor.to_json() | {"annotations": {REF_NAME: "a.example/absent:v1"}},
            first.descriptor.to_json() | {"size": 3, "annotations": {REF_NAME: "a.example/size:v1"}},
            first.descriptor.to_json(),
            {"mediaType": "text/plain"},
            "nonsense",
        ],
    }
    (path / "index.json").write_text(json.dumps(document))
    for file in (path / "bundlectl").rglob("*"):
        if file.is_file():
            file.unlink()


def test_a_foreign_layout_is_taken_over(store: Store, path: Path, content: Any) -> None:
    foreign_layout(store, path, content)
    raw = (path / "index.json").read_bytes()
    with Store.open(path, create=True) as adopted:
        assert [(str(ref), ref.trust) for ref in adopted.refs()] == [
            ("docker.io/library/x:v2", "off"),
            (f"{NAME}:v1", "off"),
        ]
        assert list(adopted.verify()) == []
    assert (path / "bundlectl" / "index.json.adopted").read_bytes() == raw
    assert names(path) == ["docker.io/library/x:v2", f"{NAME}:v1"]


def test_a_foreign_layout_is_not_opened_unasked(store: Store, path: Path, content: Any) -> None:
    foreign_layout(store, path, content)
    with pytest.raises(StoreError, match="another tool") as raised:
        Store.open(path)
    assert raised.value.hint


def test_a_layout_of_another_version_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(StoreError, match=r"2\.0\.0"):
        Store.open(path, create=True)


def test_a_log_that_is_gone_is_rebuilt_from_the_index(store: Store, path: Path, content: Any) -> None:
    store.repository(NAME, trust="signed").put_manifest(content.image(b"layer"), tag="v1")
    store.close()
    (path / "bundlectl" / "refs.log").unlink()
    with Store.open(path) as again:
        assert [(str(ref), ref.trust) for ref in again.refs()] == [(f"{NAME}:v1", "off")]
