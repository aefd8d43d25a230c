"""How the report looks on a screen and on paper, and what it may do: nothing."""

from __future__ import annotations

from typing import Final

from mirror.markup import only_style

__all__ = ["HEAD", "STYLE"]

STYLE: Final = """
:root{color-scheme:light dark}
body{font:14px/1.45 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}
h2{font-size:1.25rem;margin-top:2.4rem;border-bottom:2px solid #8886;padding-bottom:.2rem}
h3{font-size:1.05rem;margin-top:1.6rem}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
thead th{white-space:nowrap;border-bottom:2px solid #8886}
.artifacts th:first-child{width:45%}
.artifacts td:nth-child(2){min-width:5.5rem}.artifacts td:nth-child(6){min-width:8rem}
.keep{white-space:nowrap}
tbody th{background:#8881;font-weight:600}
td.n,th.n{text-align:right;white-space:nowrap}
code{font-family:ui-monospace,monospace;font-size:.86em}
.digest{font-size:.76em;opacity:.8}
.quiet{opacity:.75}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 2rem;padding:0;list-style:none}.facts b{font-size:1.25rem}
.contents{columns:2;padding-left:1.1rem}
.mark{border:1px solid #8886;border-radius:.3rem;padding:0 .35rem;white-space:nowrap}
.good{border-color:#2a7;background:#2a72}.bad{border-color:#c33;background:#c332}.ask{border-color:#c80;background:#c802}
.concerns{list-style:none;padding:0}.concerns li{padding:.2rem 0}
.chart{max-width:60rem;font:13px system-ui,sans-serif}
.chart text{fill:currentColor;dominant-baseline:middle}.chart .name{text-anchor:end}
.chart .all{fill:#8cb4dc}.chart .own{fill:#2f6fae}
.decision td{height:2.6rem;vertical-align:bottom}
@page{size:landscape;margin:14mm 12mm 16mm;
@bottom-right{content:counter(page) " / " counter(pages);font:9pt system-ui,sans-serif}}
@media print{
:root{color-scheme:light}
body{font-size:9pt;margin:0;max-width:none;padding:0}
thead{display:table-header-group}
tr,.concerns li,svg,.decision{break-inside:avoid}
h1,h2,h3,tbody th{break-after:avoid}
a{color:inherit;text-decoration:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

HEAD: Final = {"Content-Security-Policy": f"{only_style(STYLE)}; form-action 'none'"}
"""A page that lies in a file has nobody else to state its policy."""
