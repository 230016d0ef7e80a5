"""How results look on a terminal: tables and progress bars. The figures in them come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.forecast import Forecast
from models.kpis import DEFINITIONS, Kpis

Advance = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a few words."""


def formatted(value: float | None, unit: str) -> str:
    """A KPI's value as people read it."""
    if value is None:
        return "n/a"
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit == "1":
        return f"{value:.0f}"
    return f"{value:.2f}" if unit == "MOS" else f"{value:.1f} {unit}"


def kpi_table(kpis: Kpis, intervals: dict[str, tuple[float, float]] | None = None) -> Table:
    """All indicators, with their intervals where there are some."""
    table = Table("indicator", "value", box=None, header_style="bold", pad_edge=False)
    if intervals:
        table.add_column("95 % interval over seeds")
    for name, definition in DEFINITIONS.items():
        cells = [definition.title, formatted(kpis[name], definition.unit)]
        if intervals:
            bounds = intervals.get(name)
            cells.append(" to ".join(formatted(bound, definition.unit) for bound in bounds) if bounds else "")
        table.add_row(*cells)
    return table


def disposition_table(kpis: Kpis) -> Table:
    """Where the attempts ended."""
    table = Table("disposition", "attempts", box=None, header_style="bold", pad_edge=False)
    for disposition, count in kpis.dispositions.items():
        if count:
            table.add_row(disposition.value, str(count))
    return table


def forecast_table(forecast: Forecast) -> Table:
    """What each trunk of a study will be offered."""
    titles = ("trunk", "calls", "offered per minute", "throttle", "mean hold", "offered")
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for trunk in forecast.trunks:
        table.add_row(
            trunk.trunk,
            str(trunk.calls),
            f"{trunk.offered_per_minute:.1f}",
            trunk.limit,
            f"{trunk.mean_hold_s:.1f} s",
            f"{trunk.offered_erlang:.1f} E",
        )
    return table


@contextmanager
def progress(console: Console, *, shown: bool = True) -> Iterator[Advance]:
    """A progress bar on `console` that lives as long as the block; call what it yields to move it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown or not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def advance(share: float, words: str) -> None:
            bar.update(task, completed=share, description=words)

        yield advance
