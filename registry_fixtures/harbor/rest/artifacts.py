"""Repositories and artifacts: listing, looking up, tagging, copying, deleting."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import UsageError
from mirror.oci.reference import check_tag
from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.manifests import find_artifact
from registry_fixtures.harbor.policy import immutable
from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.querying import matching, read_conditions, sorted_rows
from registry_fixtures.harbor.rest.showing import accessory_json, artifact_json, is_listed, repository_json, tag_json

if TYPE_CHECKING:
    from mirror.oci.digest import Digest
    from registry_fixtures.harbor.database import Artifact, Project, Repository
    from registry_fixtures.harbor.pushing import Artifacts
    from registry_fixtures.harbor.rest.call import Call
    from registry_fixtures.harbor.rest.querying import Condition
    from registry_fixtures.harbor.rest.routing import Routes

__all__ = ["ArtifactCalls"]

_REPOSITORY: Final = "/projects/{project}/repositories/{repository}"
_ARTIFACT: Final = f"{_REPOSITORY}/artifacts/{{reference}}"
_NO_PROXY: Final = "the operation isn't supported for a proxy cache project"
_COLUMNS: Final = frozenset(
    {
        "artifact_type",
        "digest",
        "id",
        "manifest_media_type",
        "media_type",
        "pull_time",
        "push_time",
        "repository_id",
        "repository_name",
        "size",
        "type",
    }
)
_REPOSITORY_COLUMNS: Final = frozenset({"creation_time", "name", "pull_count", "update_time"})


class ArtifactCalls:
    """Calls under ``/projects/{project}/repositories``."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def routes(self) -> Routes:
        """The calls by path."""
        return {
            "GET /repositories": self._all_repositories,
            "GET /projects/{project}/artifacts": self._project_artifacts,
            "GET /projects/{project}/repositories": self._repositories,
            f"GET {_REPOSITORY}": self._repository,
            f"PUT {_REPOSITORY}": self._describe,
            f"DELETE {_REPOSITORY}": self._delete_repository,
            f"GET {_REPOSITORY}/artifacts": self._list,
            f"POST {_REPOSITORY}/artifacts": self._copy,
            f"GET {_ARTIFACT}": self._get,
            f"DELETE {_ARTIFACT}": self._delete,
            f"GET {_ARTIFACT}/tags": self._tags,
            f"POST {_ARTIFACT}/tags": self._add_tag,
            f"DELETE {_ARTIFACT}/tags/{{tag}}": self._delete_tag,
            f"GET {_ARTIFACT}/accessories": self._accessories,
        }

    def _all_repositories(self, call: Call) -> Answer:
        rows = [
            repository_json(project, held)
            for project in call.database.projects.values()
            if call.identity.may("repository:list", project)
            for held in project.repositories.values()
        ]
        return _repository_page(call, rows)

    def _repositories(self, call: Call) -> Answer:
        project = call.project("repository:list")
        return _repository_page(call, [repository_json(project, held) for held in project.repositories.values()])

    def _repository(self, call: Call) -> Answer:
        project = call.project("repository:read")
        return json_answer(repository_json(project, _repository(call, project)))

    def _describe(self, call: Call) -> Answer:
        repository = _repository(call, call.project("repository:update"))
        repository.description = str(call.body().get("description", ""))
        return Answer.of(HTTPStatus.OK)

    def _delete_repository(self, call: Call) -> Answer:
        project = call.project("repository:delete")
        repository = _repository(call, project)
        for name in repository.tags:
            if immutable(project, repository, name):
                raise HarborError("PRECONDITION", f"the tag {name} configured as immutable, cannot be deleted")
        for digest in list(repository.artifacts):
            if digest in repository.artifacts:
                self._artifacts.remove(project, repository, digest)
        del project.repositories[repository.name]
        return Answer.of(HTTPStatus.OK)

    def _list(self, call: Call) -> Answer:
        # What does not exist has an empty list, and no 404.
        if call.nowhere():
            return call.page([])
        project = call.project("artifact:list")
        held = project.repositories.get(_name(call, project))
        return _artifact_page(call, project, [held] if held else [])

    def _project_artifacts(self, call: Call) -> Answer:
        call.login()
        project = call.project("artifact:list")
        latest = call.flag("latest_in_repository")
        wanted = read_conditions(call.request.asked("q"))
        if latest and len({"media_type", "artifact_type"} & wanted.keys()) != 1:
            raise HarborError("BAD_REQUEST", "either 'media_type' or 'artifact_type' must be specified, but not both")
        return _artifact_page(call, project, list(project.repositories.values()), latest=latest)

    def _get(self, call: Call) -> Answer:
        project = call.project("artifact:read")
        repository, artifact = _artifact(call, project)
        return json_answer(_shown(call, project, repository, artifact))

    def _delete(self, call: Call) -> Answer:
        project = call.project("artifact:delete")
        repository, artifact = _artifact(call, project)
        self._artifacts.delete(project, repository, artifact.manifest.descriptor.digest)
        return Answer.of(HTTPStatus.OK)

    def _copy(self, call: Call) -> Answer:
        project = call.project("artifact:create")
        if project.upstream:
            raise HarborError("METHOD_NOT_ALLOWED", _NO_PROXY)
        source, from_project, reference = _source(call)
        call.require("artifact:read", from_project)
        try:
            repository, artifact = find_artifact(from_project, source, reference)
        except HarborError:
            separator = "@" if ":" in reference else ":"
            raise HarborError("BAD_REQUEST", f"artifact {source}{separator}{reference} not found") from None
        if artifact.manifest.descriptor.digest in repository.accessories:
            raise HarborError("DENIED", "the operation isn't supported for an artifact accessory")
        name = _name(call, project)
        self._artifacts.check_quota(project, artifact.manifest)
        self._artifacts.copy(repository, artifact, project, name)
        location = f"{call.request.target.partition('?')[0]}/{reference}"
        return Answer.of(HTTPStatus.CREATED, headers={"Location": location})

    def _tags(self, call: Call) -> Answer:
        project = call.project("tag:list")
        repository, artifact = _artifact(call, project)
        shown = call.flag("with_immutable_status")
        found = repository.tags_of(artifact.manifest.descriptor.digest)
        return call.page([tag_json(project, repository, tag, immutability=shown) for tag in found])

    def _add_tag(self, call: Call) -> Answer:
        project = call.project("tag:create")
        repository, artifact = _artifact(call, project)
        name = call.body().get("name")
        if project.upstream:
            raise HarborError("METHOD_NOT_ALLOWED", _NO_PROXY)
        try:
            check_tag(str(name))
        except UsageError as error:
            raise HarborError("BAD_REQUEST", f"bad request: invalid tag name: {name}") from error
        if name in repository.tags:
            number = repository.number
            raise HarborError("CONFLICT", f"tag {name} already exists under the repository {number}")
        self._artifacts.tag(repository, artifact.manifest.descriptor.digest, str(name))
        return Answer.of(HTTPStatus.CREATED)

    def _delete_tag(self, call: Call) -> Answer:
        project = call.project("tag:delete")
        repository, artifact = _artifact(call, project)
        tag = repository.tags.get(call.values["tag"])
        if tag is None or tag.digest != artifact.manifest.descriptor.digest:
            said = f"tag {call.values['tag']} attached to artifact {artifact.number} not found"
            raise HarborError("NOT_FOUND", said)
        if immutable(project, repository, tag.name):
            raise HarborError("PRECONDITION", f"the tag {tag.name} configured as immutable, cannot be deleted")
        del repository.tags[tag.name]
        return Answer.of(HTTPStatus.OK)

    def _accessories(self, call: Call) -> Answer:
        project = call.project("accessory:list")
        repository, artifact = _artifact(call, project)
        found = repository.accessories_of(artifact.manifest.descriptor.digest)
        return call.page([accessory_json(repository, accessory) for accessory in found])


def _name(call: Call, project: Project) -> str:
    return f"{project.name}/{call.values['repository']}"


def _repository(call: Call, project: Project) -> Repository:
    name = _name(call, project)
    if name not in project.repositories:
        raise HarborError("NOT_FOUND", f"repository {name} not found")
    return project.repositories[name]


def _artifact(call: Call, project: Project) -> tuple[Repository, Artifact]:
    return find_artifact(project, _name(call, project), call.values["reference"])


def _source(call: Call) -> tuple[str, Project, str]:
    """Repository, project and reference of ``from``.

    Raises:
        HarborError: 400.
    """
    text = call.request.asked("from")
    name, at, digest = text.partition("@")
    tag = ""
    if not at:
        name, _, tag = text.rpartition(":")
    project = call.database.project_of(name)
    if "/" not in name or not (digest or tag):
        raise HarborError("BAD_REQUEST", f"bad request: invalid value of 'from': {text}")
    if project is None:
        raise HarborError("BAD_REQUEST", f"project {name.partition('/')[0]} not found")
    return name, project, digest or tag


def _shown(call: Call, project: Project, repository: Repository, artifact: Artifact) -> dict[str, Any]:
    return artifact_json(
        project,
        repository,
        artifact,
        tags=call.flag("with_tag", default=True),
        accessories=call.flag("with_accessory"),
        immutability=call.flag("with_immutable_status"),
    )


def _repository_page(call: Call, rows: list[dict[str, Any]]) -> Answer:
    conditions = read_conditions(call.request.asked("q"))
    rows = matching(rows, conditions, _REPOSITORY_COLUMNS)
    return call.page(sorted_rows(rows, call.request.asked("sort") or "name", _REPOSITORY_COLUMNS))


def _artifact_page(call: Call, project: Project, repositories: list[Repository], *, latest: bool = False) -> Answer:
    """One page of artifacts, the newest first; accessories are never among them."""
    conditions = read_conditions(call.request.asked("q"))
    if conditions.get("base", ("*",))[0] != "*":
        raise HarborError("BAD_REQUEST", 'the value of "base" query can only be exact match value with "*"')
    if conditions.get("tags", ("*",))[0][0] in "[{(":
        said = 'the value of "tags" query can only be fuzzy match value or exact match value'
        raise HarborError("BAD_REQUEST", said)
    rows = []
    for repository in repositories:
        found = [artifact for artifact in repository.artifacts.values() if _listed(repository, artifact, conditions)]
        shown = [_shown(call, project, repository, artifact) for artifact in found]
        kept = matching(shown, conditions, _COLUMNS)
        kept.sort(key=lambda row: int(row["id"]), reverse=True)
        rows += kept[:1] if latest else kept
    return call.page(sorted_rows(rows, call.request.asked("sort") or "-push_time", _COLUMNS))


def _listed(repository: Repository, artifact: Artifact, conditions: dict[str, tuple[str, Condition]]) -> bool:
    """Whether an artifact is in the list: children of indexes are, when tagged or asked for by ``base=*``."""
    digest: Digest = artifact.manifest.descriptor.digest
    if digest in repository.accessories or not ("base" in conditions or is_listed(repository, digest)):
        return False
    names = [tag.name for tag in repository.tags_of(digest)]
    wanted = conditions.get("tags")
    if wanted is None:
        return True
    if wanted[0] in ("*", "nil"):
        return bool(names) == (wanted[0] == "*")
    return any(wanted[1](name) for name in names)
