"""``packages generate``: the ``Package`` object that asks a controller for one package."""

from __future__ import annotations

import json
import math
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import UsageError
from bundles.goyaml import write_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NAMESPACE", "cluster_name", "generate_package", "object_name", "package_namespace", "read_values"]

NAMESPACE: Final = "eksa-packages"
"""Where bundles and PackageBundleControllers are (``domain.md`` section 4)."""

_CLUSTER_LIMIT: Final = 63 - len(f"{NAMESPACE}-")
_API_VERSION: Final = "packages.eks.amazonaws.com/v1alpha1"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_PART: Final = re.compile(r"(?:[^.\\]|\\.)+")


def package_namespace(cluster: str) -> str:
    """Where the packages of a cluster are asked for.

    Raises:
        UsageError: not the name of a cluster, or too long a one for such a namespace.
    """
    return f"{NAMESPACE}-{cluster_name(cluster)}"


def cluster_name(text: str) -> str:
    """Return ``text`` where it can name a cluster that has packages.

    Raises:
        UsageError: it cannot, or is so long that its namespace could not have its name.
    """
    if len(text) > _CLUSTER_LIMIT:
        raise UsageError(
            f"{text[:100]!r} is too long for the name of a cluster with packages",
            hint=f"their namespace is {NAMESPACE}-CLUSTER, which leaves {_CLUSTER_LIMIT} characters for it",
        )
    return object_name(text, "cluster")


def object_name(text: str, what: str) -> str:
    """Return ``text`` where it can name a Kubernetes object, a namespace included.

    Args:
        text: the name.
        what: it is of, for the message.

    Raises:
        UsageError: it cannot.
    """
    if not _LABEL.fullmatch(text):
        raise UsageError(
            f"{text[:100]!r} cannot be the name of a {what}",
            hint="names are lower-case letters, digits and - inside, at most 63 of them",
        )
    return text


def generate_package(
    package: str,
    *,
    name: str,
    namespace: str,
    version: str = "",
    target_namespace: str = "",
    values: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a ``Package``.

    Args:
        package: its name, as its bundle writes it.
        name: of the object.
        namespace: of the object (`package_namespace`).
        version: a version's name or digest; nothing leaves the choice to the bundle.
        target_namespace: where the chart goes; nothing leaves the choice to the chart.
        values: of the chart.

    Raises:
        UsageError: a name cannot be one.
    """
    spec: dict[str, Any] = {"packageName": package}
    if version:
        spec["packageVersion"] = version
    if target_namespace:
        spec["targetNamespace"] = object_name(target_namespace, "namespace")
    if values:
        spec["config"] = write_yaml(values)
    return {
        "apiVersion": _API_VERSION,
        "kind": "Package",
        "metadata": {"name": object_name(name, "package"), "namespace": namespace},
        "spec": spec,
    }


def read_values(pairs: Iterable[str], *, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    r"""Put values together out of ``KEY=VALUE`` pairs, laid over ``base``.

    A ``.`` in KEY nests, ``\.`` does not. VALUE is ``true``, ``false``, ``null``, a whole number, JSON where it
    begins with ``{`` or ``[``, and text otherwise; in double quotes it is always text. Whatever follows the first
    ``=`` belongs to it.

    Args:
        pairs: of ``--set``.
        base: what counts less, such as that of ``--values``.

    Raises:
        UsageError: a pair is malformed, or two of them contradict each other; told without values, which may be
            secrets.
    """
    values = deepcopy(dict(base or {}))
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not _is_text(pair):
            raise UsageError(f"--set {key[:200]!a}: it is not UTF-8", hint="or use --values FILE")
        parts = [part.replace("\\", "") for part in _PART.findall(key)]
        if not equals or not parts or ".".join(_PART.findall(key)) != key:
            raise UsageError(f"--set {key[:200]!r} is not of the form KEY=VALUE", hint="write --set replicas=2")
        _place(values, parts, _read_value(text, key), key)
    return values


def _is_text(pair: str) -> bool:
    """Whether it is: what arguments have that is not UTF-8 comes as halves of pairs, which nobody can write."""
    try:
        pair.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_value(text: str, key: str) -> Any:  # noqa: ANN401 -- whatever JSON can say
    if text in ("true", "false", "null") or _INTEGER.fullmatch(text) or text[:1] in ("{", "[", '"'):
        try:
            return json.loads(text, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"--set {key[:200]!r}: the value is not JSON, as its beginning says", hint="or use --values FILE"
            ) from error
    return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value


def _place(values: dict[str, Any], parts: list[str], value: object, key: str) -> None:
    *above, last = parts
    for part in above:
        below = values.setdefault(part, {})
        if not isinstance(below, dict):
            raise UsageError(f"--set {key[:200]!r}: {part} was given a value already, and can have none below it")
        values = below
    if isinstance(values.get(last), dict) and not isinstance(value, dict):
        raise UsageError(f"--set {key[:200]!r}: {last} has values below it already, and can have none itself")
    values[last] = value
