"""SBOMs and vulnerability reports are told by their shape, and nothing that JSON can say brings the report down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundles.reporting.summaries import SEVERITIES, BillOfMaterials, Vulnerabilities, summarise

SPDX: dict[str, Any] = {
    "spdxVersion": "SPDX-2.3",
    "creationInfo": {"creators": ["Organization: x", "Tool: syft-1.2"]},
    "packages": [
        {"licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT"},
        {"licenseConcluded": "Apache-2.0"},
        {"licenseConcluded": "MIT"},
        {"name": "unknown"},
    ],
}
CYCLONEDX: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "metadata": {"tools": {"components": [{"name": "trivy", "version": "0.60"}]}},
    "components": [
        {"licenses": [{"license": {"id": "MIT"}}], "components": [{"licenses": [{"expression": "MIT OR X"}]}]},
        {"licenses": [{"license": {"name": "Own"}}]},
    ],
}
TRIVY: dict[str, Any] = {
    "SchemaVersion": 2,
    "ArtifactName": "x",
    "Results": [{"Vulnerabilities": [{"Severity": "CRITICAL"}, {"Severity": "LOW"}]}, {"Target": "none"}],
}


def counts(**found: int) -> dict[str, int]:
    return {name: found.get(name, 0) for name in SEVERITIES}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (SPDX, BillOfMaterials(
            format="SPDX 2.3", tool="syft-1.2", packages=4, licences=(("MIT", 2), ("Apache-2.0", 1)), unlicensed=1
        )),
        (CYCLONEDX, BillOfMaterials(
            format="CycloneDX 1.5", tool="trivy 0.60", packages=3, licences=(("MIT", 1), ("MIT OR X", 1), ("Own", 1))
        )),
        ({"sbom": SPDX, "mime_type": "application/spdx+json"}, BillOfMaterials(
            format="SPDX 2.3", tool="syft-1.2", packages=4, licences=(("MIT", 2), ("Apache-2.0", 1)), unlicensed=1
        )),
    ],
    ids=["spdx", "cyclonedx", "harbor-sbom"],
)  # fmt: skip
def test_packages_and_licences_are_counted(document: object, expected: BillOfMaterials) -> None:
    assert summarise(document) == (expected,)


@pytest.mark.parametrize(
    ("document", "kind", "expected"),
    [
        (TRIVY, "Trivy", counts(critical=1, low=1)),
        ({"SchemaVersion": 2, "ArtifactName": "clean"}, "Trivy", counts()),
        ({"matches": [{"vulnerability": {"severity": "High"}}, {"vulnerability": {"severity": "Negligible"}}]},
         "Grype", counts(high=1, negligible=1)),
        ({"severity": "High", "vulnerabilities": [{"severity": "Medium"}, {"severity": "Odd"}]},
         "Harbor", counts(medium=1, unknown=1)),
        ({"version": "2.1.0", "runs": [{
            "tool": {"driver": {"name": "t", "rules": [{"id": "a", "properties": {"security-severity": "9.8"}}]}},
            "results": [{"ruleId": "a", "level": "note"}, {"ruleId": "b", "level": "error"}, {"ruleId": "b"}],
        }]}, "SARIF", counts(critical=1, high=1, medium=1)),
        ({"invocation": {}, "scanner": {"uri": "pkg:x", "result": TRIVY}, "metadata": {"scanFinishedOn": "then"}},
         "Trivy", counts(critical=1, low=1)),
        ({"scanner": {"uri": "s", "result": [{"id": "CVE", "severity": [{"method": "x", "score": "4.0"},
                                                                        {"method": "y", "score": "9.0"}]}]}},
         "in-toto vulns", counts(critical=1)),
    ],
    ids=["trivy", "trivy-clean", "grype", "harbor", "sarif", "cosign", "in-toto"],
)  # fmt: skip
def test_vulnerabilities_are_counted_by_severity(document: object, kind: str, expected: dict[str, int]) -> None:
    (found,) = summarise(document)
    assert isinstance(found, Vulnerabilities)
    assert (found.format, dict(found.counts)) == (kind, expected)


def test_the_scanner_and_the_time_of_a_scan_are_those_that_the_predicate_states() -> None:
    (found,) = summarise({"scanner": {"uri": "pkg:x", "version": "7", "result": {"matches": []}}, "metadata": {}})
    assert isinstance(found, Vulnerabilities)
    assert (found.tool, found.made) == ("pkg:x 7", "")


def test_a_cyclonedx_document_with_vulnerabilities_is_both() -> None:
    rated = [{"ratings": [{"severity": "low"}, {"severity": "high"}]}, {"ratings": []}]
    bill, scan = summarise({**CYCLONEDX, "vulnerabilities": rated})
    assert isinstance(bill, BillOfMaterials)
    assert isinstance(scan, Vulnerabilities)
    assert dict(scan.counts) == counts(high=1, unknown=1)


KEYS = st.sampled_from(
    ["spdxVersion", "packages", "creationInfo", "creators", "licenseConcluded", "bomFormat", "components", "licenses",
     "metadata", "tools", "vulnerabilities", "ratings", "severity", "scanner", "result", "runs", "version", "tool",
     "driver", "rules", "results", "ruleId", "properties", "security-severity", "Results", "Vulnerabilities",
     "Severity", "matches", "vulnerability", "sbom", "mime_type", "Data", "descriptor", "license", "$schema"]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["CycloneDX", "2.1.0", "SPDX-2.3", "9", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@given(VALUES)
@example({"bomFormat": "CycloneDX", "vulnerabilities": [{"ratings": [{"score": float("nan")}]}]})
@example({"runs": [{"tool": {"driver": {"rules": [{"properties": []}]}}, "results": [3]}], "version": "2.1"})
def test_no_document_whatever_its_shape_is_a_failure(document: object) -> None:
    for found in summarise(document):
        assert found.to_json()
        if isinstance(found, Vulnerabilities):
            assert set(found.counts) == set(SEVERITIES)


def test_what_is_nested_without_end_is_looked_at_to_a_bound() -> None:
    document: dict[str, Any] = dict(TRIVY)
    for _ in range(2000):
        document = {"scanner": {"result": document}}
    assert summarise(document) == ()
