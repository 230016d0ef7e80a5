"""The commands `validate`, `report` and `calibrate`: compare predictions with real calls, and measure costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkproof.experiments.cli import console as shown
from trunkproof.experiments.cli.app import (
    ALL_STACKS,
    STACK_METAVAR,
    Allow,
    CaFile,
    Capture,
    CardFile,
    Ceiling,
    Json,
    Out,
    Production,
    Seed,
    ServerName,
    Target,
    Workers,
    command_line,
    err,
    folder_at,
    guard_of,
    leave_with,
    out,
    print_result,
    read_as_asked,
    stack_named,
    stop_on_ctrl_c,
)
from trunkproof.experiments.cli.calling import card_of
from trunkproof.experiments.cli.cockpit import Live, LiveCommand, Prometheus, cockpit_of
from trunkproof.experiments.cli.loaded import show_load
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.cli.suites import checked_stacks, rewrite_suite, run_and_show, show_suite
from trunkproof.experiments.common.exit_codes import ExitCode, code_of_run
from trunkproof.experiments.common.result_folder import PAGE
from trunkproof.experiments.load.result import LOAD, read_load
from trunkproof.experiments.report.calibration_page import write_calibration_page
from trunkproof.experiments.report.load_page import write_load_page
from trunkproof.experiments.report.page import write_report
from trunkproof.experiments.sizing.calibration.calibrate import CalibrationRun
from trunkproof.experiments.sizing.calibration.calibrate import calibrate as measure_costs
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.outcome import Outcome
from trunkproof.experiments.validation.suite.cells import SUITE
from trunkproof.experiments.validation.throttle_words import throttle_lines
from trunkproof.experiments.validation.validate import read_evidence, validate_async
from trunkproof.loadgen.capture.options import FOLDER as CAPTURE
from trunkproof.loadgen.capture.options import CaptureOptions
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import StackName

_CODES = {
    Outcome.AGREES: ExitCode.OK,
    Outcome.AGREES_FITTED: ExitCode.OK,
    Outcome.DIFFERS: ExitCode.DISAGREE,
    # Nothing was placed, or the generator was too late to say whose delay it was.
    Outcome.CANNOT_TELL: ExitCode.VOID,
}
"""What a completed validation found -> the exit code."""

_WHY_NOT = "validate compares with a prediction of the plan, and at another rate it would be another one: use load"


@app.command(cls=LiveCommand)
def validate(
    study_file: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study: one YAML file.", show_default=False)
    ] = None,
    *,
    suite: Annotated[bool, typer.Option("--suite", help="Run the suite of profiles instead of one study.")] = False,
    seed: Seed = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(
            "--stack",
            metavar=f"[{'|'.join((*STACKS, ALL_STACKS))}]",
            help="Stack that plays the trunk, instead of the study's; with --suite several, or all.",
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", metavar="NAME", help="With --suite: run only this profile; repeatable."),
    ] = None,
    pbx: Annotated[
        bool, typer.Option("--pbx", help="Send inbound calls through Asterisk as the customer's PBX.")
    ] = False,
    trunk: CardFile = None,
    target: Target = None,
    ca_file: CaFile = None,
    server_name: ServerName = None,
    allow: Allow = None,
    ceiling: Ceiling = None,
    production: Production = False,
    workers: Workers = 1,
    capture: Capture = False,
    live: Live = None,
    prometheus: Prometheus = None,
    out_dir: Out,
    as_json: Json = False,
) -> None:
    """Predict a study, place its calls, and compare both: on a trunk started for it, or on one that is running."""
    profiles = profile or []
    is_running = trunk is not None or target is not None
    given = (
        ("--seed", seed is not None),
        ("--pbx", pbx),
        ("--workers", workers > 1),
        ("--capture", capture),
        ("--target", is_running),
        ("--live", live is not None),
        ("--prometheus", prometheus is not None),
    )
    for_one = [option for option, is_given in given if is_given]
    stacks = checked_stacks(stack or [], suite=suite, study=study_file, profiles=profiles, for_one=for_one)
    if study_file is None:
        run_and_show(stacks or ["embedded"], profiles, folder_at(out_dir).path, command_line(), as_json=as_json)
        return
    if is_running and (stacks or pbx):
        what = "starts a trunk of ours; leave it out to call one that is running"
        raise InputError("validate", [Problem(where="--stack" if stacks else "--pbx", what=what)])
    study = read_as_asked(study_file, seed, stacks[0] if stacks else None)
    card = card_of(study, trunk, target, ca_file, server_name) if is_running else None
    if card is not None and not card.is_foreign:
        # A trunk that `serve` plays: its own stack is the one to predict.
        study = study.on(card.stack)
    cockpit = cockpit_of(study, live, prometheus, _WHY_NOT)
    guard = guard_of(allow, ceiling, production)
    folder = folder_at(out_dir, fresh=True)

    async def run() -> Comparison:
        with stop_on_ctrl_c() as stop, shown.progress(err) as advance:
            async with cockpit.open():
                return await validate_async(
                    study,
                    folder,
                    advance=advance,
                    stop=stop,
                    pbx=pbx,
                    card=card,
                    options=RunOptions(
                        guard=guard,
                        workers=workers,
                        capture=CaptureOptions(folder / CAPTURE) if capture else None,
                        observers=(cockpit.state,),
                    ),
                    command=command_line(),
                )

    comparison = run_loop(run())
    write_report(comparison, folder / PAGE)
    _show(comparison, folder / PAGE, as_json=as_json)
    code = code_of_run(comparison.generator.verdict, comparison.ended, comparison.bugs)
    leave_with(_CODES[comparison.outcome] if code is ExitCode.OK else code)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that `load` or `validate` wrote.", show_default=False)
    ],
    *,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write the page there, and nothing into DIR.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the page of a load test, a validation or a suite again, from what it left; also of one that was killed."""
    if page is None and folder.is_dir():
        folder_at(folder)
    if (folder / SUITE).exists():
        show_suite(rewrite_suite(folder), folder, as_json=as_json)
        return
    if (folder / LOAD).exists():
        result = read_load(folder)
        write_load_page(result, page or folder / PAGE)
        show_load(result, page or folder / PAGE, as_json=as_json)
        return
    comparison = read_evidence(folder)
    page = page or folder / PAGE
    write_report(comparison, page)
    _show(comparison, page, as_json=as_json)


@app.command()
def calibrate(
    *,
    stack: Annotated[
        StackName,
        typer.Option("--stack", metavar=STACK_METAVAR, parser=stack_named, help="Stack to measure."),
    ],
    repeats: Annotated[int, typer.Option(help="Measure every level this often.", min=1)] = 1,
    out_dir: Out,
    as_json: Json = False,
) -> None:
    """Measure what a stack spends on each kind of work, on this machine."""
    folder = folder_at(out_dir).path

    async def run() -> CalibrationRun:
        with shown.progress(err) as advance:
            return await measure_costs(stack, folder, repeats=repeats, command=command_line(), advance=advance)

    measured = run_loop(run())
    path = measured.write(folder)
    write_calibration_page(measured, folder / PAGE)

    def human() -> None:
        out.print(shown.calibration_table(measured.calibration))
        out.print(f"The costs explain {len(measured.levels)} levels within {100 * measured.fit.relative_error:.1f} %.")
        for note in measured.notes:
            out.print(note)
        out.print(f"A study names it with pop.machine.calibration: {path}")
        out.print(f"Page: {folder / PAGE}")

    print_result(measured.to_json(), human, as_json=as_json)


def _show(comparison: Comparison, page: Path, *, as_json: bool) -> None:
    def human() -> None:
        out.print(comparison.sentence)
        out.print(shown.comparison_table(comparison))
        out.print(shown.throttled_lines(comparison.study))
        for fit in comparison.fits:
            for line in throttle_lines(fit):
                out.print(line, markup=False)
        if comparison.far_ends:
            out.print(shown.far_end_table(comparison.far_ends))
        out.print(shown.target_lines(comparison.targets))
        out.print(f"Page: {page}", markup=False)

    print_result(comparison.to_json(), human, as_json=as_json)
