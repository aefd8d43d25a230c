"""One file per key provider; adding one touches no other file.

A module here that is not listed in ``_SUPPORT`` is a provider. It has

* ``open_signer(key, access) -> Signer`` and ``load_public_key(key, access) -> PublicKey``, where
  ``key`` is the whole text of a KEY (``cli.md``) that begins with the module's name and ``:``;
* or ``LABELS``, the PEM labels it reads, and the same two functions over a ``KeyFile``: any other
  KEY is the path of a PEM file, and its label says who reads it.

Secrets are no part of the KEY: they come from ``KeyAccess``.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final, Protocol, cast

from bundlectl.errors import KeyProviderError, UsageError
from signing.keys.pkcs11_uri import refuse_stated_pin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.oci.digest import Digest
    from signing.identity import NamedKey
    from signing.keys.keyfile import KeyFile
    from signing.signature import PublicKey, Signature, Signer

__all__ = ["KeyAccess", "SecretSource", "key_scheme", "load_public_key", "open_signer", "providers"]

_SUPPORT: Final = frozenset({"keyfile", "local", "pkcs11_uri"})
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHOWN: Final = 300
_FORMS: Final = "a KEY is the path of a PEM file, base64:…, awskms://…, or pkcs11:…"


class SecretSource(Protocol):
    """Where passwords and PINs come from. Called at most once for each key."""

    def __call__(self, kind: str, key: str, /) -> bytes:
        """The secret, without a final line break.

        Args:
            kind: ``password`` (of an encrypted key file) or ``pin`` (of a token).
            key: what it is for, as told to the user.

        Raises:
            KeyProviderError: there is none to be had.
        """


def _none(kind: str, key: str, /) -> bytes:
    raise KeyProviderError(
        f"there is no {kind} for the key", artifact=key, hint="hand one to KeyAccess, or use a key that needs none"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAccess:
    """What a provider may use besides the KEY itself.

    ``pkcs11_module`` is the path of a PKCS#11 library, never taken from the KEY. ``offline``
    forbids providers that ask a host other than loopback.
    """

    secret: SecretSource = field(default=_none, repr=False)
    pkcs11_module: Path | None = None
    offline: bool = False


class _Scheme(Protocol):
    def open_signer(self, key: str, access: KeyAccess) -> Signer: ...
    def load_public_key(self, key: str, access: KeyAccess) -> PublicKey: ...


class _FileReader(Protocol):
    LABELS: tuple[str, ...]

    def open_signer(self, key: KeyFile, access: KeyAccess) -> Signer: ...
    def load_public_key(self, key: KeyFile, access: KeyAccess) -> PublicKey: ...


def open_signer(key: str, access: KeyAccess) -> Signer:
    """Open a KEY for signing. What it signs is checked with its public key before it is handed out.

    Where the key is encrypted or in a token this asks ``access.secret``, which may ask a person:
    call it before threads and progress displays are started.

    Raises:
        UsageError: no KEY that can sign is written like that.
        KeyProviderError: it cannot be read or used, or is not ECDSA on P-256.
    """
    if key == "aws":
        raise UsageError("the key 'aws' is Amazon's: nobody else can sign with it", hint=_FORMS)
    scheme = key_scheme(key)
    if scheme is not None:
        signer = _provider(scheme).open_signer(_lowered(key), access)
    else:
        with _naming(key):
            file, reader = _read(key)
            signer = reader.open_signer(file, access)
    if signer.public_key.algorithm != "ecdsa-p256":
        raise KeyProviderError(
            f"signing needs an ECDSA key on P-256, this one is {signer.public_key.algorithm}",
            artifact=key,
            hint="make one with `bundlectl keys generate PATH`",
        )
    return _CheckedSigner(signer, key)


def load_public_key(key: str, access: KeyAccess) -> NamedKey:
    """Find the public key of a KEY, whatever holds it; from a private key it is derived.

    Raises:
        UsageError: no KEY is written like that, or it is ``aws``, which is another key for each kind
            of document.
        KeyProviderError: it cannot be read, or is of a kind that is not used here.
    """
    from signing.identity import NamedKey  # noqa: PLC0415 -- it stands on this package

    if key == "aws":
        raise UsageError(
            "'aws' is not one key: which it is depends on the kind of the document",
            hint="`verify` chooses it by the document; here name one key: " + _FORMS,
        )
    scheme = key_scheme(key)
    if scheme is not None:
        return NamedKey(key, _provider(scheme).load_public_key(_lowered(key), access))
    with _naming(key):
        file, reader = _read(key)
        return NamedKey(key, reader.load_public_key(file, access))


@cache
def providers() -> tuple[str, ...]:
    """The modules of this folder that are providers, sorted."""
    found = (module.name for module in iter_modules(__path__) if not module.ispkg)
    return tuple(sorted(name for name in found if name not in _SUPPORT))


def key_scheme(key: str) -> str | None:
    """The scheme of a KEY (``base64``, ``awskms``, ``pkcs11``), in whatever case it is written; None of a path.

    Raises:
        UsageError: neither, or a PIN stands in it.
    """
    refuse_stated_pin(key)
    name, colon, _ = key.partition(":")
    if colon and name.lower() in providers() and not hasattr(_provider(name.lower()), "LABELS"):
        return name.lower()
    if not key.strip() or "\0" in key:
        raise UsageError("the key is not named", hint=_FORMS)
    if _URI.match(key):
        # Only the scheme is shown: what follows could hold a password.
        raise UsageError(f"there is no kind of key {key.partition('://')[0][:_SHOWN]}://", hint=_FORMS)
    return None


def _provider(scheme: str) -> _Scheme:
    return cast("_Scheme", import_module(f"{__name__}.{scheme}"))


def _lowered(key: str) -> str:
    """A KEY with its scheme as providers read it."""
    scheme, _, rest = key.partition(":")
    return f"{scheme.lower()}:{rest}"


def _read(path: str) -> tuple[KeyFile, _FileReader]:
    from signing.keys.keyfile import read_key_file  # noqa: PLC0415 -- only for paths

    file = read_key_file(path)
    readers = (import_module(f"{__name__}.{name}") for name in providers())
    known = {label: module for module in readers for label in getattr(module, "LABELS", ())}
    if file.label not in known:
        raise KeyProviderError(
            f"holds {file.label!r}, which is no key that is used here", hint=f"PEM labels: {', '.join(sorted(known))}"
        )
    return file, cast("_FileReader", known[file.label])


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Name the KEY in errors that do not."""
    try:
        yield
    except KeyProviderError as error:
        error.artifact = error.artifact or key
        raise


class _CheckedSigner:
    """Hands out only signatures that hold: a fault in a token or a cloud is found here, not at a customer's."""

    def __init__(self, signer: Signer, key: str) -> None:
        self._signer = signer
        self._key = key

    def __repr__(self) -> str:
        return f"<signer {self.public_key.fingerprint}>"

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    def sign_digest(self, digest: Digest) -> Signature:
        if digest.algorithm != "sha256":
            raise KeyProviderError(
                f"a key on P-256 signs a sha256 digest, not {digest.algorithm}",
                artifact=self._key,
                hint="name what is to be signed by its sha256 digest",
            )
        signature = self._signer.sign_digest(digest)
        if not self.public_key.verifies_digest(digest, signature.value):
            raise KeyProviderError(
                "signed, but the signature does not hold with the public key that goes with it",
                artifact=self._key,
                hint="the private and the public key are not a pair, or what holds the key is faulty",
            )
        return signature
