"""``package-bundle push``: a signed PackageBundle into a registry, under both of its tags (``domain.md`` 1.7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, RegistryError, VerificationError
from bundlectl.events import Notice, PhaseStarted
from bundlectl.operations.admitting import admit
from bundlectl.operations.gathering import gather
from bundlectl.operations.locking import Locked
from bundlectl.operations.preflight import prepare_target
from bundlectl.operations.rooting import Rooting
from bundles.document import parse_document
from bundles.lock import Lock
from bundles.package_bundle import BundleName
from bundles.plan import TargetPlan, upstream_name
from bundles.sources.packages import pull_package_bundle
from mirror.copying import TargetKnowledge, copy
from mirror.copying.working import Workers
from mirror.oci.artifact import describe_package_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.gathering import Gathered
    from bundlectl.operations.preflight import Visibility
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import Artifact
    from bundles.lock import LockedManifest
    from bundles.plan import Naming
    from mirror.oci.digest import Digest
    from mirror.remote import RemoteRegistry, RemoteRepository

__all__ = ["PushedBundle", "push_package_bundle"]

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedBundle:
    """A bundle in a registry.

    ``repository`` is ``host/path``; ``written`` the tags of ``tags`` that did not point at it before.
    ``charts`` are those that it names and that do not lie beside it, or not with its digest.
    """

    manifest: LockedManifest
    repository: str
    digest: Digest
    tags: tuple[str, ...]
    written: tuple[str, ...]
    charts: tuple[str, ...]
    weakened: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Render as the command shows it."""
        return {
            "target": self.repository,
            "name": self.manifest.name,
            "digest": str(self.digest),
            "document": str(self.manifest.digest),
            "trust": self.manifest.trust,
            "verifiedBy": self.manifest.verified_by,
            "tags": [{"tag": tag, "written": tag in self.written} for tag in self.tags],
            "chartsNotBeside": list(self.charts),
            "weakened": list(self.weakened),
        }


def push_package_bundle(
    path: Path,
    request: SourceRequest,
    *,
    target: Naming,
    session: Session,
    create_projects: Visibility | None = None,
) -> PushedBundle:
    """Push a bundle as AWS publishes it: first the tag of its name, then ``v1-33-latest``; both are read back.

    Two who push at once cannot lock a tag: what was not what it should be right after it was
    written is an error.

    Args:
        path: of the bundle.
        request: its ``belief`` says whose signature is needed, its ``policies`` are met, its
            ``allow_rollback`` lets ``latest`` become older. Its sources are not looked at.
        target: where AWS's bundles would go at this target (``Naming``), this one goes.
        session: connections.
        create_projects: make the project if it is missing (Harbor), as visible as this.

    Raises:
        VerificationError: it is not signed as it must be, or is older than what ``latest`` is.
        ContentError: it is no bundle of packages, or its name is that of another bundle there.
        UsageError, MissingError: there is no such file; the target did not take it.
        RegistryError, TransportError: the target refuses or cannot be reached.
    """
    gathered = _accepted(path, request, session)
    (manifest,) = gathered.manifests
    name = _name(manifest)
    lock = Lock(
        sources=gathered.sources,
        selection=gathered.selection.to_json(),
        manifests=gathered.manifests,
        artifacts=(),
        blobs={},
        weakened=tuple(sorted({*session.connection.weakened, *gathered.weakened})),
    )
    plan = TargetPlan.of(lock, target)
    (placed,) = plan.manifests
    registry = session.target(target.registry)
    prepare_target(registry, plan, lock, plan.manifests, session=session, create_projects=create_projects)
    repository = registry.repository(placed.repository)
    digest = describe_package_bundle(manifest.digest, manifest.size).manifest.descriptor.digest
    knowledge = TargetKnowledge()
    held = {tag: session.persist(lambda tag=tag: knowledge.look(repository, tag)) for tag in placed.tags}  # type: ignore[misc]
    _refuse_taken(repository, name, held[name.text], digest)
    if held[placed.tags[-1]] not in (None, digest) and not request.allow_rollback:
        _refuse_older(repository, name, placed.tags[-1], session)
    charts = _not_beside(gathered.artifacts, registry, target, session)
    _copy(Locked(lock, raw=gathered.raw), plan, registry, knowledge, session)
    return PushedBundle(
        manifest=manifest,
        repository=repository.name,
        digest=digest,
        tags=placed.tags,
        written=tuple(tag for tag in placed.tags if held[tag] != digest),
        charts=charts,
        weakened=lock.weakened,
    )


def _accepted(path: Path, request: SourceRequest, session: Session) -> Gathered:
    """The document, believed as far as the request says, and what it names; nothing of that is asked for."""
    # A name such as packages:1-33 is a SOURCE; with a folder before it, it is a file.
    location = str(path) if path.is_absolute() else f"./{path}"
    request = replace(request, sources=(location,))
    try:
        gathered = gather(request, session, follow=False)
    except VerificationError as error:
        if request.belief.mode == "aws":
            error.hint = "of a bundle of your own name the key: --verify KEY; or --verify off, which is told"
        raise
    gathered = admit(request.policies, gathered, request, session) if request.policies else gathered
    kinds = [manifest.kind for manifest in gathered.manifests]
    if kinds != ["PackageBundle"]:
        raise ContentError(
            f"a PackageBundle was expected, this is a {kinds[0] if kinds else 'document of another kind'}",
            artifact=str(path),
            hint="build one with bundlectl package-bundle build",
        )
    return gathered


def _name(manifest: LockedManifest) -> BundleName:
    name = BundleName.read(manifest.name)
    if name is None:
        raise ContentError(
            f"metadata.name {manifest.name[:100]!r} is not the name of a bundle: it could not be found again",
            artifact=manifest.url,
            hint="a name is v1-33-1001, or v1-33-2026-06-26-1782500000",
        )
    return name


def _refuse_taken(repository: RemoteRepository, name: BundleName, held: Digest | None, digest: Digest) -> None:
    """Refuse to give a name to another bundle: whoever has pinned it would get something else."""
    if held not in (None, digest):
        raise ContentError(
            f"is another bundle, {held}, and this one is {digest}",
            artifact=f"{repository.name}:{name.text}",
            hint="a name is given once: build it again with another --name; if only the signature differs, "
            "push the file that was pushed before",
        )


def _refuse_older(repository: RemoteRepository, name: BundleName, latest: str, session: Session) -> None:
    """Refuse to move the newest bundle back to an older one."""
    place = f"{repository.name}:{latest}"
    descriptor = session.persist(lambda: repository.resolve(latest))
    try:
        raw = session.persist(lambda: pull_package_bundle(repository, descriptor, place))
        found = BundleName.read(parse_document(raw, origin=place).name)
    except ContentError:
        found = None
    if found is None or found.channel != name.channel:
        raise ContentError(
            "is something that cannot be compared with this bundle",
            artifact=place,
            hint="see what it is; --allow-rollback replaces it",
        )
    if found.age >= name.age:
        raise VerificationError(
            f"is {found.text}, which is newer than {name.text}"
            if found.age > name.age
            else f"is another bundle of the name {name.text}",
            artifact=place,
            hint="clusters that follow it would go back; if that is meant, say --allow-rollback",
        )


def _not_beside(
    artifacts: tuple[Artifact, ...], registry: RemoteRegistry, target: Naming, session: Session
) -> tuple[str, ...]:
    """The charts that a bundle names and that the controller would not find: it looks beside the bundle."""

    def look(chart: Artifact) -> str | None:
        name, tag, _ = upstream_name(chart.reference)
        repository = registry.repository(target.repository(name))
        place = f"{repository.name}:{tag}"
        try:
            held = session.persist(lambda: repository.resolve(tag or "")).digest
        except MissingError:
            return f"{place} is missing"
        except (ContentError, RegistryError) as error:
            return f"{place} cannot be read: {error.message}"
        return None if held == chart.digest else f"{place} is {held} and not {chart.digest}"

    charts = [item for item in artifacts if item.type == "chart"]
    with Workers(session.jobs, session.cancelled) as workers:
        found = tuple(item for item in workers.map(look, charts) if item is not None)
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        told = f"charts that it names cannot be installed from there: {'; '.join(found[:_SHOWN])}{more}"
        session.listener(Notice("warning", told, registry.host))
    return found


def _copy(
    locked: Locked, plan: TargetPlan, registry: RemoteRegistry, knowledge: TargetKnowledge, session: Session
) -> None:
    session.listener(PhaseStarted("pushing", 1))
    with Rooting(locked, session) as rooting:
        report = copy(
            rooting.roots(plan, lambda repository, _: registry.repository(repository)),
            jobs=session.jobs,
            listener=session.listener,
            cancel=session.cancelled,
            persistence=session.persistence,
            knowledge=knowledge,
        )
    for failure in report.failed:
        kind = ContentError if failure.exit_code == ContentError.exit_code else MissingError
        raise kind(failure.error, hint=failure.hint or "the same command again goes on")
