"""The page of `bundlectl serve` in a real browser: it reads well, and nothing in it acts."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.interop.programs import Program, bundlectl, free_port, provided, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
)
ATTACK = "document.title='owned';document.body.innerHTML='<p id=owned>owned</p>'"
HOSTILE = f'</td></table></title></style><script>{ATTACK}</script><img src=x onerror="{ATTACK}"><svg onload="{ATTACK}">'


@pytest.fixture
def browser(tmp_path: Path) -> Program:
    return Program(provided("chromium"), tmp_path, (*OPTIONS, f"--user-data-dir={tmp_path / 'profile'}"))


@contextmanager
def serving(folder: Path, store: Path) -> Iterator[str]:
    """`bundlectl serve` as a process; yields its URL."""
    program = bundlectl(folder)
    log = folder / "serve.log"
    with running(
        [program.path, "serve", "--store", store, "--listen", f"127.0.0.1:{free_port()}", "--read-only"],
        environment=program.variables(),
        log=log,
        ready=lambda: "listening on" in log.read_text(),
    ):
        found = re.search(r"listening on (\S+)", log.read_text())
        assert found
        yield found[1]


def image(store: Store, configuration: bytes, **more: object) -> Manifest:
    config = {"mediaType": OCI_CONFIG, "digest": str(store.put(configuration)), "size": len(configuration)}
    return Manifest.render({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], **more})


def hostile_store(folder: Path) -> Path:
    """Everything in it that is free text is an attack on whoever reads the page."""
    path = folder / "store"
    with Store.open(path, create=True) as store:
        store.put(b"{}")
        repository = store.repository("test/repo", trust="pushed")
        manifest = image(store, json.dumps({"os": HOSTILE, "architecture": HOSTILE}).encode())
        repository.put_manifest(manifest, tag="v1")
        descriptor = {"mediaType": OCI_MANIFEST, "digest": str(manifest.descriptor.digest), "size": len(manifest.raw)}
        empty = {"mediaType": EMPTY, "digest": str(Digest.of(b"{}")), "size": 2}
        attached = {"artifactType": HOSTILE, "subject": descriptor, "config": empty, "layers": [empty]}
        repository.put_manifest(image(store, b"{}", **attached))
        platform = {"os": HOSTILE, "architecture": HOSTILE, "variant": HOSTILE}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**descriptor, "platform": platform}]}
        repository.put_manifest(Manifest.render(index), tag="v2")
        odd = image(store, b"{}", artifactType=HOSTILE, annotations={"org.opencontainers.image.title": HOSTILE})
        repository.put_manifest(odd, tag="v3")
        hint = {"verificationMaterial": {"publicKey": {"hint": HOSTILE}}}
        store.put_collection("release", json.dumps({"kind": HOSTILE}).encode(), json.dumps(hint).encode())
    return path


@pytest.mark.parametrize("query", ["", "?repository=test/repo", "?q=%22%3E%3Cscript%3Edocument.title%3D%27owned%27"])
def test_what_somebody_pushed_does_not_act_in_the_browser(browser: Program, tmp_path: Path, query: str) -> None:
    with serving(tmp_path, hostile_store(tmp_path)) as url:
        outcome = browser.attempt("--dump-dom", f"{url}/{query}", limit=60)
    dom = outcome.stdout
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert "<title>" in dom
    assert "owned" not in re.sub(r"&lt;script&gt;.*?&lt;/script&gt;|document\.title='owned'[^<]*", "", dom)
    assert '<p id="owned">' not in dom
    assert not re.search(r"<(script|img|svg|iframe)\b", dom)
    # A browser says so on its console when the policy stopped something: there is nothing to stop.
    assert "Content Security Policy" not in outcome.stderr, outcome.stderr[-2000:]


def test_a_release_is_shown_with_its_packages_and_who_signed(browser: Program, tmp_path: Path) -> None:
    bundlectl(tmp_path).run("quickstart", "--dir", tmp_path / "journey")
    picture = tmp_path / "page.png"
    with serving(tmp_path, tmp_path / "journey" / "store") as url:
        dom = browser.run("--dump-dom", f"{url}/", limit=60)
        browser.run(f"--screenshot={picture}", "--window-size=1200,1400", f"{url}/", limit=60)
        names = re.findall(r'href="/\?repository=([^"]+)"', dom)
        detail = browser.run("--dump-dom", f"{url}/?repository={names[0]}", limit=60)
    assert "Packages and charts" in dom
    assert "Lock signed by" in dom
    assert "key " in dom
    assert "Content Security Policy" not in dom
    assert "linux/amd64" in detail or "helm install" in detail
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
