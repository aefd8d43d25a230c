"""A made-up upstream of real release documents, and bundlectl's commands against it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry_fixtures.upstream import Upstream
from tests.interop.programs import Program, bundlectl, data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "site"
PACKAGES = "eks-anywhere"
PACKAGE_BUNDLE = "packagebundle-v1-24-116.aws-signed.yaml"
EKSD = "kubernetes-1-21-eks-4.yaml"
BUNDLES = "eksa-bundles-main.yaml"


@dataclass(frozen=True)
class Site:
    """Where everything is: the upstream, its documents, the lock of them, the program."""

    upstream: Upstream
    documents: tuple[Path, ...]
    origins: tuple[str, ...]
    lock: Path
    ours: Program

    def locked(self) -> Any:
        return json.loads(self.lock.read_bytes())

    def target(self, reference: str) -> str:
        """The path of an image or chart below a target, by the rule of the contract."""
        host, _, path = reference.partition("/")
        namespace = f"{PACKAGES}/" if ".dkr.ecr." in host else ""
        return f"{PREFIX}/{namespace}{path}"


@contextmanager
def site(folder: Path, names: tuple[str, ...], *, scale: float) -> Iterator[Site]:
    """Make up an upstream of the given documents, serve it, and lock everything.

    Digests in the documents are rewritten to fit, so AWS's signatures cannot hold: ``--verify off``.
    """
    paths = [data(name) for name in names]
    home = folder / "home"
    home.mkdir(parents=True)
    ours = bundlectl(home)
    with Upstream.synthesise(paths, scale=scale, directory=None) as upstream, upstream.serve() as served:
        origins = tuple(argument for pair in served.origins for argument in ("--origin", pair))
        documents = tuple(upstream.write_documents(folder / "documents")[: len(names)])
        lock = folder / "bundle.lock.json"
        ours.run("lock", *documents, "--verify", "off", *origins, "--out", lock)
        yield Site(upstream, documents, origins, lock, ours)
