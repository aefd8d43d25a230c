"""YAML for programs in Go, kubectl and helm among them: text that they would take for a number or a truth is quoted."""

from __future__ import annotations

from typing import Any, Final

import yaml

from bundles.goscalars import resolve
from bundles.scalars import yaml_type

__all__ = ["write_yaml"]

_BREAKS: Final = frozenset("\x85\u2028\u2029")
_WIDTH: Final = 10_000
"""Nothing is folded: names and expressions of templates stay on their line."""


class _Dumper(yaml.SafeDumper):
    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quote what has another type without quotes; the rest is as YAML itself wants it."""
        plain = yaml_type(text) == "text" and isinstance(resolve(text), str)
        # Only escaped these stay what they are: readers make plain ends of lines of them.
        style = '"' if _BREAKS.intersection(text) else None if plain else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def write_yaml(document: Any) -> str:  # noqa: ANN401 -- what JSON can hold
    """Write a document that Go reads as it is: ``1e3``, ``0o17`` and ``y`` are text to Python's library alone.

    Args:
        document: what JSON can hold.
    """
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
