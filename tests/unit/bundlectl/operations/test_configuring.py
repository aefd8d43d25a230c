"""``registry config``: clusters look where ``mirror`` puts things."""

from __future__ import annotations

import posixpath
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bundlectl.errors import ConfigError, MissingError, UsageError
from bundlectl.operations import Naming
from bundlectl.operations.configuring import RegistryConfig, SiteRegistry, configure_clusters
from bundles.plan import TargetPlan
from tests.unit.bundlectl.operations.test_moving import EKSD, PACKAGES, PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.unit.bundlectl.operations.site import Site

PACKAGE_REGISTRY = "783794618700.dkr.ecr.us-west-2.amazonaws.com"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----"


def eks_anywhere(config: RegistryConfig) -> Callable[[str], str]:
    """How EKS Anywhere finds an image at the mirror (``domain.md`` 3.6)."""
    mirror = yaml.safe_load(config.files[0].content)["spec"]["registryMirrorConfiguration"]
    host = f"[{mirror['endpoint']}]" if ":" in mirror["endpoint"] else mirror["endpoint"]
    base = f"{host}:{mirror['port']}"
    assert isinstance(mirror["port"], str)
    table = {entry["registry"]: posixpath.normpath(f"{base}/{entry['namespace']}") for entry in mirror["ociNamespaces"]}

    def replace_registry(reference: str) -> str:
        registry = reference.partition("/")[0]
        return reference.replace(registry, table[registry], 1) if registry in table else reference

    return replace_registry


def containerd(config: RegistryConfig) -> Callable[[str], str]:
    """How containerd does, by the folder that is called like the registry."""
    folders = {
        match[1]: tomllib.loads(file.content)["host"]
        for file in config.files
        if (match := re.fullmatch(r"/etc/containerd/certs\.d/([^/]+)/hosts\.toml", file.path))
    }

    def pulled(reference: str) -> str:
        registry, _, path = reference.partition("/")
        ((url, settings),) = folders[registry].items()
        assert settings["override_path"] is True
        assert "push" not in settings["capabilities"]
        host, _, rest = url.removeprefix("https://").partition("/v2")
        return f"{host}{rest}/{path}"

    return pulled


def k3s(config: RegistryConfig) -> Callable[[str], str]:
    """How k3s and RKE2 do."""
    mirrors = yaml.safe_load(config.files[0].content)["mirrors"]

    def pulled(reference: str) -> str:
        registry, _, path = reference.partition("/")
        mirror = mirrors[registry]
        (endpoint,) = mirror["endpoint"]
        for pattern, replacement in mirror.get("rewrite", {}).items():
            path = re.sub(pattern, replacement.replace("$1", r"\1"), path, count=1)
        return f"{endpoint.removeprefix('https://')}/{path}"

    return pulled


READERS = {"eks-a": eks_anywhere, "containerd": containerd, "registries-yaml": k3s}
every_form = pytest.mark.parametrize("form", READERS)


@every_form
@pytest.mark.parametrize(
    ("target", "maps"),
    [
        ("{host}/eks", ()),
        ("{host}", ()),
        ("{host}/site/eks", ("public.ecr.aws=public",)),
        ("{host}/eks", (f"{PACKAGE_REGISTRY}=packages", "public.ecr.aws=packages")),
    ],
)
def test_a_cluster_finds_every_image_and_chart_where_mirror_puts_it(
    site: Site, form: Any, target: str, maps: tuple[str, ...]
) -> None:
    host = site.target.host
    naming = Naming.parse(target.format(host=host), maps)
    assert site.mirror(EKSD, PACKAGES, f"image:{PAUSE}", naming=naming).exit_code == 0
    plan = TargetPlan.of(site.lock(EKSD, PACKAGES, f"image:{PAUSE}"), naming)
    find = READERS[form](configure_clusters(naming, form))
    pulled = [item for item in plan.artifacts if item.artifact.type != "file"]
    assert {item.artifact.reference.partition("/")[0] for item in pulled} == {"public.ecr.aws", PACKAGE_REGISTRY}
    for item in pulled:
        found = find(item.artifact.reference.partition("@")[0].rpartition(":")[0] or item.artifact.reference)
        assert found.partition("@")[0] == f"{host}/{item.repository}"
        assert site.target.holdings.find(item.repository) is not None


@every_form
def test_an_upstream_registry_of_a_rule_or_a_lock_is_named(form: Any) -> None:
    naming = Naming.parse("harbor.example:8443/eks", ["quay.io=quay"])
    find = READERS[form](configure_clusters(naming, form, upstreams=["ghcr.io"]))
    assert find("quay.io/team/app") == "harbor.example:8443/eks/quay/team/app"
    assert find("ghcr.io/team/app") == "harbor.example:8443/eks/team/app"


@every_form
def test_a_rule_that_parts_a_registry_cannot_be_said_to_clusters(form: Any) -> None:
    naming = Naming.parse("harbor.example/eks", ["public.ecr.aws/eks-distro=distro"])
    with pytest.raises(UsageError, match="one rule a registry") as caught:
        configure_clusters(naming, form)
    assert "--map public.ecr.aws=NAMESPACE" in (caught.value.hint or "")
    # One that says the same of a part as of the whole does no harm.
    same = Naming.parse("harbor.example/eks", ["public.ecr.aws=p", "public.ecr.aws/eks-distro=p"])
    assert configure_clusters(same, form).files


def specification(config: RegistryConfig) -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(config.files[0].content)["spec"]["registryMirrorConfiguration"]
    return found


def test_eks_anywhere_is_told_the_authority_the_login_and_the_port() -> None:
    site = SiteRegistry(authorities=f"# site\n{CERTIFICATE}\n", wants_login=True)
    config = configure_clusters(Naming.parse("harbor.example/eks"), "eks-a", site=site)
    found = specification(config)
    assert (found["endpoint"], found["port"], found["authenticate"]) == ("harbor.example", "443", True)
    assert found["caCertContent"].strip() == CERTIFICATE
    assert any("REGISTRY_USERNAME" in note for note in config.notes)
    plain = specification(configure_clusters(Naming.parse("harbor.example:5000"), "eks-a"))
    assert plain["port"] == "5000"
    assert {"authenticate", "caCertContent", "insecureSkipVerify"}.isdisjoint(plain)


def test_eks_anywhere_is_warned_of_what_bottlerocket_and_its_own_check_refuse() -> None:
    unchecked = configure_clusters(Naming.parse("harbor.example/eks"), "eks-a", site=SiteRegistry(skip_verify=True))
    assert specification(unchecked)["insecureSkipVerify"] is True
    assert any("Bottlerocket" in note for note in unchecked.notes)
    several = SiteRegistry(authorities=f"{CERTIFICATE}\n{CERTIFICATE}\n")
    assert any("first" in n for n in configure_clusters(Naming.parse("harbor.example"), "eks-a", site=several).notes)
    with pytest.raises(ConfigError, match="by TLS only"):
        configure_clusters(Naming.parse("harbor.example"), "eks-a", site=SiteRegistry(plain_http=True))
    with pytest.raises(ConfigError, match="no PEM certificate"):
        configure_clusters(Naming.parse("harbor.example"), "eks-a", site=SiteRegistry(authorities="nonsense"))


def test_an_ipv6_registry_is_written_as_each_form_wants_it() -> None:
    naming = Naming.parse("[fd00::1]:5000/eks")
    assert specification(configure_clusters(naming, "eks-a"))["endpoint"] == "fd00::1"
    assert eks_anywhere(configure_clusters(naming, "eks-a"))("public.ecr.aws/a/b") == "[fd00::1]:5000/eks/a/b"
    assert containerd(configure_clusters(naming, "containerd"))("public.ecr.aws/a/b") == "[fd00::1]:5000/eks/a/b"


def test_eks_anywhere_takes_one_production_registry_of_packages() -> None:
    other = "783794618700.dkr.ecr.eu-west-1.amazonaws.com"
    with pytest.raises(UsageError, match="takes one registry of curated packages"):
        configure_clusters(Naming.parse("harbor.example/eks", [f"{other}=eks-anywhere"]), "eks-a")
    assert len(configure_clusters(Naming.parse("harbor.example/eks"), "containerd", upstreams=[other]).files) == 3


@pytest.mark.parametrize("form", ["containerd", "registries-yaml"])
def test_the_authority_lies_beside_the_file_that_names_it(form: Any) -> None:
    site = SiteRegistry(authorities=CERTIFICATE)
    files = {f.path: f.content for f in configure_clusters(Naming.parse("harbor.example/e"), form, site=site).files}
    named = re.findall(r'ca(?:_file)?\s*[=:]\s*"([^"]+)"', "\n".join(files.values()))
    assert named
    assert all(files[path].strip() == CERTIFICATE for path in named)


def test_a_mirror_that_was_not_filled_is_not_found(site: Site) -> None:
    naming = site.naming
    find = eks_anywhere(configure_clusters(naming, "eks-a"))
    name = find(PAUSE.partition("@")[0]).partition("/")[2].partition(":")[0]
    with site.session() as session, pytest.raises(MissingError):
        session.target(site.target.host).repository(name).resolve("v1.33.5-eks-1-33-12")
