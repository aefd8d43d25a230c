"""The lock: everything that a release needs, pinned by digest (docs/adr/0002-lock-format.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, UsageError
from bundles.artifact import ArtifactType, Excluded, TrustLevel, better_trust
from mirror.oci.artifact import describe_document, wrap_file
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.platform import Platform
from mirror.oci.reference import Reference, attached_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema_rs import Draft202012Validator

__all__ = ["API_VERSION", "BEGINNING", "Lock", "LockedArtifact", "LockedManifest", "LockedReferrer", "LockedSource"]

API_VERSION: Final = "bundlectl.dev/v1alpha1"
_SIZE_LIMIT: Final = 64 * 1024 * 1024
BEGINNING: Final = b'{"apiVersion":"bundlectl.dev/'
"""Of a lock in canonical form; locks may be larger than any document of AWS."""
_ANEW: Final = "take the original, or make it anew with `bundlectl lock`"


@dataclass(frozen=True, slots=True)
class LockedSource:
    """A SOURCE as it was asked for, and what it turned out to be."""

    source: str
    kind: str
    name: str
    number: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a lock."""
        return _filled({"source": self.source, "kind": self.kind, "name": self.name, "number": self.number})


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedManifest:
    """A release document: the bytes that were received, and who vouches for them.

    ``oci_digest`` and ``tags`` only for a package bundle that came from a registry; ``url`` is
    then its ``registry/repository``.
    """

    kind: str
    name: str
    url: str
    digest: Digest
    size: int
    trust: TrustLevel
    verified_by: str | None = None
    oci_digest: Digest | None = None
    tags: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a lock."""
        return _filled(
            {
                "kind": self.kind,
                "name": self.name,
                "url": self.url,
                "digest": str(self.digest),
                "size": self.size,
                "trust": self.trust,
                "verifiedBy": self.verified_by,
                "ociDigest": str(self.oci_digest) if self.oci_digest else None,
                "tags": sorted(self.tags) or None,
            }
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LockedManifest:
        """Read from a validated lock."""
        return cls(
            kind=value["kind"],
            name=value["name"],
            url=value["url"],
            digest=Digest.parse(value["digest"]),
            size=value["size"],
            trust=value["trust"],
            verified_by=value.get("verifiedBy"),
            oci_digest=Digest.parse(value["ociDigest"]) if "ociDigest" in value else None,
            tags=tuple(value.get("tags", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedReferrer:
    """A signature, SBOM or attestation, pinned; ``tag`` where cosign's tag scheme names it, and only its form."""

    digest: Digest
    media_type: str
    artifact_type: str = ""
    tag: str | None = None
    manifests: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a lock."""
        return _filled(
            {
                "digest": str(self.digest),
                "mediaType": self.media_type,
                "artifactType": self.artifact_type or None,
                "tag": self.tag,
                "manifests": _digests(self.manifests),
                "blobs": _digests(self.blobs),
            }
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LockedReferrer:
        """Read from a validated lock."""
        return cls(
            digest=Digest.parse(value["digest"]),
            media_type=value["mediaType"],
            artifact_type=value.get("artifactType", ""),
            tag=value.get("tag"),
            manifests=_parse_digests(value["manifests"]),
            blobs=_parse_digests(value["blobs"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedArtifact:
    """An artifact, pinned: the digest of its manifest (or of a file's bytes) and all it needs."""

    type: ArtifactType
    name: str
    reference: str
    digest: Digest
    size: int
    media_type: str
    trust: TrustLevel
    platforms: tuple[Platform, ...] = ()
    components: tuple[str, ...] = ()
    kube_versions: tuple[str, ...] = ()
    found_in: tuple[str, ...] = ()
    manifests: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    referrers: tuple[LockedReferrer, ...] = ()
    sha512: str | None = None
    chart_url: str | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """Type, reference, digest."""
        return (self.type, self.reference, str(self.digest))

    @property
    def root(self) -> Digest:
        """The manifest that it travels in, and that can be signed. A file's is made of what is stated of the file."""
        if self.type != "file":
            return self.digest
        return wrap_file(self.reference, self.digest, self.size, sha512=self.sha512).manifest.descriptor.digest

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a lock."""
        return _filled(
            {
                "type": self.type,
                "name": self.name,
                "reference": self.reference,
                "digest": str(self.digest),
                "size": self.size,
                "mediaType": self.media_type,
                "trust": self.trust,
                # An index may leave out a field that the form OS/ARCHITECTURE needs.
                "platforms": sorted({str(item) for item in self.platforms if item.os and item.architecture}),
                "components": sorted(self.components),
                "kubeVersions": sorted(self.kube_versions),
                "foundIn": sorted(self.found_in),
                "manifests": _digests(self.manifests),
                "blobs": _digests(self.blobs),
                "referrers": [item.to_json() for item in sorted(self.referrers, key=_referrer_order)],
                "sha512": self.sha512,
                "chartUrl": self.chart_url,
            }
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LockedArtifact:
        """Read from a validated lock."""
        return cls(
            type=value["type"],
            name=value["name"],
            reference=value["reference"],
            digest=Digest.parse(value["digest"]),
            size=value["size"],
            media_type=value["mediaType"],
            trust=value["trust"],
            platforms=tuple(Platform.parse(text) for text in value["platforms"]),
            components=tuple(value["components"]),
            kube_versions=tuple(value["kubeVersions"]),
            found_in=tuple(value["foundIn"]),
            manifests=_parse_digests(value["manifests"]),
            blobs=_parse_digests(value["blobs"]),
            referrers=tuple(LockedReferrer.from_json(item) for item in value["referrers"]),
            sha512=value.get("sha512"),
            chart_url=value.get("chartUrl"),
        )

    def joined(self, other: LockedArtifact, sizes: Mapping[Digest, int]) -> LockedArtifact:
        """All that either of two locks needs of the same artifact: they may be for other platforms.

        The manifest of a file is made of what is stated of it: the one that states a sha512 counts.

        Args:
            other: of the same type, reference and digest.
            sizes: bytes of every digest of both.
        """
        if self.type == "file" and other.sha512 and not self.sha512:
            return other.joined(self, sizes)
        manifests = self.manifests if self.type == "file" else tuple(sorted({*self.manifests, *other.manifests}))
        blobs = tuple(sorted({*self.blobs, *other.blobs}))
        grown = set(manifests) != set(self.manifests) or set(blobs) != set(self.blobs)
        # Without Kubernetes versions an artifact is for all of them.
        versions = {*self.kube_versions, *other.kube_versions} if self.kube_versions and other.kube_versions else ()
        referrers = {(item.digest, item.tag): item for item in (*other.referrers, *self.referrers)}
        return replace(
            self,
            size=sum(sizes[digest] for digest in {*manifests, *blobs}) if grown else self.size,
            trust=better_trust(self.trust, other.trust),
            platforms=tuple(sorted({*self.platforms, *other.platforms})),
            components=tuple(sorted({*self.components, *other.components})),
            kube_versions=tuple(sorted(versions)),
            found_in=tuple(sorted({*self.found_in, *other.found_in})),
            manifests=manifests,
            blobs=blobs,
            referrers=tuple(referrers[key] for key in sorted(referrers, key=lambda key: (key[0], key[1] or ""))),
        )

    def all_digests(self) -> set[Digest]:
        """Every digest that the artifact and its referrers need."""
        found = {*self.manifests, *self.blobs}
        for referrer in self.referrers:
            found.update(referrer.manifests, referrer.blobs)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A whole lock. Two locks of the same content have the same bytes."""

    sources: tuple[LockedSource, ...]
    selection: Mapping[str, Any]
    manifests: tuple[LockedManifest, ...]
    artifacts: tuple[LockedArtifact, ...]
    blobs: Mapping[Digest, int]
    excluded: tuple[Excluded, ...] = ()
    weakened: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What the first source calls itself; names the collection in a store unless told otherwise."""
        return self.sources[0].name if self.sources else ""

    def to_bytes(self) -> bytes:
        """Render in canonical form.

        Raises:
            ContentError: the lock is not a valid one (a digest without a size).
        """
        document = self._document()
        _validate(document, origin="lock")
        self._check(origin="lock")
        return canonical_json(document)

    def _document(self) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": "Lock",
            "sources": [source.to_json() for source in self.sources],
            "selection": dict(self.selection),
            "manifests": [item.to_json() for item in sorted(self.manifests, key=_manifest_order)],
            "artifacts": [item.to_json() for item in sorted(self.artifacts, key=lambda item: item.identity)],
            "blobs": {str(digest): size for digest, size in self.blobs.items()},
            "excluded": [
                {"reference": reference, "reason": reason}
                for reference, reason in sorted({(item.reference, item.reason) for item in self.excluded})
            ],
            "weakened": sorted(set(self.weakened)),
        }

    @staticmethod
    def is_lock(raw: bytes) -> bool:
        """Whether bytes begin like a lock in canonical form and call themselves one."""
        return raw.startswith(BEGINNING) and b'"kind":"Lock"' in raw

    @classmethod
    def from_bytes(cls, raw: bytes, *, origin: str) -> Lock:
        """Read a lock, which must be in canonical form.

        Raises:
            ContentError: not a lock of this version, or one that contradicts itself.
        """
        if len(raw) > _SIZE_LIMIT:
            raise ContentError(f"larger than {_SIZE_LIMIT} bytes", artifact=origin, hint=_ANEW)
        try:
            document = json.loads(raw, parse_float=_refuse_float)
            # Half of a surrogate pair passes for text until it is written.
            canonical_json(document)
        except (ValueError, RecursionError) as error:
            raise ContentError(f"not JSON: {error}", artifact=origin, hint="a lock is never edited by hand") from error
        _validate(document, origin=origin)
        lock = cls(
            sources=tuple(
                LockedSource(item["source"], item["kind"], item["name"], item.get("number"))
                for item in document["sources"]
            ),
            selection=document["selection"],
            manifests=tuple(LockedManifest.from_json(item) for item in document["manifests"]),
            artifacts=tuple(LockedArtifact.from_json(item) for item in document["artifacts"]),
            blobs={Digest.parse(digest): size for digest, size in document["blobs"].items()},
            excluded=tuple(Excluded(item["reference"], item["reason"]) for item in document["excluded"]),
            weakened=tuple(document["weakened"]),
        )
        del document  # 25 MB of a lock of 50,000 blobs, and what follows makes as much again
        lock._check(origin=origin)
        # Duplicate keys, lists out of order and the like would let two readers see two locks.
        if canonical_json(lock._document()) != raw:
            raise ContentError(
                "not in canonical form: it was altered after it was made",
                artifact=origin,
                hint=_ANEW,
            )
        return lock

    def _check(self, *, origin: str) -> None:
        """Hold what the schema cannot say: names are names, every digest has a size, identities occur once."""
        for document in self.manifests:
            # The path of a local document is taken apart as URLs are.
            _check_url(document.url, f"{origin}: {document.kind} {document.name}", document.digest)
        seen: set[tuple[str, str]] = set()
        for artifact in self.artifacts:
            place = f"{origin}: {artifact.reference}"
            _check_name(artifact, place)
            needed = artifact.all_digests()
            unlisted = [item.digest for item in artifact.referrers if item.digest not in item.manifests]
            if artifact.digest not in {*artifact.manifests, *artifact.blobs}:
                unlisted.append(artifact.digest)
            if unlisted:
                raise ContentError(f"does not list its own digest {unlisted[0]}", artifact=place, hint=_ANEW)
            if artifact.type == "file" and artifact.manifests != (artifact.root,):
                # A signature of a file is one of this manifest.
                raise ContentError("lists another manifest than that of the file", artifact=place, hint=_ANEW)
            _check_tags(artifact, place)
            # Not a difference of sets: that of a set and the keys of a dictionary looks at all the keys.
            missing = [digest for digest in needed if digest not in self.blobs]
            if missing:
                raise ContentError(f"{min(missing)} has no size", artifact=place, hint=_ANEW)
            name = (artifact.type, artifact.reference)
            if name in seen:
                raise ContentError("locked twice", artifact=place, hint=_ANEW)
            seen.add(name)

    def unique_bytes(self) -> int:
        """Bytes of everything, each digest once."""
        return sum(self.blobs.values())


def _check_name(artifact: LockedArtifact, place: str) -> None:
    if artifact.type == "file":
        if not artifact.reference.startswith(("https://", "http://")):
            raise ContentError("is not the URL of a file", artifact=place, hint=_ANEW)
        _check_url(artifact.reference, place, artifact.digest)
        return
    try:
        Reference.parse(artifact.reference)
    except UsageError as error:
        raise ContentError(error.message, artifact=place, hint=_ANEW) from error


def _check_url(url: str, place: str, digest: Digest) -> None:
    try:
        describe_document(digest, 0, url=url)
    except ContentError as error:
        raise ContentError(error.message, artifact=place, hint=_ANEW) from error


def _check_tags(artifact: LockedArtifact, place: str) -> None:
    """Referrers are taken along unjudged: under a tag of another form one could be an artifact of its own."""
    subjects = {*artifact.manifests, *(item.digest for item in artifact.referrers)}
    for item in artifact.referrers:
        if item.tag is not None and attached_to(item.tag) not in subjects:
            raise ContentError(
                f"{item.tag[:200]!r} is no tag of a signature, SBOM or attestation of it", artifact=place, hint=_ANEW
            )


def _refuse_float(text: str) -> float:
    raise ValueError(f"{text[:50]} is not a whole number")


def _referrer_order(item: LockedReferrer) -> tuple[str, str]:
    return (str(item.digest), item.tag or "")


def _manifest_order(item: LockedManifest) -> tuple[str, str, str]:
    return (item.kind, item.name, str(item.digest))


def _digests(digests: Iterable[Digest]) -> list[str]:
    return sorted({str(digest) for digest in digests})


def _parse_digests(values: Iterable[str]) -> tuple[Digest, ...]:
    return tuple(Digest.parse(value) for value in values)


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


@cache
def _validator() -> Draft202012Validator:
    from jsonschema_rs import Draft202012Validator  # noqa: PLC0415 -- only where a lock is read or written

    return Draft202012Validator(json.loads(files("bundles").joinpath("lock.schema.json").read_bytes()))


def _validate(document: object, *, origin: str) -> None:
    from jsonschema_rs import ValidationError  # noqa: PLC0415 -- as above

    try:
        # The first fault alone: collecting them all copies the document once for each.
        _validator().validate(document)
    except ValidationError as fault:
        error = fault
    except ValueError as refused:  # nested deeper than the validator follows
        raise ContentError(f"cannot be read: {refused}", artifact=origin) from refused
    else:
        return
    place = ".".join(str(part) for part in error.instance_path) or "the document"
    raise ContentError(
        f"{place}: {error.message[:300]}",
        artifact=origin,
        hint="not a lock that this version of bundlectl understands",
    )
