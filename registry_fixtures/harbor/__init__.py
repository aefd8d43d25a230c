"""A made-up Harbor 2.16.

>>> with HarborFixture() as harbor:
...     harbor.add_project("mirror")
...     robot = harbor.add_robot("copier")
...     # log in at harbor.host as robot.name with robot.secret

It answers as a real one was seen to, in status, headers and body: challenges and tokens, the two forms
of errors and nginx's pages, pushes and pulls with their checks, quotas, immutable tags, pull policies,
accessories, uploads that cannot be resumed, deletion, garbage collection, and those calls of the REST
API that a mirror has a use for. Switches are in ``Settings``, the time of logins in ``LoginPace``.

What it does not emulate, or not as a real one does:

- Time, other than that of logins: a real one needs 5 to 25 ms for a request.
- Tokens have the form, the claims and the length of Harbor's, but no RSA signature.
- Proxy-cache projects refuse pushes; they fetch nothing, so neither their answers to pulls nor the 429
  of their upstream limit occur. A fault (``registry_fixtures.faults``) can say 429.
- Sessions: a ``sid`` cookie is handed out and its return is refused for changes, but nobody is logged in by
  one, and no CSRF token is ever right. There is no OIDC, LDAP, or group.
- Scanning: ``scan`` puts a result there. No call starts one, and the CVE allowlist exempts nothing.
- A proxy-cache project gets no retention policy, and its registry need not exist.
- Retention policies are kept and never run. Collections run at once; their schedule is kept only.
  Webhooks, replication, preheating, labels, members, audit logs, scanners and additions are not there at all.
- Upload sessions do not age (a real one forgets them after 168 hours).
- Pulls are counted at once, by a real one some seconds later. ``update_time`` never moves.
- An index is always of type ``IMAGE``. Docker's schema 1 is refused as if its signature were missing.
- A manifest that names a blob by sha512 is taken where storage has that name; what a real one then says was not seen.
- What a real one does by chance, it does only when told to (``Settings.misread_paths``).
- Roles, robots' rights, queries and most texts of the REST API, and nginx's HTML, were read or guessed, not observed.
"""

from __future__ import annotations

from registry_fixtures.harbor.fixture import HarborFixture
from registry_fixtures.harbor.people import LoginPace
from registry_fixtures.harbor.settings import Settings

__all__ = ["HarborFixture", "LoginPace", "Settings"]
