"""The commands `plan` and `simulate`: sum up a study, and predict it with the model."""

from __future__ import annotations

from typing import Annotated

import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import (
    EngineName,
    Json,
    OptionalOut,
    Seed,
    StackOption,
    StudyFile,
    err,
    folder_at,
    out,
    print_result,
    read_as_asked,
)
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.result_folder import PREDICTED
from trunkproof.experiments.prediction.forecast import forecast
from trunkproof.experiments.prediction.open_files import find_shortage
from trunkproof.experiments.prediction.predict import predict
from trunkproof.experiments.prediction.prices import prices
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import write_records
from trunkproof.simulator.run import Start


@app.command()
def plan(
    study_file: StudyFile,
    *,
    seed: Seed = None,
    show_numbers: Annotated[bool, typer.Option("--show-numbers", help="Show the dialled numbers unmasked.")] = False,
    show_prices: Annotated[
        bool, typer.Option("--prices", help="Predict what TLS and SRTP cost, against TCP with plain RTP.")
    ] = False,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Say what a study will do, before it does it."""
    drawn = draw_plan(read_as_asked(study_file, seed))
    expected = forecast(drawn, show_numbers=show_numbers)
    priced = prices(drawn) if show_prices else None
    shortage = find_shortage(drawn)
    if shortage is not None:
        err.print(f"Before you place these calls from this machine: {shortage.words}")
    if out_dir is not None:
        with folder_at(out_dir).writing("plan.parquet") as path:
            drawn.table.write_parquet(path)

    def human() -> None:
        out.print(expected.sentence)
        out.print(shown.forecast_table(expected))
        if expected.edges:
            out.print(shown.edge_table(expected))
        if expected.numbers:
            out.print(shown.number_table(expected))
        if priced is not None:
            out.print(shown.price_lines(priced))

    told = expected.to_json() | ({} if priced is None else {"prices": priced.to_json()})
    print_result(told, human, as_json=as_json)


@app.command()
def simulate(
    study_file: StudyFile,
    *,
    seed: Seed = None,
    stack: StackOption = None,
    replications: Annotated[int, typer.Option(help="Repeat this often with other seeds, to get intervals.", min=0)] = 0,
    precision: Annotated[
        float | None,
        typer.Option(help="Repeat until refused_share is known within this share of its value.", min=1e-4, max=1),
    ] = None,
    anchor: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Instant after plan zero at which a throttle's window begins."),
    ] = 0.0,
    stationary: Annotated[bool, typer.Option(help="Start in the stationary state, with calls already up.")] = False,
    engine: EngineName = None,
    out_dir: OptionalOut = None,
    as_json: Json = False,
) -> None:
    """Predict: run a study on the model of the trunk."""
    study = read_as_asked(study_file, seed, stack)
    start = Start.STATIONARY if stationary else Start.EMPTY
    folder = None if out_dir is None else folder_at(out_dir)
    with err.status("simulating"):
        prediction = predict(
            study, replications=replications, precision=precision, start=start, anchor_s=anchor, engine=engine
        )
    if folder is not None:
        with folder.writing(PREDICTED) as path:
            write_records(prediction.records, path)

    def human() -> None:
        out.print(f"Engine: {prediction.engine.value}")
        out.print(shown.kpi_table(prediction.kpis, prediction.prediction_intervals))
        out.print(shown.disposition_table(prediction.kpis))
        out.print(shown.target_lines(prediction.targets))
        out.print(shown.twin_lines(prediction.twin))

    print_result(prediction.to_json(), human, as_json=as_json)
