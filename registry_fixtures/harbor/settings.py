"""What can be set on a made-up Harbor, and changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(slots=True, kw_only=True)
class Settings:
    """Switches of an installation; the defaults are those of one just installed, behind its nginx."""

    nginx: bool = True
    """Off: core is reached directly, so no HTML and no limit on header lines."""
    outage: int = 0
    """A status (502, 503, 504) that nginx answers everything with; 0 while core is up."""
    read_only: bool = False
    manifest_cache: bool = False
    """On: no Accept is looked at, as in an installation with the manifest cache."""
    misread_paths: bool = False
    """On: in a repository whose path has a part ``manifests``, every other request is taken for a manifest's.

    Harbor tries its patterns in an order that changes by chance. The wrong one makes a HEAD of a
    blob 404, and everything 400 when ``manifests`` follows the project. So the sources of 2.16
    say, and their patterns when tried; it was not seen at a running one.
    """
    token_life: int = 1800
    """Seconds (``token_expiration``)."""
    robot_prefix: str = "robot$"
    """``robot_name_prefix``."""
    storage_per_project: int = -1
    """Bytes of a new project's quota; -1 is unlimited."""
    project_creation_restriction: str = "everyone"
    """``everyone`` or ``adminonly``."""
    redirect_blobs: str = ""
    """Base URL that GETs of blobs are sent to with 307, as to object storage; empty: none."""
    gc_window_hours: float = 2
    """``GC_TIME_WINDOW_HOURS``."""
    volume_size: int = 0
    """Bytes of the disk that /systeminfo/volumes tells of; 0: 64 GiB."""
    version: str = "v2.16.0-c50c7dd0"
    """``harbor_version`` of /systeminfo."""
    gc_schedule: str = ""
    """Cron of the garbage collection, six fields; empty: none."""
    gc_delete_untagged: bool = False
    """Whether the scheduled collection takes untagged artifacts."""
