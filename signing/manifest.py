"""AWS's signatures in the annotations of manifests: which part of a document they are over.

Two procedures, and neither is over the bytes of the document. Both are given the document as Go
marshals it after reading it into its type (``bundles.canonical``), and both leave things out; the
rest is rendered in a canonical form and hashed.

* Any kind with annotations of ``eksa.aws.com`` (package bundles): the excludes of its annotation
  and a fixed list are deleted, of the annotations only includes and excludes stay, rendered as YAML.
* ``Bundles`` and EKS-D releases: a list fixed in AWS's code is deleted, rendered as JSON.

Source: ``domain.md`` 2.2 to 2.4.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, VerificationError
from signing.selectors import delete_paths, parse_selectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signing.canonical_json import Value

__all__ = [
    "ALWAYS_EXCLUDED",
    "BUNDLES_EXCLUDED",
    "EKSA_DOMAIN",
    "EKSD_DOMAIN",
    "EXCLUDES_ANNOTATION",
    "PACKAGES_DOMAIN",
    "PACKAGE_BUNDLE_EXCLUDED",
    "decode_excludes",
    "decode_signature",
    "encode_excludes",
    "encode_signature",
    "json_form",
    "yaml_form",
]

PACKAGES_DOMAIN: Final = "eksa.aws.com"
"""Of package bundles, and of any kind that is signed like one."""

EKSA_DOMAIN: Final = "anywhere.eks.amazonaws.com"
"""Of ``Bundles``."""

EKSD_DOMAIN: Final = "distro.eks.amazonaws.com"
"""Of EKS-D releases."""

_KUBERNETES_OWN: Final = (
    ".metadata.creationTimestamp",
    ".metadata.generation",
    ".metadata.managedFields",
    ".metadata.uid",
    ".metadata.resourceVersion",
)
PACKAGE_BUNDLE_EXCLUDED: Final = (".status", *_KUBERNETES_OWN, ".spec.minControllerVersion")
"""What is deleted of whatever has annotations of ``eksa.aws.com``, in this order, after its own excludes."""

ALWAYS_EXCLUDED: Final = (".status", *_KUBERNETES_OWN, ".metadata.annotations", ".metadata.namespace")
"""What is deleted of ``Bundles`` and EKS-D releases."""

BUNDLES_EXCLUDED: Final = tuple(
    f".spec.versionsBundles[].{field}"
    for field in (
        "bootstrap",
        "bottlerocketBootstrapContainers",
        "bottlerocketHostContainers",
        "certManager",
        "cilium",
        "cloudStack",
        "clusterAPI",
        "controlPlane",
        "docker",
        "eksa",
        "eksD.components",
        "eksD.manifestUrl",
        "etcdadmBootstrap",
        "etcdadmController",
        "flux",
        "haproxy",
        "kindnetd",
        "nutanix",
        "packageController",
        "snow",
        "tinkerbell",
        "upgrader",
        "vSphere",
    )
)
"""What is deleted of ``Bundles`` besides, from a constant of AWS's: the excludes annotation is never read."""

EXCLUDES_ANNOTATION: Final = f"{PACKAGES_DOMAIN}/excludes"
"""Base64 of lines, each a jq path that a signature of ``eksa.aws.com`` leaves out; itself signed."""

_KEPT_ANNOTATIONS: Final = frozenset({EXCLUDES_ANNOTATION, f"{PACKAGES_DOMAIN}/includes"})
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_EXCLUDES_LIMIT: Final = 64 * 1024
_SIGNATURE_LIMIT: Final = 1024


def yaml_form(value: dict[str, Value], *, origin: str) -> bytes:
    """The canonical YAML that a signature of ``eksa.aws.com`` is over.

    Args:
        value: the document as Go marshals it.
        origin: for messages.

    Raises:
        ContentError: the excludes annotation is malformed, or does not fit the document.
    """
    try:
        selectors = parse_selectors(
            (*decode_excludes(_annotation(value, EXCLUDES_ANNOTATION)), *PACKAGE_BUNDLE_EXCLUDED)
        )
        left = delete_paths(value, selectors)
    except ContentError as error:
        error.artifact = error.artifact or origin
        raise
    if isinstance(left, dict):
        _keep_annotations(left)
    from signing import canonical_yaml  # noqa: PLC0415 -- 12 ms that documents save whose signature is not checked

    return canonical_yaml.render(left)


def json_form(value: dict[str, Value], excluded: tuple[str, ...], *, origin: str) -> bytes:
    """The canonical JSON that a signature over ``Bundles`` or an EKS-D release is over.

    AWS's code writes the document as YAML and reads it again before it deletes anything, which
    some characters do not survive.

    Args:
        value: the document as Go marshals it.
        excluded: what is deleted besides ``ALWAYS_EXCLUDED``.
        origin: for messages.

    Raises:
        ContentError: the document has no list of versions, or cannot be YAML.
    """
    from signing import canonical_json, canonical_yaml  # noqa: PLC0415 -- as above

    try:
        _refuse_merge_keys(value)
        read = canonical_yaml.read_back(value)
        return canonical_json.render(delete_paths(read, parse_selectors((*ALWAYS_EXCLUDED, *excluded))))
    except ContentError as error:
        error.artifact = error.artifact or origin
        raise


def _refuse_merge_keys(value: Value) -> None:
    """A key ``<<`` is written without quotes; when it is read again it merges maps, and refuses all else."""
    if isinstance(value, dict):
        merged = value.get("<<", {})
        if not all(isinstance(item, dict) for item in (merged if isinstance(merged, list) else [merged])):
            raise ContentError("the key << cannot be in a YAML document that is read again")
        for item in value.values():
            _refuse_merge_keys(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_merge_keys(item)


def decode_excludes(text: str) -> tuple[str, ...]:
    """The selectors of an excludes annotation: base64 of lines, the empty ones dropped.

    Raises:
        ContentError: not base64, or not UTF-8, or too long.
    """
    if len(text) > _EXCLUDES_LIMIT:
        raise ContentError(f"the annotation {EXCLUDES_ANNOTATION} is longer than {_EXCLUDES_LIMIT} bytes")
    try:
        raw = _decode(text)
        return tuple(line for line in raw.decode().split("\n") if line)
    except ValueError as error:
        raise ContentError(f"the annotation {EXCLUDES_ANNOTATION} is not base64 of text: {error}") from error


def encode_excludes(selectors: tuple[str, ...]) -> str:
    """Write selectors as AWS does, each with a line break."""
    return base64.b64encode("".join(f"{line}\n" for line in selectors).encode()).decode()


def decode_signature(text: str) -> bytes:
    """The bytes of a signature annotation.

    Line breaks are dropped, as Go does. Unlike Go this refuses bits beyond the last byte: two
    texts for one signature would let a changed document pass for the one that was signed.

    Raises:
        VerificationError: not base64.
    """
    try:
        if len(text) > _SIGNATURE_LIMIT:
            raise ValueError("it is too long")  # noqa: TRY301 -- told below like the others
        raw = _decode(text)
        if base64.b64encode(raw).decode() != text.replace("\r", "").replace("\n", ""):
            raise ValueError("it has bits after its last byte")  # noqa: TRY301
    except ValueError as error:
        raise VerificationError(
            f"the signature in the annotation is not base64: {error}",
            hint="it was altered or cut; fetch the document again",
        ) from error
    return raw


def encode_signature(signature: bytes) -> str:
    """Write a signature as it stands in an annotation."""
    return base64.b64encode(signature).decode()


def _decode(text: str) -> bytes:
    """Base64 as Go's ``StdEncoding`` takes it, line breaks anywhere."""
    packed = text.replace("\r", "").replace("\n", "")
    if not _BASE64.fullmatch(packed):
        place = next((index for index, char in enumerate(packed) if not _BASE64.fullmatch(f"AAA{char}")), len(packed))
        raise ValueError(f"illegal data at byte {place}")
    try:
        return base64.b64decode(packed)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _annotation(value: Mapping[str, Value], name: str) -> str:
    metadata = value.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(name) if isinstance(annotations, dict) else None
    return text if isinstance(text, str) else ""


def _keep_annotations(value: dict[str, Value]) -> None:
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict):
        annotations = metadata["annotations"]
        assert isinstance(annotations, dict)  # noqa: S101 -- just seen
        value["metadata"] = {
            **metadata,
            "annotations": {key: item for key, item in annotations.items() if key in _KEPT_ANNOTATIONS},
        }
