"""Harbor 2 (``wire.md`` 1, ``harbor-live.md``)."""

from __future__ import annotations

from typing import Final

from mirror.profiles import RegistryProfile

__all__ = ["PROFILE"]

PROFILE: Final = RegistryProfile(
    name="harbor",
    title="Harbor",
    token_services=frozenset({"harbor-registry"}),
    api="harbor",
    has_projects=True,
    name_limit=245,  # Harbor puts "docker.io/" before it, and then checks for 255
    # It tries patterns that are loose at their end, in an order that changes by chance (2.16, src/lib/patterns.go).
    misread_names="/(manifests|referrers)(/|$)|/tags/list|/blobs/uploads",
    documents="bundlectl/release-manifests",
    one_token_a_project=True,
    degrades_logins=True,
)
