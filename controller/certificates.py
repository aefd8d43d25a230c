"""The webhook's certificate: made here, shared by replicas in a Secret, renewed in time, told to the API server."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError
from controller.api import ClusterError, path_of
from controller.manifests import CERTIFICATE_SECRET
from controller.values import HOME_NAMESPACE
from mirror.filesystem import mapped_errors
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api

__all__ = ["LOOK_INTERVAL", "Certificate", "Certificates", "Rotation"]

LOOK_INTERVAL: Final = 15.0
"""Seconds between two looks at the Secret and the webhook configuration: so long may nothing be let in."""
_SHOWN_AFTER: Final = 300.0
"""Seconds from when a new certificate is announced until it is shown, and from then on until the old one is over."""
_LEFT: Final = dt.timedelta(days=30)
_WEBHOOKS: Final = path_of("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM. ``trusted`` holds the certificate, and the one before it as long as a replica may show that."""

    certificate: bytes
    key: bytes = field(repr=False)
    trusted: bytes


class Certificates:
    """Keeps the Secret and the webhook configuration up to date.

    Args:
        api: of the own cluster.
        host: by which the API server calls the webhook.
        configuration: the name of the ValidatingWebhookConfiguration.
    """

    def __init__(self, api: Api, host: str, configuration: str) -> None:
        self._api = api
        self._host = host
        self._path = path_of("v1", "secrets", namespace=HOME_NAMESPACE, name=CERTIFICATE_SECRET)
        self._webhooks = f"{_WEBHOOKS}/{configuration}"

    def current(self, *shown: Certificate) -> Certificate:
        """The certificate of all replicas; made when there is none that will do, or not for much longer.

        Args:
            shown: by a replica at the moment, which stay trusted beside another one.

        Raises:
            ConfigError: there is no Secret for it, and this account may not make one.
            ClusterError: the Secret cannot be read or written.
        """
        stored = self._api.find(self._path)
        found = _read(stored or {})
        if found is not None and self._will_do(found):
            return _trusting(found, *shown)
        made = _trusting(self._make(found), *shown)
        data = {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": made.trusted}
        encoded = {name: base64.b64encode(content).decode() for name, content in data.items()}
        try:
            if stored is None:
                metadata = {"name": CERTIFICATE_SECRET, "namespace": HOME_NAMESPACE}
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}
                self._api.create(self._path.rpartition("/")[0], secret)
            else:
                self._api.replace(self._path, {**stored, "data": encoded})
        except ClusterError as error:
            # Another replica was faster: its certificate is as good.
            if error.conflict and (theirs := _read(self._api.get(self._path))) is not None and self._will_do(theirs):
                return _trusting(theirs, *shown)
            if error.forbidden and stored is None:
                raise ConfigError(
                    "is not there, and the controller may only fill it",
                    artifact=f"the Secret {HOME_NAMESPACE}/{CERTIFICATE_SECRET}",
                    hint="apply the manifests again: bundlectl controller manifests | kubectl apply --server-side -f -",
                ) from error
            raise
        return made

    def announce(self, certificate: Certificate) -> bool:
        """Tell the API server whom to trust; False when there is no such webhook configuration.

        Raises:
            ClusterError: it cannot be read or written.
        """
        bundle = base64.b64encode(certificate.trusted).decode()
        for last in (False, False, False, True):
            found = self._api.find(self._webhooks)
            if found is None:
                return False
            webhooks = found.get("webhooks") or []
            if all(hook.get("clientConfig", {}).get("caBundle") == bundle for hook in webhooks):
                break
            told = [{**hook, "clientConfig": {**hook.get("clientConfig", {}), "caBundle": bundle}} for hook in webhooks]
            try:
                self._api.replace(self._webhooks, {**found, "webhooks": told})
            except ClusterError as error:
                # Another replica tells the same, or somebody applies the manifests again.
                if last or not error.conflict:
                    raise
            else:
                break
        return True

    def _make(self, before: Certificate | None) -> Certificate:
        with mapped_errors("the webhook's certificate"), tempfile.TemporaryDirectory() as folder:
            files = self_signed(Path(folder), self._host)
            certificate, key = files.certificate.read_bytes(), files.key.read_bytes()
        kept = before.certificate if before is not None and not _is_over(before.certificate) else b""
        return Certificate(certificate, key, certificate + kept)

    def _will_do(self, found: Certificate) -> bool:
        from cryptography import x509  # noqa: PLC0415 -- heavy, and only here
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        try:
            certificate = x509.load_pem_x509_certificate(found.certificate)
            trusted = x509.load_pem_x509_certificates(found.trusted)
            key = load_pem_private_key(found.key, password=None)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
            return False
        known = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
        lasts = certificate.not_valid_after_utc - _LEFT > dt.datetime.now(dt.UTC)
        return self._host in known and lasts and certificate in trusted and certificate.public_key() == key.public_key()


class Rotation:
    """Shows a new certificate once the API servers have had the time to hear of it.

    Args:
        certificates: are looked after.
        shown: is shown, and announced, as this begins.
        show: has another one shown.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        certificates: Certificates,
        shown: Certificate,
        show: Callable[[Certificate], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = certificates
        self._before = self._shown = self._announced = shown
        self._show = show
        self._clock = clock
        self._since = clock()

    def turn(self) -> None:
        """Look once; to be called every `LOOK_INTERVAL`.

        Raises:
            BundlectlError: the cluster does not let us.
            OSError: ``show`` could not.
        """
        now = self._clock()
        if now - self._since >= _SHOWN_AFTER:
            self._before = self._shown
            if self._announced.certificate != self._shown.certificate:
                self._show(self._announced)
                self._shown, self._since = self._announced, now
        # Also what is not shown here any more: other replicas look later.
        current = self._certificates.current(self._shown, self._before)
        self._certificates.announce(current)
        if current.certificate != self._announced.certificate:
            self._since = now
        self._announced = current


def _trusting(certificate: Certificate, *shown: Certificate) -> Certificate:
    """What is to be trusted with a certificate, and with what is shown still: somebody may have emptied the Secret."""
    for each in shown:
        if each.certificate not in certificate.trusted and not _is_over(each.certificate):
            certificate = replace(certificate, trusted=certificate.trusted + each.certificate)
    return certificate


def _is_over(certificate: bytes) -> bool:
    from cryptography import x509  # noqa: PLC0415 -- heavy, and only here

    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc < dt.datetime.now(dt.UTC)
    except ValueError:
        return True


def _read(secret: dict[str, Any]) -> Certificate | None:
    data = secret.get("data") or {}
    try:
        parts = [base64.b64decode(str(data[name]), validate=True) for name in ("tls.crt", "tls.key", "ca.crt")]
    except (KeyError, binascii.Error):
        return None
    return Certificate(*parts)
