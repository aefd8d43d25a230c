"""Whether a bundle that is in the cluster may be used: its signature, its name, and whom it is for."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from bundlectl.events import ignore
from bundlectl.operations.packages import check_digests, trust_of_digests
from bundles.verify import accept
from controller.facts import Fault
from controller.values import PackageBundle

if TYPE_CHECKING:
    from bundles.belief import Belief
    from bundles.package_bundle import BundleName
    from bundles.schema.package_bundle import PackageBundle as BundleModel

__all__ = ["Judge", "JudgedBundle", "UpgradeNeeded"]

_SEMVER: Final = re.compile(r"v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:[-+].*)?")
_UNDERSTOOD: Final = (0, 4)
"""The minor version of AWS's controller whose bundles this one understands (``minControllerVersion``)."""
_KEPT: Final = 64
"""Bundles that are remembered. A cluster has a few; judging one takes some milliseconds."""


class UpgradeNeeded(Fault):
    """The bundle is for controllers that know more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class JudgedBundle:
    """A bundle, or why it is none. ``fault`` says why nothing of it may be used."""

    name: BundleName | None
    model: BundleModel | None
    fault: Fault | None = None


class Judge:
    """Judges bundles, each version of an object once. Thread-safe.

    Args:
        belief: whose signature counts.
    """

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self._lock = threading.Lock()
        self._judged: dict[str, tuple[str, JudgedBundle]] = {}

    def judge_stored(self, document: dict[str, Any]) -> JudgedBundle:
        """Judge an object that the API server has: each version of it once."""
        metadata = document["metadata"]
        uid, version = str(metadata["uid"]), str(metadata["resourceVersion"])
        with self._lock:
            known, judged = self._judged.pop(uid, ("", None))
            if judged is None or known != version:
                judged = self.judge(document)
            # At the end, so that what was asked for the longest ago goes first.
            self._judged[uid] = version, judged
            while len(self._judged) > _KEPT:
                del self._judged[next(iter(self._judged))]
            return judged

    def judge(self, document: dict[str, Any]) -> JudgedBundle:
        """Judge what may become an object. Whatever it says of itself, nothing that was found before counts."""
        try:
            bundle = PackageBundle.from_json(document)
            verified = accept(bundle.document, bundle.model, belief=self._belief, listener=ignore)
            check_digests(trust_of_digests(verified.trust, bundle.document), name=bundle.metadata.name)
        except BundlectlError as error:
            return JudgedBundle(None, None, Fault("BundleNotVerified", str(error)))
        if bundle.name is None:
            told = f"{bundle.metadata.name} is not the name of a bundle, such as v1-33-120"
            return JudgedBundle(None, bundle.model, Fault("BundleName", told))
        needed = bundle.model.spec.min_controller_version
        match = _SEMVER.fullmatch(needed)
        if match and (int(match[1]), int(match[2])) > _UNDERSTOOD:
            told = f"{bundle.metadata.name} needs a controller that has what AWS's {needed} has"
            return JudgedBundle(bundle.name, bundle.model, UpgradeNeeded("UpgradeNeeded", told))
        return JudgedBundle(bundle.name, bundle.model)
