"""The three kinds as frozen values, read from the JSON of the API server and written back (``domain.md`` 1.6, 5.2)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

from bundlectl.errors import ContentError
from bundles.document import parse_document
from bundles.package_bundle import LATEST, BundleName, find_package, find_version
from bundles.scalars import is_true
from bundles.schema import parse_model
from bundles.tree import ListNode, MapNode, parse_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.document import Document
    from bundles.schema.package_bundle import PackageBundle as BundleModel
    from bundles.tree import Node

__all__ = [
    "API_VERSION",
    "HOME_NAMESPACE",
    "INTERNAL_ANNOTATION",
    "LATEST",
    "Condition",
    "Metadata",
    "Package",
    "PackageBundle",
    "PackageBundleController",
    "PackageSource",
    "PackageSpec",
    "PackageStatus",
    "bundle_object",
    "cluster_of",
    "find_package",
    "find_version",
    "is_namespace",
    "namespace_of",
    "parse_duration",
]

API_VERSION: Final = "packages.eks.amazonaws.com/v1alpha1"
HOME_NAMESPACE: Final = "eksa-packages"
"""Where bundles and PackageBundleControllers live; Packages do in ``eksa-packages-CLUSTER``."""
INTERNAL_ANNOTATION: Final = "anywhere.eks.aws.com/internal"
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
_NOT_SIGNED: Final = ("managedFields", "selfLink")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def cluster_of(namespace: str, own: str) -> str | None:
    """The cluster that Packages of a namespace are for; None when none are taken from it.

    Args:
        namespace: of the Package.
        own: the name of the cluster that the controller runs in, for which the namespace without a name stands.
    """
    if namespace == HOME_NAMESPACE:
        return own
    cluster = namespace.removeprefix(f"{HOME_NAMESPACE}-")
    return cluster if cluster != namespace and cluster else None


def namespace_of(cluster: str) -> str:
    """The namespace of a cluster's Packages."""
    return f"{HOME_NAMESPACE}-{cluster}"


def is_namespace(text: str) -> bool:
    """Whether a namespace can be called so (RFC 1123): a path of the API may be made of nothing else."""
    return _LABEL.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether an object can be called so: a path of the API that ends with nothing means all of them."""
    return _NAME.fullmatch(text) is not None


def parse_duration(text: str) -> float | None:
    """Read a duration as Go writes it (``24h0m0s``, ``1.5h``, ``300ms``), in seconds; None when it is not one."""
    if text in ("0", "+0"):
        return 0.0
    found, at = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != at:
            return None
        found += float(match[1]) * _SECONDS[match[2]]
        at = match.end()
    return found if text and at == len(text) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is needed of an object's metadata. ``resource_version`` is empty for an object that is not stored."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    owners: tuple[str, ...] = ()
    """The uids of what it belongs to."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read ``metadata`` of an object."""
        found = _table(document, "metadata")
        return cls(
            name=_text(found, "name"),
            namespace=_text(found, "namespace"),
            uid=_text(found, "uid"),
            generation=_number(found, "generation"),
            resource_version=_text(found, "resourceVersion"),
            deleting=bool(found.get("deletionTimestamp")),
            finalizers=tuple(str(item) for item in found.get("finalizers") or ()),
            annotations=tuple(sorted((str(k), str(v)) for k, v in _table(found, "annotations").items())),
            owners=tuple(_text(item, "uid") for item in found.get("ownerReferences") or () if isinstance(item, dict)),
        )

    @property
    def key(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"

    def annotation(self, name: str) -> str:
        """The value of an annotation; empty when it has none."""
        return dict(self.annotations).get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of ``status.conditions``; ``since`` is empty until it is stored."""

    type: str
    status: str
    reason: str
    message: str = ""
    since: str = ""
    observed_generation: int = 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(
            type=_text(document, "type"),
            status=_text(document, "status"),
            reason=_text(document, "reason"),
            message=_text(document, "message"),
            since=_text(document, "lastTransitionTime"),
            observed_generation=_number(document, "observedGeneration"),
        )

    def to_json(self) -> dict[str, Any]:
        """Write it."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.since,
            "observedGeneration": self.observed_generation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """Where the chart of a package is: ``version`` is its tag, ``digest`` that of its manifest."""

    registry: str = ""
    repository: str = ""
    version: str = ""
    digest: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read ``status.source``."""
        return cls(**{name: _text(document, name) for name in ("registry", "repository", "version", "digest")})

    def to_json(self) -> dict[str, str]:
        """Write it; AWS's definition needs all four."""
        return {
            "registry": self.registry,
            "repository": self.repository,
            "version": self.version,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """What a Package asks for. ``config`` is the text of a YAML document."""

    package_name: str = ""
    package_version: str = ""
    config: str = ""
    target_namespace: str = ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read ``spec``."""
        return cls(
            package_name=_text(document, "packageName"),
            package_version=_text(document, "packageVersion"),
            config=_text(document, "config"),
            target_namespace=_text(document, "targetNamespace"),
        )

    def to_json(self) -> dict[str, str]:
        """Write it without what is empty."""
        optional = {
            "packageVersion": self.package_version,
            "config": self.config,
            "targetNamespace": self.target_namespace,
        }
        return {"packageName": self.package_name, **{name: value for name, value in optional.items() if value}}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStatus:
    """What the controller makes of a Package."""

    state: str = ""
    detail: str = ""
    source: PackageSource | None = None
    current_version: str = ""
    target_version: str = ""
    spec: PackageSpec | None = None
    """The spec that was last installed."""
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read ``status``; all empty when there is none."""
        source, spec = document.get("source"), document.get("spec")
        return cls(
            state=_text(document, "state"),
            detail=_text(document, "detail"),
            source=PackageSource.from_json(source) if isinstance(source, dict) else None,
            current_version=_text(document, "currentVersion"),
            target_version=_text(document, "targetVersion"),
            spec=PackageSpec.from_json(spec) if isinstance(spec, dict) else None,
            conditions=tuple(Condition.from_json(item) for item in document.get("conditions") or ()),
            observed_generation=_number(document, "observedGeneration"),
        )

    def to_json(self) -> dict[str, Any]:
        """Write it whole; an AWS status needs ``source`` and ``currentVersion``."""
        return {
            "source": (self.source or PackageSource()).to_json(),
            "currentVersion": self.current_version,
            "targetVersion": self.target_version,
            "state": self.state,
            "detail": self.detail,
            "observedGeneration": self.observed_generation,
            "conditions": [condition.to_json() for condition in self.conditions],
            **({"spec": self.spec.to_json()} if self.spec else {}),
        }

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type; None when it is not known yet."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Package."""

    metadata: Metadata
    spec: PackageSpec
    status: PackageStatus

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read an object of the API server; what is missing is empty."""
        return cls(
            metadata=Metadata.from_json(document),
            spec=PackageSpec.from_json(_table(document, "spec")),
            status=PackageStatus.from_json(_table(document, "status")),
        )

    def to_json(self) -> dict[str, Any]:
        """Write it as a manifest: name, namespace and spec."""
        metadata = {"name": self.metadata.name, "namespace": self.metadata.namespace}
        if self.metadata.annotations:
            return _manifest("Package", {**metadata, "annotations": dict(self.metadata.annotations)}, self.spec)
        return _manifest("Package", metadata, self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageBundleController:
    """How one cluster gets its packages. Durations are in seconds; ``state`` and ``detail`` are its status."""

    metadata: Metadata
    active_bundle: str = ""
    default_registry: str = ""
    default_image_registry: str = ""
    bundle_repository: str = "eks-anywhere-packages-bundles"
    create_namespace: bool = False
    upgrade_check_interval: float = 86400.0
    upgrade_check_short_interval: float = 3600.0
    state: str = ""
    detail: str = ""
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read an object of the API server; a malformed duration is the default one."""
        spec, status = _table(document, "spec"), _table(document, "status")
        interval = parse_duration(_text(spec, "upgradeCheckInterval")) or 86400.0
        return cls(
            metadata=Metadata.from_json(document),
            active_bundle=_text(spec, "activeBundle"),
            default_registry=_text(spec, "defaultRegistry").rstrip("/"),
            default_image_registry=_text(spec, "defaultImageRegistry").rstrip("/"),
            bundle_repository=_text(spec, "bundleRepository") or "eks-anywhere-packages-bundles",
            create_namespace=spec.get("createNamespace") is True,
            upgrade_check_interval=interval,
            upgrade_check_short_interval=parse_duration(_text(spec, "upgradeCheckShortInterval")) or interval,
            state=_text(status, "state"),
            detail=_text(status, "detail"),
            conditions=tuple(Condition.from_json(item) for item in status.get("conditions") or ()),
        )

    @property
    def bundles(self) -> str:
        """The repository of bundles, ``HOST[/PREFIX]/REPOSITORY``."""
        return f"{self.default_registry}/{self.bundle_repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageBundle:
    """A bundle as the API server holds it.

    ``document`` is what a signature is checked over (``bundles.verify.accept``), ``name`` is None where the
    object's name is not that of a bundle.
    """

    metadata: Metadata
    name: BundleName | None
    document: Document
    model: BundleModel
    state: str = ""
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read an object of the API server.

        Raises:
            ContentError: a field has the wrong type, or it is no PackageBundle.
        """
        metadata = Metadata.from_json(document)
        kept = {name: value for name, value in _table(document, "metadata").items() if name not in _NOT_SIGNED}
        raw = json.dumps({**{k: v for k, v in document.items() if k != "status"}, "metadata": kept}, ensure_ascii=False)
        parsed = parse_document(raw.encode(), origin=metadata.name)
        if parsed.type != "PackageBundle":
            raise ContentError(f"a PackageBundle was expected, this is a {parsed.kind}", artifact=metadata.name)
        status = _table(document, "status")
        return cls(
            metadata=metadata,
            name=BundleName.read(metadata.name),
            document=parsed,
            model=cast("BundleModel", parse_model(parsed)),
            state=_text(status, "state"),
            conditions=tuple(Condition.from_json(item) for item in status.get("conditions") or ()),
        )


def bundle_object(raw: bytes, *, origin: str) -> dict[str, Any]:
    """A bundle as the object that a cluster gets: what was signed, in the namespace of bundles.

    All of it but one field is text, which stays as it is written: ``1.30`` is no number.

    Raises:
        ContentError: it is malformed.
    """
    document = _texts(parse_tree(raw, origin=origin).root)
    metadata = _table(document, "metadata")
    for package in _table(document, "spec").get("packages") or ():
        if isinstance(package, dict) and isinstance(package.get("workloadonly"), str):
            package["workloadonly"] = is_true(package["workloadonly"])
    kept = {name: metadata[name] for name in ("name", "annotations", "labels") if name in metadata}
    body = {name: value for name, value in document.items() if name != "status"}
    return {**body, "metadata": {**kept, "namespace": HOME_NAMESPACE}}


def _texts(node: Node) -> Any:  # noqa: ANN401 -- whatever YAML holds
    if isinstance(node, MapNode):
        return {key: _texts(child) for key, child in node.entries.items()}
    if isinstance(node, ListNode):
        return [_texts(child) for child in node.items]
    return None if node.is_null else node.text


def _manifest(kind: str, metadata: dict[str, Any], spec: PackageSpec) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec.to_json()}


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    return found if isinstance(found, str) else ""


def _number(document: Mapping[str, Any], name: str) -> int:
    found = document.get(name)
    return found if isinstance(found, int) else 0
