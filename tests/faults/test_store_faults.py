"""The store under power cuts, kills, full disks and several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import StoreError
from mirror.layout import ProtectedError, Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_MANIFEST, OCTET_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "public.ecr.aws/eks-anywhere/kind"
PROGRAM = """
import io, json, os, resource, sys
from pathlib import Path
from bundlectl.errors import BundlectlError
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest

def image(store, text):
    layer = store.put(text.encode())
    config = store.put(b"{}")
    return Manifest.render({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(config), "size": 2},
        "layers": [{"mediaType": "application/octet-stream", "digest": str(layer), "size": len(text)}]})

def say(*words):
    print(*words, flush=True)
"""


def start(body: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Run a program against a store in a process of its own."""
    program = PROGRAM + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def image_in(store: Store, text: str) -> Manifest:
    layer, config = store.put(text.encode()), store.put(b"{}")
    return Manifest.render(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor("application/vnd.oci.empty.v1+json", config, 2).to_json(),
            "layers": [Descriptor(OCTET_STREAM, layer, len(text)).to_json()],
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store", create=True).close()
    return tmp_path / "store"


def index_names(path: Path) -> list[str]:
    entries = json.loads((path / "index.json").read_bytes())["manifests"]
    return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    body = """
        store = Store.open(Path(sys.argv[1]), create=True)
        with store:
            for number in range(100):
                shared = image(store, f"shared {number}")
                own = image(store, f"{sys.argv[2]} {number}")
                store.repository("a.example/shared").put_manifest(shared, tag=f"v{number}")
                store.repository("a.example/own").put_manifest(own, tag=f"{sys.argv[2]}-{number}")
    """
    running = [start(body, path, name) for name in ("one", "two", "three")]
    for process in running:
        process.communicate()
        assert process.returncode == 0
    with Store.open(path) as store:
        assert len(store.refs()) == 400
        assert list(store.verify()) == []
    assert len(index_names(path)) == 400
    assert list((path / "bundlectl" / "tmp").iterdir()) == []


def test_processes_that_make_one_store_at_once_agree(tmp_path: Path) -> None:
    body = """
        sys.stdin.readline()
        with Store.open(Path(sys.argv[1]), create=True) as store:
            store.repository("a.example/x").put_manifest(image(store, sys.argv[2]), tag=sys.argv[2])
    """
    running = [start(body, tmp_path / "new", name) for name in ("one", "two", "three")]
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in running:
        process.communicate()
        assert process.returncode == 0
    with Store.open(tmp_path / "new") as store:
        assert store.repository("a.example/x").tags() == ["one", "three", "two"]


def test_a_process_waits_for_another_that_downloads_the_same_blob(path: Path) -> None:
    data = b"x" * 3_000_000
    body = """
        with Store.open(Path(sys.argv[1])) as store:
            descriptor = Descriptor("application/octet-stream", Digest.parse(sys.argv[2]), 3_000_000)
            upload = store.begin_blob(descriptor)
            say("present" if upload == "present" else "begun")
            if upload != "present":
                sys.stdin.readline()
                upload.write(lambda: io.BytesIO(b"x" * 3_000_000))
                say("written")
    """
    first = start(body, path, Digest.of(data))
    assert first.stdout
    assert first.stdout.readline() == "begun\n"
    second = start(body, path, Digest.of(data))
    assert first.communicate("\n")[0] == "written\n"
    assert second.communicate()[0] == "present\n"


def test_a_killed_download_frees_the_blob_and_is_resumed(path: Path) -> None:
    body = """
        class Stuck(io.BytesIO):
            def read(self, size=-1):
                if block := super().read(size):
                    return block
                say("stuck")
                sys.stdin.readline()
        store = Store.open(Path(sys.argv[1]))
        descriptor = Descriptor("application/octet-stream", Digest.parse(sys.argv[2]), 3_000_000)
        store.begin_blob(descriptor).write(lambda: Stuck(b"x" * 2_000_000))
    """
    data = b"x" * 3_000_000
    process = start(body, path, Digest.of(data))
    assert process.stdout
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Store.open(path) as store:
        assert store.size(Digest.of(data)) is None
        upload = store.begin_blob(Descriptor(OCTET_STREAM, Digest.of(data), len(data)))
        assert not isinstance(upload, str)
        assert upload.offset() == 2_000_000
        upload.cancel()


@pytest.mark.parametrize("count", [1, 20, 75])
def test_every_ref_that_was_acknowledged_survives_a_kill(path: Path, count: int) -> None:
    body = """
        store = Store.open(Path(sys.argv[1]))
        for number in range(100_000):
            store.repository("a.example/x", trust="signed").put_manifest(image(store, f"{number}"), tag=f"v{number}")
            say(f"v{number}")
    """
    process = start(body, path)
    assert process.stdout
    told = [process.stdout.readline().strip() for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    told += rest.split()
    with Store.open(path) as store:
        kept = set(store.repository("a.example/x").tags())
        assert set(told) <= kept
        assert {ref.trust for ref in store.refs()} == {"signed"}
        assert sorted(index_names(path)) == sorted(f"a.example/x:{tag}" for tag in kept)
        assert list(store.verify()) == []


def test_a_log_torn_at_any_byte_is_read_up_to_the_last_whole_record(path: Path) -> None:
    with Store.open(path) as store:
        for number in range(4):
            store.repository(NAME).put_manifest(image_in(store, f"{number}"), tag=f"v{number}")
        new = image_in(store, "new")
    log = path / "bundlectl" / "refs.log"
    whole = log.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) + 1, 3):
        log.write_bytes(whole[:cut])
        expected = [f"v{number}" for number in range(whole[:cut].count(b"\n") - 1)]
        with Store.open(path, read_only=True) as reader:
            assert reader.repository(NAME).tags() == expected
        with Store.open(path) as store:
            assert store.repository(NAME).tags() == expected
            assert len(index_names(path)) == len(expected)
            store.repository(NAME).put_manifest(new, tag="new")
        with Store.open(path) as store:
            assert store.repository(NAME).tags() == ["new", *expected]
            assert store._log.damaged == 0
    assert list(path.glob("bundlectl/*damaged*")) == []


def test_a_log_torn_within_its_header_is_rebuilt_from_the_index(path: Path) -> None:
    with Store.open(path) as store:
        store.repository(NAME).put_manifest(image_in(store, "x"), tag="v1")
    log = path / "bundlectl" / "refs.log"
    whole, index = log.read_bytes(), (path / "index.json").read_bytes()
    for cut in range(0, whole.index(b"\n") + 1, 9):
        log.write_bytes(whole[:cut])
        (path / "index.json").write_bytes(index)
        with Store.open(path) as store:
            assert store.repository(NAME).tags() == ["v1"]


def test_damage_in_the_middle_of_the_log_keeps_the_rest_and_is_told(path: Path) -> None:
    with Store.open(path) as store:
        for number in range(5):
            store.repository(NAME).put_manifest(image_in(store, f"{number}"), tag=f"v{number}")
    log = path / "bundlectl" / "refs.log"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[3] = bytes(len(lines[3]))
    log.write_bytes(b"".join(lines))
    with Store.open(path, read_only=True) as reader:
        assert reader.repository(NAME).tags() == ["v0", "v1", "v3", "v4"]
        (problem,) = reader.verify()
        assert (problem.kind, problem.reference) == ("different", str(log))
    with Store.open(path) as store:
        (problem,) = store.verify()
        assert "damaged" in problem.reference
        assert Path(problem.reference).read_bytes() == b"".join(lines)
        Path(problem.reference).unlink()
        assert list(store.verify()) == []
        assert store.repository(NAME).tags() == ["v0", "v1", "v3", "v4"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_ref_that_could_not_be_logged_is_not_acknowledged_and_harms_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with Store.open(path) as store:
        repository = store.repository(NAME)
        first, second = image_in(store, "1"), image_in(store, "2")
        for made in (first, second):
            store.put(made.raw)
        repository.put_manifest(first, tag="v1")
        with monkeypatch.context() as patched:
            patched.setattr(os, call, _failing(getattr(os, call)))
            with pytest.raises(StoreError) as raised:
                repository.put_manifest(second, tag="v2")
            assert raised.value.hint
        assert repository.resolve("v1") == first.descriptor
        repository.put_manifest(second, tag="v3")
        assert {"v1", "v3"} <= set(repository.tags())
    with Store.open(path) as store:
        assert {"v1", "v3"} <= set(store.repository(NAME).tags())
        assert store._log.damaged == 0


def _failing(real: Callable[..., Any]) -> Callable[..., Any]:
    """Half a write, then no space; no fsync at all."""

    def fail(descriptor: int, *data: Any) -> None:
        if data:
            real(descriptor, bytes(data[0])[: len(data[0]) // 2])
        raise OSError(28, "No space left on device")

    return fail


def test_a_file_size_limit_is_told_and_the_download_resumes(path: Path) -> None:
    body = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        data = b"x" * 3_000_000
        with Store.open(Path(sys.argv[1])) as store:
            upload = store.begin_blob(Descriptor("application/octet-stream", Digest.of(data), len(data)))
            try:
                upload.write(lambda: io.BytesIO(data))
            except BundlectlError as error:
                say(type(error).__name__, "ulimit" in error.hint, upload.offset())
            upload.cancel()
    """
    process = start(body, path)
    assert process.communicate()[0] == "StoreError True 1000000\n"
    data = b"x" * 3_000_000
    with Store.open(path) as store:
        upload = store.begin_blob(Descriptor(OCTET_STREAM, Digest.of(data), len(data)))
        assert not isinstance(upload, str)
        assert upload.offset() == 1_000_000
        upload.cancel()


def test_a_store_that_this_user_may_only_read_is_served_and_refused_for_writing(path: Path) -> None:
    with Store.open(path) as store:
        store.repository(NAME).put_manifest(image_in(store, "x"), tag="v1")
    for directory, _, files in os.walk(path):
        for name in files:
            (Path(directory) / name).chmod(0o444)
        Path(directory).chmod(0o555)
    body = """
        os.chdir(sys.argv[1])
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        with Store.open(Path("."), read_only=True) as store:
            say(len(store.refs()), list(store.verify()))
        try:
            Store.open(Path("."))
        except BundlectlError as error:
            say(type(error).__name__, "Permission denied" in error.message, bool(error.hint))
    """
    out, _ = start(body, path).communicate()
    for directory, _, _ in os.walk(path):
        Path(directory).chmod(0o755)
    assert out == "1 []\nStoreError True True\n"


def test_a_full_disk_at_the_index_does_not_lose_refs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(path)
    store.repository(NAME).put_manifest(image_in(store, "x"), tag="v1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _failing(os.write))
        with pytest.raises(StoreError, match="No space"):
            store.close()
    assert index_names(path) == []
    assert list((path / "bundlectl" / "tmp").iterdir()) == []
    with Store.open(path):
        assert index_names(path) == [f"{NAME}:v1"]


def test_threads_share_a_write_and_each_gets_its_own_answer(path: Path) -> None:
    with Store.open(path) as store:
        released, pushed = image_in(store, "released"), image_in(store, "pushed")
        store.repository(NAME, trust="signed").put_manifest(released, tag="taken")

        def put(number: int) -> str:
            repository = store.repository(NAME, trust="pushed")
            try:
                repository.put_manifest(pushed, tag="taken" if number % 10 == 0 else f"v{number}")
            except ProtectedError:
                return "refused"
            return "done"

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(put, range(200)))
        assert [number for number, answer in enumerate(answers) if answer == "refused"] == list(range(0, 200, 10))
        assert len(store.refs()) == 181
        assert store.repository(NAME).resolve("taken") == released.descriptor
    with Store.open(path) as store:
        assert len(store.refs()) == 181


def test_a_forked_child_takes_locks_of_its_own(path: Path) -> None:
    body = """
        store = Store.open(Path(sys.argv[1]))
        made = image(store, "x")
        child = os.fork()
        who = "parent" if child else "child"
        for number in range(100):
            store.repository("a.example/x").put_manifest(made, tag=f"{who}-{number}")
        if child:
            assert os.waitpid(child, 0)[1] == 0
        store.close()
        os._exit(0)
    """
    process = start(body, path)
    process.communicate()
    assert process.returncode == 0
    with Store.open(path) as store:
        assert len(store.refs()) == 200
