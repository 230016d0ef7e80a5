"""The command `knee`: find the largest load that a stack carries at quality, predicted and measured."""

from __future__ import annotations

from typing import Annotated

import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import (
    Json,
    Out,
    Seed,
    StackOption,
    StudyFile,
    command_line,
    err,
    folder_at,
    leave_with,
    out,
    print_result,
    read_as_asked,
)
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.report.knee_page import write_knee_page
from trunkproof.experiments.sizing.knee.find import find_knee
from trunkproof.experiments.sizing.knee.load import with_quota
from trunkproof.experiments.sizing.knee.result import PAGE, Knee
from trunkproof.loadgen.system.loop import run_loop


@app.command()
def knee(
    study_file: StudyFile,
    *,
    seed: Seed = None,
    stack: StackOption = None,
    quota: Annotated[
        float | None,
        typer.Option(help="CPU quota of the trunk's programs in cores, instead of the study's.", min=0.01),
    ] = None,
    out_dir: Out,
    as_json: Json = False,
) -> None:
    """Find the largest load that a trunk carries at quality, on the model and for real."""
    study, folder = read_as_asked(study_file, seed, stack), folder_at(out_dir).path
    study = study if quota is None else with_quota(study, quota)

    async def run() -> Knee:
        with shown.progress(err) as advance:
            return await find_knee(study, folder, advance=advance, command=command_line())

    found = run_loop(run())
    found.write(folder)
    write_knee_page(found, folder / PAGE)

    def human() -> None:
        out.print(found.sentence)
        for doubt in found.doubts:
            out.print(f"Doubt: {doubt}.")
        out.print(f"Page: {folder / PAGE}")

    print_result(found.to_json(), human, as_json=as_json)
    leave_with(ExitCode.VOID if found.is_void else ExitCode.OK if found.agrees else ExitCode.DISAGREE)
