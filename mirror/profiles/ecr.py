"""Amazon ECR, private registries (``wire.md`` 5.4)."""

from __future__ import annotations

from typing import Final

from mirror.profiles import RegistryProfile

__all__ = ["PROFILE"]

PROFILE: Final = RegistryProfile(
    name="ecr",
    title="Amazon ECR",
    hosts=r"[0-9]{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)",
    makes_repositories=False,
)
