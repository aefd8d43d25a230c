"""Where everything of a lock goes on a target (``cli.md``, target flags): pure naming."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import UsageError
from bundles.ecr_hosts import holds_packages
from mirror.oci.artifact import FILES_REPOSITORY, MANIFESTS_REPOSITORY, file_tag
from mirror.oci.reference import Reference, by_digest_tag, check_repository

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundles.lock import Lock, LockedArtifact, LockedManifest
    from mirror.oci.digest import Digest

__all__ = [
    "PACKAGES_NAMESPACE",
    "PACKAGE_BUNDLES_REPOSITORY",
    "Naming",
    "PlannedArtifact",
    "PlannedManifest",
    "TargetPlan",
    "UpstreamNaming",
    "document_tag",
    "upstream_name",
]

PACKAGES_NAMESPACE: Final = "eks-anywhere"
PACKAGE_BUNDLES_REPOSITORY: Final = "public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles"
_BUNDLE_NAME: Final = re.compile(r"(v?[0-9]+-[0-9]+)-(.+)")


@dataclass(frozen=True, slots=True)
class Naming:
    """``HOST[:PORT][/PREFIX]`` and the ``--map`` rules.

    ``registry/a/b:t`` becomes ``HOST/PREFIX[/NAMESPACE]/a/b:t``: the upstream host is dropped,
    as EKS-A's registry mirror configuration expects. Registries of curated packages map to
    ``eks-anywhere`` unless a rule says otherwise: the package controller looks for charts and
    images under one name.
    """

    registry: str
    prefix: str = ""
    maps: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, target: str, maps: Iterable[str] = ()) -> Naming:
        """Read ``--to`` and ``--map FROM=NAMESPACE``.

        Raises:
            UsageError: either is malformed, or the target is a URL.
        """
        if "://" in target or "@" in target:
            # Not shown: a password may be in it.
            raise UsageError(
                "the registry is a URL, or names a user or a digest",
                hint="write HOST[:PORT][/PREFIX], without https://; log in with docker login",
            )
        host, prefix = _host_and_path(target.rstrip("/"))
        rules: dict[str, str] = {}
        for text in maps:
            source, equals, namespace = text.partition("=")
            if not equals or not source:
                raise UsageError(f"{text!r} is not a map rule", hint="write --map FROM=NAMESPACE")
            source, namespace = "/".join(_host_and_path(source.rstrip("/"))).rstrip("/"), namespace.strip("/")
            if namespace:
                check_repository(namespace)
            if rules.setdefault(source, namespace) != namespace:
                raise UsageError(
                    f"{source} is mapped to {rules[source]!r} and to {namespace!r}", hint="give one --map for each FROM"
                )
        return cls(host, prefix, tuple(rules.items()))

    def repository(self, upstream: str) -> str:
        """The repository (without host) at the target for ``registry/repository`` upstream."""
        registry, _, path = upstream.partition("/")
        matching = [rule for rule in self.maps if _matches(rule[0], upstream)]
        if matching:
            namespace = max(matching, key=lambda rule: len(rule[0]))[1]
        else:
            namespace = PACKAGES_NAMESPACE if holds_packages(registry) else ""
        return "/".join(part for part in (self.prefix, namespace, path) if part)

    def own(self, repository: str) -> str:
        """The repository at the target for what has no upstream registry: files, documents."""
        return f"{self.prefix}/{repository}" if self.prefix else repository


@dataclass(frozen=True, slots=True)
class UpstreamNaming:
    """How a store names things: as upstream does."""

    def repository(self, upstream: str) -> str:
        """``upstream`` itself."""
        return upstream

    def own(self, repository: str) -> str:
        """``repository`` itself."""
        return repository


def _host_and_path(text: str) -> tuple[str, str]:
    host, _, path = text.partition("/")
    if Reference.parse(f"{host}/{path or 'x'}").name != f"{host}/{path or 'x'}":
        raise UsageError(f"{text[:300]!r} has a tag or a digest", hint="write HOST[:PORT][/PREFIX]")
    return host, path


def _matches(rule: str, name: str) -> bool:
    """Whether ``registry/repository`` lies under a rule; ``HOST`` does not mean ``HOST:PORT``."""
    return f"{name}/".startswith(f"{rule}/")


@dataclass(frozen=True, slots=True)
class PlannedArtifact:
    """An artifact, its repository at the target, its tag there, and the digest the tag will have."""

    artifact: LockedArtifact
    repository: str
    tag: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PlannedManifest:
    """A release document, its repository at the target, and its tags there."""

    manifest: LockedManifest
    repository: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """Where everything goes, each name once."""

    naming: Naming | UpstreamNaming
    artifacts: tuple[PlannedArtifact, ...]
    manifests: tuple[PlannedManifest, ...] = field(default=())

    @classmethod
    def of(cls, lock: Lock, naming: Naming | UpstreamNaming, *, documents: str = MANIFESTS_REPOSITORY) -> TargetPlan:
        """Name everything of ``lock``.

        Args:
            lock: what is to be named.
            naming: the rules of the target.
            documents: the repository of its release documents, where the target cannot have the usual name.

        Raises:
            UsageError: two artifacts would have one name and different digests.
        """
        artifacts = tuple(_place(artifact, naming) for artifact in lock.artifacts)
        manifests = tuple(_place_manifests(lock.manifests, naming, naming.own(documents)))
        _refuse_collisions(artifacts, manifests)
        return cls(naming, artifacts, manifests)


def upstream_name(reference: str) -> tuple[str, str | None, Digest | None]:
    """Part an artifact's reference into ``registry/repository``, tag and digest."""
    parsed = Reference.parse(reference)
    return parsed.name, parsed.tag, parsed.digest


def _place(artifact: LockedArtifact, naming: Naming | UpstreamNaming) -> PlannedArtifact:
    if artifact.type == "file":
        return PlannedArtifact(artifact, naming.own(FILES_REPOSITORY), file_tag(artifact.reference), artifact.root)
    name, tag, _ = upstream_name(artifact.reference)
    return PlannedArtifact(artifact, naming.repository(name), tag or by_digest_tag(artifact.digest), artifact.digest)


def _refuse_collisions(artifacts: Iterable[PlannedArtifact], manifests: Iterable[PlannedManifest]) -> None:
    taken: dict[tuple[str, str], PlannedArtifact] = {}
    for planned in artifacts:
        first = taken.setdefault((planned.repository, planned.tag), planned)
        if first.digest != planned.digest:
            registry = planned.artifact.reference.partition("/")[0]
            raise UsageError(
                f"would get the name {planned.repository}:{planned.tag}, as {first.artifact.reference} does",
                artifact=planned.artifact.reference,
                hint=f"part them with --map {registry}=NAMESPACE",
            )
    documents: dict[tuple[str, str], LockedManifest] = {}
    for document in manifests:
        manifest = document.manifest
        for tag in document.tags:
            name = (document.repository, tag)
            if name in taken and taken[name].digest != manifest.oci_digest:
                reference = taken[name].artifact.reference
                raise UsageError(
                    f"would get the name {document.repository}:{tag}, as the {manifest.kind} {manifest.name} does",
                    artifact=reference,
                    hint=f"part them with --map {reference.partition('/')[0]}=NAMESPACE",
                )
            earlier = documents.setdefault(name, manifest)
            if earlier.digest != manifest.digest:
                raise UsageError(
                    f"two release documents are called {manifest.name!r}: {earlier.url} and {manifest.url}",
                    hint="mirror them to targets of their own (--to HOST/PREFIX)",
                )


def document_tag(manifest: LockedManifest) -> str:
    """The tag of a release document: its name, made a legal tag."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", manifest.name or f"{manifest.kind}-{manifest.digest.encoded[:12]}")
    return name.lstrip(".-")[:128] or manifest.digest.encoded[:12]


def _place_manifests(
    manifests: Iterable[LockedManifest], naming: Naming | UpstreamNaming, documents: str
) -> Iterable[PlannedManifest]:
    newest: dict[str, LockedManifest] = {}
    everything = list(manifests)
    for manifest in everything:
        if manifest.kind == "PackageBundle":
            channel = _channel(manifest)
            if channel not in newest or _age(manifest) > _age(newest[channel]):
                newest[channel] = manifest
    for manifest in everything:
        if manifest.kind == "PackageBundle":
            channel = _channel(manifest)
            latest = (f"{channel}-latest",) if newest[channel] is manifest else ()
            repository = manifest.url if manifest.oci_digest else PACKAGE_BUNDLES_REPOSITORY
            yield PlannedManifest(manifest, naming.repository(repository), (document_tag(manifest), *latest))
            continue
        yield PlannedManifest(manifest, documents, (document_tag(manifest),))


def _channel(manifest: LockedManifest) -> str:
    match = _BUNDLE_NAME.fullmatch(manifest.name)
    return match.group(1) if match else document_tag(manifest)


def _age(manifest: LockedManifest) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", manifest.name))
