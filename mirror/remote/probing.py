"""Trying out what a registry can do, apart from how copying does it (``wire.md`` 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import RegistryError
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_INDEX, OCTET_STREAM
from mirror.remote.call import Call

if TYPE_CHECKING:
    from mirror.http.response import Response
    from mirror.remote.connection import Address

__all__ = ["Probe"]

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_TAKEN: Final = frozenset({_OK, _CREATED, _ACCEPTED, 204})


class Probe:
    """Tries things in one repository. What it leaves there are blobs that no manifest names."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def upload_in_chunks(self, data: bytes) -> Digest:
        """Upload a blob in two chunks.

        Raises:
            RegistryError: it is refused.
            TransportError: no answer.
        """
        digest = Digest.of(data)
        response = self._begin()
        middle = len(data) // 2
        for start, piece in ((0, data[:middle]), (middle, data[middle:])):
            headers = {"Content-Type": OCTET_STREAM, "Content-Range": f"{start}-{start + len(piece) - 1}"}
            response = self._send("PATCH", self._location(response), headers=headers, body=piece)
            self._expect(response)
        self._expect(self._send("PUT", self._committing(response, digest), headers={}, body=b""))
        return digest

    def stores_sha512(self, data: bytes) -> bool:
        """Whether a blob that is named by its sha512 is found under that name.

        Raises:
            TransportError: no answer.
            RegistryError: no upload can be begun at all.
        """
        digest = Digest.of(data, "sha512")
        location = self._committing(self._begin(), digest)
        response = self._send("PUT", location, headers={"Content-Type": OCTET_STREAM}, body=data)
        if response.status not in _TAKEN:
            return False
        return self._send("HEAD", self._address.url(f"blobs/{digest}")).status == _OK

    def has_referrers_api(self) -> bool:
        """Whether referrers are listed, even of what is not there.

        Raises:
            TransportError: no answer.
        """
        url = self._address.url(f"referrers/{Digest.of(b'nothing is called so')}")
        response = self._send("GET", url, headers={"Accept": OCI_INDEX})
        return response.status == _OK and "json" in response.headers.get("Content-Type", "")

    def _begin(self) -> Response:
        response = self._send("POST", self._address.url("blobs/uploads/"))
        self._expect(response)
        return response

    def _send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        scopes = self._address.pull if method in ("GET", "HEAD") else self._address.push
        call = Call(method=method, url=url, scopes=scopes, headers=headers or {}, body=body, retry=False)
        return self._address.connection.send(call)

    def _location(self, response: Response) -> str:
        location = response.headers.get("Location")
        if not location:
            raise RegistryError(
                "the registry began an upload without saying where",
                status=response.status,
                artifact=self._address.name,
                hint="a proxy before it may drop the Location header",
            )
        return self._address.connection.resolve(response.url, location)

    def _committing(self, response: Response, digest: Digest) -> str:
        location = self._location(response).partition("#")[0]
        return f"{location}{'&' if '?' in location else '?'}digest={digest}"

    def _expect(self, response: Response) -> None:
        if response.status not in _TAKEN:
            raise self._address.refusal(response, self._address.name, reading=False)
