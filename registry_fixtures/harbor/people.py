"""Logging in with a name and a secret: cheap for robots, slow for people, and locked after a wrong one."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_fixtures.harbor.identity import NEVER, Anonymous, Robot, RobotIdentity, User, UserIdentity

if TYPE_CHECKING:
    from registry_fixtures.harbor.clock import Clock
    from registry_fixtures.harbor.identity import Identity

__all__ = ["LoginPace", "People", "basic_credentials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPace:
    """Real seconds that logging in takes. The defaults are what was measured at Harbor 2.16.

    ``human``: hashing a person's password (600,000 rounds of PBKDF2). ``lock``: how long a request
    with a wrong password is held, and every other one of the same name refused meanwhile.
    """

    human: float = 0.13
    lock: float = 1.5


class People:
    """Users and robots.

    Args:
        clock: tells when a robot has expired.
        pace: how long logins take.
    """

    def __init__(self, clock: Clock, pace: LoginPace) -> None:
        self.users: dict[str, User] = {}
        self.robots: dict[str, Robot] = {}
        self._clock = clock
        self._pace = pace
        self._lock = threading.Lock()
        self._locked: dict[str, float] = {}

    def login(self, name: str, secret: str) -> Identity | None:
        """Who that is; None for a wrong secret, a locked name, and a robot that is disabled or expired."""
        robot = self.robots.get(name)
        if robot is not None and robot.secret == secret:
            expired = robot.expires != NEVER and robot.expires <= self._clock.now()
            if not robot.disabled and not expired:
                return RobotIdentity(robot)
        # A robot that fails goes on as if it were a person, and so costs the lock as well.
        return self._login_user(name, secret)

    def identify(self, authorization: str) -> Identity:
        """Who a Basic header speaks for; nobody when it is wrong (Harbor says so nowhere)."""
        credentials = basic_credentials(authorization)
        return (self.login(*credentials) if credentials else None) or Anonymous()

    def first_administrator(self) -> str:
        """The administrator with the lowest id, who owns what robots create."""
        found = [user for user in self.users.values() if user.administrator]
        return min(found, key=lambda user: user.number).name if found else ""

    def _login_user(self, name: str, secret: str) -> Identity | None:
        with self._lock:
            if self._locked.get(name, 0.0) > time.monotonic():
                return None
        time.sleep(self._pace.human)
        user = self.users.get(name)
        if user is not None and user.password == secret:
            return UserIdentity(user)
        with self._lock:
            self._locked[name] = time.monotonic() + self._pace.lock
        time.sleep(self._pace.lock)
        return None


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Name and secret of a Basic header; None for any other header."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, secret) if colon else None
