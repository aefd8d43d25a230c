"""What the tests of the operations work with."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bundlectl.operations import (
    Connection,
    CopyReport,
    Lock,
    MirrorPlan,
    Naming,
    Selection,
    Session,
    SourceRequest,
    VerifyReport,
    download,
    lock,
    mirror,
    plan,
    verify_registry,
    verify_store,
)
from bundles.belief import Belief
from bundles.lock_signature import SIGNATURE_SUFFIX, sign_lock
from mirror.http import Transport
from tests.unit.bundles.signed_documents import SIGNER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundlectl.events import Event
    from mirror.remote import Credential
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served
    from signing.signature import Signer

__all__ = ["FILES_HOST", "Site"]

FILES_HOST: Final = "https://files.example"


class Site:
    """An upstream, a target, a folder; operations that begin and end with a session of their own."""

    def __init__(self, source: Served, target: ServedRegistry, folder: Path) -> None:
        self.source = source
        self.target = target
        self.folder = folder
        self.store = folder / "store"
        self.naming = Naming.parse(f"{target.host}/eks")
        self.heard: list[Event] = []
        self.memory: Path | None = None
        self.explicit: Mapping[str, Credential] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def session(self) -> Session:
        transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
        origins = {**self.source.origin_map, FILES_HOST: f"{self.source.cdn_url}/files.example"}
        connection = Connection(
            transport=transport, origins=origins, jobs=4, memory=self.memory, explicit=self.explicit
        )
        return Session(connection, listener=self.heard.append)

    def put_file(self, path: str, data: bytes) -> str:
        """Serve a file, and return the URL it has upstream."""
        self.source.cdn.put(f"/files.example/{path}", data)
        return f"{FILES_HOST}/{path}"

    def request(self, *sources: str, **more: Any) -> SourceRequest:
        selection = {key: more.pop(key) for key in list(more) if key in Selection.__dataclass_fields__}
        return SourceRequest(
            sources=sources, selection=Selection(**selection), **{"belief": Belief(mode="off"), **more}
        )

    def lock(self, *sources: str, **more: Any) -> Lock:
        with self.session() as session:
            return lock(self.request(*sources, **more), session=session)

    def lock_file(self, *sources: str, **more: Any) -> str:
        """Lock, and return the path of the lock."""
        raw = self.lock(*sources, **more).to_bytes()
        path = self.folder / f"{hashlib.sha256(raw).hexdigest()[:8]}.lock.json"
        path.write_bytes(raw)
        return str(path)

    def signed_lock(self, *sources: str, signer: Signer = SIGNER, **more: Any) -> str:
        """Lock and sign, and return the path of the lock."""
        path = self.lock_file(*sources, **more)
        raw = Path(path).read_bytes()
        signature = sign_lock(raw, Lock.from_bytes(raw, origin=path), signer)
        Path(f"{path}{SIGNATURE_SUFFIX}").write_bytes(signature)
        return path

    def download(self, *sources: str, name: str | None = None, store: Path | None = None, **more: Any) -> CopyReport:
        with self.session() as session:
            return download(self.request(*sources, **more), store=store or self.store, session=session, name=name)

    def mirror(
        self, *sources: str, naming: Naming | None = None, trust_recorded: bool = False, **more: Any
    ) -> CopyReport:
        with self.session() as session:
            return mirror(
                self.request(*sources, **more),
                target=naming or self.naming,
                session=session,
                trust_recorded=trust_recorded,
            )

    def plan(self, *sources: str, **more: Any) -> MirrorPlan:
        with self.session() as session:
            return plan(self.request(*sources, **more), target=self.naming, session=session)

    def verify(self, against: str, *, deep: bool = True, naming: Naming | None = None) -> VerifyReport:
        with self.session() as session:
            return verify_registry(naming or self.naming, against=against, session=session, deep=deep)

    def verify_store(self) -> VerifyReport:
        with self.session() as session:
            return verify_store(self.store, session=session)
