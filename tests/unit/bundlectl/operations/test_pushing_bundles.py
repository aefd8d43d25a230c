"""Pushing bundles of packages under both of their tags."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, MissingError, RegistryError, UsageError, VerificationError
from bundlectl.events import Event, Notice
from bundlectl.operations import (
    Connection,
    Naming,
    PushedBundle,
    Session,
    SourceRequest,
    push_package_bundle,
)
from bundles.belief import Belief
from bundles.package_bundle import render_package_bundle
from bundles.schema.package_bundle import BundledPackage, PackageSource, PackageVersion
from mirror.http import Transport
from mirror.oci.artifact import wrap_package_bundle
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.remote import Credential
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.harbor.fixture import ADMINISTRATOR
from tests.unit.bundlectl.operations.packages import PackageSite
from tests.unit.bundlectl.operations.test_policies_in_force import DOCUMENTS_BY_OTHER
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, SIGNER, signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.exchange import Answer, Handler, Request
    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry

BUNDLES = "eks/eks-anywhere/eks-anywhere-packages-bundles"
OFF = Belief(mode="off")


def text(name: str = "v1-33-7", chart: str = "sha256:" + "1" * 64) -> bytes:
    version = PackageVersion(name="1.0.0", digest=chart, schema="H4sI")
    package = BundledPackage(name="app", source=PackageSource(repository="app", versions=(version,)))
    return render_package_bundle(name, (package,))


@dataclass(frozen=True)
class Then:
    """Does something else at the registry as soon as a request was answered."""

    act: Callable[[], object]

    def apply(self, request: Request, handler: Handler) -> Answer:
        answer = handler(request)
        self.act()
        return answer


class Counter:
    """Pushes to a registry, and keeps what was told meanwhile."""

    def __init__(self, served: ServedRegistry, folder: Path) -> None:
        self.served = served
        self.to = f"{served.host}/eks"
        self.path = folder / "bundle.yaml"
        self.told: list[str] = []

    def push(self, raw: bytes, *, belief: Belief = BY_KEY, create: Any = None, **more: Any) -> PushedBundle:
        self.path.write_bytes(raw)
        self.told = []

        def hear(event: Event) -> None:
            if isinstance(event, Notice) and event.level == "warning":
                self.told.append(f"{event.artifact}: {event.message}")

        transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
        request = SourceRequest(sources=(), belief=belief, **more)
        with Session(Connection(transport=transport, jobs=4), listener=hear) as session:
            return push_package_bundle(
                self.path, request, target=Naming.parse(self.to), session=session, create_projects=create
            )

    def place(self, raw: bytes, *tags: str, whole: bool = True, foreign: bool = False) -> None:
        """Let the registry hold a bundle that somebody else pushed: in a manifest of their own, if ``foreign``."""
        wrapped = wrap_package_bundle(raw)
        for blob in wrapped.blobs.values() if whole else ():
            self.served.holdings.put_blob(BUNDLES, blob)
        manifest = wrapped.manifest.raw
        if foreign:
            document = json.loads(manifest)
            del document["mediaType"]  # as ORAS 0.12 leaves it out
            manifest = json.dumps(document).encode()
        for tag in tags:
            self.served.holdings.put_manifest(BUNDLES, manifest, OCI_MANIFEST, tag=tag)

    def held(self, tag: str) -> str | None:
        repository = self.served.holdings.find(BUNDLES)
        found = repository.find(tag) if repository else None
        return str(found.descriptor.digest) if found else None

    def writes(self) -> list[str]:
        return [entry.path for entry in self.served.requests.entries("PUT|POST|PATCH")]


@pytest.fixture
def counter(registry: ServedRegistry, tmp_path: Path) -> Counter:
    return Counter(registry, tmp_path)


def test_a_bundle_gets_both_tags_the_immutable_one_first_and_both_are_read_back(counter: Counter) -> None:
    raw = signed(text())
    pushed = counter.push(raw)
    wrapped = wrap_package_bundle(raw).manifest.descriptor.digest
    assert counter.held("v1-33-7") == counter.held("v1-33-latest") == str(wrapped) == str(pushed.digest)
    assert (pushed.tags, pushed.written) == (("v1-33-7", "v1-33-latest"), ("v1-33-7", "v1-33-latest"))
    manifests = [
        (entry.method, entry.path.rpartition("/")[2])
        for entry in counter.served.requests.entries(path=f"/v2/{BUNDLES}/manifests/*")
    ]
    assert manifests[-6:] == [
        ("PUT", "v1-33-7"),
        ("HEAD", "v1-33-7"),
        ("HEAD", "v1-33-latest"),
        ("PUT", "v1-33-latest"),
        ("HEAD", "v1-33-latest"),
        ("HEAD", "v1-33-7"),
    ]


def test_pushed_again_it_writes_nothing(counter: Counter) -> None:
    raw = signed(text())
    counter.push(raw)
    written = len(counter.writes())
    assert counter.push(raw).written == ()
    assert len(counter.writes()) == written


def test_what_was_cut_between_the_tags_is_finished(counter: Counter) -> None:
    raw = signed(text())
    counter.served.faults.add(Fault(Refuse(403), method="PUT", path="*/manifests/v1-33-latest"))
    with pytest.raises(MissingError):
        counter.push(raw)
    assert (counter.held("v1-33-7") is None, counter.held("v1-33-latest")) == (False, None)
    counter.served.faults.clear()
    assert counter.push(raw).written == ("v1-33-latest",)
    assert counter.held("v1-33-latest") == counter.held("v1-33-7")


@pytest.mark.parametrize(
    ("raw", "belief"),
    [
        (text(), BY_KEY),
        (text(), Belief()),
        (signed(text()), Belief()),
        (signed(text()), BY_OTHER_KEY),
        (signed(text()).replace(b"name: 1.0.0", b"name: 1.0.1"), BY_KEY),
    ],
    ids=["unsigned", "unsigned-for-aws", "not-by-aws", "by-another", "altered"],
)
def test_what_is_not_signed_as_it_must_be_is_refused_before_anything_is_asked(
    counter: Counter, raw: bytes, belief: Belief
) -> None:
    with pytest.raises(VerificationError) as caught:
        counter.push(raw, belief=belief)
    assert "--verify" in (caught.value.hint or "")
    assert counter.served.requests.count() == 0


def test_unchecked_it_goes_and_that_is_told(counter: Counter) -> None:
    pushed = counter.push(text(), belief=OFF)
    assert (pushed.manifest.trust, pushed.manifest.verified_by) == ("off", None)
    assert any("signature was not checked" in line for line in counter.told)


def test_a_name_is_never_given_to_another_bundle(counter: Counter) -> None:
    counter.push(signed(text()))
    before, written = counter.held("v1-33-7"), len(counter.writes())
    with pytest.raises(ContentError, match="is another bundle") as caught:
        counter.push(signed(text(chart="sha256:" + "2" * 64)), allow_rollback=True)
    assert "v1-33-7" in str(caught.value.artifact)
    # A signature made anew makes another bundle, too.
    with pytest.raises(ContentError, match="is another bundle"):
        counter.push(signed(text()))
    assert (counter.held("v1-33-7"), len(counter.writes())) == (before, written)


def test_the_latest_stays_where_the_name_is_somebody_elses_right_after_it_was_written(counter: Counter) -> None:
    counter.push(signed(text("v1-33-6")))
    other = signed(text(chart="sha256:" + "2" * 64))
    meanwhile = Then(lambda: counter.place(other, "v1-33-7"))
    counter.served.faults.add(Fault(meanwhile, method="PUT", path="*/manifests/v1-33-7"))
    with pytest.raises(ContentError, match="right after it was written"):
        counter.push(signed(text()))
    assert counter.held("v1-33-latest") == counter.held("v1-33-6")


def test_a_name_that_another_bundle_gets_while_the_latest_is_written_is_told(counter: Counter) -> None:
    other = signed(text(chart="sha256:" + "2" * 64))
    meanwhile = Then(lambda: counter.place(other, "v1-33-7"))
    counter.served.faults.add(Fault(meanwhile, method="PUT", path="*/manifests/v1-33-latest"))
    with pytest.raises(ContentError, match="is another bundle"):
        counter.push(signed(text()))


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "*/eks-anywhere/app/manifests/*"), ("POST", "*/blobs/uploads/*"), ("PUT", "*/manifests/v1-33-7")],
    ids=["charts", "blobs", "name"],
)
def test_a_newer_bundle_that_comes_meanwhile_stays_the_latest(counter: Counter, method: str, path: str) -> None:
    newer = signed(text("v1-33-9"))
    meanwhile = Then(lambda: counter.place(newer, "v1-33-9", "v1-33-latest"))
    counter.served.faults.add(Fault(meanwhile, method=method, path=path))
    with pytest.raises(VerificationError, match="is v1-33-9, which is newer"):
        counter.push(signed(text()))
    assert counter.held("v1-33-latest") == counter.held("v1-33-9")


def test_a_bundle_that_is_there_in_the_manifest_of_another_program_is_the_same_bundle(counter: Counter) -> None:
    raw = signed(text())
    counter.place(raw, "v1-33-7", "v1-33-latest", foreign=True)
    held, written = counter.held("v1-33-7"), len(counter.writes())
    pushed = counter.push(raw)
    assert (str(pushed.digest), pushed.written, len(counter.writes())) == (held, (), written)
    assert held != str(wrap_package_bundle(raw).manifest.descriptor.digest)


def test_of_such_a_bundle_the_tag_that_is_missing_is_written(counter: Counter) -> None:
    raw = signed(text())
    counter.place(raw, "v1-33-7", foreign=True)
    assert counter.push(raw).written == ("v1-33-latest",)
    assert counter.held("v1-33-latest") == counter.held("v1-33-7")
    # AWS's own tool copies nothing but the latest (E10).
    other = signed(text("v1-34-7"))
    counter.place(other, "v1-34-latest", foreign=True)
    counter.push(other)
    assert counter.held("v1-34-latest") == counter.held("v1-34-7")


@pytest.mark.parametrize(
    ("newer", "older"),
    [("v1-33-120", "v1-33-9"), ("v1-33-2026-01-02-3", "v1-33-999"), ("v1-33-2026-01-02-3", "v1-33-2026-01-01-9")],
)
def test_latest_becomes_newer_by_itself_and_older_only_when_that_is_said(
    counter: Counter, newer: str, older: str
) -> None:
    raw, old = signed(text(newer)), signed(text(older))
    counter.push(raw)
    with pytest.raises(VerificationError, match=f"is {newer}, which is newer than {older}"):
        counter.push(old)
    assert (counter.held(older), counter.held("v1-33-latest")) == (None, counter.held(newer))
    counter.push(old, allow_rollback=True)
    assert counter.held("v1-33-latest") == counter.held(older)
    assert counter.push(raw).written == ("v1-33-latest",)
    assert counter.held("v1-33-latest") == counter.held(newer)


def test_channels_do_not_touch_each_other(counter: Counter) -> None:
    counter.push(signed(text("v1-34-9")))
    counter.push(signed(text("v1-33-1")))
    assert counter.held("v1-34-latest") == counter.held("v1-34-9")
    assert counter.held("v1-33-latest") == counter.held("v1-33-1")


def test_something_else_under_latest_is_not_overwritten_without_a_word(counter: Counter) -> None:
    PackageSite(counter.served).image("eks-anywhere-packages-bundles", "v1-33-latest")
    with pytest.raises(ContentError, match="cannot be compared"):
        counter.push(signed(text()))
    assert counter.held("v1-33-7") is None
    counter.push(signed(text()), allow_rollback=True)
    assert counter.held("v1-33-latest") == counter.held("v1-33-7")


def test_a_latest_that_is_not_whole_is_told_with_what_replaces_it(counter: Counter) -> None:
    counter.place(signed(text("v1-33-6")), "v1-33-latest", whole=False)
    with pytest.raises(ContentError, match="cannot be compared") as caught:
        counter.push(signed(text()))
    assert "--allow-rollback" in str(caught.value.hint)


def test_a_latest_of_another_name_that_is_as_new_is_told_by_its_name(counter: Counter) -> None:
    counter.push(signed(text()))
    with pytest.raises(VerificationError, match="v1-33-7, which is as new as v1-33-07"):
        counter.push(signed(text("v1-33-07")))


def test_a_chart_that_may_not_be_looked_at_is_told_and_keeps_nothing_from_being_pushed(counter: Counter) -> None:
    # As registries answer that do not tell strangers which repositories there are.
    counter.served.registry.faults.add(Fault(Refuse(403, code="DENIED"), path="*/eks-anywhere/app/manifests/*"))
    pushed = counter.push(signed(text()))
    assert counter.held("v1-33-latest") == str(pushed.digest)
    (told,) = pushed.charts
    assert "/eks/eks-anywhere/app:1.0.0 cannot be read: " in told
    assert any("cannot be installed from there" in line for line in counter.told)


def test_charts_that_are_not_beside_it_are_told(counter: Counter) -> None:
    site = PackageSite(counter.served)
    pushed = counter.push(signed(text()))
    assert pushed.charts == (f"{site.packages}/app:1.0.0 is missing",)
    assert any("cannot be installed from there" in line for line in counter.told)
    digest = site.chart("app", "1.0.0", schema="{}")
    pushed = counter.push(signed(text("v1-33-8", digest)))
    assert (pushed.charts, counter.told) == ((), [])
    assert "and not sha256:1" in counter.push(signed(text("v1-33-9"))).charts[0]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (signed(text("v1-33-a")), "is not the name of a bundle"),
        (signed(text("7")), "is not the name of a bundle"),
        (b"apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\n", "a PackageBundle was expected"),
        (b"apiVersion: v1\nkind: Pod\n", "is not known here"),
        (b"a: [\n", "not YAML"),
    ],
)
def test_what_is_no_bundle_is_refused(counter: Counter, raw: bytes, told: str) -> None:
    with pytest.raises(ContentError, match=told):
        counter.push(raw)
    assert counter.writes() == []


def test_a_file_that_is_not_there_is_wrong_usage_whatever_its_name(counter: Counter) -> None:
    counter.path = counter.path.with_name("x")
    request = SourceRequest(sources=(), belief=BY_KEY)
    with Session() as session, pytest.raises(UsageError, match="no file"):
        push_package_bundle(counter.path, request, target=Naming.parse(counter.to), session=session)


def test_a_policy_that_refuses_it_is_met(counter: Counter) -> None:
    with pytest.raises(VerificationError):
        counter.push(signed(text()), policies=(DOCUMENTS_BY_OTHER,))
    assert counter.writes() == []


def test_a_project_that_is_missing_is_named_and_made_when_told(harbor: HarborFixture, tmp_path: Path) -> None:
    path = tmp_path / "bundle.yaml"
    path.write_bytes(signed(text()))
    target, request = Naming.parse(f"{harbor.host}/eks"), SourceRequest(sources=(), belief=BY_KEY)
    connection = Connection(explicit={harbor.host: Credential(*ADMINISTRATOR)})
    with Session(connection) as session, pytest.raises(RegistryError, match="the project eks does not exist"):
        push_package_bundle(path, request, target=target, session=session)
    with Session(connection) as session:
        pushed = push_package_bundle(path, request, target=target, session=session, create_projects="private")
        held = session.target(harbor.host).repository(BUNDLES).resolve("v1-33-latest")
    assert held.digest == pushed.digest


def test_a_signer_is_named(counter: Counter) -> None:
    assert counter.push(signed(text())).manifest.verified_by == SIGNER.public_key.fingerprint
