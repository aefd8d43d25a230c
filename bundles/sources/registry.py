"""``registry:HOST[/PREFIX]``: everything that a registry holds under a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import MissingError, RegistryError
from bundlectl.events import PhaseStarted
from bundles.artifact import Artifact
from bundles.release import Contents
from bundles.sources.context import Loaded
from mirror.oci.artifact import IMPORTS_REPOSITORY
from mirror.oci.reference import Reference, is_attached

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["list_repositories", "read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """List repositories and tags. What is only there by digest cannot be listed, so is not found.

    Raises:
        UsageError: not ``HOST[/PREFIX]``.
        RegistryError: the registry lists nothing to this user.
        MissingError: there is nothing under the prefix.
    """
    artifacts = [
        Artifact(
            type="image",
            name=repository.rpartition("/")[2],
            reference=f"{repository}:{tag}",
            found_in=frozenset({text}),
            trust="resolved",
        )
        for repository in list_repositories(rest, context)
        for tag in context.open_repository(repository).tags()
        # Tags of referrers and of cosign go along with what they speak of.
        if not is_attached(tag)
    ]
    if not artifacts:
        raise MissingError("the registry holds no tags there", artifact=rest, hint="check the prefix and credentials")
    contents = Contents(artifacts=tuple(artifacts), excluded=(), named=())
    return Loaded(source=text, kind="registry", name=rest, contents=contents)


def list_repositories(rest: str, context: SourceContext) -> list[str]:
    """The names, with the host, of all repositories of ``HOST[/PREFIX]``, sorted; not what imports remember there.

    Raises:
        UsageError: not ``HOST[/PREFIX]``.
        RegistryError: the registry lists nothing to this user.
    """
    host, _, prefix = rest.rstrip("/").partition("/")
    Reference.parse(f"{host}/{prefix or 'x'}")
    try:
        names = context.registry(host).repositories(prefix)
    except RegistryError as error:
        error.hint = error.hint or "it does not list its repositories to this user; name images one by one, or a lock"
        raise
    context.listener(PhaseStarted("listing", len(names)))
    return [f"{host}/{name}" for name in names if not f"/{name}".endswith(f"/{IMPORTS_REPOSITORY}")]
