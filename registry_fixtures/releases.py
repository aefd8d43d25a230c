"""Release documents made up where the given ones point at others: EKS-D releases, channels, the index."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "EKSD_SITE",
    "RELEASE_INDEX_URL",
    "bundles_url",
    "eksd_channel",
    "eksd_release",
    "eksd_url",
    "release_index",
]

RELEASE_INDEX_URL: Final = "https://anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"
EKSD_SITE: Final = "https://distro.eks.amazonaws.com"

_ASSETS: Final = RELEASE_INDEX_URL.rpartition("/eks-a/")[0]
_EKSD_NAME: Final = re.compile(r"kubernetes-(?P<channel>\d+-\d+)-eks-(?P<number>\d+)")
_NO_SHA256: Final = "0" * 64
_NO_SHA512: Final = "0" * 128
_ARCHITECTURES: Final = ("amd64", "arm64")


def bundles_url(number: int) -> str:
    """Where a Bundles manifest of production lies."""
    return f"{_ASSETS}/bundles/{number}/manifest.yaml"


def eksd_url(name: str) -> str:
    """Where the EKS-D release ``kubernetes-1-33-eks-12`` lies."""
    return f"{EKSD_SITE}/{name.rpartition('-eks-')[0]}/{name}.yaml"


def eksd_channel(channel: str, latest: int) -> bytes:
    """Write the ReleaseChannel object of ``1-33``."""
    document = {
        "apiVersion": "distro.eks.amazonaws.com/v1alpha1",
        "kind": "ReleaseChannel",
        "metadata": {"name": channel},
        "spec": {"snsTopicARN": f"arn:aws:sns:us-east-1:379412251201:kubernetes-{channel}"},
        "status": {"active": True, "latestRelease": latest},
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def eksd_release(eksd: Mapping[str, str]) -> bytes:
    """Write a small EKS-D release that agrees with the ``eksD`` fields of a VersionsBundle.

    It has a component of images and archives, one of an image with and one without a digest
    (as for csi-components, whose digests production leaves out). Checksums are zero until
    they are rewritten.
    """
    name = eksd["manifestUrl"].rpartition("/")[2].removesuffix(".yaml")
    found = _EKSD_NAME.fullmatch(name)
    channel = found["channel"] if found else eksd.get("channel", "")
    number = int(found["number"]) if found else 1
    tag = eksd.get("kubeVersion") or f"v{channel.replace('-', '.')}.0"
    suffix = f"eks-{channel}-{number}"
    base = f"{EKSD_SITE}/kubernetes-{channel}/releases/{number}/artifacts"
    kubernetes = [
        _image("kubernetes/pause", f"{tag}-{suffix}"),
        _image("kubernetes/kube-apiserver", f"{tag}-{suffix}"),
        *[
            _archive(f"{base}/kubernetes/{tag}/kubernetes-client-linux-{architecture}.tar.gz", architecture)
            for architecture in _ARCHITECTURES
        ],
    ]
    etcd = [
        _image("etcd-io/etcd", f"v3.5.21-{suffix}"),
        *[
            _archive(f"{base}/etcd/v3.5.21/etcd-linux-{architecture}-v3.5.21.tar.gz", architecture)
            for architecture in _ARCHITECTURES
        ],
    ]
    livenessprobe = _image("livenessprobe", "v2.16.0-eks-1-33-1", host="public.ecr.aws/csi-components", digest=False)
    components = {
        "kubernetes": (tag, kubernetes),
        "etcd": ("v3.5.21", etcd),
        "coredns": ("v1.12.1", [_image("coredns/coredns", f"v1.12.1-{suffix}")]),
        "livenessprobe": ("v2.16.0", [livenessprobe]),
    }
    document = {
        "apiVersion": "distro.eks.amazonaws.com/v1alpha1",
        "kind": "Release",
        "metadata": {"name": eksd.get("name") or name},
        "spec": {"buildRepoCommit": eksd.get("gitCommit", ""), "channel": channel, "number": number},
        "status": {
            "components": [
                {"assets": assets, "gitTag": git_tag, "name": component}
                for component, (git_tag, assets) in components.items()
            ],
            "date": "2024-05-01T00:00:00Z",
        },
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000).encode()


def release_index(bundles: Sequence[tuple[int, str, str]]) -> bytes:
    """Write an EKS-A release index.

    Args:
        bundles: number, version and URL of each Bundles manifest, oldest first.
    """
    document = {
        "apiVersion": "anywhere.eks.amazonaws.com/v1alpha1",
        "kind": "Release",
        "metadata": {"name": "eks-anywhere"},
        "spec": {
            "latestVersion": bundles[-1][1],
            "releases": [_index_entry(number, version, url) for number, version, url in bundles],
        },
        "status": {},
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000).encode()


def _index_entry(number: int, version: str, url: str) -> dict[str, Any]:
    def cli(system: str, architecture: str) -> dict[str, Any]:
        name = f"eksctl-anywhere-{version.replace('+', '-')}-{system}-{architecture}.tar.gz"
        path = f"{_ASSETS}/eks-a/{number}/artifacts/eks-a/{version}/{system}/{architecture}/{name}"
        return {**_sums(path), "arch": [architecture], "description": "EKS Anywhere CLI", "name": name, "os": system}

    systems = ("linux", "darwin")
    return {
        "bundleManifestUrl": url,
        "date": "2024-05-01 00:00:00 +0000 UTC",
        "eksABinary": {system: cli(system, "amd64") for system in systems},
        "eksACLI": {system: {each: cli(system, each) for each in _ARCHITECTURES} for system in systems},
        "gitCommit": "0123456789abcdef0123456789abcdef01234567",
        "gitTag": version,
        "number": number,
        "version": version,
    }


def _image(path: str, tag: str, *, host: str = "public.ecr.aws/eks-distro", digest: bool = True) -> dict[str, Any]:
    image = {"uri": f"{host}/{path}:{tag}"}
    if digest:
        image["imageDigest"] = f"sha256:{_NO_SHA256}"
    name = path.rpartition("/")[2]
    return {
        "arch": list(_ARCHITECTURES),
        "description": f"{name} container image",
        "image": image,
        "name": f"{name}-image",
        "os": "linux",
        "type": "Image",
    }


def _archive(url: str, architecture: str) -> dict[str, Any]:
    name = url.rpartition("/")[2]
    return {
        "arch": [architecture],
        "archive": _sums(url),
        "description": f"{name} for linux/{architecture}",
        "name": name,
        "os": "linux",
        "type": "Archive",
    }


def _sums(url: str) -> dict[str, str]:
    return {"sha256": _NO_SHA256, "sha512": _NO_SHA512, "uri": url}
