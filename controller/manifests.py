"""``controller manifests``: everything that a cluster needs to run the controller, as Kubernetes objects.

The Helm chart (`controller.packaging`) is made of the same functions, with template expressions for arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.operations.package_objects import NAMESPACE
from controller.configuration import MIRROR_SECRET, PULL_SECRET
from controller.crds import GROUP, PLURALS, VERSION, load_definitions

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CERTIFICATE_SECRET",
    "INSTALLER",
    "NAME",
    "Installation",
    "cluster_objects",
    "controller_objects",
    "installation",
    "remote_objects",
]

NAME: Final = "bundlectl-controller"
INSTALLER: Final = "package-installer"
"""The account, in each namespace that holds Packages, in whose name charts are installed."""

CERTIFICATE_SECRET: Final = "bundlectl-webhook-tls"  # noqa: S105 -- a name

WEBHOOK_PORT: Final = 9443
METRICS_PORT: Final = 8080

_RBAC: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "bundlectl"}
_USER: Final = 65532


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How the controller is to run.

    ``image`` is a full reference. ``clusters`` are those whose packages it installs; the first is the one that it
    runs in. ``public_key`` is the base64 DER of the key that bundles are signed with, empty for AWS's.
    """

    image: str
    clusters: tuple[str, ...]
    replicas: int | str = 1
    public_key: str = ""


def installation(wanted: Installation) -> list[dict[str, Any]]:
    """All objects, in the order in which they can be applied."""
    per_cluster = [item for name in wanted.clusters for item in cluster_objects(name)]
    remote = [item for name in wanted.clusters[1:] for item in remote_objects(name)]
    return [_namespace(NAMESPACE), *load_definitions(), *controller_objects(wanted), *per_cluster, *remote]


def controller_objects(wanted: Installation) -> list[dict[str, Any]]:
    """The controller itself: its account, its rights, the workload and the webhook."""
    return [
        _object("v1", "ServiceAccount", NAME, NAMESPACE),
        *_own_rights(),
        # Filled by the controller. Without data here, to apply it again takes none away; of which type it is, nobody
        # needs to know.
        _object("v1", "Secret", CERTIFICATE_SECRET, NAMESPACE),
        _deployment(wanted),
        _disruption(),
        _service(),
        _webhooks(),
    ]


def cluster_objects(cluster: str) -> list[dict[str, Any]]:
    """What the packages of one cluster need: their namespace, the account that installs them, and who may use it.

    The account may do nothing yet but look after itself; what charts need is bound by `controller.bindings`.
    """
    namespace = f"{NAMESPACE}-{cluster}"
    return [
        _namespace(namespace),
        # It is impersonated alone: no pod is to have its token.
        {**_object("v1", "ServiceAccount", INSTALLER, namespace), "automountServiceAccountToken": False},
        _role(NAME, namespace, [_rule("", ["secrets"], ["get"], [MIRROR_SECRET])]),
        _binding(NAME, namespace, NAME, NAMESPACE),
    ]


def remote_objects(cluster: str) -> list[dict[str, Any]]:
    """The right to read the kubeconfig of a workload cluster (``eksa-system/CLUSTER-kubeconfig``)."""
    name = f"{NAME}-{cluster}"
    rules = [_rule("", ["secrets"], ["get"], [f"{cluster}-kubeconfig"])]
    return [_role(name, "eksa-system", rules), _binding(name, "eksa-system", NAME, NAMESPACE)]


def _own_rights() -> list[dict[str, Any]]:
    """The controller's rights: its kinds and Events anywhere; bundles, secrets and the lease in its own namespace."""
    kinds = list(PLURALS.values())
    anywhere = [
        _rule(GROUP, kinds, ["get", "list", "watch"]),
        # Dependencies; finalizers and owners.
        _rule(GROUP, [PLURALS["Package"]], ["create", "patch"]),
        _rule(GROUP, [f"{kind}/status" for kind in kinds], ["patch"]),
        # Not by roles in the namespaces of Packages: they would go before the Packages do, when one is deleted.
        _rule("", ["serviceaccounts"], ["impersonate"], [INSTALLER]),
        _rule("", ["events"], ["create"]),
        _rule("", ["namespaces"], ["get"]),
        # Its own webhooks, to write the authority that it made for them.
        _rule("admissionregistration.k8s.io", ["validatingwebhookconfigurations"], ["get", "update"], [NAME]),
    ]
    own = [
        # Bundles out of the mirror; the active bundle with --auto-activate.
        _rule(GROUP, [PLURALS["PackageBundle"]], ["create"]),
        _rule(GROUP, [PLURALS["PackageBundleController"]], ["patch"]),
        _rule("", ["secrets"], ["get"], [MIRROR_SECRET]),
        # Not to create one: who may do that gets the token of any account of this namespace.
        _rule("", ["secrets"], ["get", "update"], [CERTIFICATE_SECRET]),
        # Leases may be created, though that cannot be limited to a name: one that was deleted must come back.
        _rule("coordination.k8s.io", ["leases"], ["get", "update"], [NAME]),
        _rule("coordination.k8s.io", ["leases"], ["create"]),
    ]
    return [
        {**_object(f"{_RBAC}/v1", "ClusterRole", NAME), "rules": anywhere},
        {
            **_object(f"{_RBAC}/v1", "ClusterRoleBinding", NAME),
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
        _role(NAME, NAMESPACE, own),
        _binding(NAME, NAMESPACE, NAME, NAMESPACE),
    ]


def _deployment(wanted: Installation) -> dict[str, Any]:
    container = {
        "name": "controller",
        "image": wanted.image,
        "args": ["controller", "run"],
        "env": [
            {"name": "CLUSTER_NAME", "value": wanted.clusters[0]},
            {"name": "EKSA_PUBLIC_KEY", "value": wanted.public_key},
        ],
        "ports": [
            {"name": "webhook", "containerPort": WEBHOOK_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "metrics"}, "periodSeconds": 20},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "metrics"}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "work", "mountPath": "/tmp"}],  # noqa: S108 -- a volume of the pod's own
    }
    return {
        **_object("apps/v1", "Deployment", NAME, NAMESPACE),
        "spec": {
            "replicas": wanted.replicas,
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "template": {
                "metadata": {"labels": dict(_LABELS)},
                "spec": {
                    "serviceAccountName": NAME,
                    "imagePullSecrets": [{"name": PULL_SECRET}],
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _USER,
                        "runAsGroup": _USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
                        }
                    ],
                    "containers": [container],
                    "volumes": [{"name": "work", "emptyDir": {"sizeLimit": "1Gi"}}],
                },
            },
        },
    }


def _disruption() -> dict[str, Any]:
    """One replica at a time goes when nodes are emptied; a single one may go, too."""
    return {
        **_object("policy/v1", "PodDisruptionBudget", NAME, NAMESPACE),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}}},
    }


def _service() -> dict[str, Any]:
    return {
        **_object("v1", "Service", NAME, NAMESPACE),
        "spec": {
            "selector": {"app.kubernetes.io/name": NAME},
            "ports": [
                {"name": "webhook", "port": 443, "targetPort": "webhook"},
                {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics"},
            ],
        },
    }


def _webhooks() -> dict[str, Any]:
    """One webhook a kind, under AWS's paths (``domain.md`` 5.8); the controller fills in the authority.

    What is being deleted is not asked about, so that its finalizers can be dropped where no controller is any more.
    """
    return {
        **_object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", NAME),
        "webhooks": [
            {
                "name": f"{kind.lower()}.bundlectl.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 10,
                "matchConditions": [
                    {"name": "not-leaving", "expression": "!has(object.metadata.deletionTimestamp)"},
                ],
                "clientConfig": {
                    "service": {
                        "name": NAME,
                        "namespace": NAMESPACE,
                        "path": f"/validate-packages-eks-amazonaws-com-v1alpha1-{kind.lower()}",
                        "port": 443,
                    }
                },
                "rules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [plural],
                        "scope": "Namespaced",
                    }
                ],
            }
            for kind, plural in PLURALS.items()
        ],
    }


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": dict(_LABELS),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _namespace(name: str) -> dict[str, Any]:
    return _object("v1", "Namespace", name)


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def _role(name: str, namespace: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_object(f"{_RBAC}/v1", "Role", name, namespace), "rules": rules}


def _binding(name: str, namespace: str, account: str, account_namespace: str) -> dict[str, Any]:
    return {
        **_object(f"{_RBAC}/v1", "RoleBinding", name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }
