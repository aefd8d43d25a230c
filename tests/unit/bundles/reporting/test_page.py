"""The page says what must be said, loads nothing, and nothing that it quotes acts."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest

from bundles.reporting.page import render_page
from bundles.reporting.report import Unpinned
from bundles.selection import Selection
from tests.unit.bundles.reporting.samples import image, lock_of, report_of

HOSTILE = "</td></table></style><script>alert(1)</script><img src=//evil.example onerror=alert(1)>\u202e\u0000\x1b[31m"

UNPINNED = (Unpinned(reference="a.example/b:c", code="content", error="why", exit_code=3),)


class Seen(HTMLParser):
    """The elements of a page, with the attributes that could load something."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.links: list[str] = []
        self.meta: dict[str, str] = {}
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.places += [found[name] or "" for name in ("id",) if name in found]
        self.links += [found[name] or "" for name in ("href", "src", "action", "data") if name in found]
        assert not [name for name in found if name.startswith("on") or name in ("style", "srcset", "background")]
        if tag == "meta" and "http-equiv" in found:
            self.meta[found["http-equiv"] or ""] = found["content"] or ""


def test_the_page_loads_nothing_and_every_link_leads_into_itself() -> None:
    seen = Seen(render_page(report_of(lock_of(map(image, range(30))))))
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "base"} & set(seen.tags)
    assert seen.links
    assert {link.removeprefix("#") for link in seen.links} <= set(seen.places)
    assert all(link.startswith("#") for link in seen.links)
    assert len(seen.places) == len(set(seen.places))
    policy = seen.meta["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_hostile_names_are_shown_and_do_not_act() -> None:
    lock = lock_of(
        [image(1, name=HOSTILE, components=(HOSTILE,), found_in=(HOSTILE,), media_type=HOSTILE)],
        weakened=(HOSTILE,),
        excluded=(),
    )
    unpinned = (Unpinned(reference=HOSTILE, code="x", error=HOSTILE, exit_code=3),)
    page = render_page(report_of(lock, sources=(HOSTILE,), unpinned=unpinned))
    seen = Seen(page)
    assert not {"script", "img"} & set(seen.tags)
    assert b"&lt;script&gt;" in page
    assert not re.search("[\u202e\x00\x1b]", page.decode())
    assert page.count(b"</style>") == 1


def test_the_same_report_gives_the_same_bytes() -> None:
    artifacts = [image(number) for number in range(20)]
    assert render_page(report_of(lock_of(artifacts))) == render_page(report_of(lock_of(artifacts)))


def test_a_release_of_1000_artifacts_takes_less_than_two_seconds() -> None:
    report = report_of(lock_of(map(image, range(1000))))
    began = time.process_time()
    page = render_page(report)
    seconds = time.process_time() - began
    assert page.count(b"registry.example/team/tool-") >= 1000
    assert seconds < 2, seconds


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "no signed lock was given"),
        ({}, "10 artifacts under no verified signature"),
        ({}, "1 thing decided or weakened trust"),
        ({}, "vulnerability reports name 9 critical and 9 high"),
        ({}, "Nothing was given to compare with"),
        ({}, "registry.example/left:v1"),
        ({}, "MIT 120"),
        ({}, "says itself: key abc"),
        ({"unpinned": UNPINNED}, "a.example/b:c"),
        ({"unpinned": UNPINNED}, "1 artifact could not be pinned, and would not cross"),
    ],
)
def test_what_a_reviewer_must_know_is_said(more: dict[str, Any], told: str) -> None:
    assert told in render_page(report_of(lock_of(map(image, range(10))), **more)).decode()


def test_a_name_that_only_looks_like_another_is_asked_about() -> None:
    url = "https://ex\u0430mple.com/a.yaml"
    made = image(1, type="file", reference=url, platforms=(), referrers=())
    assert "1 name with letters that may look like others" in render_page(report_of(lock_of([made, image(2)]))).decode()


def test_what_a_selection_leaves_out_is_said() -> None:
    chosen = {**Selection().to_json(), "kubeVersions": ["1.33"], "platforms": ["linux/amd64"], "referrers": False}
    page = render_page(report_of(lock_of([image(1)], selection=chosen))).decode()
    assert (
        "Chosen was only Kubernetes 1.33; only the platforms linux/amd64; no signatures, SBOMs and attestations."
        in page
    )
    assert "Chosen was" not in render_page(report_of(lock_of([image(1)]))).decode()


def test_sizes_count_what_is_shared_once() -> None:
    report = report_of(lock_of(map(image, range(3))))
    shares = {share.name: share for share in report.by_component()}
    # A manifest and eight layers of its own, and two that it shares.
    assert shares["component-00"].size == 11_000
    assert shares["component-00"].own == 9_000
    assert report.size == 3 * 9_000 + 2_000 + 100
    (images,) = report.by_type()
    assert (images.name, images.artifacts, images.size, images.own) == ("image", 3, 29_000, 29_000)


def test_many_components_are_folded_in_the_chart_and_listed_below_it() -> None:
    page = render_page(report_of(lock_of(map(image, range(40))))).decode()
    chart = page[page.index("<svg") : page.index("</svg>")]
    assert "26 others" in chart
    assert "component-39" not in chart
    assert "component-39" in page


def test_an_artifact_that_a_chart_names_is_shown_with_it() -> None:
    chart = image(1, type="chart", name="tool", reference="registry.example/charts/tool:1.0.0_build")
    named = image(2, components=(), found_in=("tool-1.0.0+build!values.yaml:3",))
    loose = image(3, components=(), found_in=())
    report = report_of(lock_of([chart, named, loose]))
    shown = {item.artifact.name: item for item in report.artifacts}
    assert (shown["tool-2"].package, shown["tool-2"].component) == ("tool", "component-01")
    assert shown["tool-2"].release == shown["tool"].release != ""
    assert shown["tool-3"].release == ""
    assert "Named by a source itself" in render_page(report).decode()
