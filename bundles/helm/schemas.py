"""The schemas of a chart's values, ``values.schema.json``, as far as helm would fetch something for them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bundles.helm.archive import Chart

__all__ = ["refers_elsewhere"]

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_DRAFT: Final = re.compile(r"https?://json-schema\.org/(?:draft-0[467]/|draft/20(?:19-09|20-12)/)?schema#?")
"""What helm knows by itself; every other one it fetches."""


def refers_elsewhere(chart: Chart) -> bool:
    """Whether schemas of a chart, or of one vendored in it, refer to what is not in them.

    helm fetches that, by HTTP or from the disk of the machine that it runs on.
    """
    # Of whatever folder: by a backslash in a name, helm reads a path otherwise.
    found = (raw for name, raw in chart.files.items() if name.endswith("values.schema.json"))
    return any(map(_may_refer_elsewhere, found)) or any(map(refers_elsewhere, chart.subcharts))


def _may_refer_elsewhere(schema: bytes) -> bool:
    try:
        waiting: list[Any] = [json.loads(schema)]
    except (ValueError, RecursionError):
        return True  # helm may read it all the same: text that is no UTF-8, or numbers of any length
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
            places = [found[name] for name in _REFERENCES if isinstance(found.get(name), str)]
            draft = found.get("$schema")
            is_known = not isinstance(draft, str) or _DRAFT.fullmatch(draft)
            if not is_known or not all(place.startswith("#") for place in places):
                return True
    return False
