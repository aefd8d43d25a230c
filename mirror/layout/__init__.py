"""The store: an OCI image layout on disk, with refs in an append-only log (docs/adr/0001-store-format.md)."""

from __future__ import annotations

from mirror.filesystem import FileReader
from mirror.layout.checking import Problem, StoreStats
from mirror.layout.collecting import Collected
from mirror.layout.refs import ProtectedError, Ref
from mirror.layout.repository import LayoutRepository
from mirror.layout.store import Store

__all__ = ["Collected", "FileReader", "LayoutRepository", "Problem", "ProtectedError", "Ref", "Store", "StoreStats"]
