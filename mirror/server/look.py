"""How the page of ``serve`` looks, and what it may do: the style sheet, and the policy that allows nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror import markup

if TYPE_CHECKING:
    from mirror.markup import Element

__all__ = ["POLICY", "render"]

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th{white-space:nowrap}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
td.n,th.n{text-align:right;white-space:nowrap}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{overflow:auto;padding:.6rem;background:#8882;border-radius:.3rem;user-select:all}
summary{cursor:pointer;padding:.2rem 0}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 2rem;padding:0;list-style:none}.facts b{font-size:1.2rem}
.quiet{opacity:.7}.trust{border:1px solid #8886;border-radius:.3rem;padding:0 .35rem;white-space:nowrap}
.signed{border-color:#2a7;background:#2a72}.pushed,.off{border-color:#c80;background:#c802}
input{font:inherit;padding:.25rem .5rem;width:min(24rem,60%)}button{font:inherit;padding:.25rem .8rem}
"""

POLICY: Final = f"{markup.only_style(_STYLE)}; form-action 'self'; frame-ancestors 'none'"
"""Content-Security-Policy of what `render` makes."""


def render(title: str, *content: Element | None) -> bytes:
    """A whole page."""
    return markup.render(title, *content, style=_STYLE)
