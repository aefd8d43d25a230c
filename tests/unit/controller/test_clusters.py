"""Kubeconfigs that somebody put into a Secret."""

from __future__ import annotations

import base64
import copy
import json
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import BundlectlError, ContentError, MissingError
from controller.api import ClusterError
from controller.clusters import Clusters, read_kubeconfig
from controller.connecting import connect

if TYPE_CHECKING:
    from pathlib import Path

    from controller.api import Api

GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "clusters": [{"name": "a", "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": "eA=="}}],
    "users": [{"name": "a", "user": {"client-certificate-data": "eA==", "client-key-data": "eA=="}}],
}


def read(document: dict[str, Any]) -> dict[str, Any]:
    return read_kubeconfig(json.dumps(document).encode(), origin="the Secret")


def test_one_with_all_it_needs_in_it_is_taken() -> None:
    assert read(GOOD) == GOOD


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("user", {"exec": {"command": "/bin/sh"}}),
        ("user", {"auth-provider": {"name": "oidc"}}),
        ("user", {"tokenFile": "/var/run/secrets/token"}),
        ("user", {"client-certificate": "/etc/passwd"}),
        ("user", {"client-key": "/etc/passwd"}),
        ("user", {"as": "system:admin"}),
        ("cluster", {"certificate-authority": "/etc/passwd"}),
        ("cluster", {"insecure-skip-tls-verify": True}),
        ("cluster", {"proxy-url": "http://elsewhere"}),
        ("context", {"extensions": []}),
    ],
)
def test_one_that_runs_programs_or_names_files_is_refused(kind: str, entry: dict[str, Any]) -> None:
    document = copy.deepcopy(GOOD)
    document[f"{kind}s"][0][kind] |= entry
    with pytest.raises(ContentError, match=next(iter(entry))):
        read(document)


@pytest.mark.parametrize("server", ["http://10.0.0.1", "unix:///run/api", ""])
def test_one_that_is_not_reached_by_https_is_refused(server: str) -> None:
    document = copy.deepcopy(GOOD)
    document["clusters"][0]["cluster"]["server"] = server
    with pytest.raises(ContentError, match="https"):
        read(document)


@pytest.mark.parametrize(
    "raw",
    [
        b"users: [{name: a, user: 3}]",
        b"clusters: [3]",
        b"- a",
        b"a: [",
        b"x: " + b"y" * 300_000,
        b"users: {a: {exec: {command: x}}}",
        b"Users: [{name: a, user: {exec: {command: x}}}]",
        b"{}",
    ],
)
def test_one_that_is_malformed_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_kubeconfig(raw, origin="the Secret")


VALUES = st.none() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})


@settings(deadline=None)
@given(
    st.sampled_from(["clusters", "users", "contexts", "current-context", "kind"]),
    VALUES
    | st.lists(
        st.fixed_dictionaries(
            {"name": VALUES, "user": VALUES | st.just({"token": 1}) | st.just({"client-key-data": "!"})}
        ),
        max_size=2,
    ),
)
def test_whatever_a_kubeconfig_says_it_can_be_used_or_is_refused(name: str, value: Any) -> None:
    try:
        connect(read({**GOOD, name: value}), "field").close()
    except BundlectlError:
        return


class Home:
    """The API server of the own cluster, with the kubeconfigs of others."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: ClusterError | None = None
        self.hang = threading.Event()
        self.hang.set()

    def within(self, seconds: float) -> Home:
        assert seconds <= 10
        return self

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/version"
        self.asked += 1
        assert self.hang.wait(10)
        if self.failure is not None:
            raise self.failure
        return {"major": "1", "minor": "33+"}

    def find(self, path: str) -> dict[str, Any] | None:
        name = path.rpartition("/")[2]
        assert path.startswith("/api/v1/namespaces/eksa-system/secrets/")
        self.asked += 1
        assert self.hang.wait(10)
        if name == "absent-kubeconfig":
            return None
        document = copy.deepcopy(GOOD)
        document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
        authority = base64.b64encode(b"an authority of its own").decode()
        document["clusters"][0]["cluster"]["certificate-authority-data"] = authority
        for part in ("client-certificate-data", "client-key-data"):
            del document["users"][0]["user"][part]
        return {"data": {"value": base64.b64encode(json.dumps(document).encode()).decode()}}


def clusters_of(home: Home, folder: Path, now: list[float]) -> Clusters:
    return Clusters(cast("Api", home), "site", folder / "own.kubeconfig", folder / "clusters", clock=lambda: now[0])


def test_a_cluster_that_does_not_answer_is_not_asked_by_everyone(tmp_path: Path) -> None:
    home, now = Home(), [0.0]
    clusters = clusters_of(home, tmp_path, now)
    home.failure = ClusterError("no answer", artifact="site", status=0)
    for _ in range(5):
        with pytest.raises(ClusterError):
            clusters.get("site")
    assert home.asked == 1
    home.failure = None
    now[0] += 11
    assert clusters.get("site").version == "1.33"
    assert clusters.get("site").version == "1.33"
    assert home.asked == 2


def fails(clusters: Clusters, name: str) -> None:
    with pytest.raises(BundlectlError):
        clusters.get(name)


def test_who_asks_for_one_cluster_does_not_wait_for_another_that_hangs(tmp_path: Path) -> None:
    home, now = Home(), [0.0]
    clusters = clusters_of(home, tmp_path, now)
    assert clusters.get("site").version == "1.33"
    fails(clusters, "absent")
    now[0] += 30
    home.hang.clear()
    waiting = threading.Thread(target=fails, args=(clusters, "absent"))
    waiting.start()
    while home.asked < 3:
        assert not threading.Event().wait(0.01)
    assert clusters.get("site").version == "1.33"
    fails(clusters, "absent")  # what was found last, while somebody looks again
    home.hang.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_names_that_somebody_makes_up_are_not_remembered_for_ever(tmp_path: Path) -> None:
    class Empty(Home):
        def find(self, path: str) -> None:
            del path

    clusters = clusters_of(Empty(), tmp_path, [0.0])
    clusters.get("site")
    for number in range(1200):
        fails(clusters, f"none-{number}")
    assert len(clusters._known) <= 501
    assert "site" in clusters._known


@pytest.mark.parametrize("name", ["../secrets/far", "a/b", "", "-", "A", "x" * 254, "..", "a\n"])
def test_what_is_no_name_of_a_cluster_becomes_part_of_no_path(tmp_path: Path, name: str) -> None:
    class Asked(Home):
        def find(self, path: str) -> dict[str, Any] | None:
            pytest.fail(f"{path} was asked for")

    with pytest.raises(MissingError, match="no cluster is called so"):
        clusters_of(Asked(), tmp_path, [0.0]).get(name)


def test_a_cluster_whose_name_is_that_of_a_file_of_ours_does_not_replace_it(tmp_path: Path) -> None:
    own = tmp_path / "own.kubeconfig"
    own.write_text("ours")
    with pytest.raises(ClusterError):
        clusters_of(Home(), tmp_path, [0.0]).get("own")
    assert own.read_text() == "ours"
    written = list((tmp_path / "clusters").iterdir())
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    # The authority, too, is in a file for OpenSSL: not among those that a kill leaves in everybody's folder.
    assert {path.read_bytes() for path in written if path.name != "own.kubeconfig"} == {b"an authority of its own"}
