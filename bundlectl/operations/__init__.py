"""The typed library: one verb a module, and the only public names of bundlectl.

Names are imported when they are first used, so that who wants one verb does not pay for the
others. Modules are called otherwise than their verbs (``locking`` has ``lock``): a module of
the same name would take the verb's place here as soon as it is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bundlectl.operations.checking_registries import RegistryCheck, check_registry
    from bundlectl.operations.comparing import Difference, diff
    from bundlectl.operations.configuring import RegistryConfig, SiteRegistry, configure_clusters
    from bundlectl.operations.downloading import download
    from bundlectl.operations.inspecting import Inspection, inspect
    from bundlectl.operations.keymaking import KeyPair, generate_key
    from bundlectl.operations.listing import ReleaseRow, releases
    from bundlectl.operations.locking import lock
    from bundlectl.operations.mirroring import MirrorPlan, mirror, plan
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.serving import RunningServer, ServeOptions, serve
    from bundlectl.operations.session import Connection, Session
    from bundlectl.operations.signatures import gather_evidence
    from bundlectl.operations.signing_files import SignedFile, sign_file, verify_file
    from bundlectl.operations.signing_images import SignedImage, sign_reference, verify_reference
    from bundlectl.operations.stores import StoreListing, collect_garbage, list_store, store_stats
    from bundlectl.operations.verifying import Finding, VerifyReport, verify_registry, verify_store
    from bundles.lock import Lock
    from bundles.plan import Naming
    from bundles.selection import Selection
    from mirror.copying import CopyReport
    from signing.keys import KeyAccess, load_public_key, open_signer

__all__ = [
    "Connection",
    "CopyReport",
    "Difference",
    "Finding",
    "Inspection",
    "KeyAccess",
    "KeyPair",
    "Lock",
    "MirrorPlan",
    "Naming",
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
    "check_registry",
    "collect_garbage",
    "configure_clusters",
    "diff",
    "download",
    "gather_evidence",
    "generate_key",
    "inspect",
    "list_store",
    "load_public_key",
    "lock",
    "mirror",
    "open_signer",
    "plan",
    "releases",
    "serve",
    "sign_file",
    "sign_reference",
    "store_stats",
    "verify_file",
    "verify_reference",
    "verify_registry",
    "verify_store",
]

_HOMES: Final = {
    "bundlectl.operations.checking_registries": ("RegistryCheck", "check_registry"),
    "bundlectl.operations.comparing": ("Difference", "diff"),
    "bundlectl.operations.configuring": ("RegistryConfig", "SiteRegistry", "configure_clusters"),
    "bundlectl.operations.downloading": ("download",),
    "bundlectl.operations.inspecting": ("Inspection", "inspect"),
    "bundlectl.operations.keymaking": ("KeyPair", "generate_key"),
    "bundlectl.operations.listing": ("ReleaseRow", "releases"),
    "bundlectl.operations.locking": ("lock",),
    "bundlectl.operations.mirroring": ("MirrorPlan", "mirror", "plan"),
    "bundlectl.operations.request": ("SourceRequest",),
    "bundlectl.operations.serving": ("RunningServer", "ServeOptions", "serve"),
    "bundlectl.operations.session": ("Connection", "Session"),
    "bundlectl.operations.signatures": ("gather_evidence",),
    "bundlectl.operations.signing_files": ("SignedFile", "sign_file", "verify_file"),
    "bundlectl.operations.signing_images": ("SignedImage", "sign_reference", "verify_reference"),
    "bundlectl.operations.stores": ("StoreListing", "collect_garbage", "list_store", "store_stats"),
    "bundlectl.operations.verifying": ("Finding", "VerifyReport", "verify_registry", "verify_store"),
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
