"""Building bundles of packages from what a registry holds."""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bundlectl.errors import ConfigError, ContentError, InterruptError, MissingError, TransportError, UsageError
from bundlectl.events import Event, Notice
from bundlectl.operations import (
    BuiltBundle,
    BundleRequest,
    Connection,
    Session,
    build_package_bundle,
    resolving_packages,
)
from bundles.helm.archive import read_chart
from bundles.package_input import parse_package_input
from bundles.package_requires import decode_schema
from mirror.http import Transport
from registry_fixtures.faults import AlterHeaders, Fault, FlipByte
from tests.unit.bundlectl.operations.packages import PackageSite, requires, write_input
from tests.unit.bundles.signed_documents import OTHER_SIGNER, SIGNER

if TYPE_CHECKING:
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry

SCHEMA = '{"type": "object", "properties": {"sourceRegistry": {"type": "string"}}}'
UNKNOWN = "sha256:" + "0" * 64


@pytest.fixture
def packages(registry: ServedRegistry) -> PackageSite:
    return PackageSite(registry)


class Workshop:
    """Builds, and keeps what was told meanwhile."""

    def __init__(self, packages: PackageSite, folder: Path) -> None:
        self._packages = packages
        self.path = folder / "packages.yaml"
        self.told: list[str] = []

    def build(self, *projects: dict[str, Any], signer: Any = None, earlier: bytes = b"", **more: Any) -> BuiltBundle:
        """Build a bundle of these packages."""
        head = {key: more.pop(key) for key in ("minControllerVersion",) if key in more}
        write_input(self.path, *projects, **head)
        request = BundleRequest(input=self.path, **{"registry": self._packages.packages, **more})
        self.told = []

        def hear(event: Event) -> None:
            if isinstance(event, Notice) and event.level == "warning":
                self.told.append(f"{event.artifact}: {event.message}")

        transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
        with Session(Connection(transport=transport, jobs=4), listener=hear) as session:
            return build_package_bundle(request, session=session, signer=signer, earlier=earlier)


@pytest.fixture
def workshop(packages: PackageSite, tmp_path: Path) -> Workshop:
    return Workshop(packages, tmp_path)


def read(built: BuiltBundle) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(built.text)
    return found


def versions(built: BuiltBundle) -> list[dict[str, Any]]:
    return [version for package in read(built)["spec"]["packages"] for version in package["source"]["versions"]]


def test_every_version_has_its_chart_images_schema_and_dependencies(packages: PackageSite, workshop: Workshop) -> None:
    one, two = packages.image("site/greeter", "v1"), packages.image("site/greeter", "v2")
    needs = [{"repository": "site/greeter", "tag": "v1", "digest": str(one.digest)}]
    first = packages.chart("greeter", "1.0.0", **_named(requires(images=needs, dependencies=["base"])))
    second = packages.chart(
        "greeter", "2.0.0", schema=SCHEMA, **_named(requires(images=[{"repository": "site/greeter", "tag": "v2"}]))
    )
    base = packages.chart("deep/base", "0.1.0", schema=SCHEMA)
    built = workshop.build(
        {"name": "greeter", "versions": ["2.0.0", "1.0.0"], "registry": "registry.example"},
        {"name": "base", "repository": "deep/base", "versions": ["0.1.0"], "workloadonly": True},
        minControllerVersion="v0.4.4",
    )
    document = read(built)
    assert document["metadata"]["name"] == "v1-33-1001"
    assert document["metadata"]["namespace"] == "eksa-packages"
    assert document["spec"]["minControllerVersion"] == "v0.4.4"
    greeter, other = document["spec"]["packages"]
    assert (other["workloadonly"], other["source"]["repository"]) == (True, "deep/base")
    assert "registry" not in greeter["source"]
    assert [(each["name"], each["digest"]) for each in versions(built)] == [
        ("2.0.0", second),
        ("1.0.0", first),
        ("0.1.0", base),
    ]
    assert [each.get("images") for each in versions(built)] == [
        [{"digest": str(two.digest), "repository": "site/greeter"}],
        [{"digest": str(one.digest), "repository": "site/greeter"}],
        None,
    ]
    assert [each.get("dependencies") for each in versions(built)] == [None, ["base"], None]
    assert decode_schema(versions(built)[0]["schema"], origin="a") == SCHEMA.encode()


def test_a_bundle_is_built_from_the_input_of_aws(packages: PackageSite, shared_data: Path) -> None:
    path = shared_data / "package-input-1-33.yaml"
    projects = parse_package_input(path.read_bytes(), origin="aws.yaml").projects
    charts = {item.name: packages.chart(item.repository, item.versions[0], schema=SCHEMA) for item in projects}
    request = BundleRequest(input=path, registry=packages.packages, name="v1-33-2026-06-26-1782500000")
    with Session() as session:
        built = build_package_bundle(request, session=session, signer=SIGNER)
    found = {each["name"]: each["source"]["versions"][0]["digest"] for each in read(built)["spec"]["packages"]}
    assert found == charts
    assert read(built)["metadata"]["name"] == "v1-33-2026-06-26-1782500000"


def test_images_of_a_chart_that_lists_none_are_found_in_it(packages: PackageSite, workshop: Workshop) -> None:
    own, other = packages.image("site/app", "v3"), packages.image("library/proxy", "1.27")
    values = "sourceRegistry: public.example/a\nimage:\n  repository: site/app\n  tag: v3\n"
    packages.chart("app", "1.0.0", values=values, pod="image: docker.example/library/proxy:1.27\n")
    built = workshop.build({"name": "app", "versions": ["1.0.0"]})
    assert versions(built)[0]["images"] == [
        {"digest": str(other.digest), "repository": "library/proxy"},
        {"digest": str(own.digest), "repository": "site/app"},
    ]


def test_an_image_whose_name_is_computed_is_told_and_left_out(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA, values="image:\n  repository: a/b\n  tag: '{{ .Values.x }}'\n")
    built = workshop.build({"name": "app", "versions": ["1.0.0"]})
    assert "images" not in versions(built)[0]
    assert [item.reason for item in built.excluded] == ["is computed by a template"]
    assert any("a/b is left out: it is computed" in line for line in workshop.told)


def test_an_image_that_is_not_there_under_the_digest_of_its_tag_is_missing(
    packages: PackageSite, workshop: Workshop
) -> None:
    packages.image("site/app", "v3")
    packages.chart("app", "1.0.0", schema=SCHEMA, **_named(requires(images=[{"repository": "site/app", "tag": "v3"}])))
    packages.served.faults.add(Fault(AlterHeaders({"Docker-Content-Digest": UNKNOWN}), method="HEAD", path="*/site/*"))
    with pytest.raises(MissingError, match=r"requires\.yaml needs it") as caught:
        workshop.build({"name": "app", "versions": ["1.0.0"]})
    assert str(caught.value.artifact).endswith(f"/site/app@{UNKNOWN}")


def test_an_image_is_asked_for_once_in_however_many_places_a_chart_names_it(
    packages: PackageSite, workshop: Workshop
) -> None:
    image = packages.image("site/app", "v3")
    values = "".join(f"{key}: {{repository: site/app, tag: v3}}\n" for key in ("a", "b", "c"))
    packages.chart("app", "1.0.0", schema=SCHEMA, values=values)
    built = workshop.build({"name": "app", "versions": ["1.0.0"]})
    assert versions(built)[0]["images"] == [{"digest": str(image.digest), "repository": "site/app"}]
    assert packages.served.requests.count("HEAD", "*/site/app/manifests/v3") == 1


def test_few_charts_are_unpacked_at_a_time(
    packages: PackageSite, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        packages.chart("app", f"1.0.{number}", schema=SCHEMA)
    open_now, most = 0, 0

    def unpack(raw: bytes, *, origin: str) -> Any:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        time.sleep(0.02)
        try:
            return read_chart(raw, origin=origin)
        finally:
            open_now -= 1

    monkeypatch.setattr(resolving_packages, "read_chart", unpack)
    workshop.build({"name": "app", "versions": [f"1.0.{number}" for number in range(8)]})
    assert most == 2


def test_images_may_be_in_another_registry(packages: PackageSite, workshop: Workshop, registry_factory: Any) -> None:
    elsewhere = PackageSite(registry_factory())
    image = elsewhere.image("site/app", "v3")
    packages.chart("app", "1.0.0", values="image: {repository: site/app, tag: v3}\n")
    built = workshop.build({"name": "app", "versions": ["1.0.0"]}, image_registry=elsewhere.packages)
    assert versions(built)[0]["images"] == [{"digest": str(image.digest), "repository": "site/app"}]


def test_without_a_registry_that_of_the_input_counts(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA)
    workshop.build({"name": "app", "versions": ["1.0.0"], "registry": packages.packages}, registry="")
    with pytest.raises(UsageError, match="names no registry for the package app"):
        workshop.build({"name": "app", "versions": ["1.0.0"]}, registry="")


@pytest.mark.parametrize("named", ["https://me:secret@registry.example/a", "me:secret@registry.example"])
def test_a_password_in_the_name_of_a_registry_is_not_shown(workshop: Workshop, named: str) -> None:
    with pytest.raises(UsageError, match="is a URL, or names a user") as caught:
        workshop.build({"name": "app", "versions": ["1.0.0"]}, registry=named)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("named", ["https://registry.example/a", "nowhere", "registry.example/a:b"])
def test_a_registry_that_is_none_is_wrong_usage(workshop: Workshop, named: str) -> None:
    with pytest.raises(UsageError):
        workshop.build({"name": "app", "versions": ["1.0.0"]}, registry=named)


def test_the_same_input_and_registry_give_the_same_bytes(packages: PackageSite, workshop: Workshop) -> None:
    for number in range(6):
        packages.image(f"site/app{number}")
        packages.chart(f"app{number}", "1.0.0", values=f"image: {{repository: site/app{number}, tag: v1}}\n")
    projects = [{"name": f"app{number}", "versions": ["1.0.0"]} for number in range(6)]
    assert workshop.build(*projects).text == workshop.build(*projects).text


def test_what_is_signed_stays_as_it_is_until_it_would_be_another(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA)
    project = {"name": "app", "versions": ["1.0.0"]}
    first = workshop.build(project, signer=SIGNER)
    again = workshop.build(project, signer=SIGNER, earlier=first.text)
    assert (again.unchanged, again.text, first.unchanged) == (True, first.text, False)
    assert workshop.build(project, signer=OTHER_SIGNER, earlier=first.text).text != first.text
    # The signature is not over the repository of a chart.
    altered = first.text.replace(b"repository: app", b"repository: ape")
    assert altered != first.text
    assert workshop.build(project, signer=SIGNER, earlier=altered).unchanged is False
    assert workshop.build(project, signer=SIGNER, earlier=b"no bundle").unchanged is False


def test_all_that_is_missing_is_told_at_once(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA, **_named(requires(images=[{"repository": "gone", "tag": "v1"}])))
    packages.chart(
        "lib", "1.0.0", schema=SCHEMA, **_named(requires(images=[{"repository": "lost", "digest": UNKNOWN}]))
    )
    with pytest.raises(MissingError) as caught:
        workshop.build({"name": "app", "versions": ["1.0.0", "9.9.9"]}, {"name": "lib", "versions": ["1.0.0"]})
    assert "(and 2 more)" in caught.value.message
    told = [str(caught.value), *workshop.told]
    for place in ("/app:9.9.9", "/gone:v1", f"/lost@{UNKNOWN}"):
        assert sum(place in line for line in told) == 1
    assert any("requires.yaml needs it" in line for line in told)


def test_wrong_content_counts_more_than_what_is_missing(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", requires="spec: 3\n")
    with pytest.raises(ContentError, match=r"app-1\.0\.0!requires\.yaml:1: spec: "):
        workshop.build({"name": "app", "versions": ["9.9.9", "1.0.0"]})


def test_an_image_is_no_chart(packages: PackageSite, workshop: Workshop) -> None:
    packages.image("app", "1.0.0")
    with pytest.raises(ContentError, match="is not a Helm chart"):
        workshop.build({"name": "app", "versions": ["1.0.0"]})


def test_a_chart_whose_bytes_are_others_than_its_digest_says_is_refused(
    packages: PackageSite, workshop: Workshop
) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA)
    packages.served.faults.add(Fault(FlipByte(100), method="GET", path="/v2/*/blobs/*"))
    with pytest.raises(ContentError, match="should have digest"):
        workshop.build({"name": "app", "versions": ["1.0.0"]})


def test_a_registry_that_is_away_is_told_once(workshop: Workshop) -> None:
    with pytest.raises(TransportError):
        workshop.build({"name": "app", "versions": ["1.0.0", "2.0.0"]}, registry="127.0.0.1:1/a")


def test_dependencies_that_the_bundle_lacks_or_that_go_round_are_refused(
    packages: PackageSite, workshop: Workshop
) -> None:
    packages.chart("a", "1.0.0", schema=SCHEMA, **_named(requires(dependencies=["b"])))
    packages.chart("b", "1.0.0", schema=SCHEMA, **_named(requires(dependencies=["a"])))
    with pytest.raises(ContentError, match="needs the package b, which is not in the bundle"):
        workshop.build({"name": "a", "versions": ["1.0.0"]})
    with pytest.raises(ContentError, match="a needs b needs a"):
        workshop.build({"name": "a", "versions": ["1.0.0"]}, {"name": "b", "versions": ["1.0.0"]})


def test_latest_is_the_highest_version_and_one_that_is_named_twice_comes_once(
    packages: PackageSite, workshop: Workshop
) -> None:
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        packages.chart("app", version, schema=SCHEMA)
    built = workshop.build({"name": "app", "versions": ["1-latest", "latest", "2.0.0", "1.2-latest"]})
    assert [version["name"] for version in versions(built)] == ["1.10.0", "2.0.0", "1.2.0"]


def test_a_tag_that_is_called_latest_means_the_version_of_its_chart(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "2.0.0", schema=SCHEMA)
    digest = packages.chart("app", "1.2.0", schema=SCHEMA)
    packages.chart("app", "1.2.0", tag="latest", schema=SCHEMA)
    built = workshop.build({"name": "app", "versions": ["latest"]})
    assert [(version["name"], version["digest"]) for version in versions(built)] == [("1.2.0", digest)]
    packages.chart("app", "1.2.0", tag="latest", schema="{}")
    with pytest.raises(ContentError, match=r"calls itself 1\.2\.0, and the tag 1\.2\.0 leads to another"):
        workshop.build({"name": "app", "versions": ["latest"]})


def test_a_chart_is_read_by_the_digest_that_its_tag_had(packages: PackageSite, workshop: Workshop) -> None:
    packages.chart("app", "1.0.0", schema=SCHEMA)
    workshop.build({"name": "app", "versions": ["1.0.0"]})
    requests = packages.served.requests
    assert requests.count("HEAD", "/v2/eks/eks-anywhere/app/manifests/1.0.0") == 1
    assert requests.count("GET", "/v2/eks/eks-anywhere/app/manifests/1.0.0") == 0
    assert requests.count("GET", "/v2/eks/eks-anywhere/app/manifests/sha256:*") == 1


def test_a_version_with_build_metadata_has_the_tag_that_helm_gives_it(
    packages: PackageSite, workshop: Workshop
) -> None:
    digest = packages.chart("app", "1.0.0+5", tag="1.0.0_5", schema=SCHEMA)
    built = workshop.build({"name": "app", "versions": ["1.0.0+5"]})
    assert versions(built)[0]["digest"] == digest


@pytest.mark.parametrize("given", ["''", "public.example/a"])
def test_a_chart_is_rendered_with_the_registry_that_the_controller_will_set(
    packages: PackageSite, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    helm = tmp_path / "helm"
    helm.write_text(
        f"#!{sys.executable} -I\nimport json, sys\n"
        "print('image:', json.load(open(sys.argv[5])).get('sourceRegistry', '') + '/site/app:v3')\n"
    )
    helm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(helm))
    image = packages.image("site/app", "v3")
    packages.chart("app", "1.0.0", schema=SCHEMA, values=f"sourceRegistry: {given}\n")
    built = workshop.build({"name": "app", "versions": ["1.0.0"]}, render_charts=True)
    assert versions(built)[0]["images"] == [{"digest": str(image.digest), "repository": "site/app"}]


def test_helm_does_not_outlive_a_run_that_is_stopped(
    packages: PackageSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helm, begun = tmp_path / "helm", tmp_path / "begun"
    helm.write_text(f"#!{sys.executable} -I\nimport time\nopen({str(begun)!r}, 'w')\ntime.sleep(50)\n")
    helm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(helm))
    packages.chart("app", "1.0.0", schema=SCHEMA)
    path = write_input(tmp_path / "packages.yaml", {"name": "app", "versions": ["1.0.0"]})
    request = BundleRequest(input=path, registry=packages.packages, render_charts=True)

    def stop(session: Session) -> None:
        while not begun.exists():
            time.sleep(0.01)
        session.cancel()

    with Session() as session:
        stopping = threading.Thread(target=stop, args=(session,))
        stopping.start()
        started = time.monotonic()
        with pytest.raises(InterruptError):
            build_package_bundle(request, session=session)
        stopping.join()
    assert time.monotonic() - started < 30


def test_rendering_needs_helm_and_says_so(
    packages: PackageSite, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    packages.chart("app", "1.0.0", schema=SCHEMA)
    with pytest.raises(ConfigError, match="helm"):
        workshop.build({"name": "app", "versions": ["1.0.0"]}, render_charts=True)


def test_a_bundle_that_no_cluster_takes_is_warned_of(packages: PackageSite, workshop: Workshop) -> None:
    words = random.Random(1).randbytes(400_000).hex()
    packages.chart("app", "1.0.0", schema=f'{{"type": "object", "description": "{words}"}}')
    packages.chart("lib", "1.0.0", schema=f'{{"type": "object", "description": "{words}"}}')
    packages.chart("top", "1.0.0", schema=f'{{"type": "object", "description": "{words}"}}')
    built = workshop.build(*({"name": name, "versions": ["1.0.0"]} for name in ("app", "lib", "top")))
    assert len(built.text) > 1_500_000
    assert any("clusters take objects of 1,500,000" in line for line in workshop.told)


def _named(files: dict[str, str]) -> dict[str, str]:
    return {"requires": files["requires.yaml"]}
