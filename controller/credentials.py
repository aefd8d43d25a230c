"""The Secrets that say how a mirror is reached, and what pods pull from it with (``domain.md`` 5.10)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, UsageError
from controller.configuration import MIRROR_SECRET, PULL_SECRET
from controller.mirrors import docker_login, pull_data, read_settings
from controller.values import HOME_NAMESPACE
from mirror.http.addresses import origin_of
from mirror.remote import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.feed import Feed

__all__ = [
    "hide_secrets",
    "keys_of",
    "mirror_secret",
    "pull_secret",
    "pull_secret_of",
    "shared_credentials",
    "with_held",
]

_DOCKER: Final = "kubernetes.io/dockerconfigjson"
_HIDDEN: Final = "(hidden)"
"""No base64: nobody overwrites what is in a cluster with it, for no API server takes it."""


def with_held(wanted: Feed, secret: Mapping[str, Any] | None) -> Feed:
    """Take the login and the authority that are not given anew from ``registry-mirror-secret``.

    Those of another registry are nothing to this one.
    """
    try:
        held = read_settings(secret or {})
        # EKS Anywhere writes the port in any case.
        is_another = origin_of(f"https://{held.endpoint}") != origin_of(f"https://{wanted.registry}")
    except (ConfigError, UsageError):
        return wanted  # damaged: it is written anew
    if is_another:
        return wanted
    credential = wanted.credential
    if credential is None and held.username and held.password:
        credential = Credential(held.username, held.password)
    # As it is written, for the same text again is no change.
    authority = base64.b64decode(((secret or {}).get("data") or {}).get("CACERTCONTENT", "")).decode()
    return replace(wanted, credential=credential, authorities=wanted.authorities or authority)


def hide_secrets(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same objects, the data of Secrets replaced by a word."""
    return [
        {**item, "data": dict.fromkeys(item["data"], _HIDDEN)} if item["kind"] == "Secret" else item for item in objects
    ]


def keys_of(cluster: str) -> tuple[str, str]:
    """What ``registry-mirror-cred`` has of one cluster alone: the authority, and whether none is needed."""
    return f"{cluster}_ca.crt", f"{cluster}_insecure"


def shared_credentials(wanted: Feed, held: Mapping[str, Any]) -> dict[str, Any]:
    """``registry-mirror-cred``: what all clusters pull with, and of each what its registry's certificate is held to."""
    data: dict[str, str] = dict(held.get("data") or {})
    authority, insecure = keys_of(wanted.cluster)
    data.pop(authority, None)
    data.pop(insecure, None)
    if wanted.authorities:
        data[authority] = _encoded(wanted.authorities)
    if wanted.skip_verify:
        data[insecure] = _encoded("true")
    auths = {**_auths(data.get(".dockerconfigjson")), **_auths(data.get("config.json"))}
    if wanted.credential is not None:
        auths[wanted.registry] = docker_login(wanted.credential)
    docker = _encoded(json.dumps({"auths": auths}, sort_keys=True))
    return _secret(PULL_SECRET, HOME_NAMESPACE, {**data, ".dockerconfigjson": docker, "config.json": docker}, _DOCKER)


def pull_secret_of(wanted: Feed, shared: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """What pods of a namespace pull with, in the words of the controller: of its own registry, and no other's.

    Args:
        wanted: what the cluster gets its packages from.
        shared: what `shared_credentials` gave.
        namespace: where pods are.
    """
    login = _auths(shared["data"]["config.json"]).get(wanted.registry)
    data = pull_data({wanted.registry: login} if login else {}, wanted.authorities.strip())
    return _secret(PULL_SECRET, namespace, data, _DOCKER)


def pull_secret(registry: str, credential: Credential, held: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What pods pull images from a registry with, for any namespace; logins to others that are ``held`` stay."""
    auths = _auths(((held or {}).get("data") or {}).get(".dockerconfigjson"))
    return _secret(PULL_SECRET, "", pull_data({**auths, registry: docker_login(credential)}, ""), _DOCKER)


def _auths(encoded: str | None) -> dict[str, Any]:
    """The logins in docker's configuration; none where it is damaged."""
    try:
        found = json.loads(base64.b64decode(encoded or "")).get("auths")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def mirror_secret(wanted: Feed, namespace: str) -> dict[str, Any]:
    """``registry-mirror-secret``, in AWS's format."""
    login = wanted.credential or Credential("", "")
    data = {
        "ENDPOINT": _encoded(wanted.registry),
        "CACERTCONTENT": _encoded(wanted.authorities),
        "INSECURE": _encoded("true" if wanted.skip_verify else "false"),
        # Empty and not left out: what somebody else wrote, for another registry, would stay.
        "USERNAME": _encoded(login.username),
        "PASSWORD": _encoded(login.password),
    }
    return _secret(MIRROR_SECRET, namespace, data, "Opaque")


def _secret(name: str, namespace: str, data: Mapping[str, str], kind: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": dict(data)}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
