"""``package-bundle push``: a signed PackageBundle into a registry, under both of its tags (``domain.md`` 1.7)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from bundles.package_bundle import LATEST, BundleName
from bundles.plan import TargetPlan, upstream_name
from bundles.sources.packages import pull_package_bundle
from mirror.copying import TargetKnowledge, copy
from mirror.copying.working import Workers
from mirror.oci.artifact import describe_package_bundle
from mirror.oci.descriptor import Descriptor

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

    Two who push at once cannot lock a tag. So ``latest`` is looked at once more right before it is written,
    and what is not what it should be right after that is an error; with a name, ``latest`` stays as it is.
    The name is looked at again in the end. Of two who write ``latest`` at the same instant, either may win.

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
    # Before the tags are looked at: it takes a while, in which others may push, too.
    charts = _not_beside(gathered.artifacts, registry, target, session)
    tags = _Tags(
        repository=repository,
        name=name,
        raw=gathered.raw[str(manifest.digest)],
        allow_rollback=request.allow_rollback,
        session=session,
    )
    held = {tag: tags.look(tag, TargetKnowledge()) for tag in placed.tags}
    made = describe_package_bundle(manifest.digest, manifest.size).manifest.descriptor.digest
    digest = tags.settle_name(held[name.text], made)
    if digest != made:
        placed = replace(placed, manifest=replace(manifest, url=repository.name, oci_digest=digest))
    tags.check_latest(held[tags.latest], digest)
    locked = Locked(lock, raw=gathered.raw)
    session.listener(PhaseStarted("pushing", len(placed.tags)))
    for tag in placed.tags:
        knowledge = TargetKnowledge()
        if tag == tags.latest:
            tags.check_latest(tags.look(tag, knowledge), digest)
        _copy(locked, replace(plan, manifests=(replace(placed, tags=(tag,)),)), registry, knowledge, session)
    # Whoever gave the name to another bundle meanwhile has not seen that it was given.
    tags.settle_name(tags.look(name.text, TargetKnowledge()), digest)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tags:
    """The tags of a bundle at its target, and what may be done to them. ``raw`` is the bundle."""

    repository: RemoteRepository
    name: BundleName
    raw: bytes = field(repr=False)
    allow_rollback: bool
    session: Session

    @property
    def latest(self) -> str:
        return f"v{self.name.channel}-{LATEST}"

    def look(self, tag: str, knowledge: TargetKnowledge) -> Digest | None:
        """What a tag points at, told to ``knowledge`` too; None where there is none."""
        return self.session.persist(lambda: knowledge.look(self.repository, tag))

    def settle_name(self, held: Digest | None, digest: Digest) -> Digest:
        """The manifest that the name is for: ``digest``, or what holds this very bundle there already.

        Another program, such as that of AWS's, writes another manifest around the same bundle.

        Raises:
            ContentError: it is the name of another bundle: whoever has pinned it would get something else.
        """
        if held in (None, digest):
            return digest
        if self._document(held) != self.raw:
            raise ContentError(
                f"is another bundle, {held}, and this one is {digest}",
                artifact=f"{self.repository.name}:{self.name.text}",
                hint="a name is given once: build it again with another --name; if only the signature differs, "
                "push the file that was pushed before",
            )
        return held

    def check_latest(self, held: Digest | None, digest: Digest) -> None:
        """Refuse to move the newest bundle back to an older one, unless that is meant.

        Raises:
            ContentError: what is there cannot be compared.
            VerificationError: it is newer, or as new.
        """
        if held in (None, digest) or self.allow_rollback:
            return
        place, name = f"{self.repository.name}:{self.latest}", self.name
        raw = self._document(held)
        if raw == self.raw:
            return
        found = _read_name(raw, place) if raw else None
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
                else f"is another bundle, {found.text}, which is as new as {name.text}",
                artifact=place,
                hint="clusters that follow it would go back; if that is meant, say --allow-rollback",
            )

    def _document(self, held: Digest) -> bytes | None:
        """The document in a manifest; None where that is no bundle, or is not whole."""
        place = f"{self.repository.name}@{held}"
        try:
            return self.session.persist(lambda: pull_package_bundle(self.repository, Descriptor("", held, 0), place))
        except (ContentError, MissingError):
            return None


def _read_name(raw: bytes, place: str) -> BundleName | None:
    try:
        document = parse_document(raw, origin=place)
    except ContentError:
        return None
    return BundleName.read(document.name) if document.type == "PackageBundle" else None


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
    with Rooting(locked, session) as rooting:
        roots = rooting.roots(plan, lambda repository, _: registry.repository(repository))
        report = copy(
            [replace(root, label=f"{root.target.name}:{root.tags[0]}") for root in roots],
            jobs=session.jobs,
            listener=session.listener,
            cancel=session.cancelled,
            persistence=session.persistence,
            knowledge=knowledge,
        )
    for failure in report.failed:
        kind = ContentError if failure.exit_code == ContentError.exit_code else MissingError
        raise kind(failure.error, hint=failure.hint or "the same command again goes on")
