"""An import into a Harbor, whose projects are not made by pushing and whose robots may do little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import VerificationError
from bundlectl.operations.importing import import_into_registry
from bundles.plan import Naming
from mirror.remote import Credential
from tests.unit.bundlectl.operations.carrying import Carrier

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.importing import ImportReport
    from bundlectl.operations.preflight import Visibility
    from registry_fixtures.harbor import HarborFixture
    from tests.unit.bundlectl.operations.site import Site

ADMIN = ("admin", "Harbor12345")


class Into:
    """Imports into a Harbor."""

    def __init__(self, site: Site, harbor: HarborFixture) -> None:
        self.carrier = Carrier(site)
        self.harbor = harbor

    def bring(
        self, folder: Path, *, to: str, account: tuple[str, str] = ADMIN, create: Visibility | None = None
    ) -> ImportReport:
        naming = Naming.parse(f"{self.harbor.host}/{to}" if to else self.harbor.host)
        self.carrier.site.explicit = {self.harbor.host: Credential(*account)}
        with self.carrier.site.session() as session:
            return import_into_registry(
                self.carrier.believing(), (folder,), target=naming, session=session, create_projects=create
            )

    def kept(self) -> list[str]:
        return [told for told in self.carrier.warnings() if "does not keep" in told]


@pytest.fixture
def into(site: Site, harbor: HarborFixture) -> Into:
    return Into(site, harbor)


@pytest.mark.parametrize("to", ["eks", ""])
def test_a_harbor_remembers_what_was_imported(into: Into, tmp_path: Path, to: str) -> None:
    old, new = into.carrier.moved_names(tmp_path)
    assert into.bring(new, to=to, create="private").exit_code == 0
    assert not into.kept()
    with pytest.raises(VerificationError, match="would move back"):
        into.bring(old, to=to)


def test_what_a_harbor_has_no_place_for_is_remembered_by_the_machine(into: Into, tmp_path: Path) -> None:
    old, new = into.carrier.moved_names(tmp_path)
    into.carrier.site.memory = tmp_path / "state"
    into.harbor.add_project("moving")
    robot = into.harbor.add_robot("copier")
    account = (robot.name, robot.secret)
    assert into.bring(new, to="", account=account).exit_code == 0
    assert [told for told in into.kept() if "only this machine remembers" in told]
    with pytest.raises(VerificationError, match="would move back"):
        into.bring(old, to="", account=account)
