"""Collections."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from bundlectl.errors import ContentError
from bundles.collection import Collection, CollectionTarget, parse_collection
from bundles.policy_file import CollectionPolicy
from mirror.oci.platform import Platform
from tests.unit.bundles.documents import BUNDLES, document

FULL = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Collection
metadata:
  name: factory-7
spec:
  sources:
  - eks-a:v0.24.1
  - image:registry.example/tools/debug:1.2
  kubeVersions: ["1.32", "1.33"]
  providers: [vsphere]
  platforms: [linux/amd64, linux/arm/v7]
  components:
    include: ["cilium*"]
    exclude: [flux]
  referrers: false
  target:
    registry: harbor.example:8443/eks
    map:
      public.ecr.aws: upstream
  policy: policy.yaml
"""
HEAD = "apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\n"


def collection(text: str) -> Collection:
    return parse_collection(document(text, "site.yaml"))


def test_a_full_collection_is_read() -> None:
    assert collection(FULL) == Collection(
        name="factory-7",
        sources=("eks-a:v0.24.1", "image:registry.example/tools/debug:1.2"),
        kube_versions=("1.32", "1.33"),
        providers=("vsphere",),
        platforms=(Platform("linux", "amd64"), Platform("linux", "arm", "v7")),
        include=("cilium*",),
        exclude=("flux",),
        referrers=False,
        target=CollectionTarget(registry="harbor.example:8443/eks", map={"public.ecr.aws": "upstream"}),
        policy=CollectionPolicy("site.yaml", path="policy.yaml"),
    )


def test_its_selection_is_that_of_the_flags() -> None:
    selection = collection(FULL).selection
    assert (selection.kube_versions, selection.exclude, selection.referrers) == (("1.32", "1.33"), ("flux",), False)


def test_what_is_absent_or_null_means_everything() -> None:
    found = collection(HEAD + "metadata:\nspec:\n  sources: [eks-a:latest]\n  kubeVersions:\n  target: ~\n")
    assert found == Collection(sources=("eks-a:latest",))


def test_a_version_without_quotes_is_taken_as_written_with_a_warning() -> None:
    found = collection(HEAD + "spec:\n  sources: [a:b]\n  kubeVersions: [1.30]\n")
    assert found.kube_versions == ("1.30",)
    assert found.warnings[0].startswith("site.yaml:5: spec.kubeVersions[0]: 1.30 is not in quotes")


@pytest.mark.parametrize(
    ("body", "place", "hint"),
    [
        ("spec: {}\n", 'site.yaml:3: spec: "sources" is a required property', ""),
        ("spec:\n  sources: []\n", "site.yaml:4: spec.sources: ", "one or more SOURCE"),
        ("spec:\n  sources: eks-a:latest\n", 'site.yaml:4: spec.sources: "eks-a:latest" is not of type "array"', ""),
        ("spec:\n  sources:\n  - a\n  - true\n", 'site.yaml:6: spec.sources[1]: true is not of type "string"', ""),
        (
            "spec:\n  sources: [a]\n  source: b\n",
            "site.yaml:5: spec: Additional properties",
            "known fields are components",
        ),
        (
            "spec:\n  sources: [a]\n  providers:\n  - vsphere\n  - azure\n",
            'site.yaml:7: spec.providers[1]: "azure"',
            "",
        ),
        ("spec:\n  sources: [a]\n  kubeVersions: [v1.33]\n", 'site.yaml:5: spec.kubeVersions[0]: "v1.33"', '"1.33"'),
        ("spec:\n  sources: [a]\n  platforms: [amd64]\n", "site.yaml:5: spec.platforms[0]: ", "linux/amd64"),
        ("spec:\n  sources: [a]\n  referrers: often\n", "site.yaml:5: spec.referrers: ", "signatures"),
        ("spec:\n  sources: [a]\n  target: {}\n", 'site.yaml:5: spec.target: "registry" is a required', ""),
        ("spec:\n  sources: [a]\n  components:\n    only: [b]\n", "site.yaml:6: spec.components: ", "exclude, include"),
        ("metadata: {name: '../x'}\nspec: {sources: [a]}\n", "site.yaml:3: metadata.name: ", "letters, digits"),
        ("spec: []\n", 'site.yaml:3: spec: [] is not of type "object"', ""),
    ],
)
def test_a_fault_names_file_line_and_field(body: str, place: str, hint: str) -> None:
    with pytest.raises(ContentError) as caught:
        collection(HEAD + body)
    assert str(caught.value).startswith(place)
    assert hint in (caught.value.hint or "")


def test_further_faults_are_counted() -> None:
    with pytest.raises(ContentError, match=r"\(and 1 more\)"):
        collection(HEAD + "spec:\n  sources: []\n  referrers: 1\n")


def test_another_document_is_no_collection() -> None:
    with pytest.raises(ContentError, match="not a Collection"):
        parse_collection(document(BUNDLES))


def test_the_schema_is_valid_and_ships_with_the_package() -> None:
    schema = json.loads(files("bundles").joinpath("collection.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("https://bundlectl.dev/")
