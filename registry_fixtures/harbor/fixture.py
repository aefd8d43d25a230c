"""A made-up Harbor on a loopback port, and the levers of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirror.oci.manifest import Manifest
from mirror.oci.reference import check_repository
from registry_fixtures.harbor.blobs import Blobs
from registry_fixtures.harbor.clock import Clock
from registry_fixtures.harbor.collecting import Collector
from registry_fixtures.harbor.database import Database, Project, Scan
from registry_fixtures.harbor.distribution import Distribution
from registry_fixtures.harbor.front import Front
from registry_fixtures.harbor.gate import Gate
from registry_fixtures.harbor.identity import NEVER, Permission, Robot, User
from registry_fixtures.harbor.manifests import Manifests, find_artifact
from registry_fixtures.harbor.people import LoginPace, People
from registry_fixtures.harbor.policy import immutable_rule
from registry_fixtures.harbor.pushing import Artifacts
from registry_fixtures.harbor.rest.artifacts import ArtifactCalls
from registry_fixtures.harbor.rest.projects import Projects
from registry_fixtures.harbor.rest.robots import Robots, make_secret
from registry_fixtures.harbor.rest.routing import RestApi
from registry_fixtures.harbor.rest.rules import rule_routes
from registry_fixtures.harbor.rest.system import System
from registry_fixtures.harbor.settings import Settings
from registry_fixtures.harbor.storage import Storage
from registry_fixtures.harbor.tokens import TokenService
from registry_fixtures.harbor.uploads import Uploads
from registry_fixtures.serving import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mirror.oci.digest import Digest
    from registry_fixtures.exchange import Answer, Request
    from registry_fixtures.faults import FaultPlan
    from registry_fixtures.harbor.database import Artifact
    from registry_fixtures.holdings import Holdings

__all__ = ["ADMINISTRATOR", "MIRROR_RIGHTS", "HarborFixture"]

ADMINISTRATOR: Final = ("admin", "Harbor12345")
"""Name and password that every Harbor begins with."""

MIRROR_RIGHTS: Final = (
    "repository:pull",
    "repository:push",
    "accessory:list",
    "artifact:create",
    "artifact:list",
    "artifact:read",
    "immutable-tag:list",
    "metadata:list",
    "metadata:read",
    "project:read",
    "quota:read",
    "repository:list",
    "repository:read",
    "tag-retention:read",
    "tag:create",
    "tag:list",
)
"""What a robot that mirrors is usually given; it cannot delete."""


class HarborFixture(LoopbackServer):
    """A Harbor 2.16, served until closed; a context manager.

    It holds an administrator and the empty public project ``library``, as each that was just installed.
    ``host`` and ``url`` say where it is, ``requests`` what it was asked, ``faults`` what goes wrong.
    ``settings`` may be changed while it runs, ``clock`` be set forward.

    Args:
        settings: of the installation.
        pace: how long logins with a password take; what was measured when None.
        faults: what goes wrong on purpose.
        port: 0 picks a free one.
        tls: PEM files of the certificate chain and of its key; plain HTTP when None.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        pace: LoginPace | None = None,
        faults: FaultPlan | None = None,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = Clock()
        self.database = Database(self.clock)
        self.storage = Storage()
        self.people = People(self.clock, pace or LoginPace())
        self.uploads = Uploads(self.database, self.storage)
        self._artifacts = Artifacts(self.database, self.storage)
        self._collector = Collector(self.database, self.storage, self._artifacts)
        self._tokens = TokenService(self.database, self.people, self.settings)
        self._distribution = Distribution(
            self.settings,
            self.database,
            Gate(self.database, self.people, self._tokens),
            manifests=Manifests(self.database, self.storage, self._artifacts, self.settings),
            blobs=Blobs(self.database, self.storage, self.settings),
            uploads=self.uploads,
        )
        self._rest = RestApi(
            self.database,
            self.people,
            self.settings,
            {
                **System(self.settings, lambda untagged: self._collect(delete_untagged=untagged)).routes(),
                **Projects(self.people, self.settings).routes(),
                **ArtifactCalls(self._artifacts).routes(),
                **Robots(self.people, self.settings).routes(),
                **rule_routes(),
            },
        )
        self.add_user(*ADMINISTRATOR, administrator=True)
        self.add_project("library", public=True)
        super().__init__(Front(self._core, self.settings).answer, faults=faults, port=port, tls=tls)

    def close(self) -> None:
        """Stop the server and forget everything."""
        super().close()
        self.storage.close()

    def add_project(
        self,
        name: str,
        *,
        public: bool = False,
        quota: int = -1,
        proxy: bool = False,
        metadata: Mapping[str, str] | None = None,
        members: Mapping[str, int] | None = None,
    ) -> Project:
        """Make a project, or make it anew; it is created at the ``clock``'s now.

        Args:
            name: of the project.
            public: whether anybody may pull.
            quota: bytes; -1 is unlimited.
            proxy: whether it is a proxy-cache project, which takes no push.
            metadata: policies, such as ``{"prevent_vul": "true", "severity": "high"}``.
            members: role ids by user: 1 admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest.
        """
        with self.database.lock:
            project = Project(
                number=self.database.number("project"),
                name=name,
                created=self.clock.now(),
                metadata={"public": str(public).lower(), **(metadata or {})},
                storage_limit=quota,
                upstream=1 if proxy else 0,
                members=dict(members or {}),
            )
            self.database.projects[name] = project
            return project

    def add_user(self, name: str, password: str, *, administrator: bool = False) -> User:
        """Make a human account."""
        user = User(name, password, administrator, self.database.number("user"))
        self.people.users[name] = user
        return user

    def add_robot(
        self,
        name: str,
        *,
        project: str = "",
        namespaces: Iterable[str] = ("*",),
        rights: Iterable[str] = MIRROR_RIGHTS,
        system_rights: Iterable[str] = (),
        expires: int = NEVER,
    ) -> Robot:
        """Make a robot; its ``name`` (with prefix) and ``secret`` are what it logs in with.

        Args:
            name: without prefix.
            project: of a robot of level project; empty for one of the system.
            namespaces: projects that ``rights`` hold in; ``*`` is all.
            rights: ``resource:action`` in projects.
            system_rights: ``resource:action`` of the system, such as ``project:create``.
            expires: unix seconds; -1 is never.
        """
        prefix = self.settings.robot_prefix
        spaces = (project,) if project else tuple(namespaces)
        permissions = [Permission("project", space, frozenset(rights)) for space in spaces]
        if system_rights:
            permissions.append(Permission("system", "/", frozenset(system_rights)))
        robot = Robot(
            number=self.database.number("robot"),
            name=f"{prefix}{project}+{name}" if project else f"{prefix}{name}",
            secret=make_secret(),
            level="project" if project else "system",
            project=project,
            permissions=tuple(permissions),
            created=self.clock.now(),
            expires=expires,
        )
        self.people.robots[robot.name] = robot
        return robot

    def add_immutable_rule(self, project: str, *, tags: str = "**", repositories: str = "**") -> dict[str, Any]:
        """Forbid to move or delete tags that match, in repositories (without the project) that match."""
        rule = immutable_rule(self.database.number("rule"), tags, repositories)
        self.database.projects[project].immutable_rules.append(rule)
        return rule

    def set_retention(self, project: str, policy: Mapping[str, Any]) -> int:
        """Give a project a retention policy, in the form of the REST API; return its id."""
        number = self.database.number("retention")
        found = self.database.projects[project]
        found.retention = {**policy, "id": number}
        found.metadata["retention_id"] = str(number)
        return number

    def put_blob(self, repository: str, data: bytes) -> Digest:
        """Let a repository hold a blob, as if it had been uploaded."""
        digest = self.storage.depot.put(data)
        self._note_blob(check_repository(repository), digest)
        return digest

    def put_manifest(self, repository: str, raw: bytes, media_type: str = "", *, tag: str | None = None) -> Manifest:
        """Let a repository hold a manifest, as if it had been pushed; its parts are not looked for."""
        manifest = Manifest.from_bytes(raw, media_type)
        project = self._project(repository)
        with self.database.lock:
            self.storage.keep(repository, manifest)
            self._artifacts.add(project, repository, manifest, tag)
        return manifest

    def load(self, holdings: Holdings, project: str) -> None:
        """Let a project hold all that made-up holdings do, each repository under ``project/``."""
        for source in holdings.names():
            held, name = holdings.repository(source), f"{project}/{source}"
            for digest in held.blobs:
                draft = self.storage.depot.draft()
                for block in holdings.depot.blocks(digest):
                    draft.write(block)
                self._note_blob(name, draft.finish())
            pending = sorted(held.manifests.values(), key=lambda manifest: manifest.is_index)
            for manifest in pending:
                self.put_manifest(name, manifest.raw, manifest.descriptor.media_type)
            for tag, digest in held.tags.items():
                self.put_manifest(
                    name, held.manifests[digest].raw, held.manifests[digest].descriptor.media_type, tag=tag
                )

    def artifact(self, repository: str, reference: str) -> Artifact:
        """What core knows behind a tag or digest, for a test to look at.

        Raises:
            HarborError: nothing.
        """
        return find_artifact(self._project(repository), repository, reference)[1]

    def scan(self, repository: str, reference: str, *, status: str = "Success", **found: int) -> None:
        """Let a scanner have said something: a ``status``, and numbers by severity (``High=2``)."""
        self.artifact(repository, reference).scan = Scan(status, found)

    def collect_garbage(self, *, delete_untagged: bool = False) -> int:
        """Collect garbage now, and return how many blobs and manifests went."""
        return self._collect(delete_untagged=delete_untagged)

    def _collect(self, *, delete_untagged: bool) -> int:
        return self._collector.collect(window_hours=self.settings.gc_window_hours, delete_untagged=delete_untagged)

    def _core(self, request: Request) -> Answer:
        if request.path == "/service/token":
            return self._tokens.answer(request)
        if request.path.startswith("/api/"):
            return self._rest.answer(request)
        return self._distribution.answer(request)

    def _project(self, repository: str) -> Project:
        return self.database.project_of(repository) or self.add_project(repository.partition("/")[0])

    def _note_blob(self, repository: str, digest: Digest) -> None:
        with self.database.lock:
            self.storage.link(repository, digest)
            self.database.record_blob(self._project(repository), digest, self.storage.depot.size(digest) or 0)
