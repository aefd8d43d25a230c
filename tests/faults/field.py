"""The field that faults strike: an upstream, a target, a store, and the commands between them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from bundlectl.errors import BundlectlError
from bundlectl.operations import (
    Connection,
    Naming,
    Selection,
    Session,
    SourceRequest,
    VerifyReport,
    download,
    lock,
    mirror,
    verify_registry,
    verify_store,
)
from bundles.belief import Belief
from bundles.lock import Lock
from bundles.plan import TargetPlan
from mirror.http import Transport
from mirror.layout import Store
from mirror.oci.digest import Digest
from registry_fixtures.faults import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundlectl.events import Event
    from mirror.remote import Credential
    from registry_fixtures.accounts import Accounts
    from registry_fixtures.features import Features
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Upstream

__all__ = ["Field", "upstream_request"]

SOURCES: Final = ("eks-d:1-33", "packages:1-33")
PREFIX: Final = "eks"
WANTED: Final = Selection(
    include=("*/coredns*", "*/pause*", "*/etcd-linux*", "*metallb/speaker*", "*/hello-eks-anywhere*")
)


def upstream_request() -> SourceRequest:
    """Of every kind of artifact a few, so that a case takes a fraction of a second."""
    return SourceRequest(sources=SOURCES, selection=WANTED, belief=Belief(mode="off"))


class Field:
    """A context manager; ``source`` serves registry and files upstream, ``target`` takes what is mirrored."""

    def __init__(
        self,
        upstream: Upstream,
        start: Callable[..., ServedRegistry],
        folder: Path,
        locked: Path,
        *,
        features: Features | None = None,
        accounts: Accounts | None = None,
        source_features: Features | None = None,
        source_accounts: Accounts | None = None,
        credential: Credential | None = None,
        transport: dict[str, Any] | None = None,
        jobs: int = 4,
        target: Any = None,
    ) -> None:
        self._stack = ExitStack()
        self.source = self._stack.enter_context(upstream.serve(features=source_features, accounts=source_accounts))
        self.target = target or start(features=features, accounts=accounts, faults=FaultPlan())
        self._jobs = jobs
        self.locked = locked
        self.lock = Lock.from_bytes(locked.read_bytes(), origin=str(locked))
        self.store = folder / "store"
        self._options = {"retries": 1, "backoff": 0.002, "max_wait": 0.02, **(transport or {})}
        self._explicit = {self.target.host: credential} if credential else {}
        self.naming = Naming.parse(f"{self.target.host}/{PREFIX}")
        self.failed: set[str] = set()
        self.told: list[str] = []
        self.heard: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def session(self, **more: Any) -> Session:
        transport = Transport(**{**self._options, **more})
        connection = Connection(
            transport=transport, origins=self.source.origin_map, explicit=self._explicit, jobs=self._jobs
        )
        return Session(connection, listener=self.heard.append)

    def run(self, command: str, **more: Any) -> int:
        """Run a command as the command line would, and return its exit code."""
        request = SourceRequest(sources=(str(self.locked),), belief=Belief(mode="off"))
        self.failed, self.told, self.heard = set(), [], []
        with self.session(**more) as session:
            try:
                if command == "lock":
                    lock(upstream_request(), session=session)
                    return 0
                if command == "download":
                    report = download(request, store=self.store, session=session)
                else:
                    report = mirror(request, target=self.naming, session=session)
            except BundlectlError as error:
                self.told = [f"{error} ({error.hint})"]
                return error.exit_code
        self.failed = {failure.reference for failure in report.failed}
        self.told = [f"{failure.error} ({failure.hint})" for failure in report.failed]
        return report.exit_code

    def relock(self) -> bytes:
        """Lock the sources once more."""
        with self.session() as session:
            return lock(upstream_request(), session=session).to_bytes()

    def verify(self, command: str) -> VerifyReport:
        """Look at everything, and hash it."""
        with self.session() as session:
            if command == "download":
                return verify_store(self.store, session=session)
            return verify_registry(self.naming, against=str(self.locked), session=session, deep=True)

    def check_nothing_wrong_is_published(self, command: str) -> None:
        """Whatever happened: what is named is whole, and what is there is right."""
        if command == "download":
            self._check_store()
        if command == "mirror":
            self._check_target()

    def _check_store(self) -> None:
        if not (self.store / "oci-layout").exists():
            return
        assert self.verify("download").findings == []
        with Store.open(self.store, read_only=True) as store:
            kept = {str(ref) for ref in store.refs()}
            assert (store.collections() == {}) == bool(self.failed)
        assert not kept & self.failed

    def _check_target(self) -> None:
        holdings = self.target.holdings
        depot = holdings.depot
        for name in holdings.names():
            held = holdings.repository(name)
            for digest in held.blobs:
                size = depot.size(digest)
                assert size is not None
                assert Digest.of(b"".join(depot.blocks(digest, 0, size)), digest.algorithm) == digest
            for digest, manifest in held.manifests.items():
                assert manifest.descriptor.digest == digest
                children = {child.digest for child in manifest.children() if not child.urls}
                assert children <= (set(held.manifests) if manifest.is_index else held.blobs)
            assert set(held.tags.values()) <= set(held.manifests)
        for planned in TargetPlan.of(self.lock, self.naming).artifacts:
            found = holdings.find(planned.repository)
            tagged = found.tags.get(planned.tag) if found else None
            assert tagged in (None, planned.digest)
            if planned.artifact.reference in self.failed:
                assert tagged is None
