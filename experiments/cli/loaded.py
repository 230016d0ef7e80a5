"""Show the result of a load test on a terminal: the verdict and what went wrong first, then the indicators."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import out, print_result
from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import target_words
from trunkproof.experiments.load.judge import JudgedRow
from trunkproof.experiments.load.reasons import Reason
from trunkproof.experiments.load.result import LoadResult
from trunkproof.loadgen.bugs import FILE as BUGS

_REASONS = 5
"""How many kinds of failure a terminal shows. The page and load.json have all."""
_COLOURS = {True: "green", False: "bold red", None: "dim"}


def show_load(result: LoadResult, page: Path, *, as_json: bool) -> None:
    """Print the result of a load test."""

    def human() -> None:
        out.print(load_lines(result))
        out.print(f"Page: {page}", markup=False)

    print_result(result.to_json(), human, as_json=as_json)


def load_lines(result: LoadResult) -> Group:
    """Return the result for the terminal."""
    parts: list[RenderableType] = [Text(result.sentence), *_troubles(result)]
    if result.rows:
        parts += ["", threshold_table(result.rows)]
    if result.reasons:
        parts += ["", *reason_lines(result.reasons)]
    if result.valid and result.records.height:
        parts += ["", shown.kpi_table(result.kpis)]
    parts += ["", shown.disposition_table(result.kpis), shown.throttled_lines(result.study)]
    if result.meters is not None and result.meters.programs:
        parts += ["", shown.meter_table(result.meters)]
    parts += ["", *(f"{one.what}: {one.value}" for one in result.observations)]
    parts += ["Not measured:", *(Text(f"  {line}") for line in result.not_measured)]
    return Group(*parts)


def _troubles(result: LoadResult) -> list[RenderableType]:
    generator = result.generator
    workers = f", {generator.workers} workers" if generator.workers > 1 else ""
    reasons = f" ({'; '.join(generator.reasons)})" if generator.reasons else ""
    lines: list[RenderableType] = [f"Generator: {generator.verdict.upper()}{workers}{reasons}"]
    if result.end.cut_short:
        lines.append(Text(f"Cut short: {result.end}"))
    if result.not_placed:
        lines.append(f"Not placed, because the number was at its own limit (at_once, per_minute): {result.not_placed}")
    if result.troubles:
        lines.append(Text(f"Trouble in the trunk: {'; '.join(result.troubles)}"))
    if result.refused:
        words = "; ".join(f"{what}: {count}" for what, count in result.refused.items())
        lines.append(f"Refused by the trunk's own limits: {words}")
    return lines + [Text(f"A bug of trunkproof, with its traceback in {BUGS}: {bug}") for bug in result.bugs]


def threshold_table(rows: tuple[JudgedRow, ...]) -> Table:
    """Return a table of all quality targets and thresholds, judged."""
    table = Table("result", "target", "of", "measured", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        scope = row.scope or "the whole run"
        table.add_row(Text(row.word, style=_COLOURS[row.holds]), target_words(row.target), scope, row.shown)
    return table


def reason_lines(reasons: tuple[Reason, ...]) -> list[RenderableType]:
    """Return what went wrong, the most frequent first, each with what to do."""
    lines: list[RenderableType] = [Text("What went wrong", style="bold")]
    for reason in reasons[:_REASONS]:
        share = formatted(reason.share, "share")
        when = f"{reason.first_s:.1f} s to {reason.last_s:.1f} s" if reason.attempts > 1 else f"{reason.first_s:.1f} s"
        # As plain text: the words are the peer's, and brackets in them are no markup.
        lines.append(Text(f"{reason.attempts} attempts ({share}), {when}: {reason.what}"))
        lines += [Text(f"  {words}") for words in (reason.words, _identity(reason)) if words]
        if reason.remedy is not None:
            lines.append(Text(f"  {reason.remedy.meaning}"))
            lines.append(Text(f"  To do: {reason.remedy.action}"))
    if len(reasons) > _REASONS:
        lines.append(f"{len(reasons) - _REASONS} more kinds are on the page.")
    return lines


def _identity(reason: Reason) -> str:
    names = {"first Call-ID": reason.call_id, "CallSid": reason.call_sid}
    return ", ".join(f"{name} {value}" for name, value in names.items() if value)
