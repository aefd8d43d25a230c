"""``controller manifests --for PACKAGE``: the rights that installing a chart takes, and their binding.

Charts are installed in the name of an account that may do nothing by itself (`controller.manifests`). What one needs
is told from the objects that it renders to: no more than that, and no right to hand on rights that it has not. Outside
of its target namespace it may change its own objects, by their names; that something may be created, listed or
watched cannot be limited so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bundles.helm.rendering import Rendering, template
from controller.manifests import INSTALLER
from controller.objects import read_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["far_reaching", "installer_rights", "render_objects"]

_RBAC: Final = "rbac.authorization.k8s.io"
_UNNAMED: Final = ["list", "watch", "create"]
_NAMED: Final = ["get", "update", "patch", "delete"]
_VERBS: Final = ["get", "list", "watch", "create", "update", "patch", "delete"]
_CLUSTER_WIDE: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        (_RBAC, "ClusterRole"),
        (_RBAC, "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    }
)
"""Kinds without a namespace that come with Kubernetes 1.33; those of a chart's own definitions are read there."""

_FAR: Final = frozenset({"*", "bind", "escalate", "impersonate"})
_FAR_ELSEWHERE: Final = frozenset(
    {"secrets", "serviceaccounts/token", "pods/exec", "nodes/proxy", "mutatingwebhookconfigurations"}
)
"""Outside of the target namespace, and not limited to names: whoever has these has the rights of others, too."""

_ALWAYS: Final[dict[tuple[str, str], list[str]]] = {
    # helm's records, pull secrets; what readiness is read from.
    ("", "secrets"): _VERBS,
    ("", "pods"): ["get", "list", "watch"],
    ("", "events"): ["get", "list"],
    ("apps", "replicasets"): ["get", "list", "watch"],
}

Names = dict[tuple[str, str], set[str]]
"""By group and plural, what objects are called."""


def render_objects(
    chart: Path, helm: Path, values: Mapping[str, Any], *, release: str, namespace: str, kube_version: str
) -> list[dict[str, Any]]:
    """What a chart renders to, its definitions of kinds among it; helm has neither network nor cluster.

    Args:
        chart: a ``.tgz`` whose digest was checked.
        helm: the program.
        values: of the chart.
        release: what it will be called, which the names of objects are often made of.
        namespace: where it goes.
        kube_version: a minor version of Kubernetes; empty for helm's own idea of it.

    Raises:
        ContentError: it does not render, or to what is not YAML.
        ConfigError: helm does not start.
    """
    rendering = Rendering(
        helm=helm,
        kube_version=f"{kube_version}.0" if kube_version else "",
        values=values,
        namespace=namespace,
        release=release,
        definitions=True,
    )
    output = template(chart, chart.name, rendering)
    return read_objects(output.decode("utf-8", "replace"), origin=chart.name)


def installer_rights(
    release: str, objects: Iterable[Mapping[str, Any]], *, namespace: str, target_namespace: str
) -> list[dict[str, Any]]:
    """The roles and bindings that let the account of a namespace install a chart.

    Args:
        release: what the chart is installed as, for the names.
        objects: what `render_objects` gave.
        namespace: of the Package, which has the account.
        target_namespace: where the chart goes.

    Returns:
        A Role and its binding for each namespace that the chart puts something into, and a ClusterRole with its
        binding if it makes what has no namespace.
    """
    everything = list(objects)
    defined = _defined(everything)
    # By namespace, "" for what has none.
    named: dict[str, Names] = {target_namespace: {}}
    extra: dict[str, list[dict[str, Any]]] = {}
    for item in everything:
        group, kind = _group(item), str(item.get("kind", ""))
        plural, has_namespace = defined.get((group, kind), (_plural(kind), (group, kind) not in _CLUSTER_WIDE))
        place = str(item["metadata"].get("namespace") or target_namespace) if has_namespace else ""
        named.setdefault(place, {}).setdefault((group, plural), set()).add(str(item["metadata"]["name"]))
        extra.setdefault(place, []).extend(_handed_on(item, group, kind))
    name = f"{INSTALLER}-{release}"
    found: list[dict[str, Any]] = []
    for place, kinds in sorted(named.items(), key=lambda one: (not one[0], one[0])):
        rules = _open_rules(kinds) if place == target_namespace else _named_rules(kinds)
        bound = ("Role", name) if place else ("ClusterRole", f"{name}.{namespace}")
        found += _bound(*bound, place, [*rules, *_unique(extra.get(place, ()))], namespace)
    return found


def far_reaching(rights: Iterable[Mapping[str, Any]], *, target_namespace: str) -> list[str]:
    """What an operator should think about before applying what `installer_rights` gave, one line each."""
    told = []
    for item in rights:
        where = f"in {item['metadata']['namespace']}" if item["metadata"].get("namespace") else "in the whole cluster"
        for rule in item.get("rules") or ():
            verbs, resources = _words(rule, "verbs"), _words(rule, "resources")
            elsewhere = item["metadata"].get("namespace") != target_namespace and not _words(rule, "resourceNames")
            far = _FAR | _FAR_ELSEWHERE if elsewhere else _FAR
            if far & {*verbs, *resources, *_words(rule, "apiGroups")}:
                what = [*resources, *_words(rule, "resourceNames"), *_words(rule, "nonResourceURLs")]
                told.append(f"{', '.join(verbs)} {', '.join(what)} {where}")
    return told


def _words(rule: Mapping[str, Any], name: str) -> list[str]:
    found = rule.get(name)
    return [str(word) for word in found] if isinstance(found, list) else []


def _defined(objects: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[str, bool]]:
    """The plural of the kinds that a chart defines itself, and whether they have a namespace."""
    found = {}
    for item in objects:
        spec = _table(item, "spec")
        if item.get("kind") == "CustomResourceDefinition":
            names = _table(spec, "names")
            found[str(spec.get("group")), str(names.get("kind"))] = (
                str(names.get("plural")),
                spec.get("scope") != "Cluster",
            )
    return found


def _handed_on(item: Mapping[str, Any], group: str, kind: str) -> Iterator[dict[str, Any]]:
    """What an account must have itself to give it to others: a role's rules; a foreign role may be bound by name."""
    if group != _RBAC:
        return
    if kind in ("Role", "ClusterRole"):
        rules = item.get("rules")
        yield from (rule for rule in rules if isinstance(rule, dict)) if isinstance(rules, list) else ()
    role = _table(item, "roleRef")
    if kind in ("RoleBinding", "ClusterRoleBinding") and role.get("name"):
        plural = _plural(str(role.get("kind")))
        yield {"apiGroups": [_RBAC], "resources": [plural], "verbs": ["bind"], "resourceNames": [role["name"]]}


def _unique(rules: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found


def _open_rules(kinds: Names) -> list[dict[str, Any]]:
    """Of the target namespace: objects of these kinds, whatever they are called."""
    return _rules({**_ALWAYS, **dict.fromkeys(kinds, _VERBS)})


def _named_rules(kinds: Names) -> list[dict[str, Any]]:
    """Of everywhere else: these objects alone."""
    own = [
        {"apiGroups": [group], "resources": [plural], "verbs": list(_NAMED), "resourceNames": sorted(names)}
        for (group, plural), names in sorted(kinds.items())
    ]
    return [*_rules(dict.fromkeys(kinds, _UNNAMED)), *own]


def _rules(rights: Mapping[tuple[str, str], list[str]]) -> list[dict[str, Any]]:
    """One rule for each group and set of verbs."""
    joined: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), verbs in sorted(rights.items()):
        joined.setdefault((group, tuple(verbs)), []).append(plural)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
        for (group, verbs), resources in joined.items()
    ]


def _bound(kind: str, name: str, where: str, rules: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    metadata = {"name": name, **({"namespace": where} if where else {})}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": INSTALLER, "namespace": namespace}],
        },
    ]


def _table(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = item.get(name)
    return found if isinstance(found, dict) else {}


def _group(item: Mapping[str, Any]) -> str:
    group, slash, _ = str(item.get("apiVersion", "")).partition("/")
    return group if slash else ""


def _plural(kind: str) -> str:
    """The name of a kind's resource, as all kinds of Kubernetes form it."""
    name = kind.lower()
    if name.endswith(("endpoints",)):
        return name
    if name.endswith("s"):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"
