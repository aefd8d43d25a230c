"""``packages list|describe|generate``: what bundles of packages offer, read without any cluster."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import MissingError, UsageError, VerificationError
from bundlectl.operations.admitting import admit
from bundlectl.operations.gathering import gather
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.rooting import Rooting
from bundles.coverage import covers
from bundles.document import parse_document
from bundles.package_bundle import BundleName, find_package, find_version
from bundles.package_requires import decode_schema
from bundles.packages import PACKAGE_IMAGE_REGISTRY
from bundles.plan import PACKAGE_BUNDLES_REPOSITORY, PACKAGES_NAMESPACE
from bundles.schema import parse_model
from bundles.schema.package_bundle import PackageBundle
from bundles.sources.packages import PACKAGE_BUNDLES
from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import TrustLevel
    from bundles.document import Document
    from bundles.plan import Naming
    from bundles.schema.package_bundle import BundledPackage, PackageVersion
    from mirror.oci.digest import Digest

__all__ = [
    "NAME_THE_KEY",
    "FoundBundle",
    "PackagePlace",
    "bundles_in_registry",
    "bundles_in_store",
    "check_digests",
    "choose_version",
    "describe_package",
    "hold_to_policies",
    "is_wanted",
    "package_places",
    "trust_of_digests",
]

_KUBE_VERSION: Final = re.compile(r"v?([1-9][0-9]{0,2})[.-]([1-9][0-9]{0,3})", re.ASCII)
_LATEST: Final = re.compile(r"v([1-9][0-9]{0,2}-[1-9][0-9]{0,3})-latest", re.ASCII)
_SHOWN: Final = 10
NAME_THE_KEY: Final = "of a bundle of your own name the key: --verify KEY; or --verify off, which is told"
"""What to do where AWS's key was expected, and did not sign a bundle."""
_SIGNED: Final = ("spec.packages[].source.versions[]", "spec.packages[].source.versions[].images[]")
"""Whose digests a signature must be over: a bundle says itself what is left out of it."""


@dataclass(frozen=True, slots=True)
class PackagePlace:
    """Where a registry has packages, each as ``HOST[/PATH]``: bundles and charts, and their images."""

    charts: str
    images: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBundle:
    """A bundle, its digests believed as far as ``trust`` says; ``raw`` is the document as it was signed.

    ``origin`` is the registry's ``HOST/PATH``, or the store. ``place`` is None out of a store.
    """

    bundle: PackageBundle = field(repr=False)
    raw: bytes = field(repr=False)
    digest: Digest
    trust: TrustLevel
    verified_by: str | None
    origin: str
    place: PackagePlace | None = None

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.bundle.metadata.name

    @property
    def kube_version(self) -> str:
        """The minor version of Kubernetes that it is for; empty where its name does not tell."""
        name = BundleName.read(self.name)
        return name.kube_version if name else ""

    def to_json(self) -> dict[str, Any]:
        """Render as ``packages list`` shows it."""
        return {
            "name": self.name,
            "kubeVersion": self.kube_version or None,
            "digest": str(self.digest),
            "trust": self.trust,
            "verifiedBy": self.verified_by,
            "from": self.origin,
            "packages": [
                {
                    "name": package.name,
                    "repository": package.source.repository,
                    "workloadOnly": package.workloadonly,
                    "versions": [
                        {"name": version.name, "digest": version.digest, "dependencies": list(version.dependencies)}
                        for version in package.source.versions
                    ],
                }
                for package in self.bundle.spec.packages
            ],
        }


def trust_of_digests(trust: TrustLevel, document: Document) -> TrustLevel:
    """How far the digests in a bundle are believed: its signature may leave them out, and then holds for any others.

    Args:
        trust: of the document.
        document: the bundle.
    """
    if trust == "signed" and not all(covers("PackageBundle", document.root, path) for path in _SIGNED):
        return "declared"
    return trust


def check_digests(trust: TrustLevel, *, name: str) -> None:
    """Refuse to install from a bundle whose digests anybody may have written.

    Args:
        trust: as `trust_of_digests` says it.
        name: of the bundle.

    Raises:
        VerificationError: its signature leaves them out.
    """
    if trust == "declared":
        raise VerificationError(
            "its signature leaves out the digests of charts or images",
            artifact=name,
            hint="sign it again, and exclude nothing below spec.packages[].source.versions",
        )


def package_places(target: Naming) -> tuple[PackagePlace, ...]:
    """Where packages may be at a registry: as ``mirror --to`` puts them, or right below the name itself.

    The second is what AWS's own tool calls a registry of packages.
    """
    whole = "/".join(part for part in (target.registry, target.prefix) if part)
    charts = target.repository(PACKAGE_BUNDLES_REPOSITORY).removesuffix(PACKAGE_BUNDLES).rstrip("/")
    images = target.repository(f"{PACKAGE_IMAGE_REGISTRY}/x").removesuffix("x").rstrip("/")
    mirrored = PackagePlace(*(f"{target.registry}/{path}".rstrip("/") for path in (charts, images)))
    places = dict.fromkeys((mirrored, PackagePlace(whole, whole)))
    # Asked first where there is least doubt: some registries refuse what they do not have.
    return tuple(reversed(places) if whole.endswith(f"/{PACKAGES_NAMESPACE}") else places)


def bundles_in_registry(
    request: SourceRequest, target: Naming, *, wanted: str = "", session: Session
) -> tuple[FoundBundle, ...]:
    """Read bundles of packages out of a registry, each checked as ``request`` says.

    Args:
        request: its ``belief`` and ``policies`` hold; its sources are not looked at.
        target: the registry, as in ``mirror --to``.
        wanted: a Kubernetes version (``1.33``: its newest bundle), the name of a bundle, or nothing: the
            newest of each version.
        session: connections.

    Raises:
        UsageError: ``wanted`` is neither.
        MissingError: there is no such bundle there.
        VerificationError: one is not signed as it must be.
        ContentError: what lies there is no bundle of packages.
        RegistryError, TransportError: the registry refuses or cannot be reached.
    """
    first: MissingError | None = None
    for place in package_places(target):
        try:
            return _read_place(request, place, wanted, session)
        except MissingError as error:
            first = first or error
    if first is None:
        raise UsageError("no registry was named")
    first.hint = f"mirror the bundle there: bundlectl mirror packages:{_channel(wanted) or 'VERSION'} --to …"
    raise first


def _read_place(request: SourceRequest, place: PackagePlace, wanted: str, session: Session) -> tuple[FoundBundle, ...]:
    names = [_source(wanted)] if wanted else _channels(place, session)
    return tuple(_read(request, place, name, session) for name in names)


def _channels(place: PackagePlace, session: Session) -> list[str]:
    """The Kubernetes versions that a registry has a newest bundle for, in order."""
    repository = session.repository(f"{place.charts}/{PACKAGE_BUNDLES}")
    found = [match[1] for tag in session.persist(repository.tags) if (match := _LATEST.fullmatch(tag))]
    if not found:
        raise MissingError("has no bundle of packages", artifact=repository.name)
    return sorted(found, key=lambda text: tuple(map(int, text.split("-"))))


def _source(wanted: str) -> str:
    if BundleName.read(wanted):
        return wanted
    channel = _channel(wanted)
    if not channel:
        raise UsageError(
            f"{wanted[:100]!r} is neither a Kubernetes version nor the name of a bundle",
            hint="write 1.33, or a name such as v1-33-120",
        )
    return channel


def is_wanted(name: str, wanted: str) -> bool:
    """Whether a bundle of this name is for a Kubernetes version, or the one that is named.

    Raises:
        UsageError: ``wanted`` is neither.
    """
    source = _source(wanted)
    return name == source or name.startswith(f"v{source}-")


def _channel(text: str) -> str:
    match = _KUBE_VERSION.fullmatch(text)
    return f"{match[1]}-{match[2]}" if match else ""


def _read(request: SourceRequest, place: PackagePlace, name: str, session: Session) -> FoundBundle:
    asked = replace(request, sources=(f"packages:{name}",), package_registry=place.charts)
    try:
        gathered = gather(asked, session, follow=False)
    except VerificationError as error:
        if request.belief.mode == "aws":
            error.hint = NAME_THE_KEY
        raise
    gathered = admit(request.policies, gathered, asked, session) if request.policies else gathered
    (entry,) = gathered.documents
    model = entry.verified.model
    if not isinstance(model, PackageBundle):
        raise UsageError("is not a bundle of packages", artifact=entry.url)
    return FoundBundle(
        bundle=model,
        raw=entry.verified.document.raw,
        digest=entry.verified.document.digest,
        trust=trust_of_digests(entry.verified.trust, entry.verified.document),
        verified_by=entry.verified.verified_by,
        origin=place.charts,
        place=place,
    )


def bundles_in_store(
    request: SourceRequest, store: str, *, wanted: str = "", session: Session
) -> tuple[FoundBundle, ...]:
    """Read the bundles of packages that a store holds; nothing is fetched.

    Args:
        request: how the store's collections are believed; its sources are not looked at.
        store: ``DIR`` or ``DIR#NAME``.
        wanted: a Kubernetes version or the name of a bundle; nothing: all of them.
        session: for warnings.

    Raises:
        UsageError: ``wanted`` is neither.
        MissingError: the store has no such bundle.
        VerificationError: a signer was named, and did not sign the collection.
        StoreError, ContentError: not a store, or damaged.
    """
    asked = replace(request, sources=(f"store:{store}",))
    locked = lock_sources(asked, session=session)
    manifests = [
        item
        for item in locked.lock.manifests
        if item.kind == "PackageBundle" and (not wanted or is_wanted(item.name, wanted))
    ]
    if not manifests:
        held = ", ".join(sorted(item.name for item in locked.lock.manifests if item.kind == "PackageBundle")[:_SHOWN])
        raise MissingError(
            f"has no bundle of packages{f' {wanted}' if wanted else ''}",
            artifact=store,
            hint=f"it has {held}" if held else "download one into it: bundlectl download packages:1-33 --store …",
        )
    found = []
    with Rooting(locked, session) as rooting:
        for manifest in manifests:
            raw = rooting.document(manifest)
            document = parse_document(raw, origin=f"{store}#{manifest.name}")
            model = parse_model(document)
            if isinstance(model, PackageBundle):
                found.append(
                    FoundBundle(
                        bundle=model,
                        raw=raw,
                        digest=manifest.digest,
                        trust=trust_of_digests(manifest.trust, document),
                        verified_by=manifest.verified_by,
                        origin=store,
                    )
                )
    return tuple(sorted(found, key=lambda item: item.name))


def hold_to_policies(request: SourceRequest, raw: bytes, *, name: str, session: Session) -> None:
    """Hold a bundle that came out of a cluster to the policies that one out of a registry would be held to.

    Args:
        request: whose policies; without any nothing is done.
        raw: the bundle.
        name: of the bundle.
        session: connections.

    Raises:
        VerificationError: a policy does not let it in.
        ContentError: it is malformed.
    """
    if not request.policies:
        return
    with TemporaryDirectory(prefix="bundlectl-bundle-") as folder:
        path = Path(folder, f"{name}.yaml")
        with mapped_errors(path, action="write"):
            path.write_bytes(raw)
        asked = replace(request, sources=(str(path),))
        admit(request.policies, gather(asked, session, follow=False), asked, session)


def choose_version(bundle: PackageBundle, package: str, version: str = "") -> tuple[BundledPackage, PackageVersion]:
    """The package and version that a request means (``domain.md`` 5.2).

    Args:
        bundle: to look in.
        package: its name, in any case.
        version: a version's name or digest; ``latest`` or nothing is the first one listed.

    Raises:
        MissingError: it is not in the bundle.
    """
    name = bundle.metadata.name
    found = find_package(bundle, package)
    if found is None:
        known = ", ".join(item.name for item in bundle.spec.packages[:_SHOWN])
        raise MissingError(f"Package {package[:100]} is not in the bundle ({name})", hint=f"it has {known or 'none'}")
    chosen = find_version(found, version)
    if chosen is None:
        known = ", ".join(item.name for item in found.source.versions[:_SHOWN])
        raise MissingError(
            f"Package {found.name}@{version[:100]} is not in the bundle ({name})", hint=f"it has {known or 'none'}"
        )
    return found, chosen


def describe_package(found: FoundBundle, package: str) -> dict[str, Any]:
    """What a bundle says of one package: every version with its images, dependencies and values.

    Raises:
        MissingError: it is not in the bundle.
        ContentError: the schema of a version's values is malformed.
    """
    known, _ = choose_version(found.bundle, package)
    return {
        "name": known.name,
        "bundle": found.name,
        "repository": known.source.repository,
        "workloadOnly": known.workloadonly,
        "trust": found.trust,
        "versions": [
            {
                "name": version.name,
                "digest": version.digest,
                "images": [f"{image.repository}@{image.digest}" for image in version.images],
                "dependencies": list(version.dependencies),
                "values": _values(version, f"{found.name}#{known.name}"),
            }
            for version in known.source.versions
        ],
    }


def _values(version: PackageVersion, origin: str) -> list[dict[str, Any]]:
    """The values at the top of a schema: their type, what they are without being set, and whether they must be."""
    if not version.schema:
        return []
    schema = json.loads(decode_schema(version.schema, origin=origin))
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    required = schema.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    return [
        {
            "name": name,
            "type": _type(stated),
            "default": stated.get("default") if isinstance(stated, dict) else None,
            "required": name in needed,
        }
        for name, stated in properties.items()
    ]


def _type(stated: object) -> str | None:
    found = stated.get("type") if isinstance(stated, dict) else None
    if isinstance(found, list):
        return " or ".join(str(item) for item in found)
    return found if isinstance(found, str) else None
