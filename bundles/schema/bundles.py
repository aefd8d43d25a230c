"""What makes up an EKS-A release (``Bundles`` of ``anywhere.eks.amazonaws.com/v1alpha1``)."""

from typing import Final

from bundles.schema import components as parts
from bundles.schema.fields import Struct, always, spelled
from bundles.schema.shared import (
    NO_ARCHIVE,
    NO_CHART,
    NO_IMAGE,
    NO_MANIFEST,
    NO_METADATA,
    Archive,
    Chart,
    Image,
    Manifest,
    Metadata,
)

__all__ = ["Bundles", "BundlesSpec", "EksD", "Tinkerbell", "VersionsBundle"]


class OsImage(Struct):
    """An operating system image; empty where a Kubernetes version has no Bottlerocket variant."""

    bottlerocket: Archive = NO_ARCHIVE


_NO_OS_IMAGE: Final = OsImage()


class EksD(Struct):
    """The EKS-D release of this Kubernetes version. ``components`` is a plain URL here."""

    name: str = ""
    channel: str = ""
    kube_version: str = ""
    manifest_url: str = ""
    git_commit: str = ""
    components: str = ""
    kind_node: Image = NO_IMAGE
    ami: OsImage = _NO_OS_IMAGE
    ova: OsImage = _NO_OS_IMAGE
    raw: OsImage = _NO_OS_IMAGE
    etcdadm: Archive = NO_ARCHIVE
    crictl: Archive = NO_ARCHIVE
    imagebuilder: Archive = NO_ARCHIVE
    containerd: Archive = NO_ARCHIVE


class TinkerbellActions(Struct):
    """Actions of the provisioning workflow."""

    cexec: Image = NO_IMAGE
    kexec: Image = NO_IMAGE
    image_to_disk: Image = NO_IMAGE
    oci_to_disk: Image = NO_IMAGE
    write_file: Image = NO_IMAGE
    reboot: Image = NO_IMAGE


class PerArchitecture(Struct):
    """A file for each architecture; ``arm`` is arm64, ``amd`` is amd64."""

    arm: Archive = NO_ARCHIVE
    amd: Archive = NO_ARCHIVE


_NO_FILES: Final = PerArchitecture()


class Hook(Struct):
    """The installation environment; upstream publishes no checksums of its files."""

    bootkit: Image = NO_IMAGE
    docker: Image = NO_IMAGE
    kernel: Image = NO_IMAGE
    initramfs: PerArchitecture = _NO_FILES
    vmlinuz: PerArchitecture = _NO_FILES
    iso: PerArchitecture = _NO_FILES


class Tink(Struct):
    """Tink; all but ``tinkRelayInit`` are deprecated."""

    tink_relay: Image | None = None
    tink_relay_init: Image = NO_IMAGE
    tink_controller: Image | None = None
    tink_server: Image | None = None
    tink_worker: Image | None = None
    nginx: Image | None = None


_NO_ACTIONS: Final = TinkerbellActions()
_NO_HOOK: Final = Hook()
_NO_TINK: Final = Tink()


class TinkerbellStack(Struct):
    """Tinkerbell itself; ``hegel`` and ``rufio`` are deprecated."""

    actions: TinkerbellActions = _NO_ACTIONS
    boots: Image = NO_IMAGE
    hegel: Image | None = None
    tinkerbell_chart: Chart = NO_CHART
    hook: Hook = _NO_HOOK
    rufio: Image | None = None
    tink: Tink = _NO_TINK
    tinkerbell_crds: Chart = NO_CHART
    stack: Chart = NO_CHART


_NO_STACK: Final = TinkerbellStack()


class Tinkerbell(Struct):
    """The bare-metal provider."""

    version: str = always("")
    cluster_api_controller: Image = spelled(NO_IMAGE, "clusterAPIController")
    kube_vip: Image = NO_IMAGE
    envoy: Image = NO_IMAGE
    components: Manifest = NO_MANIFEST
    metadata: Manifest = NO_MANIFEST
    cluster_template: Manifest = NO_MANIFEST
    tinkerbell_stack: TinkerbellStack = _NO_STACK


_NO_CAPI: Final = parts.ClusterApi()


class VersionsBundle(Struct):
    """Everything for one Kubernetes version. ``kube_version`` (``"1.33"``) stays the text it is."""

    kube_version: str = always("")
    end_of_standard_support: str = ""
    eks_d: EksD = EksD()
    cert_manager: parts.CertManager = parts.CertManager()
    cluster_api: parts.ClusterApi = spelled(_NO_CAPI, "clusterAPI")
    bootstrap: parts.ClusterApi = _NO_CAPI
    control_plane: parts.ClusterApi = _NO_CAPI
    v_sphere: parts.VSphere = parts.VSphere()
    cloud_stack: parts.CloudStack = parts.CloudStack()
    docker: parts.Docker = parts.Docker()
    eksa: parts.Eksa = parts.Eksa()
    cilium: parts.Cilium = parts.Cilium()
    kindnetd: parts.Kindnetd = parts.Kindnetd()
    flux: parts.Flux = parts.Flux()
    package_controller: parts.PackageController = parts.PackageController()
    bottlerocket_host_containers: parts.BottlerocketHostContainers = parts.BottlerocketHostContainers()
    bottlerocket_bootstrap_containers: parts.BottlerocketBootstrapContainers = parts.BottlerocketBootstrapContainers()
    etcdadm_bootstrap: parts.ClusterApi = _NO_CAPI
    etcdadm_controller: parts.ClusterApi = _NO_CAPI
    tinkerbell: Tinkerbell = Tinkerbell()
    haproxy: parts.Haproxy = parts.Haproxy()
    snow: parts.Snow = parts.Snow()
    nutanix: parts.Nutanix = parts.Nutanix()
    upgrader: parts.Upgrader = parts.Upgrader()
    aws: parts.Aws | None = None


class BundlesSpec(Struct):
    """The release's number, the versions of the command line it is for, and its content."""

    number: int = always(0)
    cli_min_version: str = always("")
    cli_max_version: str = always("")
    versions_bundles: tuple[VersionsBundle, ...] = always(())


_NO_SPEC: Final = BundlesSpec()


class BundlesStatus(Struct):
    """Nothing: AWS declares a status without fields."""


_NO_STATUS: Final = BundlesStatus()


class Bundles(Struct):
    """A Bundles manifest."""

    api_version: str = ""
    kind: str = ""
    metadata: Metadata = NO_METADATA
    spec: BundlesSpec = _NO_SPEC
    status: BundlesStatus = _NO_STATUS
    unknown: tuple[str, ...] = ()
    """Fields that this model does not know, as dotted paths."""
    warnings: tuple[str, ...] = ()
    """What other readers may understand differently, each with its place."""
