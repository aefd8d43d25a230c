"""Releases as `controller.local` finds them: whether they may be touched, and which revision to go back to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, VerificationError
from bundles.helm.archive import read_chart_file
from bundles.package_bundle import BundleName
from controller.helm import HelmError

if TYPE_CHECKING:
    from controller.local import LocalRelease
    from controller.releases import Release, Revision

__all__ = ["deployed", "last_good", "made_by", "refuse_what_is_there"]

_PATIENCE: Final = 300.0
"""Seconds that a helm gets to end what it began, as with the controller: so long do its operations take at most."""


def refuse_what_is_there(release: LocalRelease, there: Release | None) -> None:
    """Leave alone what somebody else gave the same name or works at, and what is of a newer bundle.

    Args:
        release: what is wanted.
        there: what the cluster has under its name.

    Raises:
        ContentError: it is another chart's, a controller's or another tool's.
        HelmError: a helm works at it.
        VerificationError: what is installed is of a newer bundle.
    """
    if there is None:
        return
    artifact = f"{release.namespace}/{release.name}"
    if there.chart not in ("", read_chart_file(release.chart).name):
        raise ContentError(
            f"is there already, of the chart {there.chart}",
            artifact=artifact,
            hint="choose another --package-name or --target-namespace",
        )
    # What others need and is there is not touched, whoever keeps it.
    stays = release.is_dependency and deployed(there) is not None
    if there.owner and not stays:
        raise ContentError(
            "is there already, and a package controller keeps it as its Package says",
            artifact=artifact,
            hint="change the Package: bundlectl packages install --cluster NAME; or choose another --package-name. "
            "Where the Package is gone, take the release away with helm uninstall",
        )
    if not stays and not any(one.bundle for one in there.revisions):
        raise ContentError(
            "is there already, and was not installed by packages install --from",
            artifact=artifact,
            hint="choose another --package-name or --target-namespace, or take it away with helm uninstall",
        )
    since = time.time() - there.last.began
    if there.pending and since < _PATIENCE:
        raise HelmError(
            f"a helm works at it since {max(0.0, since):.0f} s ({there.last.status})",
            artifact=artifact,
            hint=f"wait; if it was killed, the same command undoes it {_PATIENCE / 60:g} minutes after it began",
        )
    _refuse_older(release, there, artifact)


def _refuse_older(release: LocalRelease, there: Release, artifact: str) -> None:
    """A mirror may offer what was signed long ago."""
    runs = deployed(there)
    before = BundleName.read(runs.bundle) if runs else None
    wanted = BundleName.read(release.bundle)
    if release.is_dependency or release.allow_rollback or before is None or wanted is None:
        return
    if before.channel == wanted.channel and wanted.age < before.age:
        raise VerificationError(
            f"{wanted.text} is older than {before.text}, which it is installed from",
            artifact=artifact,
            hint="the package would go back; if that is meant, say --allow-rollback",
        )


def made_by(there: Release | None, run: str) -> int | None:
    """The revision that this run made; a helm of somebody else hands its label on to later ones."""
    return next((one.number for one in there.revisions if one.holder == run), None) if there else None


def last_good(there: Release | None) -> int | None:
    """The revision to go back to: the last that was seen ready, else the one deployed; None where there is neither."""
    kept = [one for one in there.revisions if one.status in ("deployed", "superseded")] if there else []
    seen_ready = next((one for one in reversed(kept) if one.ready), None)
    good = seen_ready or deployed(there)
    return good.number if good else None


def deployed(there: Release | None) -> Revision | None:
    """The revision that runs; None where none does."""
    return next((one for one in reversed(there.revisions) if one.status == "deployed"), None) if there else None
