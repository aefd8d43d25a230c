"""The copy engine: one scheduler over the unique blobs of everything that is copied."""

from mirror.copying.engine import copy
from mirror.copying.knowledge import TargetKnowledge
from mirror.copying.report import CopyReport, Failure
from mirror.copying.root import Referrer, Root
from mirror.copying.survey import Estimate, estimate
from mirror.copying.working import Persistence

__all__ = [
    "CopyReport",
    "Estimate",
    "Failure",
    "Persistence",
    "Referrer",
    "Root",
    "TargetKnowledge",
    "copy",
    "estimate",
]
