"""Credentials for private ECR registries (``wire.md`` 5.4)."""

from __future__ import annotations

import base64
import binascii
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError
from bundles.ecr_hosts import parse_ecr_host
from bundles.sources.s3 import aws_config, aws_errors, aws_session
from mirror.remote import Credential

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EcrCredentials", "ecr_credential"]

_MARGIN: Final = timedelta(minutes=15)


class EcrCredentials:
    """Asks AWS for registry tokens; one token serves all registries of a region for 12 hours.

    Thread-safe; threads that want the same token ask for it once.

    Args:
        now: the clock, for tests.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._known: dict[tuple[str, bool], tuple[Credential, datetime]] = {}
        self._lock = threading.Lock()

    def __call__(self, host: str) -> Credential | None:
        """The credential for a private ECR registry, ``None`` for any other host.

        Raises:
            ConfigError: boto3 is missing, finds no credentials, or AWS does not accept them.
            TransportError: AWS cannot be reached or refuses.
        """
        found = parse_ecr_host(host)
        if found is None:
            return None
        key = (found.region, found.fips)
        with self._lock:
            known = self._known.get(key)
            if known is None or self._now() >= known[1]:
                known = self._known[key] = self._ask(host, *key)
            return known[0]

    def _ask(self, host: str, region: str, fips: bool) -> tuple[Credential, datetime]:  # noqa: FBT001 -- of the host
        session = aws_session(host)
        with aws_errors(host):
            client = session.client("ecr", region_name=region, config=aws_config(use_fips_endpoint=fips))
            try:
                answer = client.get_authorization_token()
            finally:
                client.close()
        return _read(answer, host)


def _read(answer: Any, host: str) -> tuple[Credential, datetime]:  # noqa: ANN401 -- boto3's answer
    try:
        entry = answer["authorizationData"][0]
        user, colon, password = base64.b64decode(entry["authorizationToken"], validate=True).decode().partition(":")
        expires: datetime = entry["expiresAt"]
    except (KeyError, IndexError, TypeError, binascii.Error, UnicodeDecodeError):
        # The cause is left out: it could show the token.
        colon = ""
    if not colon:
        raise ConfigError(
            "AWS answered without a usable registry token", artifact=host, hint="check AWS_ENDPOINT_URL and the proxy"
        )
    return Credential(username=user, password=password), expires - _MARGIN


ecr_credential: Final = EcrCredentials()
"""The provider of this process (``mirror.remote.CredentialStore``, ``providers``)."""
