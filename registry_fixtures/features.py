"""What a made-up registry can do, as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Switches of a registry; the defaults are those of a strict, complete one."""

    read_only: bool = False
    """Refuse whatever would change something with 405 UNSUPPORTED."""
    referrers_api: bool = True
    """Off: 404, and no OCI-Subject on PUT; clients keep the fallback tag."""
    mount: bool = True
    single_post: bool = True
    """Whether POST with ``digest`` and a body commits at once; off: a session, the body is dropped."""
    sparse_indexes: bool = False
    """Whether an index may name manifests that are absent."""
    strict_accept: bool = True
    """Answer 404 to an Accept that does not list the stored type; ``*/*`` does not help (Harbor)."""
    fragile_uploads: bool = False
    """A Location of an earlier answer destroys its session (Harbor, distribution 2.8)."""
    relative_locations: bool = False
    put_limit: int | None = None
    """Bytes a PUT or POST of a blob may have, as by a proxy: 413 with an HTML page. PATCH is free."""
    chunk_min_length: int = 0
    """Announced as OCI-Chunk-Min-Length and enforced."""
    sha512: bool = True
    """Off: sha512 digests are 400 DIGEST_INVALID (Harbor)."""
    delete: bool = True
    delete_tags: bool = True
    """Off: DELETE of a tag is 400 UNSUPPORTED (Harbor)."""
    catalog: bool = True
    page_size: int = 1000
    """Most entries in one answer of tags, catalog and referrers; Link leads on."""
    redirect_blobs: str = ""
    """Base URL that GETs of blobs are sent to with 307, as to object storage; empty: none."""
