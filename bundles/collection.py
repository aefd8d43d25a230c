"""Collections: what a site wants, in a YAML file kept in git (``cli.md``, "Naming things")."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from bundlectl.errors import ContentError
from bundles.scalars import is_true, yaml_type
from bundles.selection import Selection
from bundles.tree import ListNode, MapNode, Scalar, content_error
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema_rs import ValidationError

    from bundles.document import Document
    from bundles.tree import Node

__all__ = ["Collection", "CollectionTarget", "parse_collection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionTarget:
    """Where everything goes: ``registry`` as ``--to`` takes it, ``map`` as ``--map`` does."""

    registry: str
    map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A Collection. Empty tuples mean everything, as absent flags do."""

    name: str = ""
    sources: tuple[str, ...]
    kube_versions: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    referrers: bool = True
    target: CollectionTarget | None = None
    policy: str | Mapping[str, Any] | None = None
    """A policy, or the path of one relative to the Collection."""
    unknown: tuple[str, ...] = ()
    """Always empty: an unknown field of our own format is an error."""
    warnings: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        """What of its sources is wanted."""
        return Selection(
            kube_versions=self.kube_versions,
            providers=self.providers,
            platforms=self.platforms,
            include=self.include,
            exclude=self.exclude,
            referrers=self.referrers,
        )


def parse_collection(document: Document) -> Collection:
    """Read a Collection, strictly.

    A Kubernetes version without quotes (``1.30``) is taken as written, with a warning.

    Raises:
        ContentError: it is not valid, told as ``ORIGIN:LINE: FIELD: WHY`` with the first fault.
    """
    if document.type != "Collection":
        raise ContentError(f"a {document.kind} is not a Collection", artifact=document.origin)
    warnings = list(document.warnings)
    value = _value(document.root, (document.origin, "", warnings))
    faults = sorted(_faults(value), key=lambda fault: _line(document.root, fault))
    if faults:
        raise _told(document, faults)
    metadata, spec = value.get("metadata") or {}, value["spec"]
    components, target = spec.get("components", {}), spec.get("target")
    return Collection(
        name=metadata.get("name", ""),
        sources=tuple(spec["sources"]),
        kube_versions=tuple(spec.get("kubeVersions", ())),
        providers=tuple(spec.get("providers", ())),
        platforms=tuple(Platform.parse(text) for text in spec.get("platforms", ())),
        include=tuple(components.get("include", ())),
        exclude=tuple(components.get("exclude", ())),
        referrers=spec.get("referrers", True),
        target=CollectionTarget(registry=target["registry"], map=target.get("map", {})) if target else None,
        policy=spec.get("policy"),
        warnings=tuple(warnings),
    )


@cache
def _schema() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(files("bundles").joinpath("collection.schema.json").read_bytes()))


def _faults(value: object) -> list[ValidationError]:
    from jsonschema_rs import Draft202012Validator  # noqa: PLC0415 -- only with a Collection

    return list(Draft202012Validator(_schema()).iter_errors(value))


def _value(node: Node, where: tuple[str, str, list[str]]) -> Any:  # noqa: ANN401 -- what JSON Schema looks at
    """Plain values of a tree. Null fields count as absent, numbers stay text: the format has none."""
    origin, path, warnings = where
    if isinstance(node, MapNode):
        return {
            key: _value(child, (origin, f"{path}.{key}", warnings))
            for key, child in node.entries.items()
            if not (isinstance(child, Scalar) and child.is_null)
        }
    if isinstance(node, ListNode):
        return [_value(item, (origin, f"{path}[{index}]", warnings)) for index, item in enumerate(node.items)]
    kind = yaml_type(node.text) if node.plain else "text"
    if kind == "null":
        return None
    if kind == "bool":
        return is_true(node.text)
    if kind in ("int", "float"):
        warnings.append(
            f"{origin}:{node.line}: {path.lstrip('.')}: {node.text[:80]} is not in quotes: taken as this text, "
            f"other readers take it for {node.what}"
        )
    return node.text


def _told(document: Document, faults: list[ValidationError]) -> ContentError:
    first = faults[0]
    path = ""
    for part in first.instance_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    schema = _violated(first)
    hint = schema.get("description")
    if first.schema_path[-1] == "additionalProperties":
        hint = f"known fields are {', '.join(sorted(schema['properties']))}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return content_error(
        document.origin, _line(document.root, first), path.lstrip("."), f"{first.message[:300]}{more}", hint
    )


def _violated(fault: ValidationError) -> dict[str, Any]:
    """The part of the schema whose keyword does not hold."""
    node: Any = _schema()
    for part in fault.schema_path[:-1]:
        node = node[part]
        while isinstance(node, dict) and "$ref" in node:
            node = _schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return node if isinstance(node, dict) else {}


def _line(root: Node, fault: ValidationError) -> int:
    """The line of what is wrong, or of the mapping that lacks something."""
    node = root
    for part in fault.instance_path:
        if isinstance(node, MapNode) and isinstance(part, str):
            node = node.entries[part]
        elif isinstance(node, ListNode) and isinstance(part, int):
            node = node.items[part]
    if fault.schema_path[-1] == "additionalProperties" and isinstance(node, MapNode):
        known = _violated(fault).get("properties", {})
        lines = [child.line for key, child in node.entries.items() if key not in known]
        return min(lines, default=node.line)
    return node.line
