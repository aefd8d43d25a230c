"""The typed library: one verb a module, and the only public names of bundlectl.

All of it is imported here, so that ``bundlectl.operations.lock`` is always the verb and never
the module of its name.
"""

from bundlectl.operations.diff import Difference, diff
from bundlectl.operations.download import download
from bundlectl.operations.inspect import Inspection, inspect
from bundlectl.operations.lock import lock
from bundlectl.operations.mirror import MirrorPlan, mirror, plan
from bundlectl.operations.releases import ReleaseRow, releases
from bundlectl.operations.request import SourceRequest
from bundlectl.operations.serve import RunningServer, ServeOptions, serve
from bundlectl.operations.session import Connection, Session
from bundlectl.operations.stores import StoreListing, list_store, store_stats
from bundlectl.operations.verify import Finding, VerifyReport, verify_registry, verify_store
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
