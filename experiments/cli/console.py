"""Show results on a terminal, as tables and progress bars. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import get_args

from rich.console import Console, Group
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.progress import Progress
from trunkproof.experiments.common.targets import JudgedTarget
from trunkproof.experiments.prediction.forecast import Forecast
from trunkproof.experiments.prediction.prices import Prices
from trunkproof.experiments.prediction.twin import TwinCheck
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.far_ends import FarEndComparison
from trunkproof.loadgen.bugs import FILE as BUGS
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.parties.call_book import ServedCall
from trunkproof.loadgen.stacks.server import ServeEnd
from trunkproof.models.costs import Calibration, CostName
from trunkproof.models.kpis import DEFINITIONS, Kpis
from trunkproof.models.study import Study

_DECISIVE = (
    "attempts",
    "refused_share",
    "customers_lost_share",
    "ner",
    "srd_p50_ms",
    "srd_p95_ms",
    "peak_concurrency",
    "peak_ports",
    "mos_p5",
)


def kpi_table(kpis: Kpis, intervals: Mapping[str, tuple[float, float]] | None = None) -> Table:
    """Return a table of all indicators, with their intervals where there are any."""
    table = Table("indicator", "value", box=None, header_style="bold", pad_edge=False)
    if intervals:
        table.add_column("95 % of other seeds")
    for name, definition in DEFINITIONS.items():
        cells = [definition.title, formatted(kpis[name], definition.unit)]
        if intervals:
            bounds = intervals.get(name)
            cells.append(" to ".join(formatted(bound, definition.unit) for bound in bounds) if bounds else "")
        table.add_row(*cells)
    return table


def disposition_table(kpis: Kpis) -> Table:
    """Return a table of how many attempts ended in each disposition."""
    table = Table("disposition", "attempts", box=None, header_style="bold", pad_edge=False)
    for disposition, count in kpis.dispositions.items():
        if count:
            table.add_row(disposition.value, str(count))
    return table


def forecast_table(forecast: Forecast) -> Table:
    """Return a table of the load that each trunk of a study will be offered."""
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


def price_lines(prices: Prices) -> Group:
    """Return a table of what a study costs over each transport and media, and what is not known of it."""
    titles = ("transport, media", "CPU", "new connection, median", "SRD, median", "SRD, 95 %")
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for way in prices.ways:
        times = (way.connect_p50_ms, way.srd_p50_ms, way.srd_p95_ms)
        told = ["n/a" if value is None else f"{value:.1f} ms" for value in times]
        table.add_row(f"{way.transport.upper()}, {way.media.upper()}", f"{way.cpu_s:.2f} s", *told)
    return Group(table, *prices.notes)


def number_table(forecast: Forecast) -> Table:
    """Return a table of the listed numbers: how many calls each will get, and how many at once."""
    titles = ("trunk", "number", "far end", "calls", "most at once", "left out by its limits")
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for number in forecast.numbers:
        counts = (number.calls, number.at_once, number.left_out)
        table.add_row(number.trunk, number.number, number.far_end.value, *map(str, counts))
    return table


def edge_table(forecast: Forecast) -> Table:
    """Return a table of the edges, and how many outbound calls try each of them first."""
    table = Table("edge", "host", "priority", "weight", "calls first", box=None, header_style="bold", pad_edge=False)
    for edge in forecast.edges:
        table.add_row(str(edge.edge), edge.host, *map(str, (edge.priority, edge.weight, edge.calls)))
    return table


def far_end_table(far_ends: Sequence[FarEndComparison]) -> Table:
    """Return a table of how calls to far ends that are not ours ended and rang, predicted and measured."""
    titles = ("far end", "predicted", "measured", "ringing predicted", "measured")
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for one in far_ends:
        sides = (one.predicted, one.measured)
        ends = (", ".join(f"{name} {count}" for name, count in side.dispositions.items()) for side in sides)
        rings = ("n/a" if side.ring_p50_s is None else f"{side.ring_p50_s:.2f} s" for side in sides)
        table.add_row(one.far_end.value, *ends, *rings)
    return table


@contextmanager
def progress(console: Console, *, shown: bool = True) -> Iterator[Progress]:
    """Show a progress bar on `console` while the block runs. Call the yielded function to move it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not shown or not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def advance(share: float, words: str) -> None:
            bar.update(task, completed=share, description=words)

        yield advance


def twin_lines(twin: tuple[TwinCheck, ...] | str) -> str:
    """Write how the model compares with exact theory."""
    if isinstance(twin, str):
        return f"No formula gives an exact answer for this study: {twin}."
    return "\n".join(
        f"Exact theory, {check.name}: {check.exact:.6f}; model in a long run {check.simulated:.6f} "
        f"± {check.standard_error:.6f} (z = {check.z:+.2f})"
        for check in twin
    )


def target_lines(targets: tuple[JudgedTarget, ...]) -> str:
    """Write each quality target and whether it was kept."""
    return "\n".join(str(target) for target in targets) or "The study sets no quality targets."


def comparison_table(comparison: Comparison) -> Table:
    """Return a table of the indicators that decide, predicted and measured."""
    table = Table("indicator", "predicted", "measured", "difference", box=None, header_style="bold", pad_edge=False)
    for name in _DECISIVE:
        pair = comparison.kpis[name]
        difference = "" if pair.difference is None else formatted(pair.difference, pair.unit, signed=True)
        cells = (formatted(pair.predicted, pair.unit), formatted(pair.measured, pair.unit), difference)
        table.add_row(DEFINITIONS[name].title, *cells)
    return table


def calibration_table(calibration: Calibration) -> Table:
    """Return a table of what each kind of work costs, with its interval."""
    table = Table("cost", "value", "95 % interval", box=None, header_style="bold", pad_edge=False)
    for name in get_args(CostName):
        value = getattr(calibration.costs, name)
        if value is None:
            continue
        low, high = calibration.intervals.get(name, (value, value))
        table.add_row(name, f"{value:.3g}", f"{low:.3g} to {high:.3g}")
    return table


def throttled_lines(study: Study) -> str:
    """Write what a study counts as throttled, trunk by trunk."""
    said = {trunk.name: trunk.throttle.describe_refusal_rules() for trunk in study.trunks}
    # Usually all trunks have the same rules.
    if len(set(said.values())) == 1:
        return f"Counted as throttled: {next(iter(said.values()))}"
    return "Counted as throttled: " + "; ".join(f"{name}: {rules}" for name, rules in said.items())


def call_line(call: ServedCall) -> str:
    """Return one line on a call to a served trunk, with masked numbers."""
    record = call.record
    words = [str(record.disposition)]
    if record.status is not None:
        words.append(f"status {record.status}")
    if record.answered_s is not None and record.ended_s is not None:
        words.append(f"up for {record.ended_s - record.answered_s:.1f} s")
        heard = f"heard {record.rtp_received} packets, {record.rtp_lost} lost"
        words.append(heard if call.heard else "no audio heard")
    # The reason has masked numbers, digits, and who ended the call.
    return f"call {record.call} at {record.intended_s:.1f} s: {', '.join(words)}; {record.reason}"


def serve_lines(end: ServeEnd) -> list[str]:
    """Return the last lines of a served trunk: what its limits refused, and bugs of ours."""
    refused = [f"Refused, {what}: {count}" for what, count in end.refused.items()]
    return refused + [f"A bug of trunkproof, with its traceback in {BUGS}: {bug}" for bug in end.bugs]


def meter_table(meters: MeterReport) -> Table:
    """Return a table of what each program of the trunk spent; n/a where it could not be measured."""
    table = Table(
        "program", "CPU", "of one core", "memory, peak", "sockets, peak", box=None, header_style="bold", pad_edge=False
    )
    for name, program in meters.programs.items():
        cpu = "n/a" if program.cpu_s is None else f"{program.cpu_s:.2f} s"
        share = "n/a" if program.share_of_core is None else f"{100 * program.share_of_core:.1f} %"
        memory = "n/a" if program.peak_memory_bytes is None else f"{program.peak_memory_bytes / 2**20:.0f} MiB"
        sockets = "n/a" if program.peak_sockets is None else str(program.peak_sockets)
        table.add_row(name, cpu, share, memory, sockets)
    for gap in meters.gaps[:5]:
        table.add_row(gap.source, gap.why)
    return table
