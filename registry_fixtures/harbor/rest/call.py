"""One call of the REST API: who calls, what the path says, and what nearly every call needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from registry_fixtures.harbor.refusals import HarborError, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_fixtures.exchange import Answer, Request
    from registry_fixtures.harbor.database import Database, Project
    from registry_fixtures.harbor.identity import Identity

__all__ = ["Call", "forbidden", "unprocessable"]

_PAGE_SIZE: Final = 10
_LARGEST_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a route matched; ``values`` holds the parts of the path, decoded."""

    request: Request
    identity: Identity
    database: Database
    values: Mapping[str, str]

    def login(self) -> None:
        """Go on for anybody with a name.

        Raises:
            HarborError: 401.
        """
        if not self.identity.name:
            raise HarborError("UNAUTHORIZED", "unauthorized")

    def system(self, right: str) -> None:
        """Go on for whoever has a right on the system.

        Raises:
            HarborError: 401, 403.
        """
        self.login()
        if not (self.identity.administrator or self.identity.may_system(right)):
            raise HarborError("FORBIDDEN", self.identity.name)

    def project(self, right: str) -> Project:
        """The project in the path, for whoever has a right there.

        Raises:
            HarborError: 401, 403; 404 to administrators alone, so that nobody learns what exists.
        """
        text = self.values["project"]
        found = self._project(text)
        if found is None:
            self.login()
            if not self.identity.administrator:
                raise forbidden()
            raise HarborError("NOT_FOUND", f"project {text} not found")
        self.require(right, found)
        return found

    def nowhere(self) -> bool:
        """Whether an administrator asks about a project that does not exist, which some calls do not notice."""
        return self.identity.administrator and self._project(self.values["project"]) is None

    def require(self, right: str, project: Project) -> None:
        """Go on for whoever has a right in a project.

        Raises:
            HarborError: 401, 403.
        """
        if not self.identity.may(right, project):
            self.login()
            raise forbidden()

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent.

        Raises:
            HarborError: 422, sent as something else or malformed.
        """
        declared = self.request.header("content-type")
        media_type = declared.partition(";")[0].strip()
        raw = self.request.body.read()
        if media_type != "application/json":
            shown = declared or "application/octet-stream"
            raise unprocessable(f'unsupported media type "{shown}", only [application/json] are allowed')
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise unprocessable(f'parsing body from "" failed, because {error}') from error
        if not isinstance(value, dict):
            raise unprocessable("body in body must be of type object")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A query parameter that is true or false."""
        text = self.request.asked(name)
        return default if not text else text.lower() in ("true", "1")

    def page(self, rows: list[dict[str, Any]], *, all_by_minus_one: bool = False) -> Answer:
        """One page of rows, with Link and X-Total-Count.

        Args:
            rows: all there are.
            all_by_minus_one: whether ``page_size=-1`` gives all rows; the Link then still names a
                next page, as Harbor's does.

        Raises:
            HarborError: 422, a page or page size out of range.
        """
        number, size = self._number("page", 1), self._number("page_size", _PAGE_SIZE)
        if size > _LARGEST_PAGE:
            raise unprocessable(f"page_size in query should be less than or equal to {_LARGEST_PAGE}")
        whole = size == -1 and all_by_minus_one
        if size < 0 and not whole:
            raise unprocessable("page_size in query should be greater than or equal to 0")
        first = 0 if whole else (number - 1) * size
        shown = rows if whole else rows[first : first + size]
        links = []
        if number > 1:
            links.append(self._link(number - 1, size, "prev"))
        if whole or first + size < len(rows):
            links.append(self._link(number + 1, size, "next"))
        headers = {"X-Total-Count": str(len(rows)), **({"Link": " , ".join(links)} if links else {})}
        return json_answer(shown, HTTPStatus.OK, headers)

    def _link(self, number: int, size: int, relation: str) -> str:
        query = {**dict(self.request.query), "page": str(number), "page_size": str(size)}
        path = self.request.target.partition("?")[0] or self.request.path
        return f'<{path}?{urlencode(sorted(query.items()))}>; rel="{relation}"'

    def _number(self, name: str, default: int) -> int:
        text = self.request.asked(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise unprocessable(f'{name} in query must be of type int64: "{text}"') from None

    def _project(self, text: str) -> Project | None:
        by_name = self.request.header("x-is-resource-name").lower() == "true"
        if text.isdecimal() and not by_name:
            return next((found for found in self.database.projects.values() if found.number == int(text)), None)
        return self.database.projects.get(text)


def forbidden() -> HarborError:
    """The 403 of somebody who is known and may not."""
    return HarborError("FORBIDDEN", "forbidden")


def unprocessable(said: str) -> HarborError:
    """The 422 for what the API's description does not allow."""
    return HarborError("UNPROCESSABLE_ENTITY", said)
