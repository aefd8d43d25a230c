"""Collections: what a site wants, in a YAML file kept in git (``cli.md``, "Naming things")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.policy_file import POLICY_NUMBERS, POLICY_SCHEMA, CollectionPolicy
from bundles.published import Located, PublishedSchema
from bundles.selection import Selection
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.document import Document

__all__ = ["Collection", "CollectionTarget", "parse_collection"]

_SCHEMA: Final = PublishedSchema("collection.schema.json", refers=(POLICY_SCHEMA,), numbers=POLICY_NUMBERS)


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
    policy: CollectionPolicy | None = None
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
    located = Located(document.root, document.origin)
    value, warnings = _SCHEMA.read(located)
    metadata, spec = value.get("metadata") or {}, value["spec"]
    policy = spec.get("policy")
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
        policy=CollectionPolicy.of(policy, located.at("spec", "policy")) if policy is not None else None,
        warnings=(*document.warnings, *warnings),
    )
