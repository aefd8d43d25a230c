"""Serve a made-up upstream by hand, or with ``--harbor`` an empty Harbor with a project and a robot."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from registry_fixtures.harbor import HarborFixture
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream

__all__ = ["main"]


def main() -> None:
    """Make it, serve, print the origins, and wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m registry_fixtures", description=__doc__)
    parser.add_argument("--document", type=Path, action="append", help="a release document (default: the samples)")
    parser.add_argument("--scale", type=float, default=1e-4, help="times the real sizes (default: 1e-4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="of the registry; 0 picks a free one")
    parser.add_argument("--directory", type=Path, help="for large blobs (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="write the rewritten documents to this folder")
    parser.add_argument("--harbor", metavar="PROJECT", help="serve a Harbor with this private project instead")
    chosen = parser.parse_args()
    stop = {signal.SIGINT, signal.SIGTERM}
    # Blocked before any thread starts, so that sigwait below is the one that sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    if chosen.harbor:
        _serve_harbor(chosen.harbor, chosen.port, stop)
    else:
        _serve_upstream(chosen, stop)


def _serve_harbor(project: str, port: int, stop: set[signal.Signals]) -> None:
    with HarborFixture(port=port) as harbor:
        harbor.add_project(project)
        robot = harbor.add_robot("mirror", system_rights=("project:create",))
        print(harbor.url, robot.name, robot.secret, sep="\n", flush=True)  # noqa: T201 -- see below
        signal.sigwait(stop)


def _serve_upstream(chosen: argparse.Namespace, stop: set[signal.Signals]) -> None:
    documents = chosen.document or sample_documents()
    with (
        Upstream.synthesise(documents, seed=chosen.seed, scale=chosen.scale, directory=chosen.directory) as upstream,
        upstream.serve(ports=(chosen.port, 0)) as served,
    ):
        if chosen.out:
            upstream.write_documents(chosen.out)
        lines = [f"{document.kind} {document.name} {document.location}" for document in upstream.documents]
        lines += [f"--origin {origin}" for origin in served.origins]
        print(*lines, sep="\n", flush=True)  # noqa: T201 -- a program of its own, for developers
        signal.sigwait(stop)


if __name__ == "__main__":
    main()
