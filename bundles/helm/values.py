"""A chart's values as Helm hands them to its templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundles.helm.yamlnodes import Listing, Node, Table, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.helm.archive import Chart

__all__ = ["ChartValues", "chart_values"]


@dataclass(frozen=True, slots=True)
class ChartValues:
    """One chart of a tree with the values it gets; a chart vendored under two aliases comes twice."""

    chart: Chart
    values: Table
    hidden: frozenset[str]
    """Top-level keys that are a subchart's values, looked at there."""

    def tables(self) -> Iterator[Table]:
        """Every mapping in the values, each once."""
        seen: set[int] = set()
        waiting: list[Node] = [node for key, node in self.values.entries.items() if key not in self.hidden]
        yield self.values
        while waiting:
            node = waiting.pop()
            if id(node) in seen or not isinstance(node, Table | Listing):
                continue
            seen.add(id(node))
            if isinstance(node, Table):
                yield node
                waiting.extend(node.entries.values())
            else:
                waiting.extend(node.entries)


def chart_values(chart: Chart) -> Iterator[ChartValues]:
    """Walk a chart and the charts vendored in it, with the parents' values laid over the defaults.

    As in Helm, a parent's values under a subchart's name (or alias) win over the subchart's own,
    and ``global`` is passed down. Conditions are not evaluated: what is off by default may be
    switched on at the site.

    Raises:
        ContentError: a values.yaml is not YAML, or beyond a limit.
    """
    return _walk(chart, chart.label, None, Table(0))


def _walk(chart: Chart, label: str, above: Table | None, shared: Table) -> Iterator[ChartValues]:
    origin = f"{label}!{chart.path}values.yaml"
    read = read_yaml(chart.files.get("values.yaml", b""), origin=origin)
    values = read if isinstance(read, Table) else Table(1, origin)
    if above is not None:
        values = _overlay(values, above, {})
    shared = _overlay(values.table("global") or Table(0), shared, {})
    if shared.entries:
        values = Table(values.line, values.origin, {**values.entries, "global": shared})
    aliases = _aliases(chart)
    below = [(alias, subchart) for subchart in chart.subcharts for alias in aliases.get(subchart.name, [subchart.name])]
    # What is global is looked at once, in the outermost chart.
    shared_keys = frozenset({"global"} if chart.path else ())
    yield ChartValues(chart, values, frozenset(alias for alias, _ in below) | shared_keys)
    for alias, subchart in below:
        yield from _walk(subchart, label, values.table(alias), shared)


def _aliases(chart: Chart) -> dict[str, list[str]]:
    """Under which keys each dependency gets its values (``Chart.yaml``, ``dependencies[].alias``)."""
    found: dict[str, list[str]] = {}
    for dependency in chart.metadata.items("dependencies"):
        if isinstance(dependency, Table):
            name = dependency.text("name")
            keys = found.setdefault(name, [])
            key = dependency.text("alias") or name
            if key not in keys:
                keys.append(key)
    return found


def _overlay(below: Table, above: Table, known: dict[tuple[int, int], Table]) -> Table:
    """Lay ``above`` over ``below``; ``known`` keeps aliased YAML from being joined again and again."""
    key = (id(below), id(above))
    if key in known:
        return known[key]
    joined = Table(below.line, below.origin, dict(below.entries))
    known[key] = joined
    for name, value in above.entries.items():
        under = below.entries.get(name)
        joined.entries[name] = (
            _overlay(under, value, known) if isinstance(under, Table) and isinstance(value, Table) else value
        )
    return joined
