"""Results of ``packages`` for people, from the documents that ``--output json`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundlectl.cli.render import table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["heading", "render_described", "render_installed", "render_listed", "render_upgrade"]


def heading(bundle: Mapping[str, Any]) -> str:
    """A bundle in one line."""
    kube = f", Kubernetes {bundle['kubeVersion']}" if bundle["kubeVersion"] else ""
    is_signed = bundle["trust"] == "signed" and bundle["verifiedBy"]
    signer = f"signed by {bundle['verifiedBy']}" if is_signed else f"trust: {bundle['trust']}"
    return f"{bundle['name']}{kube}, {signer}, from {bundle['from']}"


def render_listed(document: Mapping[str, Any]) -> str:
    """The packages of bundles, in the columns of ``eksctl anywhere list packages``; then those of the cluster."""
    lines: list[str] = []
    for bundle in document["bundles"]:
        if len(document["bundles"]) > 1:
            lines += [*([""] if lines else []), heading(bundle)]
        rows = [
            (package["name"], ", ".join(version["name"] for version in package["versions"]))
            for package in bundle["packages"]
        ]
        head = ("Package", "Version(s)")
        lines += table([tuple("-" * len(title) for title in head), *rows], head=head)
    if document["installed"]:
        titles = ("NAME", "PACKAGE", "STATE", "CURRENTVERSION", "TARGETVERSION", "DETAIL")
        keys = ("name", "package", "state", "currentVersion", "targetVersion", "detail")
        lines += ["", *table([tuple(row[key] for key in keys) for row in document["installed"]], head=titles)]
    return "\n".join(lines)


def render_described(document: Mapping[str, Any]) -> str:
    """Packages of bundles and of a cluster, one block each."""
    blocks = [_offered(package) for package in document["packages"]]
    blocks += [_installed(package) for package in document["installed"]]
    return "\n\n".join(blocks) or "no resources found"


def _offered(package: Mapping[str, Any]) -> str:
    lines = [f"{package['name']} in {package['bundle']}", f"  repository  {package['repository']}"]
    if package["workloadOnly"]:
        lines.append("  only for workload clusters")
    for version in package["versions"]:
        lines += [f"  {version['name']}", f"    chart   {version['digest']}"]
        lines += [f"    image   {image}" for image in version["images"]]
        lines += [f"    needs   {name}" for name in version["dependencies"]]
        rows = [
            (
                item["name"],
                item["type"] or "",
                "required" if item["required"] else "",
                "" if item["default"] is None else f"default {item['default']}",
            )
            for item in version["values"]
        ]
        lines += [f"    value   {line}" for line in table(rows)]
    return "\n".join(lines)


def _installed(package: Mapping[str, Any]) -> str:
    lines = [f"{package['name']}: {package['package']} in {package['targetNamespace'] or 'the namespace of its chart'}"]
    lines.append(f"  state   {package['state'] or 'not seen by a controller yet'}")
    lines += [
        f"  {title:<7} {package[key]}"
        for title, key in (("now", "currentVersion"), ("wanted", "targetVersion"), ("detail", "detail"))
        if package[key]
    ]
    lines += [
        f"  {item['type']}={item['status']}  {item['reason']}" + (f": {item['message']}" if item["message"] else "")
        for item in package["conditions"]
    ]
    lines += [f"  {item['time']}  {item['type']}  {item['reason']}  {item['message']}" for item in package["events"]]
    return "\n".join(lines)


def render_installed(document: Mapping[str, Any]) -> str:
    """What was installed or deleted, one line each."""
    return "\n".join(
        " ".join(
            part
            for part in (
                item["name"],
                item.get("version"),
                f"in {item['namespace']}:" if item.get("namespace") else "",
                item["outcome"],
            )
            if part
        )
        for item in document["packages"]
    )


def render_upgrade(document: Mapping[str, Any]) -> str:
    """What a bundle changes, and whether it was activated."""
    rows = [
        (item["name"], item["from"] or "-", "->", item["to"] or "not in the bundle") for item in document["packages"]
    ]
    lines = table(rows)
    verb = {"planned": "would be activated", "unchanged": "is active already"}.get(document["outcome"], "is active now")
    return "\n".join([*lines, f"{document['bundle']} {verb} (before: {document['before'] or 'none'})"])
