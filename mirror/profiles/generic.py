"""Any registry that keeps to the distribution-spec."""

from __future__ import annotations

from typing import Final

from mirror.profiles import GENERIC

__all__ = ["PROFILE"]

PROFILE: Final = GENERIC
