"""packages list, describe and generate, controller manifests and feed: what needs no cluster."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bundlectl.cli import packages_sources, running
from bundlectl.cli.environment import read_environment
from bundlectl.operations import Session
from bundlectl.operations.packages import bundles_in_registry, choose_version
from bundlectl.operations.request import SourceRequest
from bundles.belief import Belief
from bundles.plan import Naming
from mirror.server.selfsigned import self_signed
from tests.unit.bundlectl.operations.packages import PackageSite, requires, write_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.registry import ServedRegistry
    from tests.unit.bundlectl.cli.conftest import Ran

    Run = Callable[..., Ran]

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["title"],
    "properties": {"title": {"type": "string"}, "replicas": {"type": "integer", "default": 1}, "sourceRegistry": {}},
}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trusted(bundlectl: Run, tmp_path: Path) -> tuple[str, str]:
    assert bundlectl("keys", "generate", tmp_path / "site.key").exit_code == 0
    return "--verify", f"{tmp_path / 'site.key'}.pub"


@pytest.fixture
def site(bundlectl: Run, registry: ServedRegistry, trusted: tuple[str, str], tmp_path: Path) -> PackageSite:
    """A mirror with a signed bundle of two packages for 1.33, and one of one package for 1.32."""
    found = PackageSite(registry)
    image = found.image("site/greeter", "v1")
    listed = [{"repository": "site/greeter", "tag": "v1", "digest": str(image.digest)}]
    for version in ("1.0.0", "1.1.0"):
        needs = requires(images=listed, dependencies=["base"])["requires.yaml"]
        found.chart("greeter", version, requires=needs, schema=json.dumps(SCHEMA))
    found.chart("base", "2.0.0", requires=requires(images=listed)["requires.yaml"])
    greeter = {"name": "Greeter", "repository": "greeter", "versions": ["1.1.0", "1.0.0"]}
    base = {"name": "base", "versions": ["2.0.0"], "workloadonly": True}
    for name, projects in (("v1-33-7", (greeter, base)), ("v1-32-3", (base,))):
        given = write_input(tmp_path / "packages.yaml", *projects, name=name)
        given.write_text(given.read_text().replace("'1.33'", f"'{name[1:5].replace('-', '.')}'"))
        bundle = tmp_path / f"{name}.yaml"
        build = ("package-bundle", "build", given, "--registry", found.packages, "--out", bundle)
        built = bundlectl(*build, "--key", tmp_path / "site.key")
        assert built.exit_code == 0, built.err
        assert bundlectl("package-bundle", "push", bundle, "--to", found.to, *trusted).exit_code == 0
    return found


def described(ran: Ran, name: str) -> Any:
    assert ran.exit_code == 0, ran.err
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(ran.document)
    return ran.document


def test_the_packages_of_a_mirror_are_listed_in_the_columns_that_people_know(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str]
) -> None:
    listed = bundlectl("packages", "list", "--registry", site.to, "--kube-version", "1.33", *trusted)
    assert listed.out == ("Package  Version(s)\n-------  ----------\nGreeter  1.1.0, 1.0.0\nbase     2.0.0\n")
    assert "v1-33-7, Kubernetes 1.33, signed by sha256:" in listed.err
    below = bundlectl("packages", "list", "--registry", site.packages, "--kube-version", "v1.33", *trusted)
    assert below.out == listed.out


def test_of_all_versions_of_kubernetes_the_newest_bundles_are_listed(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str]
) -> None:
    listed = bundlectl("packages", "list", "--registry", site.to, *trusted, "-o", "json")
    document = described(listed, "packages-list")
    assert [(bundle["name"], bundle["trust"]) for bundle in document["bundles"]] == [
        ("v1-32-3", "signed"),
        ("v1-33-7", "signed"),
    ]
    assert document["installed"] is None
    text = bundlectl("packages", "list", "--registry", site.to, *trusted).out
    assert text.startswith("v1-32-3, Kubernetes 1.32, signed by ")
    in_yaml = bundlectl("packages", "list", "--registry", site.to, *trusted, "-o", "yaml")
    assert yaml.safe_load(in_yaml.out) == document


def test_the_packages_of_a_store_are_listed_without_any_network(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str], tmp_path: Path
) -> None:
    where = ("--package-registry", site.packages, "--package-image-registry", site.packages)
    store = tmp_path / "store"
    loaded = bundlectl("download", "packages:1-33", *where, "--store", store, *trusted)
    assert loaded.exit_code == 0, loaded.err
    listed = described(bundlectl("packages", "list", "--store", store, "--offline", "-o", "json"), "packages-list")
    assert [bundle["name"] for bundle in listed["bundles"]] == ["v1-33-7"]
    other = bundlectl("packages", "list", "--store", store, "--kube-version", "1.32")
    assert (other.exit_code, "it has v1-33-7" in other.err) == (4, True)


def test_a_bundle_that_is_signed_by_somebody_else_is_not_listed(bundlectl: Run, site: PackageSite) -> None:
    refused = bundlectl("packages", "list", "--registry", site.to, "--kube-version", "1.33")
    assert (refused.exit_code, refused.out) == (3, "")
    assert "of a bundle of your own name the key: --verify KEY" in refused.err


def test_a_package_is_described_with_images_dependencies_and_values(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str]
) -> None:
    where = ("--registry", site.to, "--kube-version", "1.33", *trusted)
    document = described(bundlectl("packages", "describe", "greeter", *where, "-o", "json"), "packages-describe")
    ((package,), version) = document["packages"], document["packages"][0]["versions"][0]
    assert (package["name"], version["name"], version["dependencies"]) == ("Greeter", "1.1.0", ["base"])
    assert version["images"][0].startswith("site/greeter@sha256:")
    assert version["values"][:2] == [
        {"name": "title", "type": "string", "default": None, "required": True},
        {"name": "replicas", "type": "integer", "default": 1, "required": False},
    ]
    text = bundlectl("packages", "describe", "greeter", *where).out
    assert "    value   replicas        integer            default 1\n" in text
    absent = bundlectl("packages", "describe", "nothing", *where)
    assert (absent.exit_code, "Package nothing is not in the bundle (v1-33-7)" in absent.err) == (4, True)


def test_a_package_that_only_some_bundles_have_is_described_as_those_have_it(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str]
) -> None:
    where = ("--registry", site.to, *trusted)
    for name, bundles in (("greeter", ["v1-33-7"]), ("base", ["v1-32-3", "v1-33-7"])):
        document = described(bundlectl("packages", "describe", name, *where, "-o", "json"), "packages-describe")
        assert [package["bundle"] for package in document["packages"]] == bundles
    absent = bundlectl("packages", "describe", "base", "nothing", *where)
    assert (absent.exit_code, "Package nothing is not in the bundle" in absent.err) == (4, True), absent.err


def test_a_bundle_whose_signature_leaves_out_its_digests_is_not_shown_as_signed(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str], tmp_path: Path
) -> None:
    bundle = yaml.safe_load((tmp_path / "v1-33-7.yaml").read_text())
    bundle["metadata"] |= {"name": "v1-33-8", "annotations": {}}
    loose = tmp_path / "loose.yaml"
    loose.write_text(yaml.safe_dump(bundle))
    excluded = ("--exclude", ".spec.packages[].source.versions[].digest")
    signed = tmp_path / "signed.yaml"
    made = bundlectl("sign", loose, "--key", tmp_path / "site.key", *excluded, "--out", signed)
    assert made.exit_code == 0, made.err
    assert bundlectl("package-bundle", "push", signed, "--to", site.to, *trusted).exit_code == 0
    where = ("--registry", site.to, "--kube-version", "v1-33-8", *trusted)
    listed = bundlectl("packages", "list", *where)
    assert "v1-33-8, Kubernetes 1.33, trust: declared, from " in listed.err
    document = described(bundlectl("packages", "describe", "base", *where, "-o", "json"), "packages-describe")
    assert document["packages"][0]["trust"] == "declared"


def test_a_package_is_generated_as_awss_tool_generates_it(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str], tmp_path: Path
) -> None:
    where = ("--registry", site.to, "--kube-version", "1.33", *trusted)
    generate = ("packages", "generate", "greeter", "--cluster", "site", *where)
    made = bundlectl(*generate, "--set", "title=a=b", "--set", "replicas=2")
    assert yaml.safe_load(made.out) == {
        "apiVersion": "packages.eks.amazonaws.com/v1alpha1",
        "kind": "Package",
        "metadata": {"name": "generated-greeter", "namespace": "eksa-packages-site"},
        "spec": {"packageName": "Greeter", "config": "title: a=b\nreplicas: 2\n"},
    }
    binary = tmp_path / "values.yaml"
    binary.write_bytes(b"title: caf\xe9\n")
    for options, code, told in (
        ((), 3, '(root): "title" is a required property'),
        (("--values", binary), 3, "is not UTF-8"),
        (("--set", "title=x", "--set", "more=1"), 3, "Additional properties are not allowed"),
        (("--set", "title"), 2, "is not of the form KEY=VALUE"),
        (("--set", "title=x", "-n", "Not A Name"), 2, "cannot be the name of a package"),
        (("--set", "title=x", "--package-version", "9"), 4, "Greeter@9 is not in the bundle (v1-33-7)"),
    ):
        refused = bundlectl(*generate, *options)
        assert (refused.exit_code, told in refused.err) == (code, True), refused.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list",), "name a --registry, a --store, or the --cluster"),
        (("list", "--registry", "a.example", "--store", "b"), "name two places"),
        (("list", "--registry", "https://a.example"), "is a URL"),
        (("list", "--registry", "a.example", "--kube-version", "latest"), "neither a Kubernetes version"),
        (("list", "--registry", "a.example", "--cluster", "b"), "give one"),
        (("describe",), "no package named"),
        (("describe", "x", "--store", "a", "--cluster", "b"), "give one"),
        (("install", "harbor"), "nothing says who installs it"),
        (("install", "harbor", "--cluster", "a", "--from", "b.example"), "are two ways"),
        (("install", "harbor", "--cluster", "a", "--create-namespace"), "are for --from"),
        (("install", "harbor", "--cluster", "a", "--helm", "/helm"), "are for --from"),
        (("delete", "harbor", "--local"), "nothing says whose packages are meant"),
        (("delete", "harbor", "--local", "--cluster", "a", "--target-namespace", "b"), "are two ways"),
    ],
)
def test_wrong_usage_is_told(bundlectl: Run, arguments: tuple[str, ...], told: str) -> None:
    ran = bundlectl("packages", *arguments)
    assert (ran.exit_code, told in ran.err) == (2, True), ran.err


def test_the_first_kubeconfig_that_is_named_counts_else_the_users_own(tmp_path: Path) -> None:
    for named, found in (("/a:/b", Path("/a")), (":/b", Path("/b")), ("", tmp_path / ".kube" / "config")):
        assert read_environment({"KUBECONFIG": named}, home=tmp_path).kubeconfig == found


def test_without_a_kubeconfig_the_cluster_is_asked_for(bundlectl: Run, tmp_path: Path) -> None:
    ran = bundlectl("packages", "list", "--cluster", "site")
    assert (ran.exit_code, str(tmp_path / "absent") in ran.err, "--kubeconfig" in ran.err) == (1, True, True), ran.err


KUBECONFIG = """\
current-context: a
clusters: [{name: a, cluster: {server: %s}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: x}}]
"""


@pytest.mark.parametrize("content", ["a: [", "- a", "text", "", "\xff", KUBECONFIG % 5])
def test_a_kubeconfig_that_is_none_is_told(bundlectl: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "absent").write_bytes(content.encode("latin-1"))
    ran = bundlectl("packages", "list", "--cluster", "site", "-o", "json")
    told = "the kubeconfig cannot be used" in ran.document["error"]["message"]
    assert (ran.exit_code, told, "--kubeconfig" in ran.document["error"]["hint"]) == (1, True, True), ran.err


def test_where_no_api_server_answers_it_is_told_which_and_by_what_kubeconfig(bundlectl: Run, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "absent"
    kubeconfig.write_text(KUBECONFIG % "'https://127.0.0.1:1'")
    error = bundlectl("packages", "delete", "a", "--cluster", "site", "-o", "json").document["error"]
    assert error["artifact"].startswith("https://127.0.0.1:1/apis/packages.eks.amazonaws.com/")
    assert (str(kubeconfig) in error["hint"], error["exitCode"]) == (True, 1)


def test_helm_is_killed_before_a_command_that_is_stopped_leaves() -> None:
    assert packages_sources._LOOK + packages_sources._GRACE < running._GRACE


def test_without_the_package_for_clusters_it_is_told_what_to_install(
    bundlectl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kubernetes", None)
    ran = bundlectl("packages", "list", "--cluster", "site", "-o", "json")
    assert (ran.exit_code, ran.document["error"]["hint"]) == (1, "pip install 'bundlectl[controller]'")


def test_a_dry_run_of_feeding_prints_what_would_be_applied_and_no_password(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str]
) -> None:
    feed = ("controller", "feed", "--registry", site.to, "--cluster", "site", "--dry-run", *trusted)
    refused = bundlectl(*feed)
    assert (refused.exit_code, "say which bundle" in refused.err) == (2, True)
    made = bundlectl(*feed, "--kube-version", "1.33")
    assert made.exit_code == 0, made.err
    objects = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(made.out)}
    assert objects["PackageBundleController", "site"]["spec"] == {
        "activeBundle": "v1-33-7",
        "defaultRegistry": site.packages,
        "defaultImageRegistry": site.packages,
    }
    assert "EKSA_PUBLIC_KEY=MFkw" in made.err
    assert ("PackageBundle", "v1-33-7") in objects
    assert set(objects["Secret", "registry-mirror-secret"]["data"].values()) == {"(hidden)"}
    other = bundlectl(*feed, "--kube-version", "1.33", "--map", f"{'public.ecr.aws/eks-anywhere'}=elsewhere")
    assert (other.exit_code, "elsewhere" in other.err) == (4, True), other.err


def test_no_cluster_is_fed_a_bundle_whose_signature_leaves_out_its_digests(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str], tmp_path: Path
) -> None:
    loose = tmp_path / "v1-33-8.yaml"
    loose.write_text((tmp_path / "v1-33-7.yaml").read_text().replace("v1-33-7", "v1-33-8"))
    excluded = ("--exclude", ".spec.packages[].source.versions[].digest")
    made = bundlectl("sign", loose, "--key", tmp_path / "site.key", "--out", loose, *excluded)
    assert made.exit_code == 0, made.err
    pushed = bundlectl("package-bundle", "push", loose, "--to", site.to, *trusted)
    assert pushed.exit_code == 0, pushed.err
    feed = ("controller", "feed", "--registry", site.to, "--cluster", "site", "--dry-run", *trusted)
    fed = bundlectl(*feed, "--bundle-version", "v1-33-8")
    assert (fed.exit_code, "leaves out the digests" in fed.err) == (3, True), fed.err


def test_login_and_authority_go_from_the_options_into_the_secrets(
    bundlectl: Run, site: PackageSite, trusted: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = self_signed(tmp_path / "tls", "127.0.0.1").certificate
    feed = ("controller", "feed", "--registry", site.to, "--cluster", "site", "--dry-run", *trusted)
    options = ("--kube-version", "1.33", "--with-secrets", "--ca-file", f"{site.served.host}={authority}")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"pass phrase\n")))
    made = bundlectl(*feed, *options, "--username", "robot", "--password-stdin")
    assert made.exit_code == 0, made.err
    (data,) = (
        item["data"]
        for item in yaml.safe_load_all(made.out)
        if (item["metadata"].get("namespace"), item["metadata"]["name"]) == ("eksa-packages", "registry-mirror-secret")
    )
    opened = {name: base64.b64decode(value).decode() for name, value in data.items()}
    assert opened == {
        "ENDPOINT": site.served.host,
        "USERNAME": "robot",
        "PASSWORD": "pass phrase",
        "CACERTCONTENT": authority.read_text(),
        "INSECURE": "false",
    }


def test_manifests_are_printed_for_kubectl(bundlectl: Run, trusted: tuple[str, str]) -> None:
    manifests = ("controller", "manifests", "--image", "harbor.example.com/eks/bundlectl:1", "--cluster", "site")
    made = bundlectl(*manifests, *trusted)
    objects = list(yaml.safe_load_all(made.out))
    assert [item["kind"] for item in objects[:4]] == ["Namespace", *["CustomResourceDefinition"] * 3]
    listed = bundlectl(*manifests, *trusted, "-o", "json").document
    assert (listed["kind"], listed["items"]) == ("List", objects)
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "harbor.example.com/eks/bundlectl:1"
    assert {item["name"]: bool(item["value"]) for item in container["env"]} == {
        "CLUSTER_NAME": True,
        "EKSA_PUBLIC_KEY": True,
    }
    for wrong in (
        manifests[:4],
        (*manifests[:2], *manifests[4:]),
        (*manifests[:5], "No Name"),
        (*manifests[:5], "c" * 50),
        (*manifests, "--chart", "chart.tgz"),
        (*manifests, "--verify", "off"),
    ):
        assert bundlectl(*wrong).exit_code == 2


def test_bundles_are_read_by_the_library_too(site: PackageSite) -> None:
    with Session() as session:
        request = SourceRequest(sources=(), belief=Belief(mode="off"))
        (found,) = bundles_in_registry(request, Naming.parse(site.to), wanted="v1-33-7", session=session)
    assert (found.trust, found.kube_version) == ("off", "1.33")
    _, version = choose_version(found.bundle, "GREETER", "1.0.0")
    assert choose_version(found.bundle, "greeter", version.digest)[1] is version
    assert choose_version(found.bundle, "greeter", "latest")[1].name == "1.1.0"
