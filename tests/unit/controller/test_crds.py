"""The definitions of Package, PackageBundle and PackageBundleController take what AWS's take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bundles.schema.fields import struct_fields
from bundles.schema.package_bundle import PackageBundleSpec
from controller.crds import GROUP, PLURALS, VERSION, load_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFINITIONS = {definition["spec"]["names"]["kind"]: definition for definition in load_definitions()}
OURS = ("status.conditions", "status.observedGeneration")

PACKAGE_SPEC = {
    "packageName": "string!",
    "packageVersion": "string",
    "config": "string",
    "targetNamespace": "string",
}
BUNDLE_SPEC = {
    "packages": "array!",
    "packages[]": "object",
    "packages[].name": "string!",
    "packages[].workloadonly": "boolean",
    "packages[].source": "object!",
    "packages[].source.registry": "string",
    "packages[].source.repository": "string!",
    "packages[].source.versions": "array!",
    "packages[].source.versions[]": "object",
    "packages[].source.versions[].name": "string!",
    "packages[].source.versions[].digest": "string!",
    "packages[].source.versions[].images": "array",
    "packages[].source.versions[].images[]": "object",
    "packages[].source.versions[].images[].repository": "string!",
    "packages[].source.versions[].images[].digest": "string!",
    "packages[].source.versions[].schema": "string",
    "packages[].source.versions[].dependencies": "array",
    "packages[].source.versions[].dependencies[]": "string",
    "minControllerVersion": "string",
}
CONTROLLER_SPEC = {
    "logLevel": "integer",
    "upgradeCheckInterval": "string",
    "upgradeCheckShortInterval": "string",
    "activeBundle": "string",
    "privateRegistry": "string",
    "defaultRegistry": "string",
    "defaultImageRegistry": "string",
    "bundleRepository": "string",
    "createNamespace": "boolean",
}
DEFAULTS = {
    "upgradeCheckInterval": "24h",
    "upgradeCheckShortInterval": "1h",
    "defaultRegistry": "public.ecr.aws/eks-anywhere",
    "defaultImageRegistry": "783794618700.dkr.ecr.us-west-2.amazonaws.com",
    "bundleRepository": "eks-anywhere-packages-bundles",
    "createNamespace": False,
}


def below(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{path}": value for path, value in fields.items()}


# AWS's fields and their types; with ! those that must be there when what is above them is.
FIELDS = {
    "Package": {
        "spec": "object",
        **below("spec", PACKAGE_SPEC),
        "status": "object",
        "status.source": "object!",
        **below("status.source", dict.fromkeys(("version", "registry", "repository", "digest"), "string!")),
        "status.currentVersion": "string!",
        "status.targetVersion": "string",
        "status.state": "string",
        "status.detail": "string",
        "status.upgradesAvailable": "array",
        "status.upgradesAvailable[]": "object",
        "status.upgradesAvailable[].version": "string!",
        "status.upgradesAvailable[].tag": "string!",
        "status.spec": "object",
        **below("status.spec", PACKAGE_SPEC),
    },
    "PackageBundle": {
        "spec": "object",
        **below("spec", BUNDLE_SPEC),
        "status": "object",
        "status.state": "string!",
        "status.spec": "object",
        **below("status.spec", BUNDLE_SPEC),
    },
    "PackageBundleController": {
        "spec": "object",
        **below("spec", CONTROLLER_SPEC),
        "status": "object",
        "status.state": "string",
        "status.detail": "string",
        "status.spec": "object",
        **below("status.spec", CONTROLLER_SPEC),
    },
}
STATES = {
    "Package": "initializing,installing,installing dependencies,installed,updating,uninstalling,unknown",
    "PackageBundle": "available,ignored,invalid,controller upgrade required",
    "PackageBundleController": "ignored,active,disconnected,upgrade available",
}
COLUMNS = {
    "Package": {
        "Package": ".spec.packageName",
        "Age": ".metadata.creationTimestamp",
        "State": ".status.state",
        "CurrentVersion": ".status.currentVersion",
        "TargetVersion": ".status.targetVersion",
        "Detail": ".status.detail",
    },
    "PackageBundle": {"State": ".status.state"},
    "PackageBundleController": {
        "ActiveBundle": ".spec.activeBundle",
        "State": ".status.state",
        "Detail": ".status.detail",
    },
}


def schema_of(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = DEFINITIONS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every schema below: its path, itself, and whether what is above it requires it."""
    for name, child in schema.get("properties", {}).items():
        inner = f"{path}.{name}".lstrip(".")
        yield inner, child, name in schema.get("required", ())
        yield from walk(child, inner)
    if "items" in schema:
        yield f"{path}[]", schema["items"], False
        yield from walk(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", PLURALS)
def test_a_kind_is_named_as_aws_names_it_and_its_status_is_a_subresource(kind: str) -> None:
    spec = DEFINITIONS[kind]["spec"]
    short = {"shortNames": ["pbc"]} if kind == "PackageBundleController" else {}
    plural = PLURALS[kind]
    assert spec["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": plural.removesuffix("s"),
        **short,
    }
    assert (spec["group"], spec["scope"]) == (GROUP, "Namespaced")
    assert DEFINITIONS[kind]["metadata"]["name"] == f"{plural}.{GROUP}"
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == (VERSION, True, True)
    assert version["subresources"] == {"status": {}}
    assert {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]} == COLUMNS[kind]


@pytest.mark.parametrize("kind", PLURALS)
def test_a_kind_has_the_fields_of_aws_and_nothing_more_but_what_the_status_adds(kind: str) -> None:
    ours = {
        path: f"{schema['type']}{'!' if required else ''}"
        for path, schema, required in walk(schema_of(kind))
        if path not in ("apiVersion", "kind", "metadata") and not path.startswith(OURS)
    }
    assert ours == FIELDS[kind]


@pytest.mark.parametrize("kind", PLURALS)
def test_defaults_and_states_are_those_of_aws(kind: str) -> None:
    schemas = {path: schema for path, schema, _ in walk(schema_of(kind)) if not path.startswith(OURS)}
    expected = {**below("spec", DEFAULTS), **below("status.spec", DEFAULTS)} if "Controller" in kind else {}
    assert {path: schema["default"] for path, schema in schemas.items() if "default" in schema} == expected
    enums = {path: ",".join(schema["enum"]) for path, schema in schemas.items() if "enum" in schema}
    assert enums == {"status.state": STATES[kind]}
    versions = [path for path, schema in schemas.items() if schema.get("minItems") == 1]
    assert versions == [path for path in schemas if path.endswith("source.versions")]


@pytest.mark.parametrize("kind", PLURALS)
def test_a_schema_is_structural_and_explains_every_field(kind: str) -> None:
    assert schema_of(kind)["type"] == "object"
    for path, schema, _ in walk(schema_of(kind)):
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert ("items" in schema) == (schema["type"] == "array"), path
        assert ("properties" in schema) == (schema["type"] == "object" and path != "metadata"), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
        assert "description" in schema or path == "metadata" or path.endswith("dependencies[]"), path


def test_the_definition_of_bundles_knows_what_signatures_of_bundles_are_computed_from() -> None:
    def names(model: Any, path: str = "") -> Iterator[str]:
        for name, field in struct_fields(model).items():
            inner = f"{path}.{name}".lstrip(".")
            yield inner
            if field.model:
                yield from names(field.model, inner)

    spec = schema_of("PackageBundle")["properties"]["spec"]
    known = {path.replace("[]", "") for path, _, _ in walk(spec)}
    assert known == set(names(PackageBundleSpec))


def test_whoever_loads_the_definitions_may_change_them() -> None:
    load_definitions()[0]["metadata"]["name"] = "changed"
    assert load_definitions()[0]["metadata"]["name"] == "packages.packages.eks.amazonaws.com"
