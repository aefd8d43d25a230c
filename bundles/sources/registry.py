"""``registry:HOST[/PREFIX]``: everything that a registry holds under a prefix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError, RegistryError
from bundlectl.events import PhaseStarted
from bundles.artifact import Artifact
from bundles.release import Contents
from bundles.sources.context import Loaded
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["read"]

_ATTACHED: Final = re.compile(r"sha(?:256|512)-[0-9a-f]{64,128}(?:\..+)?")
"""Tags of referrers and of cosign: they go along with what they speak of."""


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """List repositories and tags. What is only there by digest cannot be listed, so is not found.

    Raises:
        UsageError: not ``HOST[/PREFIX]``.
        RegistryError: the registry lists nothing to this user.
        MissingError: there is nothing under the prefix.
    """
    host, _, prefix = rest.rstrip("/").partition("/")
    Reference.parse(f"{host}/{prefix or 'x'}")
    registry = context.registry(host)
    try:
        names = registry.repositories(prefix)
    except RegistryError as error:
        error.hint = error.hint or "it does not list its repositories to this user; name images one by one, or a lock"
        raise
    context.listener(PhaseStarted("listing", len(names)))
    artifacts = [
        Artifact(
            type="image",
            name=name.rpartition("/")[2],
            reference=f"{host}/{name}:{tag}",
            found_in=frozenset({text}),
            trust="resolved",
        )
        for name in names
        for tag in context.open_repository(f"{host}/{name}").tags()
        if not _ATTACHED.fullmatch(tag)
    ]
    if not artifacts:
        raise MissingError("the registry holds no tags there", artifact=rest, hint="check the prefix and credentials")
    contents = Contents(artifacts=tuple(artifacts), excluded=(), named=())
    return Loaded(source=text, kind="registry", name=rest, contents=contents)
