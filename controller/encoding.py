"""JSON for programs in Go, some of which read it as YAML: helm its values, an API server what is applied."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["encode_json"]

_ESCAPED: Final = re.compile(r"[\x7f-\uffff]")


def encode_json(value: Any) -> bytes:  # noqa: ANN401 -- JSON
    """A value as JSON that is YAML for Go, too.

    A pair of surrogates, as Python escapes what lies beyond 16 bits, is none of YAML's escapes; and not every
    character may stand in YAML as it is.

    Raises:
        ValueError: it has a number that JSON has not.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
