"""Rules of a project: which tags stay as they are, and what may not be pulled."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from registry_fixtures.harbor.identity import SCANNER_PULL
from registry_fixtures.harbor.kinds import COSIGN_SIGNATURE, NOTATION_SIGNATURE
from registry_fixtures.harbor.refusals import HarborError

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Artifact, Project, Repository
    from registry_fixtures.harbor.identity import Identity

__all__ = ["check_pull", "immutable", "immutable_rule", "matches"]

_SEVERITIES = {"none": "None", "low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"}
_SIGNERS = (
    ("enable_content_trust", NOTATION_SIGNATURE, "notation"),
    ("enable_content_trust_cosign", COSIGN_SIGNATURE, "cosign"),
)


def immutable_rule(number: int, tags: str = "**", repositories: str = "**") -> dict[str, Any]:
    """An immutability rule as the REST API writes it, for tags and repositories by pattern."""
    return {
        "id": number,
        "priority": 0,
        "disabled": False,
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tags}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}]
        },
    }


def immutable(project: Project, repository: Repository, tag: str) -> bool:
    """Whether a rule forbids to move or delete a tag; of each rule only the first selectors count."""
    return any(
        not rule.get("disabled")
        and _selects(rule["scope_selectors"]["repository"][0], repository.path)
        and _selects(rule["tag_selectors"][0], tag)
        for rule in project.immutable_rules
    )


def check_pull(
    request: Request, identity: Identity, project: Project, repository: Repository, artifact: Artifact
) -> None:
    """Let through a pull, by GET or HEAD, that the project's policies allow.

    Raises:
        HarborError: 412 PROJECTPOLICYVIOLATION.
    """
    if _bypasses(request, identity, project, repository, artifact):
        return
    types = {accessory.type for accessory in repository.accessories_of(artifact.manifest.descriptor.digest)}
    for key, kind, name in _SIGNERS:
        if project.metadata.get(key) == "true" and kind not in types:
            raise HarborError("PROJECTPOLICYVIOLATION", f"The image is not signed by {name}.")
    if project.metadata.get("prevent_vul") == "true":
        _check_vulnerabilities(project, artifact)


def matches(pattern: str, text: str) -> bool:
    """Whether a doublestar pattern (``*``, ``**``, ``?``, ``{a,b}``) matches all of ``text``."""
    return _compiled(pattern).fullmatch(text) is not None


def _selects(selector: dict[str, Any], text: str) -> bool:
    excluding = str(selector["decoration"]).lower().endswith("excludes")
    return matches(selector["pattern"], text) != excluding


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/?|\*|\?|\{[^}]*\})", pattern)
    return re.compile("".join(_piece(part) for part in parts))


def _piece(part: str) -> str:
    fixed = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part)
    if fixed is not None:
        return fixed
    if part.startswith("{") and part.endswith("}"):
        return f"(?:{'|'.join(_compiled(choice).pattern for choice in part[1:-1].split(','))})"
    return re.escape(part)


def _bypasses(
    request: Request, identity: Identity, project: Project, repository: Repository, artifact: Artifact
) -> bool:
    """Signatures may always be pulled; scanners and signing clients with a token may pull everything."""
    accessory = repository.accessories.get(artifact.manifest.descriptor.digest)
    if accessory is not None and accessory.type in (COSIGN_SIGNATURE, NOTATION_SIGNATURE):
        return True
    if identity.kind != "v2token":
        return False
    signing = any(name in request.header("user-agent") for name in ("cosign", "notation"))
    return identity.may(SCANNER_PULL, project) or (signing and identity.may("repository:push", project))


def _check_vulnerabilities(project: Project, artifact: Artifact) -> None:
    """Refuse images that no scan allows; indexes and what cannot be scanned are exempt."""
    if artifact.type != "IMAGE" or artifact.manifest.is_index:
        return
    severity = _SEVERITIES.get(project.metadata.get("severity", "").lower(), "None")
    policy = (
        f"cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "
        f'"{severity}" or higher from running.\' '
    )
    contact = "To continue with pull, please contact your project administrator "
    scan = artifact.scan
    if scan is None or scan.status != "Success":
        state = "without" if scan is None else f'with "{scan.status}" status of'
        said = f"current image {state} vulnerability scanning {policy}{contact}for help."
        raise HarborError("PROJECTPOLICYVIOLATION", said)
    if scan.reaches(severity):
        thing = "vulnerability" if scan.count == 1 else "vulnerabilities"
        exempt = "to exempt matched vulnerabilities through configuring the CVE allowlist."
        raise HarborError(
            "PROJECTPOLICYVIOLATION", f"current image with {scan.count} {thing} {policy}{contact}{exempt}"
        )
