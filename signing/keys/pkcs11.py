"""Keys in hardware security modules: ``pkcs11:token=…;object=…`` (RFC 7512).

A token counts wrong PINs and locks itself. So there is one attempt to log in to a token in the life of
this process: what came of it, a session or an error, is kept.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import KeyProviderError
from signing.keys.pkcs11_uri import Pkcs11Uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.digest import Digest
    from signing.keys import KeyAccess
    from signing.signature import PublicKey, Signature, Signer

__all__ = ["load_public_key", "open_signer"]

_LOCK: Final = threading.RLock()
"""Around every call into a module: not all of them stand two threads."""

_LOGINS: Final[dict[tuple[str, int, bytes], Any]] = {}
"""What became of the one login: by module, slot and serial number, a session or a ``KeyProviderError``."""

_PIN_LIMIT: Final = 1024
_LISTED: Final = 10
_P256_BYTES: Final = 32


def open_signer(key: str, access: KeyAccess) -> Signer:
    """Find a private key in a token, logging in.

    Raises:
        UsageError: not a URI that is taken.
        KeyProviderError: no module, no token, no PIN or a wrong one, no key or several, or not on P-256.
    """
    uri = Pkcs11Uri.parse(key)
    if uri.type not in (None, "private"):
        raise KeyProviderError(
            f"an object of the type {uri.type} cannot sign", artifact=uri.shown, hint="leave type= out"
        )
    with _LOCK, _token_errors(uri):
        session = _login(_find_token(uri, access), uri, access)
        return _TokenSigner(session, uri)


def load_public_key(key: str, access: KeyAccess) -> PublicKey:
    """Read a public key, or that of a certificate; a login is tried only where nothing is found without.

    Raises:
        UsageError: not a URI that is taken.
        KeyProviderError: no module, no token, no key or several, or of a kind that is not used here.
    """
    uri = Pkcs11Uri.parse(key)
    with _LOCK, _token_errors(uri):
        token = _find_token(uri, access)
        with token.open() as session:
            found = _find_public(session, uri, uri.texts.get("object"), uri.id)
        if found is None:
            session = _login(token, uri, access)
            found = _find_public(session, uri, uri.texts.get("object"), uri.id)
        if found is None and uri.type in (None, "private"):
            return _TokenSigner(session, uri).public_key
    if found is None:
        raise _absent(uri)
    return found


class _TokenSigner:
    def __init__(self, session: Any, uri: Pkcs11Uri) -> None:  # noqa: ANN401 -- python-pkcs11 is optional
        import pkcs11  # noqa: PLC0415 -- an optional extra

        private = _one(_objects(session, uri, pkcs11.ObjectClass.PRIVATE_KEY, uri.texts.get("object"), uri.id), uri)
        if private is None:
            raise _absent(uri)
        if private[pkcs11.Attribute.KEY_TYPE] != pkcs11.KeyType.EC:
            raise KeyProviderError(
                "signing needs an ECDSA key on P-256, this is another kind",
                artifact=uri.shown,
                hint="name another with object= or id=, or make one in the token",
            )
        # The two halves of a pair share their id; a label may differ.
        own = _id(private)
        public = _find_public(session, uri, None if own else _label(private), own or None)
        if public is None:
            raise KeyProviderError(
                "the token holds the private key, but neither the public key nor a certificate with the same id",
                artifact=uri.shown,
                hint="write the public key into the token, with the id of the private key",
            )
        self._private = private
        self._public = public
        self._uri = uri

    @property
    def public_key(self) -> PublicKey:
        return self._public

    def sign_digest(self, digest: Digest) -> Signature:
        import pkcs11  # noqa: PLC0415 -- an optional extra
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415 -- heavy

        from signing.signature import Signature  # noqa: PLC0415 -- imports cryptography

        with _LOCK, _token_errors(self._uri):
            raw = self._private.sign(bytes.fromhex(digest.encoded), mechanism=pkcs11.Mechanism.ECDSA)
        if len(raw) != 2 * _P256_BYTES:
            raise KeyProviderError(
                f"the token answered with a signature of {len(raw)} bytes",
                artifact=self._uri.shown,
                hint="P-256 has 64",
            )
        r, s = int.from_bytes(raw[:_P256_BYTES]), int.from_bytes(raw[_P256_BYTES:])
        return Signature(encode_dss_signature(r, s), self._public)


def _find_token(uri: Pkcs11Uri, access: KeyAccess) -> Any:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    if access.pkcs11_module is None:
        raise KeyProviderError(
            "it is not said which PKCS#11 module reaches the token",
            artifact=uri.shown,
            hint="name the library of the token's maker with --pkcs11-module FILE",
        )
    library = pkcs11.lib(str(access.pkcs11_module))
    tokens = []
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
            continue
        if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED and _is_meant(token, library, uri):
            tokens.append(token)
    if not tokens:
        raise KeyProviderError(
            "no token matches", artifact=uri.shown, hint="is it plugged in, and its label written exactly so?"
        )
    if len(tokens) > 1:
        listed = "; ".join(f"token={t.label} serial={_plain(t.serial)}" for t in tokens[:_LISTED])
        raise KeyProviderError(
            f"{len(tokens)} tokens match: {listed}", artifact=uri.shown, hint="add token=, serial= or slot-id="
        )
    return tokens[0]


def _is_meant(token: Any, library: Any, uri: Pkcs11Uri) -> bool:  # noqa: ANN401
    slot = token.slot
    stated = {
        "token": token.label,
        "manufacturer": token.manufacturer_id,
        "serial": _plain(token.serial),
        "model": token.model,
        "slot-manufacturer": slot.manufacturer_id,
        "slot-description": slot.slot_description,
        "library-manufacturer": library.manufacturer_id,
        "library-description": library.library_description,
        "library-version": ".".join(map(str, library.library_version)),
    }
    if uri.slot_id not in (None, slot.slot_id):
        return False
    # Tokens fill their fixed fields with blanks.
    return all(stated[name].rstrip() == value.rstrip() for name, value in uri.texts.items() if name in stated)


def _login(token: Any, uri: Pkcs11Uri, access: KeyAccess) -> Any:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    known = (str(access.pkcs11_module), token.slot.slot_id, token.serial)
    if known not in _LOGINS:
        if token.flags & (pkcs11.TokenFlag.USER_PIN_LOCKED | pkcs11.TokenFlag.USER_PIN_FINAL_TRY):
            raise KeyProviderError(
                "the PIN is locked, or one more mistake locks it; no login was tried",
                artifact=uri.shown,
                hint="unlock the token, or log in once with the tool of its maker",
            )
        pin = _pin(uri, access, token.label)
        try:
            with _token_errors(uri):
                _LOGINS[known] = token.open(user_pin=pin)
        except KeyProviderError as error:
            _LOGINS[known] = error
    outcome = _LOGINS[known]
    if isinstance(outcome, KeyProviderError):
        # A new one each time: an error that is raised twice collects two traces.
        raise KeyProviderError(outcome.message, artifact=uri.shown, hint=outcome.hint)
    return outcome


def _pin(uri: Pkcs11Uri, access: KeyAccess, label: str) -> str:
    from signing.keys.keyfile import read_private_file  # noqa: PLC0415 -- only where a PIN is asked for

    if uri.pin_file is None:
        pin = access.secret("pin", f"token {label}")
    else:
        pin = re.sub(rb"\r?\n\Z", b"", read_private_file(uri.pin_file, limit=_PIN_LIMIT))
    # Not by catching an error: that of the decoder holds the PIN.
    text = pin.decode(errors="surrogateescape")
    # An empty one is a mistake in a variable or file, and would count as a wrong attempt.
    if not text or not text.isprintable():
        what = "is not UTF-8, or has control characters in it" if text else "is empty"
        raise KeyProviderError(
            f"the PIN {what}; no login was tried",
            artifact=uri.shown,
            hint="check BUNDLECTL_PKCS11_PIN or the file of pin-source, or type it on a terminal when asked",
        )
    return text


def _find_public(session: Any, uri: Pkcs11Uri, label: str | None, own_id: bytes | None) -> PublicKey | None:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    from signing.keys.pem import certificate_key  # noqa: PLC0415 -- imports cryptography

    if uri.type != "cert":
        found = _one(_objects(session, uri, pkcs11.ObjectClass.PUBLIC_KEY, label, own_id), uri)
        if found is not None:
            return _decode(found, uri)
    if uri.type != "public":
        found = _one(_objects(session, uri, pkcs11.ObjectClass.CERTIFICATE, label, own_id), uri)
        if found is not None:
            return certificate_key(found[pkcs11.Attribute.VALUE])
    return None


def _objects(session: Any, uri: Pkcs11Uri, kind: Any, label: str | None, own_id: bytes | None) -> list[Any]:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    if uri.type in ("data", "secret-key"):
        raise KeyProviderError(
            f"an object of the type {uri.type} is no key pair", artifact=uri.shown, hint="leave type= out"
        )
    wanted: dict[Any, Any] = {pkcs11.Attribute.CLASS: kind}
    if label is not None:
        wanted[pkcs11.Attribute.LABEL] = label
    if own_id is not None:
        wanted[pkcs11.Attribute.ID] = own_id
    return list(session.get_objects(wanted))


def _one(found: list[Any], uri: Pkcs11Uri) -> Any:  # noqa: ANN401
    if len(found) > 1:
        listed = "; ".join(f"object={_label(item)} id={_id(item).hex() or '(none)'}" for item in found[:_LISTED])
        raise KeyProviderError(
            f"{len(found)} objects match: {listed}", artifact=uri.shown, hint="add object=LABEL or id=%XX to the URI"
        )
    return found[0] if found else None


def _decode(public: Any, uri: Pkcs11Uri) -> PublicKey:  # noqa: ANN401
    """Make a key of CKA_EC_PARAMS and CKA_EC_POINT, or of an RSA modulus."""
    import pkcs11  # noqa: PLC0415 -- an optional extra
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 -- heavy
    from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415

    from signing.signature import PublicKey  # noqa: PLC0415 -- imports cryptography

    attribute = pkcs11.Attribute
    if public[attribute.KEY_TYPE] == pkcs11.KeyType.RSA:
        exponent, modulus = (int.from_bytes(public[name]) for name in (attribute.PUBLIC_EXPONENT, attribute.MODULUS))
        return PublicKey.of(rsa.RSAPublicNumbers(exponent, modulus).public_key())
    curves = {encode_named_curve_parameters(c.name): c for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}
    parameters = bytes(public[attribute.EC_PARAMS]) if public[attribute.KEY_TYPE] == pkcs11.KeyType.EC else b""
    if parameters not in curves:
        raise KeyProviderError(
            "the key in the token is of a kind that is not used here",
            artifact=uri.shown,
            hint="keys are ECDSA on P-256, P-384 or P-521, or RSA of 2048 bits or more",
        )
    return PublicKey.of(
        ec.EllipticCurvePublicKey.from_encoded_point(
            curves[parameters], _point(bytes(public[attribute.EC_POINT]), curves[parameters].key_size)
        )
    )


def _point(value: bytes, bits: int) -> bytes:
    """Take the point out of its OCTET STRING; some tokens leave that away.

    An uncompressed point begins with 4, too, so the length decides.
    """
    if len(value) == 2 * ((bits + 7) // 8) + 1:
        return value
    # The length is one byte up to 127, else 0x81 and one byte.
    for head in (b"\x04", b"\x04\x81"):
        length = len(value) - len(head) - 1
        if 0 < length < 256 and value.startswith(head + bytes([length])):  # noqa: PLR2004 -- a byte
            return value[-length:]
    return value


def _absent(uri: Pkcs11Uri) -> KeyProviderError:
    return KeyProviderError(
        "the token holds no such key", artifact=uri.shown, hint="check object= and id=, which are matched exactly"
    )


def _label(found: Any) -> str:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    try:
        return str(found[pkcs11.Attribute.LABEL])
    except pkcs11.PKCS11Error:
        return ""


def _id(found: Any) -> bytes:  # noqa: ANN401
    import pkcs11  # noqa: PLC0415 -- an optional extra

    try:
        return bytes(found[pkcs11.Attribute.ID])
    except pkcs11.PKCS11Error:
        return b""


def _plain(value: bytes) -> str:
    return value.decode("utf-8", "replace").rstrip("\0 ")


@contextmanager
def _token_errors(uri: Pkcs11Uri) -> Iterator[None]:
    """Turn what python-pkcs11 and a module raise into errors of bundlectl; causes are cut off."""
    try:
        import pkcs11  # noqa: PLC0415 -- an optional extra
    except ImportError:
        raise KeyProviderError(
            "keys in a token need python-pkcs11, which is not installed",
            artifact=uri.shown,
            hint="pip install 'bundlectl[pkcs11]'",
        ) from None
    try:
        yield
    except KeyProviderError as error:
        error.artifact = error.artifact or uri.shown
        raise
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        raise KeyProviderError(
            "the token did not accept the PIN; it is not tried a second time",
            artifact=uri.shown,
            hint="a token locks itself after a few wrong PINs: make sure of it, then run the command again",
        ) from None
    except pkcs11.PinLocked:
        raise KeyProviderError("the PIN is locked", artifact=uri.shown, hint="unlock the token") from None
    except (pkcs11.PKCS11Error, OSError, RuntimeError, ValueError, LookupError) as error:
        what = f"{type(error).__name__} {error}".strip()[:300]
        raise KeyProviderError(
            f"the token or its module failed: {what}",
            artifact=uri.shown,
            hint="check the module of --pkcs11-module, and the token with the tool of its maker",
        ) from None
