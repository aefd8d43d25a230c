"""What of a Harbor's settings would stop a mirror, or harm what it put there (``wire.md`` 1.9 to 1.14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from bundlectl.operations.reaching import Check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.remote.harbor import HarborApi, HarborProject, HarborSystem, Quota

__all__ = ["project_checks", "system_checks"]

_NEARLY_FULL: Final = 0.85
"""Where Harbor itself begins to warn."""
_GIB: Final = 1024**3
_SIGNATURE: Final = f"sha256-{'0' * 64}.sig"
_MOVING: Final = "v1-33-latest"
"""A tag that moves with each release of curated packages."""
_PATTERN: Final = re.compile(r"\*\*/?|\*|\?|\{[^{}]*\}|.", re.DOTALL)


def system_checks(harbor: HarborApi, system: HarborSystem) -> Iterator[Check]:
    """What holds for the whole of it.

    Raises:
        RegistryError, TransportError: it does not answer.
    """
    if system.read_only:
        yield Check(
            "read-only",
            "failed",
            "Harbor is in read-only mode and takes nothing",
            "an administrator can end that: Configuration, System Settings, Repository Read Only",
        )
    else:
        yield Check("read-only", "ok", "Harbor is not in read-only mode")
    free = harbor.free_space() if system.storage in ("", "filesystem") else None
    if free is not None:
        yield Check("disk", "ok", f"{free / _GIB:.1f} GiB are free")
    untagged = harbor.collects_untagged()
    if untagged:
        yield Check(
            "garbage-collection",
            "warning",
            "scheduled garbage collection deletes whatever has no tag, without waiting",
            "everything that bundlectl mirrors has a tag or belongs to something that has; schedule the collection for "
            "times when nothing is mirrored, and give a tag to what others push by digest",
        )
    elif untagged is not None:
        yield Check("garbage-collection", "ok", "scheduled garbage collection leaves what has no tag alone")


def project_checks(harbor: HarborApi, name: str, project: HarborProject | None) -> Iterator[Check]:
    """What holds for one project; one that is missing ends the list with a failure.

    Raises:
        RegistryError, TransportError: Harbor does not answer.
    """
    if project is None and not harbor.has_project(name):
        yield Check(
            "project",
            "failed",
            f"the project {name} does not exist",
            "make it in Harbor, or mirror with --create-projects",
        )
        return
    if project and project.proxied:
        yield Check(
            "project",
            "failed",
            f"the project {name} is a proxy cache of {project.proxied} and takes no pushes",
            "choose another project",
        )
        return
    yield Check("project", "ok", f"the project {name} exists")
    yield _quota_check(name, project.quota if project else None)
    policies = harbor.policies(name)
    yield from _immutability(harbor.immutable_rules(name))
    yield from _retention(harbor, policies)
    yield from _pull_policies(policies)


def _quota_check(name: str, quota: Quota | None) -> Check:
    if quota is None:
        return Check(
            "quota",
            "skipped",
            f"the account may not see the quota of {name}",
            "give it the right to read the project (project: read, quota: read), so that mirror can tell beforehand",
        )
    if quota.left is None:
        return Check("quota", "ok", f"{name} has no quota; {quota.used / _GIB:.1f} GiB are used")
    told = f"{quota.used / _GIB:.1f} of {quota.hard / _GIB:.1f} GiB of {name} are used"
    if quota.left == 0:
        return Check("quota", "failed", told, "raise the quota: Administration, Project Quotas")
    nearly = quota.used >= quota.hard * _NEARLY_FULL
    return Check("quota", "warning" if nearly else "ok", told, "raise the quota soon" if nearly else None)


def _immutability(rules: list[dict[str, Any]] | None) -> Iterator[Check]:
    if rules is None:
        yield Check("immutable-tags", "skipped", "the account may not see the rules of immutable tags")
        return
    enabled = [rule for rule in rules if rule.get("disabled") is not True]
    signatures = any(_covers(rule, _SIGNATURE) for rule in enabled)
    moving = any(_covers(rule, _MOVING) for rule in enabled)
    if signatures:
        yield Check(
            "immutable-tags",
            "warning",
            "a rule makes the tags of signatures (sha256-*.sig) immutable: nothing can be signed twice",
            "except sha256-* from the rule",
        )
    if moving:
        yield Check(
            "immutable-tags",
            "warning",
            "a rule makes tags immutable that move, such as v1-33-latest of curated packages: updates will be refused",
            "except *-latest from the rule",
        )
    if not signatures and not moving:
        yield Check(
            "immutable-tags", "ok", "no rule forbids what mirror and sign do" if enabled else "there are no rules"
        )


def _covers(rule: Mapping[str, Any], tag: str) -> bool:
    """Whether a rule is about a tag; as Harbor does, only its first selector is looked at."""
    selectors = rule.get("tag_selectors")
    first = selectors[0] if isinstance(selectors, list) and selectors else None
    if not isinstance(first, dict) or not isinstance(first.get("pattern"), str):
        return False
    matches = re.fullmatch(_doublestar(first["pattern"][:1000]), tag) is not None
    return matches != (first.get("decoration") == "excludes")


def _doublestar(pattern: str) -> str:
    """A pattern of Harbor's rules as a regular expression."""
    pieces = []
    for piece in _PATTERN.findall(pattern):
        if piece.startswith("**"):
            pieces.append(".*")
        elif piece == "*":
            pieces.append("[^/]*")
        elif piece == "?":
            pieces.append("[^/]")
        elif piece.startswith("{") and piece.endswith("}"):
            pieces.append(f"(?:{'|'.join(_doublestar(choice) for choice in piece[1:-1].split(','))})")
        else:
            pieces.append(re.escape(piece))
    return "".join(pieces)


def _retention(harbor: HarborApi, policies: Mapping[str, str]) -> Iterator[Check]:
    number = policies.get("retention_id", "")
    policy = harbor.retention(number) if number else None
    if not number or (policy is not None and not policy.get("rules")):
        yield Check("retention", "ok", "no policy deletes tags")
        return
    trigger = policy.get("trigger") if policy else None
    settings = trigger.get("settings") if isinstance(trigger, dict) else None
    scheduled = not isinstance(settings, dict) or bool(settings.get("cron"))
    yield Check(
        "retention",
        "warning",
        f"a retention policy deletes tags that it does not keep{'' if scheduled else ' (when somebody starts it)'}",
        "let it keep whatever is mirrored: a rule that always retains **, for what clusters pull from here is old",
    )


def _pull_policies(policies: Mapping[str, str]) -> Iterator[Check]:
    if policies.get("enable_content_trust_cosign") == "true":
        yield Check(
            "signatures-required",
            "warning",
            "the project hands out only what carries a cosign signature, each platform of an image for itself",
            "sign what is mirrored (bundlectl sign), or switch that policy off",
        )
    if policies.get("enable_content_trust") == "true":
        yield Check(
            "signatures-required",
            "warning",
            "the project hands out only what carries a notation signature",
            "sign what is mirrored, or switch that policy off",
        )
    if policies.get("prevent_vul") == "true":
        yield Check(
            "vulnerabilities",
            "warning",
            "the project withholds images that are not scanned yet, or have vulnerabilities of severity "
            f"{policies.get('severity') or 'low'} and above",
            "let images be scanned on push, and allow the CVEs that you accept",
        )
