"""What people are told when a cluster cannot be reached."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from controller import packages_cluster
from controller.api import ClusterError
from controller.packages_cluster import ClusterAccess

if TYPE_CHECKING:
    from pathlib import Path

KUBECONFIG = """\
current-context: a
clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: x}}]
"""


class Clusters:
    """Has another cluster, which does not answer either; or fails as it is told."""

    fails: ClusterError | None = None

    def __init__(self, _api: object, _own: str, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig = folder / "field.kubeconfig"
        self.kubeconfig.write_bytes(kubeconfig.read_bytes())

    def get(self, _name: str) -> SimpleNamespace:
        if self.fails is not None:
            raise self.fails
        return SimpleNamespace(kubeconfig=self.kubeconfig)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages_cluster, "Clusters", Clusters)
    (tmp_path / "config").write_text(KUBECONFIG)
    (tmp_path / "private").mkdir()
    return tmp_path / "config"


def hint_where(kubeconfig: Path, *, elsewhere: bool) -> str:
    with pytest.raises(ClusterError) as refused:
        ask(kubeconfig, elsewhere=elsewhere)
    return str(refused.value.hint)


def ask(kubeconfig: Path, *, elsewhere: bool) -> None:
    with ClusterAccess(kubeconfig) as access:
        if not elsewhere:
            access.get("/version")
        with access.workload("field", kubeconfig.parent / "private") as there:
            there.get("/version")


def test_a_cluster_that_another_manages_is_not_told_by_a_file_that_is_gone(kubeconfig: Path) -> None:
    assert f"is {kubeconfig} for the cluster that is meant" in hint_where(kubeconfig, elsewhere=False)
    told = hint_where(kubeconfig, elsewhere=True)
    assert "eksa-system/field-kubeconfig" in told
    assert str(kubeconfig.parent) not in told


@pytest.mark.parametrize(
    ("artifact", "told"), [("field/version", "eksa-system/field-kubeconfig"), ("https://127.0.0.1:1/api", "config")]
)
def test_whose_login_does_not_count_is_told(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, artifact: str, told: str
) -> None:
    monkeypatch.setattr(Clusters, "fails", ClusterError("Unauthorized", artifact=artifact, status=401))
    hint = hint_where(kubeconfig, elsewhere=True)
    assert (told in hint, str(kubeconfig) in hint) == (True, told == "config")
