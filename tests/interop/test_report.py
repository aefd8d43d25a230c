"""The report of `bundlectl report` in a real browser: it asks for nothing, nothing in it acts, and it prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundles.reporting.page import render_page
from tests.interop.content import write_layout
from tests.interop.programs import Program, bundlectl, chromium, provided
from tests.unit.bundles.reporting.samples import image, lock_of, report_of
from tests.unit.bundles.reporting.test_summaries import SPDX, TRIVY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.interop

_OWN = "not an origin"
ATTACK = "document.title='owned';document.body.innerHTML='<p id=owned>owned</p>'"
HOSTILE = (
    f'</td></table></title></style><script>{ATTACK}</script><img src=http://127.0.0.1:9/x.png onerror="{ATTACK}">'
    f'<svg onload="{ATTACK}"><link rel=stylesheet href=http://127.0.0.1:9/x.css>'
)


@pytest.fixture
def browser(tmp_path: Path) -> Program:
    made = chromium(tmp_path)
    return Program(made.path, made.home, (*made.options, "--disable-dev-shm-usage", "--enable-logging=stderr"))


def requested(browser: Program, page: Path) -> list[str]:
    """The URLs that a browser asked the network for while it showed a page, as its own log of the network has them."""
    log = page.with_suffix(".netlog")
    browser.run("--dump-dom", f"--log-net-log={log}", f"file://{page}", limit=60)
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # What the browser asks on its own account has no origin.
    return [found["url"] for found in events if "url" in found and found.get("initiator", _OWN) != _OWN]


def test_a_report_is_shown_without_any_request_and_without_a_word_of_its_policy(
    browser: Program, tmp_path: Path
) -> None:
    control = tmp_path / "control.html"
    control.write_text("<!DOCTYPE html><title>x</title><img src=http://127.0.0.1:9/control.png>")
    assert requested(browser, control), "the log would not have shown a request"
    lock = lock_of(
        [image(1, name=HOSTILE, components=(HOSTILE,), found_in=(HOSTILE,), media_type=HOSTILE), image(2)],
        weakened=(HOSTILE,),
    )
    page = tmp_path / "report.html"
    page.write_bytes(render_page(report_of(lock, sources=(HOSTILE,))))
    assert requested(browser, page) == []
    outcome = browser.attempt("--dump-dom", f"file://{page}", limit=60)
    assert "<title>What crosses" in outcome.stdout
    assert '<p id="owned">' not in outcome.stdout
    # A browser says so on its console when the policy stopped something: there is nothing to stop.
    assert "Content Security Policy" not in outcome.stderr, outcome.stderr[-2000:]


def test_the_report_of_a_store_reads_well_and_prints(browser: Program, tmp_path: Path) -> None:
    ours = bundlectl(tmp_path)
    ours.run("quickstart", "--dir", tmp_path / "journey")
    page, key = tmp_path / "report.html", tmp_path / "journey" / "site.key.pub"
    ours.run("report", f"store:{tmp_path / 'journey' / 'store'}#v0.24.1", "--verify", key, "--out", page)
    picture, paper = tmp_path / "report.png", tmp_path / "report.pdf"
    browser.run(f"--screenshot={picture}", "--window-size=1200,2200", f"file://{page}", limit=60)
    browser.run(f"--print-to-pdf={paper}", "--no-pdf-header-footer", f"file://{page}", limit=60)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000
    printed = paper.read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type/Page/") + printed.count(b"/Type /Page ") > 3


@pytest.mark.parametrize("name", ["cosign2", "cosign3"])
def test_what_cosign_signs_and_attests_is_summed_up_and_verified(
    name: str, home: Path, crane: Program, served: str
) -> None:
    cosign = Program(provided(name), home, (), {"COSIGN_PASSWORD": "a pass phrase"})
    ours = Program(bundlectl(home).path, home, (), {"COSIGN_PASSWORD": "a pass phrase"})
    cosign.run("generate-key-pair", "--output-key-prefix", "site")
    write_layout(home / "image", seed=1)
    image = f"{served}/site/app:v1"
    crane.run("push", "--index", home / "image", image)
    digest = crane.run("digest", image).strip()
    subject = f"{served}/site/app@{digest}"
    (home / "spdx.json").write_text(json.dumps(SPDX))
    (home / "vuln.json").write_text(json.dumps({"scanner": {"uri": "pkg:trivy", "result": TRIVY}}))
    unlogged = ("--yes", "--tlog-upload=false", "--use-signing-config=false", "--key", home / "site.key")
    cosign.run("sign", *unlogged, subject)
    cosign.run("attest", *unlogged, "--type", "spdxjson", "--predicate", home / "spdx.json", subject)
    cosign.run("attest", *unlogged, "--type", "vuln", "--predicate", home / "vuln.json", subject)

    ours.run("lock", f"image:{image}", "--out", home / "app.lock.json", "--key", home / "site.key")
    options = ("--verify", home / "site.pub", "--out", home / "app.json")
    ours.run("report", home / "app.lock.json", *options)
    (found,) = json.loads((home / "app.json").read_bytes())["artifacts"]
    assert len(found["verifiedBy"]) == 1
    attached = {item["kind"]: item for item in found["attached"]}
    assert set(attached) == {"signature", "sbom", "vulnerabilities"}
    assert attached["signature"]["verifiedBy"] == found["verifiedBy"][0]
    assert [item["packages"] for item in attached["sbom"]["packages"]] == [4]
    (scan,) = attached["vulnerabilities"]["vulnerabilities"]
    assert (scan["counts"]["critical"], scan["counts"]["low"]) == (1, 1)
