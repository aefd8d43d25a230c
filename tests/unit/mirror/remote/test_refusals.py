"""What Harbor, its proxy and others refuse is explained, with what to do about it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import BundlectlError, RegistryError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCTET_STREAM
from mirror.remote.errors import explain
from tests.unit.mirror.remote.test_harbor import connect, made

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mirror.remote import RemoteRegistry, RemoteRepository
    from registry_fixtures.harbor import HarborFixture
    from tests.unit.mirror.remote.conftest import FakeRegistry

__all__ = ["connect"]

BLOB = Descriptor(OCTET_STREAM, Digest.of(b"data" * 1000), 4000)


@pytest.fixture
def repository(harbor: HarborFixture, connect: Callable[..., RemoteRegistry]) -> Callable[..., RemoteRepository]:
    def make(name: str = "team/app", **project: Any) -> RemoteRepository:
        harbor.add_project("team", **project)
        robot = harbor.add_robot("copier")
        return connect(harbor, robot.name, robot.secret).repository(name)

    return make


def push(repository: RemoteRepository) -> None:
    begun = repository.begin_blob(BLOB)
    assert not isinstance(begun, str)
    begun.write(lambda: io.BytesIO(b"data" * 1000))


def refused(attempt: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(RegistryError) as caught:
        attempt()
    return caught.value.message, caught.value.hint or ""


def test_a_quota_that_is_used_up(repository: Callable[..., RemoteRepository]) -> None:
    message, hint = refused(lambda: push(repository(quota=1000)))
    assert "upper limit" in message
    assert "raise it" in hint


def test_a_tag_that_a_rule_makes_immutable(harbor: HarborFixture, repository: Callable[..., RemoteRepository]) -> None:
    held = repository()
    old = made("old")
    harbor.put_blob("team/app", b"{}")
    harbor.put_manifest("team/app", old.raw, tag="v1")
    harbor.add_immutable_rule("team")
    message, hint = refused(lambda: held.put_manifest(made("new"), tag="v1"))
    assert "configured as immutable" in message
    assert "except it from the rule" in hint
    held.put_manifest(old, tag="v1")


def test_a_proxy_cache(repository: Callable[..., RemoteRepository]) -> None:
    message, hint = refused(lambda: push(repository(proxy=True)))
    assert "proxy project" in message
    assert "--to or --map" in hint


def test_read_only_mode(harbor: HarborFixture, repository: Callable[..., RemoteRepository]) -> None:
    held = repository()
    harbor.settings.read_only = True
    message, hint = refused(lambda: push(held))
    assert "read only mode" in message
    assert "maintenance" in hint


def test_images_with_vulnerabilities(harbor: HarborFixture, repository: Callable[..., RemoteRepository]) -> None:
    held = repository(metadata={"prevent_vul": "true", "severity": "high"})
    image = made("image", config={"mediaType": "application/vnd.oci.image.config.v1+json", **CONFIG})
    harbor.put_blob("team/app", b"{}")
    harbor.put_manifest("team/app", image.raw, tag="v1")
    message, hint = refused(lambda: held.manifest(image.descriptor))
    assert "vulnerab" in message
    assert "allow the CVEs" in hint


CONFIG = {"digest": str(Digest.of(b"{}")), "size": 2}


def test_the_registrys_log_is_named_where_it_has_more(
    harbor: HarborFixture, repository: Callable[..., RemoteRepository]
) -> None:
    _, hint = refused(lambda: push(repository(quota=1)))
    assert "under request id " in hint
    assert harbor.requests.count(status=403)


def script(fake: FakeRegistry, status: int, head: dict[str, str], body: bytes) -> None:
    fake.before = lambda _asked: (status, head, body)


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (400, b"<html><center>Request Header Or Cookie Too Large</center></html>", "token is larger than the proxy"),
        (413, b"<html>413 Request Entity Too Large</html>", "raise that limit"),
        (414, b"<html>414 Request-URI Too Large</html>", "length of URLs"),
        (412, b'{"errors":[{"code":"VIOLATE_FOREIGN_KEY_CONSTRAINT","message":"x"}]}', "delete that one first"),
        (403, b'{"errors":[{"code":"FORBIDDEN","message":"CSRF token not found in request"}]}', "adds a cookie"),
        (403, b"", "may not do this"),
    ],
)
def test_pages_of_proxies_and_bare_codes_are_understood(
    fake: FakeRegistry, registry: RemoteRegistry, status: int, body: bytes, fix: str
) -> None:
    script(fake, status, {"Content-Type": "text/html"}, body)
    message, hint = refused(lambda: registry.repository("team/app").tags())
    assert str(status) in message
    assert "<" not in message
    assert fix in hint


def test_an_error_without_a_word_about_a_long_name_is_explained_by_its_length(
    fake: FakeRegistry, registry: RemoteRegistry
) -> None:
    script(fake, 500, {"Content-Type": "application/json"}, b"{}")
    _, hint = refused(lambda: registry.repository("team/" + "a" * 245).begin_blob(BLOB))
    assert "250 characters" in hint
    assert "245" in hint
    with pytest.raises(BundlectlError) as caught:
        registry.repository("team/app").begin_blob(BLOB)
    assert "characters" not in (caught.value.hint or "")


def test_half_of_a_pair_of_surrogates_does_not_get_any_further() -> None:
    told = explain(b'{"errors":[{"code":"DENIED","message":"half of a pair \\ud800"}]}', "application/json")
    assert told.message == "half of a pair \ufffd"
