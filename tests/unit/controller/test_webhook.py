"""Admission, asked by somebody who is not the API server."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.metrics import Metrics
from controller.observing import Observer
from controller.trust import Judge
from controller.webhook import Admission
from tests.unit.bundles.signed_documents import BY_KEY
from tests.unit.controller.test_observing import Stored

KINDS = ("Package", "PackageBundle", "PackageBundleController")
NAMES = (
    "metadata", "name", "namespace", "annotations", "deletionTimestamp", "finalizers", "ownerReferences", "spec",
    "status", "conditions", "packageName", "config", "activeBundle", "packages", "username", "uid", "source",
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


def admission(account: str = "own") -> Admission:
    stored = cast("Any", Stored())
    observer = Observer(
        packages=stored,
        bundles=stored,
        controllers=stored,
        clusters=cast("Any", SimpleNamespace(own="site", get=lambda _: SimpleNamespace(version="1.33"))),
        mirrors=cast("Any", None),
        judge=Judge(BY_KEY),
        holder="replica",
        ready_within=60.0,
        drift_interval=180.0,
    )
    return Admission(observer, account, Metrics())


@settings(deadline=None)
@given(
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {"object": ANYTHING, "oldObject": ANYTHING},
        optional={"operation": st.sampled_from(["CREATE", "UPDATE", "DELETE"]), "uid": ANYTHING, "userInfo": ANYTHING},
    )
    | ANYTHING,
)
def test_whatever_is_asked_is_answered(kind: str, request: Any) -> None:
    answer = json.loads(json.dumps(admission().review(kind, {"request": request})))
    assert answer["kind"] == "AdmissionReview"
    assert isinstance(answer["response"]["allowed"], bool)
    assert isinstance(answer["response"]["uid"], str)


def test_an_object_that_is_none_is_refused() -> None:
    for kind in ("Package", "PackageBundleController"):
        metadata = {"name": "x", "namespace": "eksa-packages", "finalizers": 3}
        request = {"operation": "CREATE", "object": {"metadata": metadata, "spec": {"activeBundle": "x"}}}
        response = admission().review(kind, {"request": request})["response"]
        assert not response["allowed"]
        assert "malformed" in response["status"]["message"]


@pytest.mark.parametrize("account", ["", "own"])
def test_nobody_is_the_controller_without_its_name(account: str) -> None:
    document = {
        "metadata": {
            "name": "x",
            "namespace": "eksa-packages-site",
            "annotations": {"anywhere.eks.aws.com/internal": "true"},
        },
        "spec": {"packageName": "nobody"},
    }
    for user in ({}, {"username": ""}, None):
        request = {"operation": "CREATE", "object": document, "userInfo": user}
        response = admission(account).review("Package", {"request": request})["response"]
        assert not response["allowed"]


def test_the_answer_has_the_uid_of_the_question() -> None:
    request = {"uid": "u-1", "operation": "CREATE", "object": {"metadata": {"name": "x"}}}
    response = admission().review("PackageBundle", {"request": request})["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u-1", False, 400)
