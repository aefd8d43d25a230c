"""The Secret that says how the mirror is reached, and the pull secret that is made of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bundlectl.errors import ConfigError
from controller.mirrors import MirrorSettings, read_settings


def secret(**data: str) -> dict[str, Any]:
    return {"data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}}


def test_it_is_awss() -> None:
    found = read_settings(
        secret(
            ENDPOINT="mirror.example:5000", USERNAME="site", PASSWORD="a: b", CACERTCONTENT="PEM\n", INSECURE="false\n"
        )
    )
    assert found == MirrorSettings(
        endpoint="mirror.example:5000", username="site", password="a: b", authority="PEM", insecure=False
    )
    assert "a: b" not in repr(found)


def test_an_endpoint_is_reached_over_tls_or_not_at_all() -> None:
    assert read_settings(secret(ENDPOINT="https://mirror.example/eks")).endpoint == "mirror.example"
    with pytest.raises(ConfigError, match="ENDPOINT is a URL of another kind"):
        read_settings(secret(ENDPOINT="http://mirror.example"))


def test_a_pull_secret_lets_nodes_in_and_tells_them_whom_to_trust() -> None:
    settings = MirrorSettings(endpoint="mirror.example", username="site", password="x", authority="PEM")
    data = settings.pull_secret()
    assert data is not None
    login = json.loads(base64.b64decode(data[".dockerconfigjson"]))["auths"]["mirror.example"]
    assert base64.b64decode(login["auth"]) == b"site:x"
    assert base64.b64decode(data["ca.crt"]) == b"PEM"
    assert MirrorSettings(endpoint="mirror.example").pull_secret() is None


def test_another_password_is_another_mirror() -> None:
    one, two = (MirrorSettings(endpoint="m", username="u", password=text) for text in ("a", "b"))
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize("value", ["%%%", base64.b64encode(b"\xff").decode(), "A" * 100_000])
def test_one_that_is_malformed_is_told_without_what_is_in_it(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"data": {"PASSWORD": value}})
    assert "PASSWORD" in caught.value.message
    assert value not in str(caught.value)
