"""Serve a made-up upstream by hand: ``python -m registry_fixtures --document bundles.yaml``."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream

__all__ = ["main"]


def main() -> None:
    """Synthesise, serve, print the origins, and wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m registry_fixtures", description=__doc__)
    parser.add_argument("--document", type=Path, action="append", help="a release document (default: the samples)")
    parser.add_argument("--scale", type=float, default=1e-4, help="times the real sizes (default: 1e-4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="of the registry; 0 picks a free one")
    parser.add_argument("--directory", type=Path, help="for large blobs (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="write the rewritten documents to this folder")
    chosen = parser.parse_args()
    stop = {signal.SIGINT, signal.SIGTERM}
    # Blocked before any thread starts, so that sigwait below is the one that sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
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
