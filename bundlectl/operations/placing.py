"""Where release documents go, which depends on the product of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundles.plan import TargetPlan
from mirror.oci.artifact import MANIFESTS_REPOSITORY

if TYPE_CHECKING:
    from bundles.lock import Lock
    from mirror.remote import RemoteRegistry

__all__ = ["place_documents"]


def place_documents(planned: TargetPlan, lock: Lock, registry: RemoteRegistry) -> TargetPlan:
    """Let release documents go where the product of a registry can hold them.

    Harbor misreads paths below ``bundlectl/manifests``; what was planned stays for every other product.

    Args:
        planned: of ``lock``, with the usual names.
        lock: what is planned.
        registry: the target; its product is asked for if nothing was asked of it yet.

    Raises:
        UsageError: two things would have one name.
        TransportError, RegistryError: it does not answer.
    """
    if not planned.manifests or registry.profile.documents == MANIFESTS_REPOSITORY:
        return planned
    return TargetPlan.of(lock, planned.naming, documents=registry.profile.documents)
