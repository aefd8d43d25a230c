"""``registry check``: whether a registry can be filled, and the fix for each thing that stands in the way."""

from __future__ import annotations

import io
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, InterruptError, RegistryError
from bundlectl.operations.checking_harbor import project_checks, system_checks
from bundlectl.operations.reaching import Check, Outcome, Reach
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_INDEX, OCI_MANIFEST, OCTET_STREAM
from mirror.oci.reference import by_digest_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.session import Session
    from bundles.plan import Naming
    from mirror.remote import RemoteRegistry, RemoteRepository
    from mirror.remote.harbor import HarborApi, HarborSystem

__all__ = ["RegistryCheck", "check_registry"]

_REPOSITORY: Final = "bundlectl/check"
_NEIGHBOUR: Final = "bundlectl/check-mount"
_TAG: Final = "check"
_BY_DIGEST: Final = "by-digest-"
_ARTIFACT: Final = "application/vnd.bundlectl.check.v1"
_LAYER: Final = 64 * 1024
_IMMUTABLE: Final = 412


@dataclass(slots=True, kw_only=True)
class RegistryCheck:
    """What was found out about a registry."""

    target: str
    product: str = ""
    version: str = ""
    account: str = ""
    checks: list[Check] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether nothing was found that would stop ``mirror``."""
        return all(check.outcome != "failed" for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0, or 1 where it could not be filled."""
        return 0 if self.usable else 1

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "target": self.target,
            "product": self.product,
            "version": self.version,
            "account": self.account,
            "usable": self.usable,
            "checks": [check.to_json() for check in self.checks],
        }


def check_registry(naming: Naming, *, session: Session, read_only: bool = False) -> RegistryCheck:
    """Try whether ``mirror`` could fill a registry. What is pushed for that is taken away again, where that is allowed.

    Args:
        naming: the target.
        session: how it is reached.
        read_only: only look.

    Raises:
        ConfigError: credentials or certificates cannot be read.
        InterruptError: cancelled.
    """
    checking = _Checking(naming, session)
    if checking.reach() and checking.admit() and checking.place() and not read_only:
        checking.exercise()
    return checking.result


class _Checking:
    def __init__(self, naming: Naming, session: Session) -> None:
        self._session = session
        self._registry: RemoteRegistry = session.target(naming.registry)
        self._prefixed = bool(naming.prefix)
        self._name = naming.own(_REPOSITORY)
        self._neighbour = naming.own(_NEIGHBOUR)
        self._harbor: HarborApi | None = None
        self._system: HarborSystem | None = None
        self._pushed: list[Digest] = []
        self._tagged = _TAG
        self._shared = False
        target = f"{naming.registry}/{naming.prefix}" if naming.prefix else naming.registry
        self.result = RegistryCheck(target=target)

    def reach(self) -> bool:
        """The way to it, and whether it is a registry at all."""
        host = self._registry.host
        scheme = self._session.client.scheme(host)
        for check in Reach(host, scheme, self._session.connection.transport).checks():
            self._add(check)
        if not self.result.usable:
            return False
        with self._step("api", "check host and port, and that /v2/ is passed on by whatever stands before it"):
            profile = self._registry.profile
            self.result.product = profile.title
            self._harbor = self._registry.harbor
            self._add(Check("api", "ok", f"speaks the registry API; product: {profile.title}"))
        return self.result.usable

    def admit(self) -> bool:
        """Who we are there: a 200 of something public says nothing about that."""
        credential = self._registry.credential(self._name)
        self.result.account = credential.username if credential else ""
        hint = f"docker login {self._registry.host}, or --username with --password-stdin"
        with self._step("credentials", hint):
            if self._harbor and credential and self._harbor_says(self._harbor, credential.username, hint):
                return self.result.usable
            self._registry.ping()
            if credential is None:
                told = "no credentials are known for it, and it asks for none so far"
            elif not self._registry.challenged:
                told = "asks for no credentials so far, so those that are known were not tried"
            elif credential.username:
                told = f"lets {credential.username} in"
            else:
                told = "takes the token"
            self._add(Check("credentials", "ok", told))
        return self.result.usable

    def _harbor_says(self, harbor: HarborApi, username: str, hint: str) -> bool:
        """Ask Harbor's management API; whether it could be asked."""
        system = harbor.system()
        if system is None:
            self._harbor = None
            told = "the management API (/api/v2.0) cannot be reached: projects, quotas and rules are not checked"
            self._add(Check("management-api", "warning", told, "let what stands before Harbor pass on /api/ as well"))
            return False
        self._system, self.result.version = system, system.version
        if harbor.knows_us():
            person = " (a person; a robot account is cheaper for Harbor, and can do less)" if harbor.is_person() else ""
            self._add(Check("credentials", "ok", f"lets {username} in{person}"))
        else:
            self._add(Check("credentials", "failed", f"refused the credentials of {username}", hint))
        return True

    def place(self) -> bool:
        """Whether there is a place to push to, and what its rules are."""
        harbor, system = self._harbor, self._system
        if harbor is None or system is None:
            return True
        project = self._name.partition("/")[0]
        with self._step("project", None):
            if self._registry.profile.misreads(self._name):
                told = f"Harbor takes paths below {self.result.target} for those of another name"
                fix = "choose a prefix without the parts manifests, referrers, tags/list and blobs/uploads"
                self._add(Check("project", "failed", told, fix))
                return False
            for check in system_checks(harbor, system):
                self._add(check)
            found = harbor.project(project)
            if not self._prefixed and found is None and not harbor.has_project(project):
                told = f"no project was named: each first part of a name is one, and {project} does not exist yet"
                fix = f"name one to have it tried ({self._registry.host}/PROJECT); mirror --create-projects makes them"
                self._add(Check("project", "warning", told, fix))
                return False
            for check in project_checks(harbor, project, found):
                self._add(check)
        return self.result.usable

    def exercise(self) -> None:
        """Push, pull and take away."""
        repository = self._registry.repository(self._name)
        layer = secrets.token_bytes(_LAYER)
        image = _manifest(layer)
        fix = "the account needs the right to pull and push there"
        if not self._registry.profile.makes_repositories:
            fix = f"{self.result.product} makes no repositories by itself: make {self._name}, and those of the mirror"
        with self._step("push", fix):
            self._shared = any(tag != _TAG and not tag.startswith(_BY_DIGEST) for tag in repository.tags())
            _upload(repository, b"{}", EMPTY)
            _upload(repository, layer, OCTET_STREAM)
            self._tag(repository, image)
            self._pushed.append(image.descriptor.digest)
            self._add(Check("push", "ok", f"pushed {self._name}:{self._tagged}"))
        if not self._pushed:
            return
        try:
            self._pull(repository, image, layer)
            self._chunks()
            self._mount(layer)
            self._referrers(repository, image)
            self._sparse(repository)
            self._sha512()
        finally:
            self._take_away(repository)

    def _tag(self, repository: RemoteRepository, image: Manifest) -> None:
        try:
            repository.put_manifest(image, tag=_TAG)
        except RegistryError as error:
            if error.status != _IMMUTABLE:
                raise
            # The tag of an earlier check stayed, and a rule forbids to move it: that says nothing of new tags.
            self._tagged = by_digest_tag(image.descriptor.digest)
            repository.put_manifest(image, tag=self._tagged)

    def _pull(self, repository: RemoteRepository, image: Manifest, layer: bytes) -> None:
        with self._step("pull", None):
            try:
                found = repository.manifest(repository.resolve(self._tagged))
            except RegistryError as error:
                if error.error_code != "PROJECTPOLICYVIOLATION":
                    raise
                self._add(Check("pull", "warning", f"a policy withholds what was pushed: {error.message}", error.hint))
                return
            with repository.open_blob(Descriptor(OCTET_STREAM, Digest.of(layer), len(layer))) as reader:
                whole = b"".join(iter(lambda: reader.read(_LAYER), b""))
            if found.raw != image.raw or whole != layer:
                self._add(
                    Check(
                        "pull",
                        "failed",
                        "what is pulled is not what was pushed",
                        "a proxy before the registry may cache or alter answers",
                    )
                )
                return
            self._add(Check("pull", "ok", "what was pushed is pulled, bit by bit"))

    def _chunks(self) -> None:
        fix = "large layers go in one piece; where a proxy limits those, raise its limit"
        with self._step("chunked-upload", fix, worst="warning"):
            self._registry.probe(self._name).upload_in_chunks(secrets.token_bytes(_LAYER))
            self._add(Check("chunked-upload", "ok", "takes blobs in chunks as well as in one piece"))

    def _mount(self, layer: bytes) -> None:
        fix = "layers that several images share are sent once for each repository"
        with self._step("mount", fix, worst="warning"):
            neighbour = self._registry.repository(self._neighbour)
            outcome = neighbour.begin_blob(
                Descriptor(OCTET_STREAM, Digest.of(layer), len(layer)), mount_from=self._name
            )
            if outcome == "mounted":
                self._add(Check("mount", "ok", "a layer that is there is taken over into another repository"))
            elif outcome == "present":
                self._add(Check("mount", "ok", "the repositories share their layers"))
            else:
                outcome.cancel()
                self._add(Check("mount", "warning", "does not take over layers from other repositories", fix))

    def _referrers(self, repository: RemoteRepository, image: Manifest) -> None:
        fix = "bundlectl keeps the list of referrers under a tag (sha256-<digest>), which other tools read, too"
        with self._step("referrers", fix, worst="warning"):
            if not self._registry.probe(self._name).has_referrers_api():
                self._add(Check("referrers", "warning", "has no referrers API", fix))
                return
            referrer = _manifest(b"{}", subject=image)
            repository.put_manifest(referrer)
            self._pushed.insert(0, referrer.descriptor.digest)
            if referrer.descriptor.digest not in {
                item.digest for item in repository.referrers(image.descriptor.digest)
            }:
                self._add(Check("referrers", "warning", "does not list what refers to an image", fix))
                return
            told = "lists signatures, SBOMs and attestations"
            shown = self._harbor.accessories(self._name, image.descriptor.digest) if self._harbor else []
            self._add(Check("referrers", "ok", f"{told} (shown as accessories)" if shown else told))

    def _sparse(self, repository: RemoteRepository) -> None:
        fix = "mirror all platforms, or exactly one (--platform)"
        with self._step("sparse-index", fix, worst="warning"):
            absent = Descriptor(OCI_MANIFEST, Digest.of(secrets.token_bytes(32)), 2)
            index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [absent.to_json()]})
            try:
                repository.put_manifest(index)
            except RegistryError as error:
                if error.retryable:
                    raise
                told = "takes an image of several platforms only with all of them"
                self._add(Check("sparse-index", "warning", told, fix))
                return
            self._pushed.insert(0, index.descriptor.digest)
            self._add(Check("sparse-index", "ok", "takes images of which only some platforms are there"))

    def _sha512(self) -> None:
        fix = "artifacts that are named by sha512 cannot be mirrored here; those of EKS Anywhere are not"
        with self._step("sha512", fix, worst="warning"):
            if self._registry.probe(self._name).stores_sha512(secrets.token_bytes(64)):
                self._add(Check("sha512", "ok", "takes content by its sha512"))
            else:
                self._add(Check("sha512", "warning", "takes content by its sha256 only", fix))

    def _take_away(self, repository: RemoteRepository) -> None:
        fix = f"the right to delete is needed for pruning only; what was pushed stays in {self._name}"
        with self._step("delete", fix, worst="warning"):
            if self._harbor and not self._shared:
                # Manifests alone would leave an empty repository; one that only has blobs is none to Harbor.
                self._harbor.delete_repository(self._name)
            else:
                for digest in self._pushed:
                    repository.delete_manifest(digest)
            self._add(Check("delete", "ok", "what was pushed is gone again"))

    def _add(self, check: Check) -> None:
        self.result.checks.append(check)

    @contextmanager
    def _step(self, name: str, fix: str | None, *, worst: Outcome = "failed") -> Iterator[None]:
        """Take down as a finding whatever a step raises."""
        try:
            yield
        except InterruptError:
            raise
        except BundlectlError as error:
            # What is not needed has an explanation of its own, better than that of the refusal.
            known = error.hint or fix if worst == "failed" else fix or error.hint
            self._add(Check(name, worst, error.message, known))


def _upload(repository: RemoteRepository, data: bytes, media_type: str) -> None:
    upload = repository.begin_blob(Descriptor(media_type, Digest.of(data), len(data)))
    if not isinstance(upload, str):
        upload.write(lambda: io.BytesIO(data))


def _manifest(layer: bytes, *, subject: Manifest | None = None) -> Manifest:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": _ARTIFACT,
        "config": Descriptor(EMPTY, Digest.of(b"{}"), 2).to_json(),
        "layers": [Descriptor(OCTET_STREAM, Digest.of(layer), len(layer)).to_json()],
    }
    if subject:
        document["subject"] = subject.descriptor.to_json()
    return Manifest.render(document)
