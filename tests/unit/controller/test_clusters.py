"""Kubeconfigs that somebody put into a Secret."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from bundlectl.errors import ContentError
from controller.clusters import read_kubeconfig

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
    "raw", [b"users: [{name: a, user: 3}]", b"clusters: [3]", b"- a", b"a: [", b"x: " + b"y" * 300_000]
)
def test_one_that_is_malformed_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_kubeconfig(raw, origin="the Secret")
