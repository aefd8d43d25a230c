"""What a Package's ``config`` says, whether the bundle's schema allows it, and the values that helm gets of it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from bundles.goscalars import resolve
from bundles.package_requires import decode_schema, schema_validator
from bundles.tree import ListNode, MapNode, parse_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema_rs import Validator

    from bundles.tree import Node

__all__ = [
    "MIRROR_SECRET",
    "PULL_SECRET",
    "aws_values_for",
    "check_config",
    "plain_value",
    "read_config",
    "values_for",
]

PULL_SECRET: Final = "registry-mirror-cred"  # noqa: S105 -- a name
"""The pull secret in target namespaces, under the name that AWS's charts expect."""
MIRROR_SECRET: Final = "registry-mirror-secret"  # noqa: S105 -- a name
"""How the mirror is reached (``domain.md`` 5.10)."""
_MASK: Final = "the value"
"""What stands in messages for a value: a password may be one, and they come to status, Events and logs."""
_CONFIG_LIMIT: Final = 512 * 1024
"""In bytes: an object of Kubernetes holds 1.5 MiB, and the status repeats the configuration."""
_EXPANDED_LIMIT: Final = 4 * _CONFIG_LIMIT
_SHOWN: Final = 10
_PATH_SHOWN: Final = 200
_NOTHING: Final = frozenset({"", "---", "...", "{}", "null", "~"})


def read_config(text: str, *, origin: str) -> dict[str, Any]:
    """Read ``spec.config``: a YAML mapping, within the bounds of release documents; nothing is an empty one.

    Scalars without quotes have the types that Go's YAML gives them, as helm would.

    Raises:
        ContentError: not that, or too large.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > _CONFIG_LIMIT:
        raise ContentError(f"the configuration is longer than {_CONFIG_LIMIT} bytes", artifact=origin)
    if all(line.partition("#")[0].strip() in _NOTHING for line in text.splitlines()):
        return {}
    found = plain_value(parse_tree(raw, origin=f"{origin} spec.config", expanded=_EXPANDED_LIMIT).root)
    return found if isinstance(found, dict) else {}


def check_config(values: Mapping[str, Any], schema: str, *, origin: str) -> None:
    """Hold a configuration to the schema of the bundle.

    The draft is the declared one, 7 where none is declared. Nothing is fetched: a schema that refers to another
    place is refused. A version without a schema takes all values.

    Args:
        values: what `read_config` read.
        schema: as the bundle holds it, base64 of the gzip of JSON.
        origin: for messages.

    Raises:
        ContentError: it does not hold, or the schema is not one; told as ``FIELD: WHY``, one line a fault.
    """
    if not schema:
        return
    try:
        validator = _validator(schema)
    except ContentError as error:
        error.artifact = origin
        raise
    faults = [
        f"{'.'.join(map(str, fault.instance_path))[:_PATH_SHOWN] or '(root)'}: {fault.message[:300]}"
        for fault, _ in zip(validator.iter_errors(dict(values)), range(_SHOWN), strict=False)
    ]
    if faults:
        raise ContentError(
            f"the configuration is not what its schema allows - {'; '.join(sorted(faults))}",
            artifact=origin,
            hint="`bundlectl packages describe` shows the schema",
        )


def values_for(config: Mapping[str, Any], *, image_registry: str, pull_secret: bool) -> dict[str, Any]:
    """The values that helm gets: the configuration, the registry of images, and the pull secret (``domain.md`` 5.6).

    Args:
        config: what `read_config` read.
        image_registry: ``sourceRegistry``, where the configuration names none.
        pull_secret: whether the target namespace has one; it is added to those that the configuration names.

    Raises:
        ContentError: ``sourceRegistry`` or ``imagePullSecrets`` of the configuration have other types.
    """
    named = config.get("sourceRegistry")
    if named is not None and not isinstance(named, str):
        raise ContentError("sourceRegistry of the configuration must be text")
    values = {**config, "sourceRegistry": named or image_registry}
    if pull_secret:
        secrets = config.get("imagePullSecrets") or []
        if not isinstance(secrets, list):
            raise ContentError("imagePullSecrets of the configuration must be a list")
        ours = {"name": PULL_SECRET}
        values["imagePullSecrets"] = secrets if ours in secrets else [*secrets, ours]
    return values


def aws_values_for(config: Mapping[str, Any], *, image_registry: str) -> dict[str, Any]:
    """The values that helm gets from AWS's controller: its pull secrets replace those of the configuration (E57)."""
    secrets = [{"name": name} for name in ("ecr-token", PULL_SECRET)]
    return {**values_for(config, image_registry=image_registry, pull_secret=False), "imagePullSecrets": secrets}


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    raw = decode_schema(schema, origin="")
    try:
        return schema_validator(raw, mask=_MASK)
    except ContentError as error:
        error.hint = "build the bundle again, of charts whose schemas can be used"
        raise


def plain_value(node: Node) -> Any:  # noqa: ANN401 -- whatever YAML holds
    """A node as plain values, with the types that Go gives to scalars without quotes."""
    if isinstance(node, MapNode):
        return {key: plain_value(child) for key, child in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain_value(child) for child in node.items]
    value = resolve(node.text) if node.plain else node.text
    # JSON, which the values travel as, has no infinity.
    return node.text if isinstance(value, float) and not math.isfinite(value) else value
