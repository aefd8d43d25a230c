from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.helm import images, values
from bundles.helm.appversion import app_version_tag
from bundles.helm.archive import read_chart
from bundles.helm.images import find_images
from bundles.helm.yamlnodes import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundles.helm.appversion import AppVersionTag
    from bundles.helm.archive import Chart
    from bundles.helm.yamlnodes import Node

    PackChart = Callable[..., bytes]
    Images = set[tuple[str, str, str]]
    Reasons = set[tuple[str, str]]
    Find = Callable[..., tuple[Images, Reasons]]

SHA = "sha256:" + "1" * 64


@pytest.fixture
def find(pack_chart: PackChart) -> Find:
    """Finds the images of a chart with these files: references by place, and reasons by reference."""

    def run(files: dict[str, str | bytes], **options: str) -> tuple[Images, Reasons]:
        found = find_images(read_chart(pack_chart(files), origin="web.tgz"), **options)
        images = {(image.reference, str(image.digest or ""), image.where) for image in found.images}
        return images, {(item.reference, item.reason) for item in found.excluded}

    return run


def test_a_repository_with_a_tag_is_found_with_its_line(find: Find) -> None:
    images, excluded = find({"values.yaml": "# top\nimage:\n  repository: r.example/a/web\n  tag: v1\n"})

    assert images == {("r.example/a/web:v1", "", "web-1.2.3!values.yaml:3")}
    assert not excluded


@pytest.mark.parametrize(
    ("values", "reference", "digest"),
    [
        ("image: {registry: r.example, repository: a/web, tag: v1}", "r.example/a/web:v1", ""),
        ("image: {registry: r.example, repository: r.example/a/web, tag: v1}", "r.example/a/web:v1", ""),
        ("image: {repository: 'localhost:5000/web', tag: v1}", "localhost:5000/web:v1", ""),
        ("sourceRegistry: r.example/eks\nimage: {repository: web, tag: v1}", "r.example/eks/web:v1", ""),
        ("global: {imageRegistry: r.example}\nimage: {repository: a/web, tag: v1}", "r.example/a/web:v1", ""),
        (f"image: {{repository: r.example/web, digest: '{SHA}'}}", f"r.example/web@{SHA}", SHA),
        (f"image: {{repository: r.example/web, tag: v1, digest: '{SHA}'}}", "r.example/web:v1", SHA),
        (f"image: {{repository: r.example/web, tag: '{SHA}'}}", f"r.example/web@{SHA}", SHA),
        (f"image: {{repository: r.example/web, tag: v1, sha: '{'1' * 64}'}}", "r.example/web:v1", SHA),
        (f"image: {{repository: r.example/web, tag: 'v1@{SHA}'}}", "r.example/web:v1", SHA),
        ("image: r.example/web:v1", "r.example/web:v1", ""),
        (f"image: r.example/web:v1@{SHA}", "r.example/web:v1", SHA),
        ("image: r.example/web\ntag: v1", "r.example/web:v1", ""),
        ("fullyQualifiedImage: r.example/web:v1", "r.example/web:v1", ""),
        ("initImage: r.example/web:v1", "r.example/web:v1", ""),
        ("list:\n- deep:\n  - image: {repository: r.example/web, tag: v1}", "r.example/web:v1", ""),
        ("image: {repository: r.example/web, tag: 1.10}", "r.example/web:1.1", ""),
        ("image: {repository: r.example/web, tag: '1.10'}", "r.example/web:1.10", ""),
        ("image: {repository: r.example/web, tag: 20240101}", "r.example/web:20240101", ""),
        ("base: &b {registry: r.example, tag: v1}\nimage: {<<: *b, repository: web}", "r.example/web:v1", ""),
    ],
)
def test_an_image_is_put_together_as_the_templates_would(find: Find, values: str, reference: str, digest: str) -> None:
    images, excluded = find({"values.yaml": values})

    assert {(name, sha) for name, sha, _ in images} == {(reference, digest)}
    assert not excluded


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("image: {repository: library/nginx, tag: v1}", "names no registry"),
        ("image: nginx:1.25", "names no registry"),
        ("image: {repository: r.example/Bad_Name, tag: v1}", "is not an image reference"),
        ("image: {repository: r.example/web, tag: '{{ .Values.x }}'}", "is computed by a template"),
    ],
)
def test_what_cannot_be_decided_is_listed_with_its_reason(find: Find, values: str, reason: str) -> None:
    images, excluded = find({"values.yaml": values})

    assert not images
    assert [why for _, why in excluded] == [reason]


@pytest.mark.parametrize(
    "values",
    [
        "repository: https://charts.example\ntag: x",
        "git: {repository: 'git@github.com:a/b.git', tag: v1}",
        "image: {repository: '', tag: v1}",
        "image:",
        "image: {}",
        "pullImage: true",
        "image: busybox",
        "",
        "[]",
    ],
)
def test_what_is_no_image_is_passed_over(find: Find, values: str) -> None:
    assert find({"values.yaml": values}) == (set(), set())


def test_a_given_source_registry_replaces_the_charts_own(find: Find) -> None:
    images, _ = find(
        {"values.yaml": "sourceRegistry: old.example\nimage: {repository: web, tag: v1}"},
        source_registry="1.dkr.example",
    )

    assert {name for name, _, _ in images} == {"1.dkr.example/web:v1"}


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("{{ .Values.image.tag | default .Chart.AppVersion }}", "v9.9"),
        ('{{ .Values.image.tag | default (printf "v%s" .Chart.AppVersion) }}', "vv9.9"),
        ("app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}", "v9.9"),
    ],
)
def test_a_missing_tag_is_the_app_version_as_the_templates_write_it(find: Find, template: str, tag: str) -> None:
    images, excluded = find(
        {"values.yaml": "image:\n  repository: r.example/web\n  tag: ''\n", "templates/d.yaml": template}
    )

    assert images == {(f"r.example/web:{tag}", "", "web-1.2.3!values.yaml:2 with appVersion")}
    assert not excluded


def test_a_library_chart_may_say_how_the_app_version_becomes_a_tag(find: Find) -> None:
    images, _ = find(
        {
            "values.yaml": "image: {repository: r.example/web}",
            "templates/d.yaml": '{{ include "lib.image" . }}',
            "charts/lib/Chart.yaml": "name: lib\nversion: 1.0.0\n",
            "charts/lib/templates/_i.tpl": '{{ default (printf "x%s" .Chart.AppVersion) .tag }}',
        }
    )

    assert {name for name, _, _ in images} == {"r.example/web:xv9.9"}


@pytest.mark.parametrize(
    ("chart", "template", "reason"),
    [
        ("name: web\nversion: 1.2.3\n", "", "names no tag and no digest, and the chart has no appVersion"),
        (
            "name: web\nversion: 1.2.3\nappVersion: '1'\n",
            "image: {{ .Values.image.repository }}",
            "names no tag and no digest, and no template uses the chart's appVersion",
        ),
        (
            "name: web\nversion: 1.2.3\nappVersion: '1'\n",
            'tag {{ .Chart.AppVersion }}\ntag {{ printf "v%s" .Chart.AppVersion }}',
            "names no tag, and the templates make several of the chart's appVersion",
        ),
        ("name: web\nversion: 1.2.3\nappVersion: 1+2\n", "", "names no tag, and the appVersion 1+2 is not one"),
    ],
)
def test_a_tag_is_never_guessed(find: Find, chart: str, template: str, reason: str) -> None:
    files: dict[str, str | bytes] = {"Chart.yaml": chart, "values.yaml": "image: {repository: r.example/web}"}
    if template:
        files["templates/d.yaml"] = template

    images, excluded = find(files)

    assert not images
    assert excluded == {("r.example/web", reason)}


def test_a_plus_is_replaced_as_the_template_says(find: Find) -> None:
    images, _ = find(
        {
            "Chart.yaml": "name: web\nversion: 1.2.3\nappVersion: 1.0+x\n",
            "values.yaml": "image: {repository: r.example/web}",
            "templates/d.yaml": '{{ .Values.image.tag | default (.Chart.AppVersion | replace "+" "_") }}',
        }
    )

    assert {name for name, _, _ in images} == {"r.example/web:1.0_x"}


def test_a_parents_values_win_over_those_of_a_vendored_chart(find: Find, pack_chart: PackChart) -> None:
    inner = pack_chart(
        {"values.yaml": "image:\n  repository: r.example/cache\n  tag: old\nside: {image: r.example/side:1}\n"},
        name="cache",
    )
    images, excluded = find({"values.yaml": "cache: {image: {tag: new}}\n", "charts/cache.tgz": inner})

    assert images == {
        ("r.example/cache:new", "", "web-1.2.3!charts/cache.tgz/values.yaml:2"),
        ("r.example/side:1", "", "web-1.2.3!charts/cache.tgz/values.yaml:4"),
    }
    assert not excluded


def test_a_chart_vendored_under_two_aliases_gives_the_images_of_both(find: Find) -> None:
    images, _ = find(
        {
            "Chart.yaml": "name: web\nversion: 1.2.3\ndependencies:\n"
            "- {name: db, alias: main, version: 1.x}\n- {name: db, alias: copy, version: 1.x}\n",
            "values.yaml": "main: {image: {tag: v1}}\ncopy: {image: {tag: v2}}\nglobal: {imageRegistry: r.example}\n",
            "charts/db/Chart.yaml": "name: db\nversion: 1.0.0\n",
            "charts/db/values.yaml": "image: {repository: a/db, tag: v0}\n",
        }
    )

    assert {name for name, _, _ in images} == {"r.example/a/db:v1", "r.example/a/db:v2"}


def test_the_images_of_requires_yaml_are_found(find: Find) -> None:
    images, excluded = find(
        {
            "values.yaml": "sourceRegistry: public.ecr.aws/eks-anywhere\n",
            "requires.yaml": f"kind: Requires\nspec:\n  images:\n  - repository: hello\n    tag: v1\n"
            f"    digest: {SHA}\n  - repository: other\n    digest: {SHA}\n",
        }
    )

    assert images == {
        ("public.ecr.aws/eks-anywhere/hello:v1", SHA, "web-1.2.3!requires.yaml:4"),
        (f"public.ecr.aws/eks-anywhere/other@{SHA}", SHA, "web-1.2.3!requires.yaml:7"),
    }
    assert not excluded


def test_the_images_of_the_artifact_hub_annotation_are_found(find: Find) -> None:
    chart = (
        "name: web\nversion: 1.2.3\nannotations:\n  artifacthub.io/images: |\n"
        "    - name: a\n      image: r.example/a:1\n    - name: b\n      image: b:2\n"
    )
    images, excluded = find({"Chart.yaml": chart})

    assert images == {("r.example/a:1", "", "web-1.2.3!Chart.yaml:4")}
    assert excluded == {("b:2", "names no registry")}


def test_a_broken_annotation_is_left_out_and_said(find: Find) -> None:
    _, excluded = find({"Chart.yaml": "name: web\nversion: 1.2.3\nannotations:\n  artifacthub.io/images: '[a: {'\n"})

    assert excluded == {("artifacthub.io/images", "the annotation is not YAML")}


def test_literal_image_lines_of_templates_are_found(find: Find) -> None:
    template = (
        "a:\n  - image: r.example/a:1\n    image: 'r.example/b:2' # why\n"
        '    "image": "{{ .Values.x }}/c:3"\n  image: {{ .x }}\n    # image: r.example/no:1\n    image: busybox:1\r\n'
    )
    images, excluded = find({"templates/sub/d.yaml": template, "templates/logo.png": b"\nimage: r.example/x:1\n"})

    assert images == {
        ("r.example/a:1", "", "web-1.2.3!templates/sub/d.yaml:2"),
        ("r.example/b:2", "", "web-1.2.3!templates/sub/d.yaml:3"),
    }
    assert excluded == {("busybox:1", "names no registry")}


_DOUBLED = "a0: &a0 {image: r.example/x:1}\n" + "".join(
    f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}\n" for n in range(1, 40)
)
_CHAINED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 70))
_MERGED = (
    "l: &l ["
    + ",".join("{" + ",".join(f"k{n}_{m}: 1" for m in range(40)) + "}" for n in range(40))
    + "]\n"
    + "".join(f"m{n}: {{<<: *l}}\n" for n in range(700))
)


@pytest.mark.parametrize("text", [_DOUBLED, _CHAINED, _MERGED, "%TAG ! x\n---\na: 1\n"])
def test_yaml_that_grows_when_it_is_read_is_refused(find: Find, text: str) -> None:
    with pytest.raises(ContentError, match=r"values|%TAG") as caught:
        find({"values.yaml": text})

    assert (caught.value.artifact or "").startswith("web-1.2.3!values.yaml")
    assert caught.value.hint


def test_aliases_and_merge_keys_of_usual_size_are_read(find: Find) -> None:
    images, _ = find({"values.yaml": "a: &a {repository: r.example/x, tag: 1}\nb: {<<: *a, tag: 2}\nc: *a\n"})

    assert {name for name, _, _ in images} == {"r.example/x:1", "r.example/x:2"}


def test_aliases_of_charts_that_multiply_are_refused(find: Find) -> None:
    def chart(name: str, inner: str) -> str:
        rows = "".join(f"- {{name: {inner}, alias: {inner}{n}}}\n" for n in range(20)) if inner else ""
        return f"name: {name}\nversion: 1.2.3\ndependencies:\n{rows}"

    files = {
        "Chart.yaml": chart("web", "b"),
        "charts/b/Chart.yaml": chart("b", "c"),
        "charts/b/charts/c/Chart.yaml": chart("c", ""),
    }

    with pytest.raises(ContentError, match="vendored more than"):
        find(files)


@pytest.mark.parametrize("text", ["a: [", "a: *unknown", "a: &a [*a]", "[" * 100 + "]" * 100, "\x07"])
def test_broken_values_are_an_error_that_names_the_file(find: Find, text: str) -> None:
    with pytest.raises(ContentError) as caught:
        find({"values.yaml": text})

    assert (caught.value.artifact or "").startswith("web-1.2.3!values.yaml")


_KEYS = st.sampled_from(["image", "repository", "tag", "digest", "registry", "sourceRegistry", "global", "x", "<<"])
_TEXTS = st.sampled_from(["r.example/a", "r.example/a:1", "a", "{{ x }}", SHA, "", "https://x", "@", ":", "1.0"])
_VALUES = st.recursive(
    _TEXTS | st.none() | st.integers(), lambda deeper: st.lists(deeper) | st.dictionaries(_KEYS, deeper), max_leaves=20
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES))
def test_any_values_give_pinned_references_or_a_reason(pack_chart: PackChart, values: dict[str, object]) -> None:
    raw = pack_chart({"values.yaml": json.dumps(values)})

    for image in find_images(read_chart(raw, origin="web.tgz")).images:
        assert image.digest or ":" in image.reference.rpartition("/")[2]


ALIASED = "name: web\nversion: 1.2.3\nappVersion: v9\ndependencies:\n" + "".join(
    f"- {{name: sub, alias: a{number}}}\n" for number in range(290)
)


def test_aliases_of_very_many_charts_of_one_name_are_refused_at_once(find: Find) -> None:
    aliases = "".join(f"- {{name: sub, alias: a{number}}}\n" for number in range(5_000))
    below = {f"charts/{number}/Chart.yaml": "name: sub\nversion: 1.0.0\n" for number in range(5_000)}
    with pytest.raises(ContentError, match="more than 300 times"):
        find({"Chart.yaml": f"name: web\nversion: 1.0.0\ndependencies:\n{aliases}", **below})


def test_a_chart_under_many_aliases_is_read_once(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def count(raw: bytes, *, origin: str) -> Node | None:
        read.append(origin)
        return read_yaml(raw, origin=origin)

    def count_tags(chart: Chart) -> AppVersionTag:
        read.append(f"{chart.name}'s tag")
        return app_version_tag(chart)

    def count_aliases(chart: Chart) -> dict[str, list[str]]:
        read.append(f"{chart.name}'s aliases")
        return aliases_of(chart)

    aliases_of = values._aliases
    monkeypatch.setattr(values, "_aliases", count_aliases)
    for module in (images, values):
        monkeypatch.setattr(module, "read_yaml", count)
    monkeypatch.setattr(images, "app_version_tag", count_tags)
    found, _ = find(
        {
            "Chart.yaml": ALIASED,
            "values.yaml": "a7: {image: {tag: v7}}\n",
            "charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n",
            "charts/sub/values.yaml": "image: {repository: r.example/sub, tag: v1}\n",
            "charts/sub/requires.yaml": "spec: {images: [{repository: r.example/other, tag: v2}]}\n",
            "charts/sub/templates/pod.yaml": "image: r.example/literal:v3\n",
        }
    )
    assert {reference for reference, _, _ in found} == {
        "r.example/sub:v1",
        "r.example/sub:v7",
        "r.example/other:v2",
        "r.example/literal:v3",
    }
    assert len(read) == len(set(read)), "something was read for each alias"


@pytest.mark.parametrize(
    "files",
    [
        {"Chart.yaml": ALIASED, "charts/sub/values.yaml": "".join(f"k{n}: {n}\n" for n in range(5_000))},
        {"values.yaml": "global:\n" + "".join(f"  k{n}: {n}\n" for n in range(5_000)), "Chart.yaml": ALIASED},
        {"Chart.yaml": ALIASED, "charts/sub/values.yaml": f"a: [{'1, ' * 5_000}]\n"},
    ],
    ids=["each", "global", "lists"],
)
def test_values_that_aliases_multiply_without_end_are_refused(find: Find, files: dict[str, str | bytes]) -> None:
    with pytest.raises(ContentError, match="more than 1000000 values"):
        find({"charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n", **files})


@pytest.mark.parametrize(
    "files",
    [
        {"templates/a.yaml": "image: r.example/a:1\n" * 10_001},
        {"values.yaml": "".join(f"k{n}: {{repository: a/b{n}, tag: v1}}\n" for n in range(10_001))},
        {
            "Chart.yaml": ALIASED,
            "charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n",
            "charts/sub/requires.yaml": "spec:\n  images:\n" + "  - {repository: 'https://a/b'}\n" * 40,
        },
    ],
    ids=["literal", "values", "aliases"],
)
def test_images_in_very_many_places_are_refused(find: Find, files: dict[str, str | bytes]) -> None:
    with pytest.raises(ContentError, match="names images in more than 10000 places"):
        find(files)
