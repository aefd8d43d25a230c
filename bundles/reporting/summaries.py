"""What an SBOM or a vulnerability report comes to, told by its shape: who wrote it could call it anything.

Read are SPDX 2 and CycloneDX, the reports of Trivy, Grype and Harbor's scanners, SARIF, and the vulnerability
predicates of cosign and in-toto. All of it is the word of whoever made it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mirror.markup import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["SEVERITIES", "BillOfMaterials", "Severity", "Vulnerabilities", "summarise"]

Severity: TypeAlias = Literal["critical", "high", "medium", "low", "negligible", "unknown"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low", "negligible", "unknown")
"""From the gravest to the mildest; ``unknown`` is what a report does not rate."""

_SAME: Final[Mapping[str, Severity]] = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "error": "high",
    "medium": "medium",
    "moderate": "medium",
    "warning": "medium",
    "low": "low",
    "note": "low",
    "negligible": "negligible",
    "none": "negligible",
    "info": "negligible",
    "informational": "negligible",
}
_RATINGS: Final[tuple[tuple[float, Severity], ...]] = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
"""Qualitative severity ratings of scores (CVSS v3.1, 5 and v4.0, 6)."""
_NO_LICENCE: Final = frozenset({"", "NOASSERTION", "NONE"})
_LICENCES: Final = 5
_SHOWN: Final = 120
_DEPTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BillOfMaterials:
    """What an SBOM lists. ``licences`` are the most frequent ones, with the number of packages under each."""

    format: str
    tool: str = ""
    packages: int
    licences: tuple[tuple[str, int], ...] = ()
    unlicensed: int = 0
    """Packages of which no licence is stated."""

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "format": self.format,
            "tool": self.tool,
            "packages": self.packages,
            "licences": [{"licence": name, "packages": count} for name, count in self.licences],
            "unlicensed": self.unlicensed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerabilities:
    """What a vulnerability report found; ``made`` is when, in its own words."""

    format: str
    tool: str = ""
    made: str = ""
    counts: Mapping[Severity, int]

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {"format": self.format, "tool": self.tool, "made": self.made, "counts": dict(self.counts)}


def summarise(document: object) -> tuple[BillOfMaterials | Vulnerabilities, ...]:
    """What a JSON document says of packages, vulnerabilities or both; nothing where it is of no kind known here.

    Args:
        document: what JSON can say, of whatever depth and shape.
    """
    return _summarise(document, 0)


def _summarise(document: object, depth: int) -> tuple[BillOfMaterials | Vulnerabilities, ...]:
    found = _object(document)
    if depth > _DEPTH or not found:
        return ()
    if isinstance(found.get("spdxVersion"), str):
        return (_spdx(found),)
    if found.get("bomFormat") == "CycloneDX":
        return _cyclonedx(found)
    if isinstance(found.get("sbom"), dict) and "mime_type" in found:  # of Harbor's scanner API
        return _summarise(found["sbom"], depth + 1)
    scanner = _object(found.get("scanner"))
    if "result" in scanner:
        return _scanned(found, scanner, depth)
    reports: tuple[Vulnerabilities | None, ...] = (_sarif(found), _trivy(found), _grype(found), _harbor(found))
    return tuple(item for item in reports if item is not None)


# Bills of materials


def _spdx(found: Mapping[str, Any]) -> BillOfMaterials:
    creators = [_text(item) for item in _list(_object(found.get("creationInfo")).get("creators"))]
    packages = _objects(found.get("packages"))
    licences = [_first_licence(package, ("licenseConcluded", "licenseDeclared")) for package in packages]
    tools = [item.partition(":")[2].strip() for item in creators if item.startswith("Tool:")]
    return _bill(_text(found["spdxVersion"]).replace("SPDX-", "SPDX "), ", ".join(tools[:3]), licences)


def _first_licence(package: Mapping[str, Any], fields: Iterable[str]) -> str:
    return next((text for key in fields if (text := _text(package.get(key))) not in _NO_LICENCE), "")


def _cyclonedx(found: Mapping[str, Any]) -> tuple[BillOfMaterials | Vulnerabilities, ...]:
    kind = f"CycloneDX {_text(found.get('specVersion'))}".strip()
    tools = _object(found.get("metadata")).get("tools")
    listed = _objects(_object(tools).get("components")) if isinstance(tools, dict) else _objects(tools)
    tool = ", ".join(_named(item) for item in listed[:3])
    licences = [_component_licence(item) for item in _components(found)]
    result: list[BillOfMaterials | Vulnerabilities] = [_bill(kind, tool, licences)]
    if isinstance(found.get("vulnerabilities"), list):
        rated = (_worst(_objects(item.get("ratings"))) for item in _objects(found["vulnerabilities"]))
        result.append(Vulnerabilities(format=kind, tool=tool, counts=_counted(rated)))
    return tuple(result)


def _components(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All components; those that consist of others, with these."""
    waiting = [found.get("components")]
    while waiting:
        for item in _objects(waiting.pop()):
            yield item
            if item.get("components"):
                waiting.append(item["components"])


def _component_licence(component: Mapping[str, Any]) -> str:
    for choice in _objects(component.get("licenses")):
        licence = _object(choice.get("license"))
        text = _text(choice.get("expression")) or _text(licence.get("id")) or _text(licence.get("name"))
        if text not in _NO_LICENCE:
            return text
    return ""


def _bill(kind: str, tool: str, licences: list[str]) -> BillOfMaterials:
    counted = Counter(filter(None, licences))
    top = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_LICENCES]
    return BillOfMaterials(
        format=kind, tool=tool, packages=len(licences), licences=tuple(top), unlicensed=licences.count("")
    )


# Vulnerability reports


def _scanned(
    found: Mapping[str, Any], scanner: Mapping[str, Any], depth: int
) -> tuple[BillOfMaterials | Vulnerabilities, ...]:
    """The predicates of cosign (a report inside of a report) and of in-toto (a list)."""
    tool = " ".join(filter(None, (_text(scanner.get("uri")), _text(scanner.get("version")))))
    metadata = _object(found.get("metadata"))
    made = _text(metadata.get("scanFinishedOn")) or _text(metadata.get("scanStartedOn"))
    if isinstance(scanner["result"], list):
        rated = (_worst(_objects(item.get("severity"))) for item in _objects(scanner["result"]))
        return (Vulnerabilities(format="in-toto vulns", tool=tool, made=made, counts=_counted(rated)),)
    inner = _summarise(scanner["result"], depth + 1)
    return tuple(
        Vulnerabilities(format=item.format, tool=item.tool or tool, made=item.made or made, counts=item.counts)
        if isinstance(item, Vulnerabilities)
        else item
        for item in inner
    )


def _sarif(found: Mapping[str, Any]) -> Vulnerabilities | None:
    if "runs" not in found or not (
        _text(found.get("version")).startswith("2.1") or "sarif" in _text(found.get("$schema")).lower()
    ):
        return None
    rated: list[Severity] = []
    tools: list[str] = []
    for run in _objects(found["runs"]):
        driver = _object(_object(run.get("tool")).get("driver"))
        tools.append(_named(driver))
        scores = {
            _text(rule.get("id")): _object(rule.get("properties")).get("security-severity")
            for rule in _objects(driver.get("rules"))
        }
        for result in _objects(run.get("results")):
            score = scores.get(_text(result.get("ruleId")))
            rated.append(_severity(score) if score is not None else _severity(result.get("level", "warning")))
    return Vulnerabilities(format="SARIF", tool=", ".join(dict.fromkeys(tools[:3])), counts=_counted(rated))


def _trivy(found: Mapping[str, Any]) -> Vulnerabilities | None:
    if "Results" not in found and not ("SchemaVersion" in found and "ArtifactName" in found):
        return None
    listed = [item for result in _objects(found.get("Results")) for item in _objects(result.get("Vulnerabilities"))]
    version = _text(_object(found.get("Trivy")).get("Version"))
    return Vulnerabilities(
        format="Trivy",
        tool=f"trivy {version}".strip(),
        made=_text(found.get("CreatedAt")),
        counts=_counted(_severity(item.get("Severity")) for item in listed),
    )


def _grype(found: Mapping[str, Any]) -> Vulnerabilities | None:
    if "matches" not in found:
        return None
    listed = [_object(item.get("vulnerability")) for item in _objects(found["matches"])]
    descriptor = _object(found.get("descriptor"))
    return Vulnerabilities(
        format="Grype",
        tool=_named(descriptor),
        made=_text(descriptor.get("timestamp")),
        counts=_counted(_severity(item.get("severity")) for item in listed),
    )


def _harbor(found: Mapping[str, Any]) -> Vulnerabilities | None:
    if not isinstance(found.get("vulnerabilities"), list):
        return None
    return Vulnerabilities(
        format="Harbor",
        tool=_named(_object(found.get("scanner"))),
        made=_text(found.get("generated_at")),
        counts=_counted(_severity(item.get("severity")) for item in _objects(found["vulnerabilities"])),
    )


def _worst(ratings: Iterable[Mapping[str, Any]]) -> Severity:
    """The gravest of several ratings of one vulnerability: CycloneDX says it in words, in-toto as scores."""
    found = [_severity(item.get("severity") or item.get("score")) for item in ratings]
    return min(found, key=SEVERITIES.index, default="unknown")


def _severity(value: object) -> Severity:
    text = str(value).strip().lower()[:20] if isinstance(value, str | int | float) else ""
    if text in _SAME:
        return _SAME[text]
    try:
        score = float(text)
    except ValueError:
        return "unknown"
    return next((name for least, name in _RATINGS if score >= least), "negligible" if score >= 0 else "unknown")


def _counted(rated: Iterable[Severity]) -> dict[Severity, int]:
    counts = Counter(rated)
    return {name: counts[name] for name in SEVERITIES}


# Shapes


def _named(value: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (_text(value.get("name")), _text(value.get("version")))))


def _text(value: object) -> str:
    return visible(value[:_SHOWN]) if isinstance(value, str) else ""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]
