"""A chart's values as Helm hands them to its templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.helm.yamlnodes import Listing, Node, Table, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.helm.archive import Chart

__all__ = ["ChartValues", "chart_values"]

_CHARTS: Final = 300


@dataclass(frozen=True, slots=True)
class ChartValues:
    """One chart of a tree with the values it gets; a chart vendored under two aliases comes twice."""

    chart: Chart
    values: Table
    hidden: frozenset[str]
    """Top-level keys that are a subchart's values, looked at there."""

    def tables(self) -> Iterator[Table]:
        """Every mapping in the values."""
        waiting: list[Node] = [node for key, node in self.values.entries.items() if key not in self.hidden]
        yield self.values
        while waiting:
            node = waiting.pop()
            if isinstance(node, Table):
                yield node
                waiting.extend(node.entries.values())
            elif isinstance(node, Listing):
                waiting.extend(node.entries)


def chart_values(chart: Chart) -> Iterator[ChartValues]:
    """Walk a chart and the charts vendored in it, with the parents' values laid over the defaults.

    As in Helm, a parent's values under a subchart's name (or alias) win over the subchart's own,
    and ``global`` is passed down. Conditions are not evaluated: what is off by default may be
    switched on at the site.

    Raises:
        ContentError: a values.yaml is not YAML, or beyond a limit; charts vendored more than
            three hundred times, each alias counted.
    """
    # Aliases multiply: a chart with thirty of them for one whose thirty aliases are for another ...
    for count, one in enumerate(_walk(chart, chart.label, None, Table(0))):
        if count >= _CHARTS:
            raise ContentError(
                f"charts are vendored more than {_CHARTS} times, aliases counted",
                artifact=chart.label,
                hint="leave the chart out with --exclude, and name the images it needs",
            )
        yield one


def _walk(chart: Chart, label: str, above: Table | None, shared: Table) -> Iterator[ChartValues]:
    origin = f"{label}!{chart.path}values.yaml"
    read = read_yaml(chart.files.get("values.yaml", b""), origin=origin)
    values = read if isinstance(read, Table) else Table(1, origin)
    if above is not None:
        values = _overlay(values, above)
    shared = _overlay(values.table("global") or Table(0), shared)
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
    found: dict[str, dict[str, None]] = {}
    for dependency in chart.metadata.items("dependencies"):
        if isinstance(dependency, Table):
            name = dependency.text("name")
            found.setdefault(name, {})[dependency.text("alias") or name] = None
    return {name: list(keys) for name, keys in found.items()}


def _overlay(below: Table, above: Table) -> Table:
    """Lay ``above`` over ``below``."""
    joined = Table(below.line, below.origin, dict(below.entries))
    for name, value in above.entries.items():
        under = below.entries.get(name)
        joined.entries[name] = (
            _overlay(under, value) if isinstance(under, Table) and isinstance(value, Table) else value
        )
    return joined
