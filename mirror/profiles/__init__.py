"""What differs between registry products, as data: one module a product, found by its being in this folder.

A module holds one ``PROFILE``. Whatever is not said there is as the distribution-spec has it.
"""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

from mirror.oci.artifact import MANIFESTS_REPOSITORY

__all__ = ["GENERIC", "RegistryProfile", "every_profile", "recognize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryProfile:
    """One registry product.

    Args:
        name: a word for programs; the module is called so.
        title: for people.
        token_services: what ``service`` of its Bearer challenge says, where only this product says so.
        hosts: a regular expression that its host names match in full, where they have a form.
        api: the module below ``mirror.remote`` that speaks its management API; empty when there is none.
        has_projects: the first component of a repository's name is a project, which must exist before a push.
        makes_repositories: a push makes the repository; else someone must have made it.
        name_limit: characters that a repository's name may have.
        misread_names: a regular expression, found in those names of repositories whose paths it takes for others.
        documents: the repository of release documents, below the prefix of a target.
        one_token_a_project: a token for one repository is good for its whole project, with every right
            that the account has there.
        degrades_logins: its token service answers a wrong login with an anonymous token.
    """

    name: str
    title: str
    token_services: frozenset[str] = frozenset()
    hosts: str = ""
    api: str = ""
    has_projects: bool = False
    makes_repositories: bool = True
    name_limit: int = 255
    misread_names: str = ""
    documents: str = MANIFESTS_REPOSITORY
    one_token_a_project: bool = False
    degrades_logins: bool = False

    def project_of(self, repository: str) -> str:
        """The project that a repository belongs to; empty where this product has none."""
        return repository.partition("/")[0] if self.has_projects else ""

    def misreads(self, repository: str) -> bool:
        """Whether this product takes paths below a repository for those of another one."""
        return bool(self.misread_names) and re.search(self.misread_names, repository) is not None


GENERIC: Final = RegistryProfile(name="generic", title="OCI registry")
"""What nothing is known about."""


@cache
def every_profile() -> tuple[RegistryProfile, ...]:
    """All products of the folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").PROFILE for name in names)


def recognize(host: str, service: str = "") -> RegistryProfile:
    """Tell the product from its host name and the ``service`` of its challenge; ``GENERIC`` when neither says it.

    Args:
        host: ``host[:port]``.
        service: as the registry's own Bearer challenge has it; empty when it made none.
    """
    for profile in every_profile():
        if service in profile.token_services or (profile.hosts and re.fullmatch(profile.hosts, host)):
            return profile
    return GENERIC
