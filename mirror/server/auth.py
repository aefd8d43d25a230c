"""Who may read and write: the policy of ``serve`` (``cli.md``), htpasswd files, Basic credentials."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import ConfigError, UsageError
from mirror.server.message import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mirror.server.message import Request

__all__ = ["Access", "AccessPolicy", "Users", "access_policy", "is_loopback", "load_users", "parse_htpasswd"]

_BCRYPT: Final = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_COST_MAX: Final = 16
_PASSWORD_MAX: Final = 72  # bytes; bcrypt ignores or refuses what is behind
_FILE_MAX: Final = 1024 * 1024
_CHECKS_AT_ONCE: Final = 2
_CHECK_WAIT: Final = 10.0  # seconds
_NOBODY: Final = "$2b$10$" + "." * 53  # well-formed, matches nothing: unknown users cost the same
_BASIC_MAX: Final = 4096

_OTHER_HASHES: Final = (
    ("$apr1$", "MD5"),
    ("$1$", "MD5"),
    ("{SHA}", "SHA-1"),
    ("$5$", "SHA-256 crypt"),
    ("$6$", "SHA-512 crypt"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What a client without credentials may do, and whether anyone may write."""

    anonymous_pull: bool
    anonymous_push: bool
    writable: bool


def is_loopback(host: str) -> bool:
    """Whether a listen address reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def access_policy(
    *,
    host: str,
    tls: bool,
    htpasswd: bool,
    htpasswd_pull: bool = False,
    anonymous_pull: bool = False,
    anonymous_push: bool = False,
    read_only: bool = False,
) -> AccessPolicy:
    """Decide what the flags of ``serve`` mean (``cli.md``).

    Without htpasswd everyone may pull; loopback may push; any other address is read-only unless
    ``anonymous_push`` says otherwise. With htpasswd, users may pull and push, those of
    ``htpasswd_pull`` pull, and others only what the anonymous flags allow. Who may push may also
    pull: every push begins by asking.

    Args:
        host: the listen address.
        tls: whether connections are encrypted.
        htpasswd: whether there are users who may push and pull.
        htpasswd_pull: whether there are users who may pull alone.
        anonymous_pull: ``--anonymous-pull``.
        anonymous_push: ``--anonymous-push``.
        read_only: ``--read-only``.

    Raises:
        UsageError: the flags contradict each other.
        ConfigError: passwords would cross the network unencrypted.
    """
    if read_only and anonymous_push:
        raise UsageError("--read-only and --anonymous-push contradict each other", hint="leave out one of them")
    users = htpasswd or htpasswd_pull
    if users and not tls and not is_loopback(host):
        raise ConfigError(
            "passwords would cross the network unencrypted",
            artifact=host,
            hint="add --tls-cert and --tls-key, or --tls-self-signed, or listen on 127.0.0.1",
        )
    push_without_name = not read_only and (anonymous_push or (not users and is_loopback(host)))
    return AccessPolicy(
        anonymous_pull=anonymous_pull or push_without_name or not users,
        anonymous_push=push_without_name,
        writable=not read_only and (htpasswd or push_without_name),
    )


def load_users(both: Path | None, pull_only: Path | None = None) -> Users:
    """Read htpasswd files.

    Args:
        both: of users who may push and pull.
        pull_only: of users who may pull.

    Raises:
        ConfigError: one cannot be read, an entry is not bcrypt, or a user is in both.
    """
    writers = _read_htpasswd(both) if both else {}
    readers = _read_htpasswd(pull_only) if pull_only else {}
    for user in sorted(writers.keys() & readers.keys()):
        raise ConfigError(
            f"the htpasswd files both name {user!r:.100}",
            artifact=str(pull_only),
            hint="whoever may push may pull: leave the user in --htpasswd, or in --htpasswd-pull",
        )
    return Users(writers | readers, pull_only=readers.keys())


def _read_htpasswd(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the htpasswd file: {error.strerror}", artifact=str(path)) from error
    if len(raw) > _FILE_MAX:
        raise ConfigError("the htpasswd file is larger than 1 MiB", artifact=str(path))
    return parse_htpasswd(raw, origin=str(path))


def parse_htpasswd(raw: bytes, *, origin: str) -> dict[str, str]:
    """Read ``user:hash`` lines; empty lines and comments are skipped.

    Args:
        raw: the file.
        origin: its name, for messages. Hashes never appear in messages.

    Raises:
        ConfigError: no entry, a malformed one, or one whose hash is not bcrypt.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ConfigError("the htpasswd file is not UTF-8", artifact=origin) from None
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        user, colon, hashed = entry.partition(":")
        if not user or not colon:
            raise ConfigError(f"line {number} of the htpasswd file is not USER:HASH", artifact=origin)
        if user in users:
            raise ConfigError(f"the htpasswd file names {user!r:.100} twice (line {number})", artifact=origin)
        _check_hash(user, hashed, origin)
        users[user] = hashed
    if not users:
        raise ConfigError("the htpasswd file names no user", artifact=origin, hint="htpasswd -B -c FILE USER")
    return users


def _check_hash(user: str, hashed: str, origin: str) -> None:
    match = _BCRYPT.fullmatch(hashed)
    if match is None:
        kind = next((name for prefix, name in _OTHER_HASHES if hashed.startswith(prefix)), "not bcrypt")
        raise ConfigError(
            f"the password of {user!r:.100} is stored as {kind}; only bcrypt is accepted",
            artifact=origin,
            hint=f"set it anew: htpasswd -B {origin} {user:.100}",
        )
    if int(match["cost"]) > _COST_MAX:
        raise ConfigError(
            f"the password of {user!r:.100} has bcrypt cost {match['cost']}; more than {_COST_MAX} takes too long",
            artifact=origin,
        )


class Users:
    """Users with bcrypt hashes.

    A successful check costs 50 ms and more of processor time, so it is remembered as an HMAC
    under a key that lives as long as this object; a wrong password is never remembered, and at
    most two checks run at once.

    Args:
        hashes: user to bcrypt hash.
        pull_only: those of them who may not push.

    Raises:
        ConfigError: the bcrypt library is not installed.
    """

    def __init__(self, hashes: Mapping[str, str], *, pull_only: Iterable[str] = ()) -> None:
        try:
            import bcrypt  # noqa: PLC0415 -- only needed with htpasswd
        except ImportError as error:
            raise ConfigError("an htpasswd file needs the bcrypt library", hint="pip install bcrypt") from error
        self._bcrypt = bcrypt
        self._hashes = dict(hashes)
        self._pull_only = frozenset(pull_only)
        self._key = secrets.token_bytes(32)
        self._seen: dict[str, bytes] = {}
        self._slots = threading.BoundedSemaphore(_CHECKS_AT_ONCE)

    def __repr__(self) -> str:
        return f"Users({len(self._hashes)})"

    def may_push(self, user: str) -> bool:
        """Whether a user has the right to push, too."""
        return user not in self._pull_only

    def verify(self, user: str, password: str) -> bool:
        """Whether this is the password of ``user``.

        Raises:
            RefusedError: 503, too many passwords are being checked already.
        """
        raw = password.encode()
        mark = hmac.new(self._key, user.encode() + b"\0" + raw, hashlib.sha256).digest()
        seen = self._seen.get(user)
        if seen is not None and hmac.compare_digest(seen, mark):
            return True
        if len(raw) > _PASSWORD_MAX or b"\0" in raw:
            return False
        hashed = self._hashes.get(user)
        if not self._slots.acquire(timeout=_CHECK_WAIT):
            raise RefusedError(503, "UNKNOWN", "too many passwords to check", headers=[("Retry-After", "5")])
        try:
            matched = self._bcrypt.checkpw(raw, (hashed or _NOBODY).encode())
        except ValueError:
            return False
        finally:
            self._slots.release()
        if not matched or hashed is None:
            return False
        self._seen[user] = mark
        return True


class Access:
    """Answers whether a request may go on.

    Args:
        policy: what is allowed.
        users: None when there is no htpasswd; credentials are then ignored.
        realm: shown by clients when they ask for a password.
    """

    def __init__(self, policy: AccessPolicy, users: Users | None = None, *, realm: str = "bundlectl") -> None:
        self._policy = policy
        self._users = users
        self._challenge = ("WWW-Authenticate", f'Basic realm="{realm}", charset="UTF-8"')

    @property
    def ping_challenge(self) -> tuple[str, str] | None:
        """The header that tells a client, on an anonymous ``GET /v2/``, that credentials get it further."""
        return self._challenge if self._users and self._policy.writable and not self._policy.anonymous_push else None

    def authorize(self, request: Request, action: Literal["pull", "push"]) -> str | None:
        """Return the user, or None for an anonymous client that may do this.

        Raises:
            RefusedError: 401 with a challenge when a password would help or was wrong, 403 when
                nobody may do this, or a web page tries to write through its visitor.
        """
        user = self._authenticated(request)
        if action == "push":
            self._check_writable(request)
        allowed = self._policy.anonymous_pull if action == "pull" else self._policy.anonymous_push
        if user is None and not allowed:
            raise self._unauthorized("authentication required")
        if action == "push" and user is not None and self._users and not self._users.may_push(user):
            raise RefusedError(403, "DENIED", "this user may pull, not push")
        return user

    def _check_writable(self, request: Request) -> None:
        if not self._policy.writable:
            raise RefusedError(403, "DENIED", "this registry is read-only")
        if request.header("Origin"):
            # Registry clients never send it; browsers do on every request that writes. On loopback
            # it is the only thing between a web page and a registry that needs no password.
            raise RefusedError(403, "DENIED", "web pages may not write to this registry")

    def _authenticated(self, request: Request) -> str | None:
        header = request.header("Authorization")
        if not header or self._users is None:
            return None
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic" or len(encoded) > _BASIC_MAX:
            raise self._unauthorized("only Basic authentication is offered")
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise self._unauthorized("the credentials are malformed") from None
        if colon and not user and not password:
            return None  # skopeo answers a Basic challenge with an empty name when it has none
        if not colon or not self._users.verify(user, password):
            raise self._unauthorized("wrong user name or password")
        return user

    def _unauthorized(self, message: str) -> RefusedError:
        return RefusedError(401, "UNAUTHORIZED", message, headers=[self._challenge])
