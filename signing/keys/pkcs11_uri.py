"""``pkcs11:`` URIs (RFC 7512)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from bundlectl.errors import UsageError

__all__ = ["Pkcs11Uri", "refuse_stated_pin"]

_PREFIX: Final = "pkcs11:"
_PIN_VALUE: Final = re.compile(r"pin-value\s*=", re.IGNORECASE)
_MODULE: Final = frozenset({"module-name", "module-path"})
_TEXTS: Final = frozenset(
    {"library-description", "library-manufacturer", "library-version", "manufacturer", "model", "object", "serial"}
    | {"slot-description", "slot-manufacturer", "token"}
)
_TYPES: Final = frozenset({"cert", "data", "private", "public", "secret-key"})
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONGEST: Final = 4096
_LARGEST_SLOT: Final = 2**64 - 1
_HINT: Final = "attributes of RFC 7512 are known: token, serial, object, id, type and the like, and ?pin-source"


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """Which token and which object are meant. An attribute that is not stated matches everything.

    ``texts`` holds the attributes that are compared as text, by their names in the RFC.
    """

    shown: str
    """As written, without the query: what may be told of it."""
    texts: dict[str, str] = field(default_factory=dict)
    id: bytes | None = None
    slot_id: int | None = None
    type: str | None = None
    pin_file: str | None = None
    """The absolute path of ``pin-source``."""

    @classmethod
    def parse(cls, key: str) -> Pkcs11Uri:
        """Read a URI.

        Nothing of it is repeated in an error: what is misspelt could be a PIN.

        Raises:
            UsageError: not one, or it states a PIN, a module, or an attribute that nobody knows.
        """
        refuse_stated_pin(key)
        if len(key) > _LONGEST or not key.startswith(_PREFIX) or not key.isprintable() or " " in key:
            raise UsageError("not a pkcs11: URI", hint="blanks and control characters are written as %20 and the like")
        path, _, query = key.removeprefix(_PREFIX).partition("?")
        found = _attributes(path, ";")
        asked = _attributes(query, "&")
        if stated := sorted(_MODULE & (found.keys() | asked.keys())):
            raise UsageError(
                f"{stated[0]} in a pkcs11: URI is not heeded: whoever names a key would choose what code runs",
                hint="set the module with --pkcs11-module FILE, its environment variable, or the configuration file",
            )
        unknown = sorted((found.keys() - _TEXTS - {"id", "slot-id", "type"}) | (asked.keys() - {"pin-source"}))
        if unknown:
            raise UsageError("a pkcs11: URI has an attribute that is unknown", hint=_HINT)
        kind = _text("type", found["type"]) if "type" in found else None
        if kind is not None and kind not in _TYPES:
            raise UsageError("type in a pkcs11: URI is unknown", hint=f"it is one of {', '.join(sorted(_TYPES))}")
        return cls(
            shown=_PREFIX + path,
            texts={name: _text(name, value) for name, value in found.items() if name in _TEXTS},
            id=_bytes("id", found["id"]) if "id" in found else None,
            slot_id=_slot(found["slot-id"]) if "slot-id" in found else None,
            type=kind,
            pin_file=_pin_file(asked["pin-source"]) if "pin-source" in asked else None,
        )


def refuse_stated_pin(key: str) -> None:
    """Refuse a KEY of whatever form that states a PIN, before any of it is repeated.

    Raises:
        UsageError: it does.
    """
    if _PIN_VALUE.search(unquote(key)):
        raise UsageError(
            "a PIN stands in the pkcs11: URI, where everybody can read it (pin-value)",
            hint="take it out and change the PIN; give it in BUNDLECTL_PKCS11_PIN, by pin-source=file:/PATH, "
            "or on a terminal when asked",
        )


def _attributes(text: str, separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError("a part of a pkcs11: URI is not NAME=VALUE", hint=_HINT)
        if name in found:
            raise UsageError("an attribute stands twice in a pkcs11: URI", hint="state each once")
        found[name] = value
    return found


def _bytes(name: str, value: str) -> bytes:
    if _BAD_ESCAPE.search(value):
        raise UsageError(f"{name} in a pkcs11: URI has a % without two hexadecimal digits", hint="% itself is %25")
    return unquote_to_bytes(value)


def _text(name: str, value: str) -> str:
    try:
        return _bytes(name, value).decode()
    except UnicodeError:
        raise UsageError(
            f"{name} in a pkcs11: URI is not UTF-8", hint="write its UTF-8 bytes, those beyond ASCII as %XX"
        ) from None


def _slot(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", value) or int(value) > _LARGEST_SLOT:
        raise UsageError("slot-id in a pkcs11: URI is not a number", hint="write it in decimal digits")
    return int(value)


def _pin_file(value: str) -> str:
    text = _text("pin-source", value)
    refusal = UsageError(
        "pin-source in a pkcs11: URI must be a file with an absolute path", hint="write pin-source=file:/PATH"
    )
    try:
        parts = urlsplit(text)
    except ValueError:
        raise refusal from None
    path = _text("pin-source", parts.path) if parts.scheme == "file" else text
    if (parts.scheme, parts.netloc) not in {("file", ""), ("file", "localhost"), ("", "")} or not path.startswith("/"):
        raise refusal
    return path
