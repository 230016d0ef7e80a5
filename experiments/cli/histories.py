"""The command `history`: make a call history with known truth, or inspect a customer's history."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import FileFirst, Json, err, out, print_result
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.histories.generate import Generated, generate
from trunkproof.experiments.histories.request_file import request_text
from trunkproof.experiments.histories.truth import read_truth
from trunkproof.models.demand.history.inspection import FileFound, Inspection, Outcome, SampleRow, inspect_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.errors import InputError, Problem


class TruthFirst(FileFirst):
    """Reads `history TRUTH` as `history make TRUTH`."""

    meant = "make"


histories = typer.Typer(
    cls=TruthFirst,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    subcommand_metavar="TRUTH | inspect FILE...",
    help="Look into a customer's call history, or make one with known truth.",
)
app.add_typer(histories, name="history")


@histories.command(TruthFirst.meant)
def history(
    truth_file: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="The truth of the history: one YAML file.", show_default=False)
    ],
    *,
    file: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where to write it: .csv, .csv.gz or .parquet.", show_default=False),
    ],
    seed: Annotated[int | None, typer.Option(help="Use this seed instead of the truth's.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Make a call history with known truth, to check a review against it (the word `make` may be left out)."""
    truth = read_truth(truth_file)
    truth = truth if seed is None else truth.model_copy(update={"seed": seed})
    with shown.progress(err) as advance:
        generated = generate(truth, file, advance)
    print_result(generated.to_json(), lambda: out.print(summary(generated)), as_json=as_json)


@histories.command()
def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files, folders or patterns of one history.", show_default=False),
    ],
    *,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="REQUEST", help="Write a request file, ready to edit.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of times that have none.")] = "Asia/Kolkata",
    as_json: Json = False,
) -> None:
    """Say what is recognised in a call history: columns, dates, units, customers, refusals, and all that is odd."""
    found = inspect_history(_settings(files, timezone))
    if write is not None:
        _write(write, request_text(found, files, write.parent))
    print_result(found.to_json(), lambda: _print(found, write), as_json=as_json)


def _settings(files: list[Path], timezone: str) -> HistorySettings:
    try:
        return HistorySettings(path=files[0] if len(files) == 1 else tuple(files), timezone=timezone)
    except ValueError as error:
        raise InputError("--timezone", [Problem(where=timezone, what=_no_zone(timezone))]) from error


def _no_zone(name: str) -> str:
    near = difflib.get_close_matches(name, available_timezones(), n=1)
    hint = f"did you mean `{near[0]}`?" if near else "use an IANA name such as Asia/Kolkata"
    return f"no such time zone; {hint}"


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        # Never overwrite: somebody may have edited the request.
        raise InputError("--write", [Problem(where=str(path), what=f"cannot be written ({error.strerror})")]) from error


def _print(found: Inspection, written: Path | None) -> None:
    for line in _lines(found):
        out.print(line, markup=False)
    if found.history.calls is not None:
        out.print("First rows with numbers masked, and how they were read:")
        for row in found.sample:
            out.print(_sample_words(row), markup=False)
    for oddity in found.history.oddities:
        places = f" ({', '.join(oddity.places)})" if oddity.places else ""
        out.print(f"- {oddity.count:,} x {oddity.kind}: {oddity.what}. {oddity.handled}{places}", markup=False)
    if not found.history.oddities:
        out.print("Nothing odd.")
    if written is not None:
        out.print(f"Request: {written}", markup=False)


def _lines(found: Inspection) -> Iterator[str]:
    history = found.history
    yield f"{history.source}: {history.rows_read:,} rows, {history.attempts:,} attempts in {history.days} days"
    yield f"Dates: {history.first:%Y-%m-%d %H:%M} to {history.last:%Y-%m-%d %H:%M}, {history.timezone}"
    yield "Zone: " + (
        "the times have their own" if found.has_zone else f"the times have none; read as {history.timezone}"
    )
    told: set[str] = set()
    for file in found.files:
        # Files of one export look alike: print the same words only once.
        words = "; ".join(_file_words(file))
        if words not in told:
            told.add(words)
            yield f"{file.name} ({file.kind}, {file.form}{'' if file.has_heading else ', no heading'}): {words}"
    for column, values in found.owners.items():
        yield f"Customers by {column}: " + ", ".join(f"{value} ({rows:,})" for value, rows in values.items())
    for title, outcomes in (("Words", found.words), ("SIP statuses", found.codes)):
        if outcomes:
            yield f"{title}: " + ", ".join(map(_outcome_words, outcomes))


def _file_words(file: FileFound) -> Iterator[str]:
    for role, column in file.columns.items():
        how = ", ".join(file.time_forms.get(role, ())) or file.units.get(role, "")
        yield f"{role} = {column}" + (f" ({how})" if how else "")
    if file.unused:
        yield f"not used: {', '.join(file.unused)}"


def _outcome_words(outcome: Outcome) -> str:
    return f"{outcome.written} -> {outcome.taken_for or 'unknown'} ({outcome.rows:,})"


def _sample_words(row: SampleRow) -> str:
    written = ", ".join(f"{role} {value}" for role, value in row.written.items() if value)
    return f"  {row.place}: {written} -> {_read_words(row.read)}"


def _read_words(read: dict[str, Any] | None) -> str:
    if read is None:
        return "no call of the trunk"
    holding = f", {read['holding_s']:g} s" if read["holding_s"] is not None else ""
    return f"{read['start_local']}, {read['direction']}, {read['status']}{holding}"


def summary(generated: Generated) -> str:
    """Return what was written, in words."""
    share = generated.refused / generated.attempts if generated.attempts else 0.0
    lines = [
        f"{generated.path}: {generated.rows:,} rows, {generated.size_bytes / 1e6:,.1f} MB.",
        f"{generated.fresh_calls:,} fresh calls and {generated.redials:,} redials make {generated.attempts:,} "
        f"attempts; {generated.refused:,} of them ({100 * share:.2f} %) were refused by the throttle of the time "
        f"({generated.truth['throttle']}), and {generated.customers_lost:,} customers gave up after a refusal.",
        *_defect_lines(generated),
        "A review should find these again:",
        *(f"  {name}: {value:g}" for name, value in generated.truth.items() if isinstance(value, int | float)),
    ]
    return "\n".join(lines)


def _defect_lines(generated: Generated) -> list[str]:
    kinds = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in generated.defects.items() if count]
    return [f"Defects: {', '.join(kinds)}."] if kinds else []
