"""What an operator does next at a site that imported something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError
from bundlectl.operations.configuring import MirrorForm, configure_clusters, site_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from bundles.plan import Naming

__all__ = ["NextStep", "after_registry", "after_store"]

_FORMS: Final[tuple[tuple[MirrorForm, str], ...]] = (("eks-a", "EKS Anywhere"), ("containerd", "containerd"))


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something to do: what it is for, and the text to type or paste."""

    title: str
    text: str

    def to_json(self) -> dict[str, str]:
        """Render for ``--output json``."""
        return {"title": self.title, "text": self.text}


def after_store(store: str, collection: str, lock: Lock) -> list[NextStep]:
    """What can be done with a store that was filled.

    Args:
        store: its path.
        collection: what was imported into it.
        lock: what that is.
    """
    steps = [
        NextStep("Serve it as a registry, before there is another one", f"bundlectl serve --store {store}"),
        NextStep("Fill the registry of the site", f"bundlectl mirror store:{store}#{collection} --to HOST[/PREFIX]"),
    ]
    if any(item.kind == "Bundles" for item in lock.manifests):
        steps.append(
            NextStep(
                "Write the files that eksctl anywhere reads",
                f"bundlectl files store:{store}#{collection} --to eks-anywhere-downloads --layout eks-anywhere",
            )
        )
    return steps


def after_registry(naming: Naming, lock: Lock, session: Session) -> list[NextStep]:
    """How clusters are pointed at a registry that was filled, with what to paste.

    Args:
        naming: the registry, and how things are called there.
        lock: what was imported.
        session: knows how the registry is reached.
    """
    upstreams = {item.reference.partition("/")[0] for item in lock.artifacts if item.type != "file"}
    steps = [_configuration(naming, form, title, upstreams, session) for form, title in _FORMS]
    steps += _packages(naming, lock)
    place = "/".join(part for part in (naming.registry, naming.prefix) if part)
    steps.append(NextStep("Check it at any time", f"bundlectl verify registry:{place} --against LOCK"))
    return steps


def _configuration(naming: Naming, form: MirrorForm, title: str, upstreams: set[str], session: Session) -> NextStep:
    told = f"Point {title} at the registry"
    try:
        found = configure_clusters(naming, form, site=site_registry(naming, session), upstreams=upstreams)
    except BundlectlError as error:
        return NextStep(told, f"# {error.message}" + (f": {error.hint}" if error.hint else ""))
    return NextStep(told, "\n".join(f"# {file.path}\n{file.content.rstrip()}" for file in found.files))


def _packages(naming: Naming, lock: Lock) -> Iterator[NextStep]:
    """How the controller of curated packages, AWS's or ours, finds them."""
    bundles = [item for item in lock.manifests if item.kind == "PackageBundle"]
    if not bundles:
        return
    place = "/".join(part for part in (naming.registry, naming.prefix) if part)
    maps = "".join(f" --map {source}={namespace}" for source, namespace in naming.maps)
    registry = f"--registry {place}{maps}"
    yield NextStep("See which packages it offers", f"bundlectl packages list --registry {place}")
    yield NextStep(
        "Point the package controller at the registry",
        f"bundlectl controller feed {registry} --cluster CLUSTER --bundle-version {bundles[-1].name}",
    )
