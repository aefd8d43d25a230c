"""The schemas of a chart's values, ``values.schema.json``, as far as helm would fetch something for them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bundles.helm.archive import Chart

__all__ = ["refers_elsewhere"]

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_DRAFT: Final = re.compile(r"https?://json-schema\.org/(?:draft[-/][0-9-]+/)?schema#?")
"""What helm knows by itself."""


def refers_elsewhere(chart: Chart) -> bool:
    """Whether schemas of a chart, or of one vendored in it, refer to what is not in them.

    helm fetches that, by HTTP or from the disk of the machine that it runs on.
    """
    schema = chart.files.get("values.schema.json", b"{}")
    return _has_foreign_reference(schema) or any(map(refers_elsewhere, chart.subcharts))


def _has_foreign_reference(schema: bytes) -> bool:
    try:
        waiting: list[Any] = [json.loads(schema)]
    except RecursionError:
        return True
    except ValueError:
        return False  # helm says so
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
            places = [found[name] for name in _REFERENCES if isinstance(found.get(name), str)]
            draft = found.get("$schema")
            places += [draft] if isinstance(draft, str) and not _DRAFT.fullmatch(draft) else []
            if not all(place.startswith("#") for place in places):
                return True
    return False
