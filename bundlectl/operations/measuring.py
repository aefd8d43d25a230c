"""Learning the digest and size of a file that no document states."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from mirror.copying.working import check_cancelled
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from mirror.layout import Store

__all__ = ["Measuring"]

_BLOCK: Final = 1024 * 1024


class Measuring:
    """Hashes a file of unknown digest, and keeps it in the store where there is one."""

    def __init__(self, session: Session, url: str, store: Store | None) -> None:
        self._session = session
        self._url = url
        self._store = store
        self._hasher = Digest("sha256", "").hasher()
        self._size = 0
        self._upload = store.begin_session() if store else None

    def attempt(self) -> tuple[Digest, int]:
        """Read on from where the last attempt was cut; return digest and size in bytes.

        Raises:
            TransportError, RegistryError: cut or refused; ``retryable`` says whether to go on.
            StoreError: the store cannot take it.
        """
        with self._session.client.open(self._url, offset=self._size) as reader:
            while block := reader.read(_BLOCK):
                check_cancelled(self._session.cancelled)
                self._hasher.update(block)
                if self._store and self._upload:
                    self._store.append(self._upload, io.BytesIO(block), at=self._size)
                self._size += len(block)
        digest = Digest("sha256", self._hasher.hexdigest())
        if self._store and self._upload:
            self._store.finish(self._upload, digest)
        return digest, self._size

    def abort(self) -> None:
        """Drop what was kept of the file."""
        if self._store and self._upload:
            self._store.abort(self._upload)
