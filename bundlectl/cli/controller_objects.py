"""Kubernetes objects as the result of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundlectl.cli.options import DocumentFormat

if TYPE_CHECKING:
    from bundlectl.cli.command import Invocation
    from bundlectl.cli.options import DocumentFormatOptions

__all__ = ["show_objects"]


def show_objects(invocation: Invocation, form: DocumentFormatOptions, objects: list[dict[str, Any]]) -> None:
    """Write objects as ``kubectl apply -f -`` takes them: documents of YAML, or one List in JSON."""
    if form.output is DocumentFormat.JSON:
        invocation.console.document({"apiVersion": "v1", "kind": "List", "items": objects})
        return
    from bundles.goyaml import write_yaml  # noqa: PLC0415 -- not for --help

    invocation.console.text("---\n".join(map(write_yaml, objects)).rstrip("\n"))
