"""Two network namespaces with no route between them but a folder: a release, its change, and whoever plays it back."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from tests.interop.content import write_layout
from tests.interop.namespaces import Namespace, namespace
from tests.interop.programs import Program, bundlectl, docker_registry, embedded_registry, provided

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop

SITE = "registry.site.example"
IMAGES = ("app", "agent", "proxy")
PASSWORD = "a pass phrase"
NO_LOG = ("--yes", "--tlog-upload=false", "--use-signing-config=false")
TARGETS = ("docker-registry", "serve")
SPLIT = "128KiB"
LATER = 3600
"""Seconds between one export and the next."""

POLICY = """
apiVersion: bundlectl.dev/v1alpha1
kind: Policy
spec:
  identities:
    team: {key: %s}
  rules:
  - match: ["registry.site.example/*"]
    types: [image]
    signedBy: [team]
  - match: ["*"]
    trust: declared
"""


@dataclass
class Outside:
    """The connected side: an upstream on its own loopback, and where it is."""

    place: Namespace
    folder: Path
    registry: str
    origins: tuple[str, ...]
    documents: tuple[Path, ...]
    cosign: Program
    crane: Program
    ours: Program
    exports: int = 0

    def run(self, *arguments: str | Path) -> Any:
        with self.place.entered():
            return self.ours.document(*arguments, "-o", "json")

    def sign(self, image: str, tag: str, seed: int, platforms: tuple[str, ...] = ("amd64", "arm64")) -> None:
        """Push an image and sign it, as another team does."""
        layout = self.folder / "layouts" / f"{image}-{tag}-{seed}-{len(platforms)}-{platforms[-1]}"
        write_layout(layout, seed=seed, platforms=platforms)
        name = f"{self.registry}/team/{image}:{tag}"
        with self.place.entered():
            self.crane.run("push", layout, name)
            self.cosign.run("sign", *NO_LOG, "--allow-insecure-registry", "--key", self.folder / "team.key", name)

    def lock(self, name: str) -> Path:
        """Resolve everything, and sign what came out."""
        path = self.folder / f"{name}.lock.json"
        images = [f"image:{SITE}/team/{image}:v1" for image in IMAGES]
        with self.place.entered():
            self.ours.run(
                *("lock", *self.documents, *images, "--verify", "off", *self.origins),
                *("--key", self.folder / "transfer.key", "--out", path),
            )
        return path

    def export(self, source: str | Path, to: Path, *options: str | Path) -> Any:
        """Export, an hour after the export before."""
        self.exports += 1
        later = {"SOURCE_DATE_EPOCH": str(1_800_000_000 + LATER * self.exports)}
        program = replace(self.ours, environment={**self.ours.environment, **later})
        key = ("--key", self.folder / "transfer.key")
        with self.place.entered():
            return program.document("export", source, "--to", to, *key, *options, "-o", "json")


@dataclass(frozen=True)
class Gap:
    """Both sides, and what was made on the connected one: an archive of a release, and one of what it became."""

    outside: Outside
    inside: Namespace
    old_lock: Path
    new_lock: Path
    old: Path
    new: Path
    store: Path
    policy: Path

    def trusting(self) -> tuple[str | Path, ...]:
        return ("--key", self.outside.folder / "transfer.key.pub", "--policy", self.policy)


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gap]:
    folder = tmp_path_factory.mktemp("gap")
    home = folder / "home"
    home.mkdir()
    program = Program(provided("cosign2"), home, (), {"COSIGN_PASSWORD": PASSWORD})
    with ExitStack() as opened:
        connected, disconnected = opened.enter_context(namespace()), opened.enter_context(namespace())
        upstream = opened.enter_context(Upstream.synthesise(sample_documents(), scale=1e-5))
        with connected.entered():
            registry = opened.enter_context(docker_registry(folder / "upstream"))
            served = opened.enter_context(upstream.serve())
        documents = tuple(path for path in upstream.write_documents(folder / "documents") if "bundle" in path.name)
        origins = tuple(item for pair in (*served.origins, f"{SITE}={registry}") for item in ("--origin", pair))
        crane = Program(provided("crane"), home, ("--insecure",))
        outside = Outside(connected, folder, registry, origins, documents, program, crane, bundlectl(home))
        program.run("generate-key-pair", "--output-key-prefix", folder / "team")
        outside.ours.run("keys", "generate", folder / "transfer.key")
        policy = folder / "site-policy.yaml"
        policy.write_text(POLICY % (folder / "team.pub"))
        for seed, image in enumerate(IMAGES):
            outside.sign(image, "v1", seed)
        store, old, new = folder / "store", folder / "medium" / "release", folder / "medium" / "changed"
        old_lock = outside.lock("release")
        download = ("--store", store, "--verify", folder / "transfer.key.pub", *origins)
        outside.run("download", old_lock, *download, "--name", "release")
        outside.export(f"store:{store}#release", old, "--split-size", SPLIT, "--parity", "2")
        # The tag moves on to an image that has one platform in common with the one before; another one is new.
        outside.sign("app", "v1", 0, ("amd64", "s390x"))
        outside.sign("proxy", "v1", 100)
        new_lock = outside.lock("changed")
        outside.run("download", new_lock, *download, "--name", "changed")
        outside.export(f"store:{store}#changed", new, "--split-size", SPLIT)
        yield Gap(outside, disconnected, old_lock, new_lock, old, new, store, policy)


@dataclass(frozen=True)
class Site:
    """The disconnected side: its program, and a registry of its own."""

    gap: Gap
    ours: Program
    target: str
    kept: Path

    def run(self, *arguments: str | Path) -> Any:
        with self.gap.inside.entered():
            return self.ours.document(*arguments, "-o", "json")

    def attempt(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        with self.gap.inside.entered():
            return self.ours.attempt(*arguments, "-o", "json")

    def bring(self, archive: Path, *options: str) -> Any:
        where = ("--store", self.kept) if not self.target else ("--to", self.target)
        return self.run("import", archive, *where, *self.gap.trusting(), *options)

    def refuse(self, archive: Path, *options: str | Path) -> str:
        """Import, expect that all of it is refused; what was said."""
        where = ("--store", self.kept) if not self.target else ("--to", self.target)
        outcome = self.attempt("import", archive, *where, *options)
        assert outcome.returncode == 3, outcome.stdout + outcome.stderr
        error = json.loads(outcome.stdout)["error"]
        return f"{error['message']} {error['hint']}"

    def verify(self, lock: Path) -> Any:
        return self.run("verify", f"registry:{self.target}", "--against", lock, "--deep")

    def files(self) -> dict[str, tuple[int, int]]:
        """All content that is kept at the site: files with their sizes and times."""
        found = {str(path): path.lstat() for path in self.kept.rglob("*") if path.is_file()}
        # The embedded registry writes this one a while after the change that it tells of.
        late = ("log", "lock", "/index.json")
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items() if not name.endswith(late)}

    def names(self) -> Any:
        """What every name at the site stands for."""
        taken = self.ours.home / "names.inventory.json"
        self.run("inventory", f"registry:{self.target}" if self.target else f"store:{self.kept}", "--out", taken)
        return json.loads(taken.read_bytes())["subject"]


@pytest.fixture
def site(request: pytest.FixtureRequest, gap: Gap, tmp_path: Path, home: Path) -> Iterator[Site]:
    """An empty site: a docker-registry, ``bundlectl serve``, or a bare store."""
    kept = tmp_path / "kept"
    with ExitStack() as opened:
        with gap.inside.entered():
            if request.param == "docker-registry":
                target = f"{opened.enter_context(docker_registry(kept))}/eks"
            elif request.param == "serve":
                target = f"{opened.enter_context(embedded_registry(tmp_path / 'serve', kept))}/eks"
            else:
                target = ""
        yield Site(gap, bundlectl(home), target, kept)


def inventory_of(archive: Path) -> Any:
    """The statement that an archive's inventory is, taken out of its envelope by hand."""
    (file,) = archive.glob("*.inventory.json")
    return json.loads(base64.b64decode(json.loads(file.read_bytes())["dsseEnvelope"]["payload"]))["predicate"]


def blobs_of(lock: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(lock.read_bytes())["blobs"]
    return found


def unpacked(archive: Path, to: Path) -> Path:
    """``cat VOLUMES | tar x``, by those two programs."""
    to.mkdir()
    volumes = sorted(archive.glob("*.tar"))
    with subprocess.Popen(["cat", *volumes], stdout=subprocess.PIPE) as cat:
        subprocess.run(["tar", "--extract", "--directory", to], stdin=cat.stdout, check=True)
    return to


def test_neither_side_reaches_the_other(gap: Gap) -> None:
    host, _, port = gap.outside.registry.partition(":")
    with gap.outside.place.entered(), closing(socket.create_connection((host, int(port)), timeout=5)):
        pass
    with gap.inside.entered():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
        assert len(Path("/proc/thread-self/net/route").read_text().splitlines()) == 1


@pytest.mark.parametrize("site", TARGETS, indirect=True)
def test_a_release_crosses_and_then_what_it_became(gap: Gap, site: Site, tmp_path: Path) -> None:
    outside, carried = gap.outside, tmp_path / "carried"
    report = site.bring(gap.old)
    assert report["artifacts"]["done"] == report["artifacts"]["total"] > len(IMAGES)
    assert report["requests"]["source"] == 0
    assert report["lacking"] == []
    (lock,) = gap.old.glob("*.lock.json")
    assert lock.read_bytes() == gap.old_lock.read_bytes()
    assert site.verify(lock)["verified"]
    with gap.inside.entered():
        for image in IMAGES:
            name = f"{site.target}/team/{image}:v1"
            outside.cosign.run("verify", "--key", outside.folder / "team.pub", "--insecure-ignore-tlog", name)
    # What the site has goes out, signed.
    site.ours.run("keys", "generate", site.ours.home / "site.key")
    taken = tmp_path / "site.inventory.json.gz"
    site.run("inventory", f"registry:{site.target}", "--out", taken, "--key", site.ours.home / "site.key")
    told = outside.run("diff", taken, gap.new_lock, *outside.origins)
    assert {item["reference"].partition(":")[0] for item in told["changed"]} == {
        f"{SITE}/team/app",
        f"{SITE}/team/proxy",
    }
    source, since = f"store:{gap.store}#changed", ("--since", taken)
    planned = outside.export(source, carried, *since, "--dry-run")
    assert not carried.exists()
    assert planned["bytes"]["total"] - planned["bytes"]["present"] == told["bytes"] > 0
    written = outside.export(source, carried, *since, "--split-size", SPLIT)
    assert written["bytes"]["total"] - written["bytes"]["present"] == told["bytes"]
    members = {
        item["digest"]: item["size"] for item in inventory_of(carried)["archive"]["members"] if "name" not in item
    }
    assert sum(members.values()) == told["bytes"]
    assert not members.keys() & blobs_of(gap.old_lock).keys()
    layout = unpacked(carried, tmp_path / "layout")
    assert {f"sha256:{path.name}": path.stat().st_size for path in layout.glob("blobs/sha256/*")} == members
    report = site.bring(carried)
    assert report["requests"]["source"] == 0
    assert report["lacking"] == []
    assert site.verify(gap.new_lock)["verified"]
    assert outside.run("diff", taken, gap.new_lock, *outside.origins)["bytes"] == told["bytes"]
    site.run("inventory", f"registry:{site.target}", "--out", taken)
    assert outside.run("diff", taken, gap.new_lock, *outside.origins)["bytes"] == 0


@pytest.mark.parametrize("site", ["store", *TARGETS], indirect=True)
def test_an_old_archive_that_is_played_back_is_refused(gap: Gap, site: Site) -> None:
    site.bring(gap.old)
    site.bring(gap.new)
    before = site.files(), site.names()
    said = site.refuse(gap.old, *gap.trusting())
    assert f"{SITE}/team/app:v1" in said or "eks/team/app:v1" in said
    assert "--allow-rollback" in said
    assert (site.files(), site.names()) == before
    # What did not move since is no reason to refuse.
    assert site.bring(gap.new)["artifacts"]["failed"] == 0
    assert site.bring(gap.old, "--allow-rollback")["artifacts"]["failed"] == 0
    if site.target:
        assert site.verify(gap.old_lock)["verified"]


@pytest.mark.parametrize("site", ["store", *TARGETS], indirect=True)
def test_an_archive_that_the_site_does_not_trust_leaves_no_trace(gap: Gap, site: Site) -> None:
    before = site.files()
    folder, ours = gap.outside.folder, site.ours
    assert "nobody is named" in site.refuse(gap.old)
    ours.run("keys", "generate", ours.home / "stranger.key")
    assert "signature" in site.refuse(gap.old, "--key", ours.home / "stranger.key.pub")
    strict = ours.home / "policy.yaml"
    strict.write_text(POLICY % (ours.home / "stranger.key.pub"))
    said = site.refuse(gap.old, "--key", folder / "transfer.key.pub", "--policy", strict)
    assert all(f"{SITE}/team/{image}:v1" in said for image in IMAGES)
    if site.target:
        assert site.files() == before
    else:
        assert [name for name in site.files() if "/blobs/" in name] == []


def test_the_volumes_are_a_layout_that_skopeo_and_crane_read(gap: Gap, tmp_path: Path) -> None:
    layout = unpacked(gap.old, tmp_path / "layout")
    skopeo = Program(provided("skopeo"), gap.outside.ours.home, ("--insecure-policy",))
    for image in IMAGES:
        name = f"{SITE}/team/{image}:v1"
        found = skopeo.document("inspect", "--raw", f"oci:{layout}:{name}")
        assert {item["platform"]["architecture"] for item in found["manifests"]} == {"amd64", "arm64"}
        skopeo.run("copy", "--all", f"oci:{layout}:{name}", f"oci:{tmp_path / image}:copy")
    with gap.outside.place.entered():
        gap.outside.crane.run("push", "--index", layout, f"{gap.outside.registry}/pushed/layout:all")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=gap.old, check=True)
    assert len(list(gap.old.glob("*.tar"))) > 3
    assert [path.suffix for path in gap.old.iterdir() if ".tar" in path.name] == [".tar"] * len(
        list(gap.old.glob("*.tar"))
    )


@pytest.mark.parametrize("lost", [slice(1, 3), slice(-2, None)], ids=["in the middle", "with the signatures"])
def test_any_two_volumes_may_be_lost_on_the_way(gap: Gap, tmp_path: Path, lost: slice) -> None:
    carried, store = tmp_path / "carried", tmp_path / "store"
    shutil.copytree(gap.old, carried)
    key = ("--key", gap.outside.folder / "transfer.key.pub")
    ours = gap.outside.ours
    volumes = sorted(carried.glob("*.tar"))
    whole = {path.name: path.read_bytes() for path in volumes}
    gone, damaged = volumes[lost]
    gone.unlink()
    content = bytearray(damaged.read_bytes())
    content[700] ^= 1
    damaged.write_bytes(content)
    outcome = ours.attempt("verify", f"archive:{carried}", *key, "-o", "json")
    *_, found = json.loads(outcome.stdout)
    assert outcome.returncode == 3
    assert (found["repairable"], found["lacking"]) == (True, 0)
    assert [item["reference"] for item in found["missing"]] == [gone.name]
    assert [item["reference"] for item in found["different"]] == [damaged.name]
    report = ours.document("import", carried, "--store", store, *gap.trusting(), "-o", "json")
    assert sorted(report["volumes"]["repaired"]) == [gone.name, damaged.name]
    assert {path.name: path.read_bytes() for path in volumes} == whole
    assert ours.attempt("verify", f"archive:{carried}", *key).returncode == 0


def test_two_media_that_were_written_on_different_days_are_one_archive(gap: Gap, tmp_path: Path) -> None:
    source, split = f"store:{gap.store}#release", ("--split-size", SPLIT)
    first, second = tmp_path / "first", tmp_path / "second"
    gap.outside.export(source, first, *split, "--volumes", "1-3")
    count = len(list(gap.old.glob("*.tar")))
    gap.outside.export(source, second, *split, "--volumes", f"4-{count}")
    for medium in (first, second):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=medium, check=True)
    key = ("--key", gap.outside.folder / "transfer.key.pub")
    ours = gap.outside.ours
    part = ours.attempt("import", first, "--store", tmp_path / "store", *key, "-o", "json")
    assert part.returncode == 4
    missing = [item["name"] for item in json.loads(part.stdout)["volumes"]["problems"]]
    assert missing == [f"release-{number:04}.tar" for number in range(4, count + 1)]
    report = ours.document("import", second, first, "--store", tmp_path / "store", *key, "-o", "json")
    assert (report["artifacts"]["failed"], report["lacking"], report["volumes"]["problems"]) == (0, [], [])


def test_a_lost_volume_can_be_written_again_as_it_was(gap: Gap, tmp_path: Path) -> None:
    again, lost = tmp_path / "again", "release-0002"
    shutil.copytree(gap.old, again)
    (again / f"{lost}.tar").unlink()
    (again / f"{lost}.sum.json").unlink()
    options = ("--split-size", SPLIT, "--parity", "2", "--volumes", "2")
    written = gap.outside.export(f"store:{gap.store}#release", again, *options)
    assert [item["name"] for item in written["volumes"]] == [f"{lost}.tar"]
    signed = "release.inventory.json"
    for path in gap.old.iterdir():
        if path.name not in (signed, "SHA256SUMS"):
            assert (again / path.name).read_bytes() == path.read_bytes()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=again, check=True)
    assert (again / "SHA256SUMS").read_text().count("\n") == (gap.old / "SHA256SUMS").read_text().count("\n")


@pytest.mark.parametrize("site", ["store", *TARGETS], indirect=True)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "the last one first"])
def test_one_drive_is_enough_for_two_media(gap: Gap, site: Site, tmp_path: Path, order: tuple[int, ...]) -> None:
    media = tmp_path / "first", tmp_path / "second"
    shutil.copytree(gap.old, media[0])
    media[1].mkdir()
    for path in gap.old.glob("release.*"):
        shutil.copy(path, media[1])
    volumes = sorted(media[0].glob("*.tar"))
    for path in (*media[0].glob("*.parity"), *volumes[len(volumes) // 2 :]):
        path.rename(media[1] / path.name)
    where = ("--store", site.kept) if not site.target else ("--to", site.target)
    first, second = (site.attempt("import", media[number], *where, *gap.trusting()) for number in order)
    assert first.returncode == 4, first.stdout
    assert second.returncode == 0, second.stdout
    if site.target:
        assert site.verify(gap.old_lock)["verified"]
