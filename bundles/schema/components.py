"""The components that a VersionsBundle is made of, but for EKS-D and Tinkerbell."""

from bundles.schema.fields import Struct, always, spelled
from bundles.schema.shared import NO_CHART, NO_IMAGE, NO_MANIFEST, Chart, Image, Manifest

__all__ = [
    "Aws",
    "BottlerocketBootstrapContainers",
    "BottlerocketHostContainers",
    "CertManager",
    "Cilium",
    "CloudStack",
    "ClusterApi",
    "Docker",
    "Eksa",
    "Flux",
    "Haproxy",
    "Kindnetd",
    "Nutanix",
    "PackageController",
    "Snow",
    "Upgrader",
    "VSphere",
]


class CertManager(Struct):
    """cert-manager; ``ctl`` is deprecated."""

    version: str = ""
    acmesolver: Image = NO_IMAGE
    cainjector: Image = NO_IMAGE
    controller: Image = NO_IMAGE
    ctl: Image | None = None
    startupapicheck: Image = NO_IMAGE
    webhook: Image = NO_IMAGE
    manifest: Manifest = NO_MANIFEST


class ClusterApi(Struct):
    """A Cluster API provider of one controller: core, kubeadm bootstrap and control plane, etcdadm."""

    version: str = always("")
    controller: Image = NO_IMAGE
    kube_proxy: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST


class Aws(Struct):
    """The AWS provider of the first releases; deprecated."""

    version: str = always("")
    controller: Image = NO_IMAGE
    kube_proxy: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    cluster_template: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST


class VSphere(Struct):
    """The vSphere provider; ``driver`` and ``syncer`` are deprecated."""

    version: str = always("")
    cluster_api_controller: Image = spelled(NO_IMAGE, "clusterAPIController")
    kube_proxy: Image = NO_IMAGE
    manager: Image = NO_IMAGE
    kube_vip: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST
    cluster_template: Manifest = NO_MANIFEST
    driver: Image | None = None
    syncer: Image | None = None


class CloudStack(Struct):
    """The CloudStack provider: since v0.26 placeholders with the version ``deprecated``."""

    version: str = ""
    cluster_api_controller: Image = spelled(NO_IMAGE, "clusterAPIController")
    kube_rbac_proxy: Image = NO_IMAGE
    kube_vip: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST


class Docker(Struct):
    """The Docker provider, for development."""

    version: str = always("")
    manager: Image = NO_IMAGE
    kube_proxy: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    cluster_template: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST


class Eksa(Struct):
    """EKS Anywhere's own images."""

    version: str = ""
    cli_tools: Image = NO_IMAGE
    cluster_controller: Image = NO_IMAGE
    diagnostic_collector: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST


class Cilium(Struct):
    """Cilium; ``manifest`` is deprecated in favour of the chart."""

    version: str = ""
    cilium: Image = NO_IMAGE
    operator: Image = NO_IMAGE
    manifest: Manifest | None = None
    helm_chart: Chart = NO_CHART


class Kindnetd(Struct):
    """kindnetd."""

    version: str = ""
    manifest: Manifest = NO_MANIFEST


class Flux(Struct):
    """Flux."""

    version: str = ""
    source_controller: Image = NO_IMAGE
    kustomize_controller: Image = NO_IMAGE
    helm_controller: Image = NO_IMAGE
    notification_controller: Image = NO_IMAGE


class PackageController(Struct):
    """The controller of curated packages."""

    version: str = ""
    package_controller: Image = NO_IMAGE
    token_refresher: Image = NO_IMAGE
    credential_provider_package: Image = NO_IMAGE
    helm_chart: Chart = NO_CHART


class BottlerocketHostContainers(Struct):
    """Host containers of Bottlerocket."""

    admin: Image = NO_IMAGE
    control: Image = NO_IMAGE
    kubeadm_bootstrap: Image = NO_IMAGE


class BottlerocketBootstrapContainers(Struct):
    """Bootstrap containers of Bottlerocket."""

    multi_network_bootstrap: Image = NO_IMAGE


class Haproxy(Struct):
    """HAProxy."""

    image: Image = NO_IMAGE


class Snow(Struct):
    """The Snow provider."""

    version: str = always("")
    manager: Image = NO_IMAGE
    kube_vip: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST
    bottlerocket_bootstrap_snow: Image = NO_IMAGE


class Nutanix(Struct):
    """The Nutanix provider."""

    cluster_api_controller: Image = spelled(NO_IMAGE, "clusterAPIController")
    cloud_provider: Image = NO_IMAGE
    version: str = always("")
    kube_vip: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST
    cluster_template: Manifest = NO_MANIFEST


class Upgrader(Struct):
    """The in-place upgrader."""

    upgrader: Image = NO_IMAGE
