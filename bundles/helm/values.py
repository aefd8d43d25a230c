"""A chart's values as Helm hands them to its templates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bundlectl.errors import ContentError
from bundles.helm.yamlnodes import Listing, Node, Table, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.helm.archive import Chart

__all__ = ["ChartValues", "chart_values"]

_CHARTS: Final = 300
_VALUES: Final = 1_000_000
"""Values of a chart, those of vendored charts counted for each alias, and again where others are laid over them."""
_HINT: Final = "leave the chart out with --exclude, and name the images it needs"


@dataclass(frozen=True, slots=True)
class ChartValues:
    """One chart of a tree with the values it gets; a chart vendored under two aliases comes twice."""

    chart: Chart
    values: Table
    hidden: frozenset[str]
    """Top-level keys that are a subchart's values, looked at there."""
    _budget: _Budget

    def tables(self) -> Iterator[Table]:
        """Every mapping in the values.

        Raises:
            ContentError: they are more than a million, with those of the charts before.
        """
        waiting: list[Node] = [node for key, node in self.values.entries.items() if key not in self.hidden]
        self._budget.spend(len(self.values.entries))
        yield self.values
        while waiting:
            node = waiting.pop()
            if isinstance(node, Table):
                self._budget.spend(len(node.entries))
                yield node
                waiting.extend(node.entries.values())
            elif isinstance(node, Listing):
                self._budget.spend(len(node.entries))
                waiting.extend(node.entries)


def chart_values(chart: Chart) -> Iterator[ChartValues]:
    """Walk a chart and the charts vendored in it, with the parents' values laid over the defaults.

    As in Helm, a parent's values under a subchart's name (or alias) win over the subchart's own,
    and ``global`` is passed down. Conditions are not evaluated: what is off by default may be
    switched on at the site.

    Raises:
        ContentError: a values.yaml is not YAML, or beyond a limit; charts vendored more than
            three hundred times, or more than a million values, each alias counted.
    """
    # Aliases multiply: a chart with thirty of them for one whose thirty aliases are for another ...
    for count, one in enumerate(_Walk(chart.label).charts(chart, None, Table(0))):
        if count >= _CHARTS:
            raise ContentError(
                f"charts are vendored more than {_CHARTS} times, aliases counted", artifact=chart.label, hint=_HINT
            )
        yield one


class _Budget:
    """What may still be looked at, over a chart and everything vendored in it."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._left = _VALUES

    def spend(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise ContentError(
                f"the chart has more than {_VALUES} values, those of vendored charts and aliases counted",
                artifact=self._label,
                hint=_HINT,
            )


class _Own(NamedTuple):
    """What a chart has whatever its alias: its values.yaml, and the charts below it by the keys of their values."""

    values: Table
    below: tuple[tuple[str, Chart], ...]
    hidden: frozenset[str]


class _Walk:
    def __init__(self, label: str) -> None:
        self._label = label
        self._budget = _Budget(label)
        self._read: dict[int, _Own] = {}

    def charts(self, chart: Chart, above: Table | None, shared: Table) -> Iterator[ChartValues]:
        own = self._own(chart)
        values = own.values if above is None else self._overlay(own.values, above)
        shared = self._overlay(values.table("global") or Table(0), shared)
        if shared.entries:
            values = Table(values.line, values.origin, {**values.entries, "global": shared})
        yield ChartValues(chart, values, own.hidden, self._budget)
        for alias, subchart in own.below:
            yield from self.charts(subchart, values.table(alias), shared)

    def _own(self, chart: Chart) -> _Own:
        """Read a chart, once for all its aliases."""
        if id(chart) not in self._read:
            origin = f"{self._label}!{chart.path}values.yaml"
            read = read_yaml(chart.files.get("values.yaml", b""), origin=origin)
            aliases = _aliases(chart)
            every = ((key, found) for found in chart.subcharts for key in aliases.get(found.name, [found.name]))
            # Of more than these nothing is looked at.
            below = tuple(islice(every, _CHARTS + 1))
            # What is global is looked at once, in the outermost chart.
            hidden = frozenset([*(alias for alias, _ in below), *(["global"] if chart.path else ())])
            self._read[id(chart)] = _Own(read if isinstance(read, Table) else Table(1, origin), below, hidden)
        return self._read[id(chart)]

    def _overlay(self, below: Table, above: Table) -> Table:
        """Lay ``above`` over ``below``."""
        self._budget.spend(len(below.entries) + len(above.entries))
        joined = Table(below.line, below.origin, dict(below.entries))
        for name, value in above.entries.items():
            under = below.entries.get(name)
            joined.entries[name] = (
                self._overlay(under, value) if isinstance(under, Table) and isinstance(value, Table) else value
            )
        return joined


def _aliases(chart: Chart) -> dict[str, list[str]]:
    """Under which keys each dependency gets its values (``Chart.yaml``, ``dependencies[].alias``)."""
    found: dict[str, dict[str, None]] = {}
    for dependency in chart.metadata.items("dependencies"):
        if isinstance(dependency, Table):
            name = dependency.text("name")
            found.setdefault(name, {})[dependency.text("alias") or name] = None
    return {name: list(keys) for name, keys in found.items()}
