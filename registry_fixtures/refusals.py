"""Errors of the made-up registry, in the form of the distribution-spec ("Error Codes")."""

from __future__ import annotations

import json

from bundlectl.errors import ContentError
from mirror.oci.digest import Digest
from registry_fixtures.exchange import Answer

__all__ = ["RefusedError", "read_digest"]


class RefusedError(Exception):
    """The registry says no, with one OCI error; raised anywhere below ``Registry.handle``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer = Answer.of(status, body, {"Content-Type": "application/json"})


def read_digest(text: str) -> Digest:
    """Read a digest out of a request.

    Raises:
        RefusedError: 400 DIGEST_INVALID.
    """
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise RefusedError(400, "DIGEST_INVALID", error.message) from error
