"""The command `compare`: two runs of one study, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from trunkproof.experiments.cli.app import Json, OptionalOut, folder_at, out, print_result
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.load.compare import (
    Change,
    ComparedKpi,
    ComparedRun,
    RunComparison,
    compare_runs,
    read_compared,
)
from trunkproof.experiments.report.compare_page import interval_words, write_compare_page
from trunkproof.models.errors import InputError, Problem

PAGE, RESULT = "compare.html", "compare.json"
_COLOURS = {Change.WORSE: "bold red", Change.BETTER: "green", Change.SAME: "", Change.CANNOT_TELL: "dim"}


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A folder of `load` or `validate`.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="The other run.", show_default=False)],
    *,
    different_studies: Annotated[
        bool, typer.Option("--different-studies", help="Compare runs of different studies all the same.")
    ] = False,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Compare two runs of one study: what is the same, better or worse."""
    runs: list[ComparedRun] = []
    problems: list[Problem] = []
    for path in (a, b):
        try:
            runs.append(read_compared(path))
        except InputError as error:
            problems += (replace(problem, where=f"{path}: {problem.where}") for problem in error.problems)
    if problems:
        raise InputError("compare", problems)
    found = compare_runs(*runs, different_studies=different_studies)
    folder = None if out_dir is None else folder_at(out_dir)
    if folder is not None:
        folder.write(RESULT, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
        write_compare_page(found, folder / PAGE)

    def human() -> None:
        _show(found)
        if folder is not None:
            out.print(f"Page: {folder / PAGE}", markup=False)

    print_result(found.to_json(), human, as_json=as_json)


def _show(found: RunComparison) -> None:
    out.print(Text(found.sentence))
    for name, run in (("A", found.a), ("B", found.b)):
        out.print(Text(f"{name}: {run.folder}, {run.records.height:,} attempts, seed {run.study.seed}"))
    for note in (*found.notes, *(f"the studies differ in {key}" for key in found.differing)):
        out.print(Text(f"Note: {note}"))
    table = Table("indicator", "A", "B", "B - A, 95 %", "B is", box=None, header_style="bold", pad_edge=False)
    for one in found.kpis:
        table.add_row(*_cells(one))
    out.print(table)
    out.print(Text(found.method))


def _cells(one: ComparedKpi) -> list[str | Text]:
    unit = one.definition.unit
    word = "" if one.change is Change.NOT_JUDGED else Text(one.change.value, style=_COLOURS[one.change])
    return [one.definition.title, formatted(one.a, unit), formatted(one.b, unit), interval_words(one), word]
