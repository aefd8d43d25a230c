"""Bundles of packages from charts that helm pushed: built, signed, pushed, mirrored, and pulled by helm again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from mirror.oci.mediatype import AWS_BUNDLE_CONFIG, EMPTY_DIGEST, OCI_LAYER
from tests.interop.content import write_chart, write_layout
from tests.interop.programs import Program, docker_registry, provided

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "site/eks-anywhere"
BUNDLES = f"{NAMESPACE}/eks-anywhere-packages-bundles"
COMPUTED = """\
apiVersion: v1
kind: Pod
metadata:
  name: greeter
spec:
  containers:
  - name: sidecar
    image: {{ printf "%s/tools/sidecar:%s" .Values.sourceRegistry "v2" }}
"""


@pytest.fixture(params=["served", "distribution"])
def registry(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def packages(registry: str, helm: Program, crane: Program, tmp_path: Path) -> Path:
    """The input for two packages whose charts helm has pushed, one of them in two versions."""
    for seed, image in enumerate(("tools/greeter", "tools/sidecar", "tools/base")):
        write_layout(tmp_path / f"image{seed}", seed=seed)
        crane.run("push", "--index", tmp_path / f"image{seed}", f"{registry}/{NAMESPACE}/{image}:v2")
    for version in ("1.0.0", "1.1.0+site.5"):
        chart = write_chart(tmp_path / version, "greeter", version)
        (chart / "values.yaml").write_text(
            f"sourceRegistry: {registry}/{NAMESPACE}\nimage: {{repository: tools/greeter, tag: v2}}\n"
        )
        (chart / "templates" / "pod.yaml").write_text(COMPUTED)
        (chart / "values.schema.json").write_text('{"type": "object", "properties": {"sourceRegistry": {}}}')
        push(helm, registry, chart, tmp_path)
    digest = crane.run("digest", f"{registry}/{NAMESPACE}/tools/base:v2").strip()
    base = write_chart(tmp_path / "base", "base", "3.0.0")
    needs: dict[str, Any] = {"images": [{"repository": "tools/base", "tag": "v2", "digest": digest}]}
    (base / "requires.yaml").write_text(yaml.safe_dump({"kind": "Requires", "spec": needs}))
    push(helm, registry, base, tmp_path)
    projects = [
        {"name": "greeter", "repository": "greeter", "versions": [{"name": "1.1-latest"}, {"name": "1.0.0"}]},
        {"name": "base", "repository": "base", "versions": [{"name": "3.0.0"}], "workloadonly": True},
    ]
    path = tmp_path / "packages.yaml"
    path.write_text(
        yaml.safe_dump({"name": "v1-33-7", "kubernetesVersion": "1.33", "packages": [{"projects": projects}]})
    )
    return path


def push(helm: Program, registry: str, chart: Path, folder: Path) -> None:
    helm.run("package", chart, "--destination", folder / "packed")
    for archive in (folder / "packed").iterdir():
        helm.run("push", archive, f"oci://{registry}/{NAMESPACE}", "--plain-http")
        archive.unlink()


def test_a_bundle_goes_from_helms_charts_to_a_mirror_that_helm_pulls_from(
    registry: str, packages: Path, ours: Program, helm: Program, crane: Program, tmp_path: Path
) -> None:
    where = f"{registry}/{NAMESPACE}"
    key, bundle, lock = tmp_path / "site.key", tmp_path / "bundle.yaml", tmp_path / "bundle.lock.json"
    ours.run("keys", "generate", key)
    build = ("package-bundle", "build", packages, "--registry", where, "--key", key, "--out", bundle)
    built = ours.document(*build, "-o", "json")
    greeter, base = built["packages"]
    assert [version["name"] for version in greeter["versions"]] == ["1.1.0+site.5", "1.0.0"]
    for package in (greeter, base):
        for version in package["versions"]:
            tag = version["name"].replace("+", "_")
            assert crane.run("digest", f"{where}/{package['repository']}:{tag}").strip() == version["digest"]
            for image in version["images"]:
                crane.run("digest", f"{where}/{image}")
    before = bundle.read_bytes()
    # By the libraries that AWS's controller checks with.
    Program(provided("canonical"), ours.home).run("verify", "packagebundle", f"{key}.pub", bundle)
    assert ours.document(*build, "-o", "json")["unchanged"] is True
    assert bundle.read_bytes() == before

    check = ("--verify", f"{key}.pub")
    ours.run("package-bundle", "push", bundle, "--to", f"{registry}/site", *check)
    manifest = crane.document("manifest", f"{registry}/{BUNDLES}:v1-33-latest")
    assert (manifest["config"]["mediaType"], manifest["config"]["digest"]) == (AWS_BUNDLE_CONFIG, EMPTY_DIGEST)
    (layer,) = manifest["layers"]
    assert (layer["mediaType"], layer["annotations"]) == (OCI_LAYER, {"org.opencontainers.image.title": "bundle.yaml"})
    assert crane.run("blob", f"{registry}/{BUNDLES}@{layer['digest']}").encode() == before

    sources = ("--package-registry", where, "--package-image-registry", where, *check)
    seen = ours.document("inspect", "packages:1-33", *sources, "-o", "json")
    assert {(item["type"], item["trust"]) for item in seen["artifacts"]} == {("chart", "signed"), ("image", "signed")}
    ours.run("lock", "packages:1-33", *sources, "--out", lock)
    (tmp_path / "pulled").mkdir()
    with docker_registry(tmp_path / "elsewhere") as elsewhere:
        ours.run("mirror", lock, "--to", f"{elsewhere}/copy")
        ours.run("verify", f"registry:{elsewhere}/copy", "--against", lock, "--deep")
        ours.run("verify", f"{elsewhere}/copy/{BUNDLES}:v1-33-latest", "--key", f"{key}.pub")
        for package, version in (("greeter", "1.1.0+site.5"), ("greeter", "1.0.0"), ("base", "3.0.0")):
            chart = f"oci://{elsewhere}/copy/{NAMESPACE}/{package}"
            helm.run("pull", chart, "--version", version, "--plain-http", "--destination", tmp_path / "pulled")
            assert (tmp_path / "pulled" / f"{package}-{version}.tgz").is_file()


def test_rendering_finds_what_templates_compute(
    registry: str, packages: Path, ours: Program, helm: Program, tmp_path: Path
) -> None:
    build = ("package-bundle", "build", packages, "--registry", f"{registry}/{NAMESPACE}", "-o", "json", "--out")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").symlink_to(helm.path)
    rendering = Program(ours.path, ours.home, (), {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"})
    found = {}
    for program, option in ((ours, ()), (rendering, ("--render-charts",))):
        document = json.loads(program.run(*build, tmp_path / "bundle.yaml", *option))
        found[option] = {image.partition("@")[0] for image in document["packages"][0]["versions"][0]["images"]}
    assert found == {(): {"tools/greeter"}, ("--render-charts",): {"tools/greeter", "tools/sidecar"}}
