"""The typed library: one verb a module, and the only public names of bundlectl.

Names are imported when they are first used, so that who wants one verb does not pay for the
others. Modules are called otherwise than their verbs (``locking`` has ``lock``): a module of
the same name would take the verb's place here as soon as it is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bundlectl.operations.bundling import BuiltBundle, build_package_bundle
    from bundlectl.operations.checking_registries import RegistryCheck, check_registry
    from bundlectl.operations.comparing import Difference, diff
    from bundlectl.operations.configuring import RegistryConfig, SiteRegistry, configure_clusters
    from bundlectl.operations.downloading import download
    from bundlectl.operations.export_report import ExportReport
    from bundlectl.operations.exporting import ExportSettings, export, plan_export
    from bundlectl.operations.filing import FilesLayout, FilesReport, write_files
    from bundlectl.operations.importing import ImportReport, import_into_registry, import_into_store
    from bundlectl.operations.inspecting import Inspection, inspect
    from bundlectl.operations.keymaking import KeyPair, generate_key
    from bundlectl.operations.listing import ReleaseRow, releases
    from bundlectl.operations.locking import lock
    from bundlectl.operations.mirroring import MirrorPlan, mirror, plan
    from bundlectl.operations.pushing_bundles import PushedBundle, push_package_bundle
    from bundlectl.operations.reporting import make_report
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.resolving_packages import BundleRequest
    from bundlectl.operations.serving import RunningServer, ServeOptions, serve
    from bundlectl.operations.session import Connection, Session
    from bundlectl.operations.signatures import gather_evidence
    from bundlectl.operations.signing_files import SignedFile, sign_file, verify_file
    from bundlectl.operations.signing_images import SignedImage, sign_reference, verify_reference
    from bundlectl.operations.stores import StoreListing, collect_garbage, list_store, store_stats
    from bundlectl.operations.taking_stock import load_inventory, take_inventory
    from bundlectl.operations.verifying import Finding, VerifyReport, verify_registry, verify_store
    from bundlectl.operations.verifying_archives import ArchiveReport, verify_archive, verify_inventory
    from bundles.inventory import Inventory
    from bundles.lock import Lock
    from bundles.plan import Naming
    from bundles.selection import Selection
    from mirror.copying import CopyReport
    from signing.keys import KeyAccess, load_public_key, open_signer

__all__ = [
    "ArchiveReport",
    "BuiltBundle",
    "BundleRequest",
    "Connection",
    "CopyReport",
    "Difference",
    "ExportReport",
    "ExportSettings",
    "FilesLayout",
    "FilesReport",
    "Finding",
    "ImportReport",
    "Inspection",
    "Inventory",
    "KeyAccess",
    "KeyPair",
    "Lock",
    "MirrorPlan",
    "Naming",
    "PushedBundle",
    "RegistryCheck",
    "RegistryConfig",
    "ReleaseRow",
    "RunningServer",
    "Selection",
    "ServeOptions",
    "Session",
    "SignedFile",
    "SignedImage",
    "SiteRegistry",
    "SourceRequest",
    "StoreListing",
    "VerifyReport",
    "build_package_bundle",
    "check_registry",
    "collect_garbage",
    "configure_clusters",
    "diff",
    "download",
    "export",
    "gather_evidence",
    "generate_key",
    "import_into_registry",
    "import_into_store",
    "inspect",
    "list_store",
    "load_inventory",
    "load_public_key",
    "lock",
    "make_report",
    "mirror",
    "open_signer",
    "plan",
    "plan_export",
    "push_package_bundle",
    "releases",
    "serve",
    "sign_file",
    "sign_reference",
    "store_stats",
    "take_inventory",
    "verify_archive",
    "verify_file",
    "verify_inventory",
    "verify_reference",
    "verify_registry",
    "verify_store",
    "write_files",
]

_HOMES: Final = {
    "bundlectl.operations.bundling": ("BuiltBundle", "build_package_bundle"),
    "bundlectl.operations.checking_registries": ("RegistryCheck", "check_registry"),
    "bundlectl.operations.comparing": ("Difference", "diff"),
    "bundlectl.operations.configuring": ("RegistryConfig", "SiteRegistry", "configure_clusters"),
    "bundlectl.operations.downloading": ("download",),
    "bundlectl.operations.export_report": ("ExportReport",),
    "bundlectl.operations.exporting": ("ExportSettings", "export", "plan_export"),
    "bundlectl.operations.filing": ("FilesLayout", "FilesReport", "write_files"),
    "bundlectl.operations.importing": ("ImportReport", "import_into_registry", "import_into_store"),
    "bundlectl.operations.inspecting": ("Inspection", "inspect"),
    "bundlectl.operations.keymaking": ("KeyPair", "generate_key"),
    "bundlectl.operations.listing": ("ReleaseRow", "releases"),
    "bundlectl.operations.locking": ("lock",),
    "bundlectl.operations.mirroring": ("MirrorPlan", "mirror", "plan"),
    "bundlectl.operations.pushing_bundles": ("PushedBundle", "push_package_bundle"),
    "bundlectl.operations.reporting": ("make_report",),
    "bundlectl.operations.request": ("SourceRequest",),
    "bundlectl.operations.resolving_packages": ("BundleRequest",),
    "bundlectl.operations.serving": ("RunningServer", "ServeOptions", "serve"),
    "bundlectl.operations.session": ("Connection", "Session"),
    "bundlectl.operations.signatures": ("gather_evidence",),
    "bundlectl.operations.signing_files": ("SignedFile", "sign_file", "verify_file"),
    "bundlectl.operations.signing_images": ("SignedImage", "sign_reference", "verify_reference"),
    "bundlectl.operations.stores": ("StoreListing", "collect_garbage", "list_store", "store_stats"),
    "bundlectl.operations.taking_stock": ("load_inventory", "take_inventory"),
    "bundlectl.operations.verifying": ("Finding", "VerifyReport", "verify_registry", "verify_store"),
    "bundlectl.operations.verifying_archives": ("ArchiveReport", "verify_archive", "verify_inventory"),
    "bundles.inventory": ("Inventory",),
    "bundles.lock": ("Lock",),
    "bundles.plan": ("Naming",),
    "bundles.selection": ("Selection",),
    "mirror.copying": ("CopyReport",),
    "signing.keys": ("KeyAccess", "load_public_key", "open_signer"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
