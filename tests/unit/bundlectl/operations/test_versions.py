"""A Kubernetes version that no source has is told, not silently an empty result."""

import pytest

from bundlectl.errors import UsageError
from bundlectl.operations import Selection, Session, SourceRequest, inspect
from bundles.belief import Belief
from registry_fixtures.samples import sample_documents


def test_a_version_that_no_source_has_is_refused_with_those_it_has() -> None:
    bundles = str(sample_documents()[1])
    request = SourceRequest(sources=(bundles,), selection=Selection(kube_versions=("1.99",)), belief=Belief(mode="off"))
    with Session() as session, pytest.raises(UsageError, match=r"nothing is for Kubernetes 1\.99") as caught:
        inspect(request, session=session)
    assert "the sources have 1." in str(caught.value.hint)
