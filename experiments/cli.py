"""The `trunkproof` command: reads the words, calls the code, prints the result, chooses the exit code.

Nothing is computed here. People read stdout; `--json` gives programs the same on stdout; progress and complaints go to
stderr. Exit codes: `experiments/exit_codes.py`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from experiments import console as shown
from experiments.exit_codes import ExitCode, exit_code_of
from experiments.forecast import forecast
from models.errors import InputError, Problem, TrunkproofError
from models.kpis import compute_kpis
from models.plan import draw_plan
from models.reading import read_study
from models.records import write_records
from models.study import Study

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Predict what a SIP trunk can carry, then prove it with real encrypted calls.",
)
err = Console(stderr=True)
out = Console()

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study: one YAML file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Roll other dice than the study's.", min=0)]
OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if it is not there.")]


def _study(path: Path, seed: int | None) -> Study:
    study = read_study(path)
    return study if seed is None else study.model_copy(update={"seed": seed})


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", [Problem(where=str(path), what=f"cannot be made ({error.strerror})")]) from error
    return path


def _print(value: Mapping[str, Any], human: Callable[[], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(value, indent=2))
    else:
        human()


@app.command()
def plan(study_file: StudyFile, seed: Seed = None, out_dir: OptionalOut = None, as_json: Json = False) -> None:
    """Say what a study will do, before it does it."""
    drawn = draw_plan(_study(study_file, seed))
    expected = forecast(drawn)
    if out_dir is not None:
        drawn.table.write_parquet(_folder(out_dir) / "plan.parquet")

    def human() -> None:
        out.print(expected.sentence, highlight=False)
        out.print(shown.forecast_table(expected))

    _print(expected.to_json(), human, as_json=as_json)


@app.command()
def simulate(
    study_file: StudyFile,
    seed: Seed = None,
    replications: Annotated[int, typer.Option(help="Independent repetitions, for intervals.", min=0)] = 0,
    precision: Annotated[
        float | None, typer.Option(help="Repeat until refused_share is known within this share of itself.", min=1e-4)
    ] = None,
    stationary: Annotated[bool, typer.Option(help="Start in the stationary state instead of empty.")] = False,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Predict: run the study on the model of the trunk."""
    from experiments.prediction import predict

    study = _study(study_file, seed)
    with shown.progress(err, shown=not as_json) as advance:
        prediction = predict(
            study, replications=replications, precision=precision, stationary=stationary, advance=advance
        )
    if out_dir is not None:
        write_records(prediction.records, _folder(out_dir) / "predicted.parquet")

    def human() -> None:
        out.print(shown.kpi_table(prediction.kpis, prediction.intervals))
        out.print(shown.disposition_table(prediction.kpis))
        for line in prediction.remarks:
            out.print(line, highlight=False)

    _print(prediction.to_json(), human, as_json=as_json)
