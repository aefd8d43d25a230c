"""Learning the digest and size of a file that no document states."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from mirror.copying.working import check_cancelled
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from bundles.artifact import Artifact
    from mirror.layout import Store

__all__ = ["Measuring"]

_BLOCK: Final = 1024 * 1024


class Measuring:
    """Hashes a file of unknown digest or size, and keeps it in the store where there is one."""

    def __init__(self, session: Session, artifact: Artifact, store: Store | None) -> None:
        self._session = session
        self._artifact = artifact
        self._url = session.reach(artifact.reference)
        self._store = store
        self._hasher = (artifact.digest or Digest("sha256", "")).hasher()
        self._second = hashlib.sha512() if artifact.sha512 else None
        self._size = 0
        self._upload = store.begin_session() if store else None

    def attempt(self) -> tuple[Digest, int]:
        """Read on from where the last attempt was cut; return digest and size in bytes.

        Raises:
            TransportError, RegistryError: cut or refused; ``retryable`` says whether to go on.
            ContentError: it is not what the document that names it states; nothing was stored.
            StoreError: the store cannot take it.
        """
        with self._session.client.open(self._url, offset=self._size) as reader:
            while block := reader.read(_BLOCK):
                check_cancelled(self._session.cancelled)
                self._hasher.update(block)
                if self._second:
                    self._second.update(block)
                if self._store and self._upload:
                    self._store.append(self._upload, io.BytesIO(block), at=self._size)
                self._size += len(block)
        stated = self._artifact.digest
        digest = Digest(stated.algorithm if stated else "sha256", self._hasher.hexdigest())
        if stated and stated != digest:
            raise self._wrong(f"should have digest {stated} but has {digest}")
        if self._second and self._second.hexdigest() != (self._artifact.sha512 or "").lower():
            raise self._wrong(f"should have sha512 {self._artifact.sha512} but has {self._second.hexdigest()}")
        if self._store and self._upload:
            self._store.finish(self._upload, digest)
        return digest, self._size

    def _wrong(self, message: str) -> ContentError:
        return ContentError(
            message,
            artifact=self._artifact.reference,
            hint="the release document and the file disagree; nothing was stored",
        )

    def abort(self) -> None:
        """Drop what was kept of the file."""
        if self._store and self._upload:
            self._store.abort(self._upload)
