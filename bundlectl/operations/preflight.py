"""Before the first byte: whether the target can take what is planned, and its projects made where that is wanted.

A registry without projects and quotas that can be read has nothing to be asked. What its
product is, is only asked for where we have credentials: it then challenges us once anyway.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bundlectl.errors import RegistryError, UsageError
from bundlectl.events import Notice
from bundles.plan import PlannedArtifact
from mirror.copying.working import Workers, persist
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import OCTET_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from bundles.plan import PlannedManifest, TargetPlan
    from mirror.copying import Root, TargetKnowledge
    from mirror.oci.digest import Digest
    from mirror.profiles import RegistryProfile
    from mirror.remote import RemoteRegistry
    from mirror.remote.harbor import HarborApi, HarborProject

__all__ = ["Visibility", "outstanding", "prepare_target"]

Visibility: TypeAlias = Literal["private", "public"]
_Planned: TypeAlias = "PlannedArtifact | PlannedManifest"
_Content: TypeAlias = "dict[Digest, tuple[Descriptor, set[str]]]"
"""What is to be sent, and the repositories that are to hold it."""
_GIB: Final = 1024**3
_MIB: Final = 1024**2


def outstanding(plan: TargetPlan, roots: Sequence[Root], knowledge: TargetKnowledge) -> tuple[_Planned, ...]:
    """What of a plan is not known to be at the target.

    Args:
        plan: all of it.
        roots: made of the plan, in its order.
        knowledge: what was listed, asked or recorded.
    """

    def is_known(root: Root) -> bool:
        if knowledge.trusting and knowledge.recall(root) is not None:
            return True
        seen = {knowledge.tag(root, tag) for tag in root.tags}
        return seen == {root.descriptor.digest} and not knowledge.doubts(root)

    placed: tuple[_Planned, ...] = (*plan.artifacts, *plan.manifests)
    return tuple(item for item, root in zip(placed, roots, strict=True) if not is_known(root))


def prepare_target(
    registry: RemoteRegistry,
    plan: TargetPlan,
    lock: Lock,
    wanted: Sequence[_Planned],
    *,
    session: Session,
    create_projects: Visibility | None = None,
    dry_run: bool = False,
) -> None:
    """Check that a registry can take what is outstanding of a plan; make the projects it needs, if told to.

    Args:
        registry: the target.
        plan: everything that is to be there in the end.
        lock: sizes of all blobs.
        wanted: what of the plan is not known to be there (``outstanding``).
        session: for jobs, cancelling and telling.
        create_projects: make missing projects, as visible as this.
        dry_run: only look; a project that would be made counts as made.

    Raises:
        UsageError: a name is one that the product cannot have.
        RegistryError: a project is missing or takes no pushes, a quota or a disk is too small, or the
            registry is in read-only mode; named with what would help.
        TransportError: no answer.
        InterruptError: cancelled.
    """
    if not wanted or not any(registry.credential(item.repository) for item in wanted):
        return
    profile = registry.profile
    for item in wanted:
        _check_name(item.repository, registry.host, profile)
    harbor = registry.harbor
    if harbor is None:
        return
    system = harbor.system()
    if system is None:
        told = "its management API cannot be reached, so projects and quotas are not checked beforehand"
        session.listener(Notice("warning", told, registry.host))
        return
    if system.read_only:
        raise RegistryError(
            "Harbor is in read-only mode and takes nothing",
            status=403,
            artifact=registry.host,
            hint="an administrator can end that (Configuration, System Settings); then run the same command again",
        )
    names = sorted({profile.project_of(item.repository) for item in wanted})
    projects = {name: harbor.project(name) for name in names}
    made = _make_missing(harbor, projects, registry.host, session, create=create_projects, dry_run=dry_run)
    # A new project may have been given a quota.
    projects.update((name, harbor.project(name)) for name in made)
    _refuse_proxies(projects.values(), registry.host)
    space = _Space(registry, session, plan, lock, wanted)
    space.check_quotas({name: project for name, project in projects.items() if project})
    if system.storage == "filesystem":
        space.check_disk(harbor.free_space())


def _check_name(repository: str, host: str, profile: RegistryProfile) -> None:
    if len(repository) > profile.name_limit:
        raise UsageError(
            f"a repository's name has {len(repository)} characters, and {host} takes {profile.name_limit}",
            artifact=f"{host}/{repository}",
            hint="shorten it: a shorter prefix with --to, or a shorter namespace with --map",
        )
    if profile.has_projects and "/" not in repository:
        raise UsageError(
            f"{profile.title} keeps repositories in projects, and this name has none",
            artifact=f"{host}/{repository}",
            hint=f"name a project: --to {host}/PROJECT",
        )
    if profile.misreads(repository):
        raise UsageError(
            f"{profile.title} takes paths below a repository of this name for those of another one",
            artifact=f"{host}/{repository}",
            hint="leave it out (--exclude), or choose another registry: there, no name may have the parts manifests, "
            "referrers, tags/list or blobs/uploads behind the first",
        )


def _make_missing(
    harbor: HarborApi,
    projects: Mapping[str, HarborProject | None],
    host: str,
    session: Session,
    *,
    create: Visibility | None,
    dry_run: bool,
) -> list[str]:
    missing = [name for name, project in projects.items() if project is None and not harbor.has_project(name)]
    if missing and create is None:
        several = len(missing) > 1
        raise RegistryError(
            f"the project{'s' if several else ''} {', '.join(missing)} {'do' if several else 'does'} not exist",
            status=404,
            artifact=host,
            hint="make them in Harbor, or let --create-projects make them; nothing was sent",
        )
    for name in missing:
        if dry_run:
            session.listener(Notice("info", f"the project {name} would be made ({create})", host))
        elif harbor.create_project(name, public=create == "public"):
            session.listener(Notice("info", f"the project {name} was made ({create})", host))
    return [] if dry_run else missing


def _refuse_proxies(projects: Iterable[HarborProject | None], host: str) -> None:
    caches = [project for project in projects if project and project.proxied]
    if caches:
        names = ", ".join(f"{project.name} (of {project.proxied})" for project in caches)
        raise RegistryError(
            f"takes no pushes, for it is a proxy cache: {names}",
            status=403,
            artifact=host,
            hint="choose another project with --to or --map",
        )


class _Space:
    """What is to be sent, by project: at first as much as it can be at most, exactly only where that does not fit."""

    def __init__(
        self, registry: RemoteRegistry, session: Session, plan: TargetPlan, lock: Lock, wanted: Sequence[_Planned]
    ) -> None:
        self._registry = registry
        self._session = session
        project_of = registry.profile.project_of
        self._needed: dict[str, _Content] = {}
        for item in wanted:
            blobs = self._needed.setdefault(project_of(item.repository), {})
            for part in _contents(item, lock.blobs):
                blobs.setdefault(part.digest, (part, set()))[1].add(item.repository)
        pending = set(map(id, wanted))
        everything: tuple[_Planned, ...] = (*plan.artifacts, *plan.manifests)
        for item in everything:
            known = self._needed.get(project_of(item.repository))
            if known is not None and id(item) not in pending:
                for part in _contents(item, lock.blobs):
                    known.pop(part.digest, None)
        self._exact: set[str] = set()
        self._held: set[Digest] = set()

    def check_quotas(self, projects: Mapping[str, HarborProject]) -> None:
        """Hold each project's needs against its quota.

        Raises:
            RegistryError: one does not suffice.
        """
        short = []
        for name, project in projects.items():
            left = project.quota.left if project.quota else None
            if left is not None and self._bytes(name) > left:
                self._look(name)
            if project.quota and left is not None and self._bytes(name) > left:
                quota = project.quota
                short.append(
                    f"{name} has used {_size(quota.used)} of {_size(quota.hard)}, and needs {_size(self._bytes(name))}"
                )
        if short:
            raise RegistryError(
                f"the quota is too small: {'; '.join(short)}",
                status=403,
                error_code="DENIED",
                artifact=self._registry.host,
                hint="raise the quota in Harbor, or mirror less (--kube-version, --platform); nothing was sent",
            )

    def check_disk(self, free: int | None) -> None:
        """Hold what is to be sent against the disk.

        Raises:
            RegistryError: it does not suffice.
        """
        if free is None or self._all() <= free:
            return
        for name in self._needed:
            self._look(name)
        if self._all() > free:
            raise RegistryError(
                f"has {_size(free)} of disk left, and {_size(self._all())} are to be sent",
                status=507,
                artifact=self._registry.host,
                hint="let Harbor collect garbage, or give it a larger disk; nothing was sent",
            )

    def _bytes(self, project: str) -> int:
        return sum(part.size for part, _ in self._needed[project].values())

    def _all(self) -> int:
        unique = {digest: part.size for needed in self._needed.values() for digest, (part, _) in needed.items()}
        # Projects share what is on the disk.
        return sum(size for digest, size in unique.items() if digest not in self._held)

    def _look(self, project: str) -> None:
        """Ask for everything that a project is to hold, and leave out what one of its repositories holds."""
        if project in self._exact:
            return
        self._exact.add(project)
        needed = self._needed[project]

        def is_there(entry: tuple[Descriptor, set[str]]) -> bool:
            part, repositories = entry
            targets = map(self._registry.repository, sorted(repositories))
            return any(
                persist(partial(target.has, part), self._session.cancelled, self._session.persistence)
                for target in targets
            )

        with Workers(self._session.jobs, self._session.cancelled) as workers:
            for digest, present in zip(list(needed), workers.map(is_there, list(needed.values())), strict=True):
                if present:
                    self._held.add(digest)
                    del needed[digest]


def _contents(item: _Planned, sizes: Mapping[Digest, int]) -> list[Descriptor]:
    """Everything that an artifact or a document brings along; what is a manifest has no media type."""
    if not isinstance(item, PlannedArtifact):
        return [Descriptor(OCTET_STREAM, item.manifest.digest, item.manifest.size)]
    manifests = {*item.artifact.manifests, *(digest for held in item.artifact.referrers for digest in held.manifests)}
    return [
        Descriptor("" if digest in manifests else OCTET_STREAM, digest, sizes[digest])
        for digest in item.artifact.all_digests()
        if digest in sizes
    ]


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"
