"""Every fault that can be injected: tried again, or failed with the right exit code, and nothing wrong published.

After each, the same command without the fault goes on where it stopped, and all is well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from mirror.remote import Credential
from registry_fixtures.accounts import Accounts
from registry_fixtures.faults import (
    Action,
    AlterHeaders,
    CutBody,
    CutUpload,
    Delay,
    ExtraBody,
    Fault,
    FlipByte,
    ForgetAuthorization,
    HangUp,
    IgnoreQuery,
    IgnoreRange,
    MoveLocation,
    Redirect,
    Refuse,
    ShiftRange,
    SlowBody,
    Truncate,
)
from registry_fixtures.features import Features
from registry_fixtures.overload import AtMost, LoseAnswer, StallBody, Swallow
from tests.faults.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Upstream

HTML: Final = b"<html><body><h1>Bad gateway</h1></body></html>"
ALWAYS: Final = None
OTHER_DIGEST: Final = "sha256:" + "0" * 64
NOWHERE: Final = "http://127.0.0.1:1"

MANIFESTS: Final = "/v2/*/manifests/*"
# Of manifests alone: uploads into the repository bundlectl/manifests look like the form above, too.
BY_DIGEST: Final = "/v2/*/manifests/sha256:*"
BLOBS: Final = "/v2/*/blobs/sha256:*"
IMAGES: Final = "/v2/*/eks-distro/*/manifests/*"
COREDNS: Final = "/v2/*coredns*/blobs/sha256:*"
FILES: Final = "/distro.eks.amazonaws.com/*.tar.gz"
UPLOADS: Final = "/v2/*/blobs/uploads/*"
REFERRERS: Final = "/v2/*/referrers/*"
TAGS: Final = "/v2/*/tags/list"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row: what strikes which requests of a command, how often, and how the command ends.

    ``also`` are further faults, without which the first could not strike; ``options`` go to ``Field``.
    """

    command: str
    where: str
    method: str
    path: str
    action: Action
    times: int | None
    exit_code: int
    also: tuple[Fault, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        often = "always" if self.times is None else f"x{self.times}"
        kind = self.path.strip("/*").replace("/v2/*/", "").replace("/", ".").replace("*", "")
        return f"{self.command}-{self.where}-{self.method}-{kind}-{self.action}-{often}-{self.exit_code}"


def _mends(*places: tuple[str, str, str, str]) -> list[Case]:
    """What happens to any server at times, and is mended by asking again: exit 0, or 4 if it never ends."""
    passing: list[Action] = [
        Refuse(429, retry_after="1"),
        Refuse(429),
        Refuse(500),
        Refuse(502, body=HTML),
        Refuse(503, retry_after="0"),
        Refuse(504, body=HTML),
        Refuse(408),
        Refuse(425),
        HangUp(),
    ]
    return [
        Case(command=command, where=where, method=method, path=path, action=action, times=times, exit_code=code)
        for command, where, method, path in places
        for action in passing
        for times, code in ((1, 0), (ALWAYS, 4))
        if times == 1 or action in (Refuse(429), Refuse(503, retry_after="0"), HangUp())
    ]


def _row(
    command: str, where: str, method: str, path: str, action: Action, times: int | None, code: int, **more: Any
) -> Case:
    return Case(
        command=command, where=where, method=method, path=path, action=action, times=times, exit_code=code, **more
    )


IMPATIENT: Final = {"transport": {"read_timeout": 0.1, "retries": 5}}
IMPATIENT_ONCE: Final = {"transport": {"read_timeout": 0.3}}
PATIENT: Final = {"transport": {"retries": 20}}
FORGETS_UPLOADS: Final = {"features": Features(put_limit=0, fragile_uploads=True)}
NO_WHOLE_BLOBS: Final = {"features": Features(put_limit=0)}
CUT_FIRST: Final = (Fault(CutBody(900), method="GET", path=BLOBS, count=1),)
CUT_FILE: Final = (Fault(CutBody(900), method="GET", path=FILES, count=1),)

ROWS: Final = [
    *_mends(
        ("lock", "source", "GET", IMAGES),
        ("lock", "source", "GET", REFERRERS),
        ("download", "source", "GET", MANIFESTS),
        ("download", "source", "GET", BLOBS),
        ("download", "source", "GET", FILES),
        ("mirror", "target", "POST", UPLOADS),
        ("mirror", "target", "PUT", UPLOADS),
        ("mirror", "target", "PUT", MANIFESTS),
    ),
    # A HEAD that is refused is made up for by a GET.
    *[
        _row(command, where, "HEAD", MANIFESTS, action, times, 0)
        for command, where in (("lock", "source"), ("mirror", "target"))
        for action in (Refuse(429, retry_after="1"), Refuse(502, body=HTML), Refuse(503))
        for times in (1, ALWAYS)
    ],
    _row("lock", "source", "HEAD", MANIFESTS, HangUp(), 1, 0),
    _row("lock", "source", "HEAD", MANIFESTS, HangUp(), ALWAYS, 1),
    _row("mirror", "target", "HEAD", MANIFESTS, HangUp(), ALWAYS, 4),
    # What comes is cut, slow, or not what it should be.
    _row("download", "source", "GET", MANIFESTS, CutBody(100), 1, 0),
    _row("download", "source", "GET", MANIFESTS, CutBody(100), ALWAYS, 4),
    _row("download", "source", "GET", MANIFESTS, FlipByte(40), ALWAYS, 3),
    _row("download", "source", "GET", MANIFESTS, Truncate(1), ALWAYS, 3),
    _row("download", "source", "GET", MANIFESTS, ExtraBody(1), ALWAYS, 3),
    _row("download", "source", "GET", MANIFESTS, ExtraBody(5 << 20, silent=True), 1, 3),
    _row("download", "source", "GET", BLOBS, CutBody(900), 2, 0, options=PATIENT),
    _row("download", "source", "GET", BLOBS, CutBody(0), ALWAYS, 4),
    _row("download", "source", "GET", BLOBS, SlowBody(512, 0.002), 3, 0),
    _row("download", "source", "GET", BLOBS, FlipByte(20), 1, 3),
    _row("download", "source", "GET", BLOBS, FlipByte(20), ALWAYS, 3),
    _row("download", "source", "GET", BLOBS, Truncate(5), 1, 0),
    _row("download", "source", "GET", BLOBS, Truncate(5), ALWAYS, 4),
    _row("download", "source", "GET", BLOBS, ExtraBody(5), ALWAYS, 3),
    _row("download", "source", "GET", BLOBS, ExtraBody(5, silent=True), ALWAYS, 3),
    _row("download", "source", "GET", FILES, CutBody(900), 1, 0),
    _row("download", "source", "GET", FILES, FlipByte(20), ALWAYS, 3),
    _row("download", "source", "GET", FILES, Truncate(5), ALWAYS, 4),
    _row("download", "source", "GET", FILES, ExtraBody(5), ALWAYS, 3),
    _row("download", "source", "GET", BLOBS, Delay(0.2), 1, 0, options=IMPATIENT),
    _row("mirror", "source", "GET", BLOBS, CutBody(900), 2, 0, options=PATIENT),
    _row("mirror", "source", "GET", BLOBS, CutBody(0), ALWAYS, 4),
    _row("mirror", "source", "GET", BLOBS, FlipByte(20), ALWAYS, 3),
    _row("mirror", "source", "GET", BLOBS, Truncate(5), ALWAYS, 4),
    _row("mirror", "source", "GET", BLOBS, ExtraBody(5, silent=True), ALWAYS, 3),
    _row("mirror", "source", "GET", FILES, FlipByte(20), ALWAYS, 3),
    # What is asked for is not there, or not for us.
    *[
        _row(command, "source", "GET", path, Refuse(status), ALWAYS, 4)
        for command, path in (
            ("lock", IMAGES),
            ("lock", REFERRERS),
            ("download", MANIFESTS),
            ("download", BLOBS),
            ("download", FILES),
            ("mirror", BLOBS),
        )
        for status in (403, 404, 410)
        if not (path.endswith("referrers/*") and status == 404)
    ],
    # A server that can do less than the specification says.
    _row("lock", "source", "HEAD", MANIFESTS, AlterHeaders(drop=("Docker-Content-Digest",)), ALWAYS, 0),
    _row("lock", "source", "*", MANIFESTS, AlterHeaders(drop=("Docker-Content-Digest",)), ALWAYS, 0),
    _row("lock", "source", "HEAD", MANIFESTS, Refuse(405), ALWAYS, 0),
    _row("lock", "source", "GET", TAGS, Refuse(403), ALWAYS, 0),
    _row("lock", "source", "GET", REFERRERS, Refuse(404), ALWAYS, 0),
    _row("download", "source", "GET", BLOBS, IgnoreRange(), ALWAYS, 0, also=CUT_FIRST),
    _row("download", "source", "GET", FILES, IgnoreRange(), ALWAYS, 0, also=CUT_FILE),
    *[
        _row(command, "source", "GET", path, action, ALWAYS, 0, also=cut)
        for path, cut in ((BLOBS, CUT_FIRST), (FILES, CUT_FILE))
        for command, action in (("mirror", IgnoreRange()), ("mirror", ShiftRange(1)), ("download", ShiftRange(1)))
    ],
    _row("mirror", "target", "POST", UPLOADS, IgnoreQuery(), ALWAYS, 0),
    _row("mirror", "target", "PUT", UPLOADS, Refuse(413, early=True, body=HTML), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, Refuse(413, early=True, body=HTML), ALWAYS, 4),
    _row("mirror", "target", "PUT", MANIFESTS, AlterHeaders(drop=("OCI-Subject",)), ALWAYS, 0),
    # A server that lies.
    _row("lock", "source", "HEAD", MANIFESTS, AlterHeaders({"Docker-Content-Digest": OTHER_DIGEST}), ALWAYS, 4),
    _row("download", "source", "GET", MANIFESTS, AlterHeaders({"Docker-Content-Digest": OTHER_DIGEST}), ALWAYS, 0),
    _row("download", "source", "GET", BLOBS, AlterHeaders({"Docker-Content-Digest": OTHER_DIGEST}), ALWAYS, 0),
    _row("mirror", "target", "HEAD", MANIFESTS, AlterHeaders({"Docker-Content-Digest": OTHER_DIGEST}), 1, 0),
    # A token that runs out; a redirect; a Location elsewhere.
    _row(
        # Once: where two meet on one request, the second is a refusal.
        "download", "source", "GET", BLOBS, ForgetAuthorization(), 1, 0,
        options={"source_accounts": Accounts(scheme="token", anonymous_pull=True)},
    ),
    _row(
        "mirror", "target", "PUT", UPLOADS, ForgetAuthorization(), 1, 0,
        options={
            "accounts": Accounts(scheme="token", users={"robot": "secret"}),
            "credential": Credential("robot", "secret"),
        },
    ),
    _row(
        "mirror", "target", "*", "/v2/*", ForgetAuthorization(), ALWAYS, 1,
        options={
            "accounts": Accounts(scheme="basic", users={"robot": "secret"}),
            "credential": Credential("robot", "secret"),
        },
    ),
    _row("download", "source", "GET", BLOBS, Redirect("{cdn}/moved"), ALWAYS, 4),
    _row("download", "source", "GET", BLOBS, Redirect(NOWHERE), ALWAYS, 4),
    _row("download", "source", "GET", FILES, Redirect("ftp://127.0.0.1"), ALWAYS, 4),
    _row("mirror", "target", "POST", UPLOADS, MoveLocation(NOWHERE), ALWAYS, 4),
    _row("mirror", "target", "POST", UPLOADS, AlterHeaders(drop=("Location",)), 1, 4),
    # A connection that falls silent: in the middle of an answer, before it, and after an upload.
    *[
        _row(command, "source", "GET", COREDNS, StallBody(500, 1.0), times, code, options=IMPATIENT_ONCE)
        for command in ("download", "mirror")
        for times, code in ((1, 0), (ALWAYS, 4))
    ],
    _row("mirror", "target", "POST", UPLOADS, Delay(1.0), 1, 0, options=IMPATIENT_ONCE),
    _row("mirror", "target", "PUT", UPLOADS, Delay(4.0), 1, 0, options=IMPATIENT_ONCE),
    # Slower than the limit for silence as a whole, and never silent.
    _row("download", "source", "GET", BLOBS, SlowBody(64, 0.05), 1, 0, options=IMPATIENT_ONCE),
    _row("mirror", "source", "GET", BLOBS, SlowBody(64, 0.05), 1, 0, options=IMPATIENT_ONCE),
    # What was done although nobody said so, and what was not done although somebody did.
    _row("mirror", "target", "PUT", UPLOADS, LoseAnswer(), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, LoseAnswer(), ALWAYS, 0),
    _row("mirror", "target", "PUT", MANIFESTS, LoseAnswer(), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, Swallow(), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, Swallow(), ALWAYS, 4),
    _row("mirror", "target", "PUT", MANIFESTS, Swallow(), ALWAYS, 4),
    # Uploads in chunks.
    *[
        _row("mirror", "target", "PATCH", UPLOADS, action, times, code, options=NO_WHOLE_BLOBS)
        for action, times, code in (
            (CutUpload(500), 1, 0),
            (CutUpload(0), ALWAYS, 4),
            (HangUp(), 1, 0),
            (LoseAnswer(), 1, 0),
            (Refuse(404, code="BLOB_UPLOAD_UNKNOWN"), 1, 0),
            (Refuse(404, code="BLOB_UPLOAD_UNKNOWN"), ALWAYS, 4),
            (Refuse(416), 1, 0),
            (Refuse(503), 1, 0),
            (Refuse(413, early=True, body=HTML), ALWAYS, 4),
        )
    ],
    _row("mirror", "target", "PATCH", UPLOADS, CutUpload(500), ALWAYS, 4, options=FORGETS_UPLOADS),
    _row("mirror", "target", "PUT", UPLOADS, Refuse(404, code="BLOB_UPLOAD_INVALID"), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, Refuse(501, body=HTML), ALWAYS, 4),
    # A target that lost what it had, and one that says so for ever.
    _row("mirror", "target", "PUT", BY_DIGEST, Refuse(400, code="MANIFEST_BLOB_UNKNOWN"), 1, 0),
    _row("mirror", "target", "PUT", BY_DIGEST, Refuse(400, code="MANIFEST_BLOB_UNKNOWN"), ALWAYS, 4),
    # More at once than the host takes.
    _row("download", "source", "GET", BLOBS, AtMost(1), ALWAYS, 0, options=PATIENT),
    _row("mirror", "target", "*", "/v2/*", AtMost(2), ALWAYS, 0, options=PATIENT),
    # A target that is full, or refuses.
    _row("mirror", "target", "PUT", UPLOADS, Refuse(507), ALWAYS, 4),
    _row("mirror", "target", "PUT", UPLOADS, Refuse(507), 1, 4),
    _row("mirror", "target", "POST", UPLOADS, Refuse(403), ALWAYS, 4),
    _row("mirror", "target", "PUT", MANIFESTS, Refuse(400, code="MANIFEST_INVALID"), ALWAYS, 4),
    _row("mirror", "target", "PUT", MANIFESTS, Refuse(403), ALWAYS, 4),
    _row("mirror", "target", "PUT", UPLOADS, CutUpload(500), 1, 0),
    _row("mirror", "target", "PUT", UPLOADS, CutUpload(500), 2, 0),
    _row("mirror", "target", "PUT|PATCH", UPLOADS, CutUpload(500), ALWAYS, 4),
    _row("mirror", "target", "*", "/v2/*", HangUp(), ALWAYS, 1),
    _row("mirror", "target", "*", "/v2/*", Refuse(503), ALWAYS, 1),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_a_fault_is_mended_or_told_and_the_same_command_resumes(
    case: Case,
    upstream: Upstream,
    registry_factory: Callable[..., ServedRegistry],
    locked: Path,
    tmp_path: Path,
) -> None:
    with Field(upstream, registry_factory, tmp_path, locked, **case.options) as place:
        struck = place.source.faults if case.where == "source" else place.target.registry.faults
        fault = Fault(_told(case.action, place), method=case.method, path=case.path, count=case.times)
        struck.add(fault, *case.also)
        assert place.run(case.command) == case.exit_code, place.told
        assert struck.fired >= (case.times or 1)
        assert bool(place.failed) == (case.exit_code in (3, 4) and case.command != "lock")
        place.check_nothing_wrong_is_published(case.command)
        struck.clear()
        assert place.run(case.command, retries=3) == 0
        if case.command != "lock":
            place.check_nothing_wrong_is_published(case.command)
            assert place.verify(case.command).exit_code == 0


def _told(action: Action, place: Field) -> Action:
    """A redirect to a server of this test, whose port is known only now."""
    if isinstance(action, Redirect) and action.to.startswith("{cdn}"):
        return Redirect(place.source.cdn_url + action.to.removeprefix("{cdn}"))
    return action


@pytest.mark.parametrize(
    "features",
    [
        Features(mount=False),
        Features(referrers_api=False),
        Features(single_post=False, relative_locations=True),
        Features(fragile_uploads=True, put_limit=1000),
        Features(put_limit=1000, chunk_min_length=600),
        Features(sparse_indexes=True, sha512=False, delete=False, catalog=False),
    ],
    ids=repr,
)
def test_a_target_that_can_do_less_gets_everything_nevertheless(
    features: Features,
    upstream: Upstream,
    registry_factory: Callable[..., ServedRegistry],
    locked: Path,
    tmp_path: Path,
) -> None:
    with Field(upstream, registry_factory, tmp_path, locked, features=features) as place:
        assert place.run("mirror") == 0
        place.check_nothing_wrong_is_published("mirror")
        assert place.verify("mirror").findings == []


@pytest.mark.parametrize("features", [Features(referrers_api=False, read_only=True), Features(page_size=1)], ids=repr)
def test_a_source_that_can_do_less_gives_the_same_lock(
    features: Features,
    upstream: Upstream,
    registry_factory: Callable[..., ServedRegistry],
    locked: Path,
    tmp_path: Path,
) -> None:
    with Field(upstream, registry_factory, tmp_path, locked, source_features=features) as place:
        assert place.relock() == locked.read_bytes()


def test_blobs_that_a_registry_hands_out_from_elsewhere_are_fetched_there_without_credentials(
    upstream: Upstream, registry_factory: Callable[..., ServedRegistry], locked: Path, tmp_path: Path
) -> None:
    accounts = Accounts(scheme="token", anonymous_pull=True)
    with Field(upstream, registry_factory, tmp_path, locked, source_accounts=accounts) as place:
        place.source.faults.add(Fault(ToStorage(place.source.cdn_url), method="GET", path=BLOBS))
        assert place.run("download") == 0
        assert place.verify("download").exit_code == 0
        assert place.source.requests.count("GET", "/blobs/sha256/*") > 0


@dataclass(frozen=True)
class ToStorage:
    """Send a GET of a blob to the object storage of the made-up upstream, as ``redirect_blobs`` does."""

    base: str

    def apply(self, request: Any, handler: Any) -> Any:
        algorithm, _, encoded = request.path.rpartition("/")[2].partition(":")
        if handler(request).status != 200:
            return handler(request)
        return Redirect(self.base, path=f"/blobs/{algorithm}/{encoded}").apply(request, handler)
