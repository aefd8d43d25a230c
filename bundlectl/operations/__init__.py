"""The typed library: one verb a module, and the only public names of bundlectl.

Names are imported when they are first used, so that who wants one verb does not pay for the
others. Modules are called otherwise than their verbs (``locking`` has ``lock``): a module of
the same name would take the verb's place here as soon as it is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bundlectl.operations.comparing import Difference, diff
    from bundlectl.operations.downloading import download
    from bundlectl.operations.inspecting import Inspection, inspect
    from bundlectl.operations.listing import ReleaseRow, releases
    from bundlectl.operations.locking import lock
    from bundlectl.operations.mirroring import MirrorPlan, mirror, plan
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.serving import RunningServer, ServeOptions, serve
    from bundlectl.operations.session import Connection, Session
    from bundlectl.operations.stores import StoreListing, list_store, store_stats
    from bundlectl.operations.verifying import Finding, VerifyReport, verify_registry, verify_store
    from bundles.lock import Lock
    from bundles.plan import Naming
    from bundles.selection import Selection
    from mirror.copying import CopyReport

__all__ = [
    "Connection",
    "CopyReport",
    "Difference",
    "Finding",
    "Inspection",
    "Lock",
    "MirrorPlan",
    "Naming",
    "ReleaseRow",
    "RunningServer",
    "Selection",
    "ServeOptions",
    "Session",
    "SourceRequest",
    "StoreListing",
    "VerifyReport",
    "diff",
    "download",
    "inspect",
    "list_store",
    "lock",
    "mirror",
    "plan",
    "releases",
    "serve",
    "store_stats",
    "verify_registry",
    "verify_store",
]

_HOMES: Final = {
    "bundlectl.operations.comparing": ("Difference", "diff"),
    "bundlectl.operations.downloading": ("download",),
    "bundlectl.operations.inspecting": ("Inspection", "inspect"),
    "bundlectl.operations.listing": ("ReleaseRow", "releases"),
    "bundlectl.operations.locking": ("lock",),
    "bundlectl.operations.mirroring": ("MirrorPlan", "mirror", "plan"),
    "bundlectl.operations.request": ("SourceRequest",),
    "bundlectl.operations.serving": ("RunningServer", "ServeOptions", "serve"),
    "bundlectl.operations.session": ("Connection", "Session"),
    "bundlectl.operations.stores": ("StoreListing", "list_store", "store_stats"),
    "bundlectl.operations.verifying": ("Finding", "VerifyReport", "verify_registry", "verify_store"),
    "bundles.lock": ("Lock",),
    "bundles.plan": ("Naming",),
    "bundles.selection": ("Selection",),
    "mirror.copying": ("CopyReport",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
