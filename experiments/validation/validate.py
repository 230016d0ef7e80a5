"""Predict a study, place its calls for real, compare both call by call, and write the evidence into a folder.

The prediction is made before the first call is placed. Only the phase of the throttle's window is read from the trunk
first, because it is state of the trunk. A trunk that somebody else runs does not tell it. There the prediction is made
again afterwards, with the phase fitted to the calls, and both are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import polars as pl

from trunkproof.experiments.common.progress import Progress, TellsProgress, silent
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import (
    COMPARISON,
    MEASURED,
    METERS,
    PBX,
    PREDICTED,
    PREDICTION,
    REFITTED,
    STUDY,
    TRUNK,
    ResultFolder,
    check_result,
    open_results,
)
from trunkproof.experiments.common.saved_run import read_run
from trunkproof.experiments.common.saved_study import without_numbers
from trunkproof.experiments.prediction.open_files import check_open_files
from trunkproof.experiments.prediction.twin import TwinCheck, analytic_twin
from trunkproof.experiments.validation.compare import Comparison, compare_records
from trunkproof.experiments.validation.cpu import CpuComparison, calibration_warnings, compare_cpu
from trunkproof.experiments.validation.kpi_pair import Interval, saved_interval
from trunkproof.experiments.validation.throttle_fit import ThrottleFit, fit_throttles, fitted_anchors
from trunkproof.loadgen.bugs import write_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.media.pump import pump_warnings
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.loadgen.meters.report import read_report
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.parties.customer import check_inbound
from trunkproof.loadgen.run import Run, RunResult, reach
from trunkproof.loadgen.run_end import RunEnd
from trunkproof.loadgen.schedule.share import check_divisible
from trunkproof.loadgen.stacks.pbx import running_pbxs
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.loadgen.system.programs import Death
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import FarEnd, read_records, write_records
from trunkproof.models.study import Study
from trunkproof.simulator.replicate import replicate
from trunkproof.simulator.run import simulate

logger = logging.getLogger(__name__)

REPLICATIONS = 20
"""How many other seeds make the intervals. A t-interval over 20 is 5 % wider than over infinitely many."""


@dataclass(frozen=True)
class Prospect:
    """What is known before the first call. It is written down then: a run that is killed has its page too."""

    prediction_intervals: Mapping[str, Interval]
    twin: tuple[TwinCheck, ...] | str
    warnings: tuple[str, ...]
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "prediction_intervals": {name: list(ends) for name, ends in self.prediction_intervals.items()},
            "twin": self.twin if isinstance(self.twin, str) else [check.to_json() for check in self.twin],
            "warnings": list(self.warnings),
            "provenance": self.provenance.to_json(),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        twin = saved["twin"]
        # Older versions wrote a shorter name.
        intervals = saved["prediction_intervals"] if "prediction_intervals" in saved else saved["intervals"]
        return cls(
            {name: (low, high) for name, (low, high) in intervals.items()},
            twin if isinstance(twin, str) else tuple(TwinCheck.from_json(check) for check in twin),
            tuple(saved["warnings"]),
            Provenance(**saved["provenance"]),
        )


def validate(
    study: Study,
    out: ResultFolder | Path | str | None = None,
    *,
    advance: Progress = silent,
    stop: asyncio.Event | None = None,
    pbx: bool = False,
    card: TrunkCard | None = None,
    options: RunOptions = DEFAULTS,
    command: str = "",
) -> Comparison:
    """Predict, run and compare one study on its stack, and write the evidence into `out`. What was there is moved away.

    Without `out` no evidence is kept.

    With `pbx` the customers' inbound calls go through Asterisk as their PBX. With a `card` the calls go to that trunk,
    which is running already. The head start in `options` is not used: it is the time that the prediction takes.

    Raises:
        InputError: the stack cannot play this study, so many workers cannot place its calls, or this machine cannot
            have so many calls at once, or the folder cannot be used.
        GuardError: the trunk of the card may not be called.
        StackError: the trunk did not start, or cannot be reached.
        StorageError: the evidence cannot be written.
    """
    return run_loop(
        validate_async(study, out, advance=advance, stop=stop, pbx=pbx, card=card, options=options, command=command)
    )


async def validate_async(
    study: Study,
    out: ResultFolder | Path | str | None = None,
    *,
    advance: Progress = silent,
    stop: asyncio.Event | None = None,
    pbx: bool = False,
    card: TrunkCard | None = None,
    options: RunOptions = DEFAULTS,
    command: str = "",
) -> Comparison:
    """Do the same as `validate`, for callers that have an event loop, such as notebooks."""
    # Before anything is drawn or started: a wrong option should not cost the user a minute.
    check_divisible(study, options.workers)
    plan = draw_plan(study)
    if card is None:
        check_playable(study)
        _check_far_ends(study)
    else:
        check_inbound(study, card)
        await reach(plan, card, options)
    with contextlib.ExitStack() as held:
        if out is None:
            out = Path(held.enter_context(TemporaryDirectory(prefix="trunkproof-")))
        folder = out if isinstance(out, ResultFolder) else held.enter_context(open_results(Path(out)))
        return await _validate(
            plan, folder, advance=advance, stop=stop, pbx=pbx, card=card, options=options, command=command
        )


async def _validate(
    plan: Plan,
    folder: ResultFolder,
    *,
    advance: Progress,
    stop: asyncio.Event | None,
    pbx: bool,
    card: TrunkCard | None,
    options: RunOptions,
    command: str,
) -> Comparison:
    study, is_abroad = plan.study, card is not None and card.is_foreign
    folder.write(STUDY, without_numbers(study).model_dump_json(indent=2) + "\n")
    advance(0.0, "other seeds, for the intervals")
    warnings = check_open_files(plan) + pump_warnings()
    for warning in warnings:
        logger.warning("%s", warning)
    # The replications need a core for a while anyway, and the compiler uses another one.
    async with pump_compiled():
        repeated = replicate(study, replications=REPLICATIONS)
        twin = analytic_twin(study)
    options = replace(
        options,
        head_start_s=_head_start_s(plan),
        journal=folder.journal,
        observers=(*options.observers, TellsProgress(advance)),
    )
    # Nobody meters a trunk that others run, so no calibration matters.
    warnings = (() if is_abroad else calibration_warnings(study)) + warnings
    prospect = Prospect(repeated.prediction_intervals, twin, warnings, Provenance.collect(study, command))
    folder.write(PREDICTION, json.dumps(prospect.to_json(), indent=2, allow_nan=False) + "\n")
    pbx_deaths: list[Death] = []
    async with contextlib.AsyncExitStack() as stack:
        # Entered in this order, left in the reverse one: calls end first, the trunk last.
        if card is None:
            card = await stack.enter_async_context(running_trunk(study, folder / TRUNK))
        if pbx:
            card = await stack.enter_async_context(running_pbxs(study, card, folder / PBX, pbx_deaths.append))
        run = await stack.enter_async_context(Run(plan, card, options))
        # Between `begin` and `finish`: the trunk has told its anchors, and no call has been placed.
        predicted = simulate(study, plan, anchors=await run.begin())
        with folder.writing(PREDICTED) as path:
            write_records(predicted, path)
        # What the run measured can no longer change the prediction.
        driven = await run.finish(stop)
    fits, refitted = _fitted(plan, driven)
    comparison = compare_records(
        plan,
        predicted,
        driven.records,
        generator=driven.generator,
        srtp=driven.heard,
        ended=driven.end,
        # A PBX is no part of the trunk, so the run itself does not see it die.
        troubles=driven.troubles + tuple(f"{death.program} {death.how}" for death in pbx_deaths),
        anchors=driven.anchors,
        prediction_intervals=prospect.prediction_intervals,
        twin=prospect.twin,
        cpu=compare_cpu(study, predicted, driven.meters),
        meters=driven.meters,
        warnings=prospect.warnings + _refusals(driven) + _left_out(driven),
        provenance=prospect.provenance,
        bugs=driven.bugs,
        abroad=is_abroad,
        fits=fits,
        refitted=refitted,
    )
    write_bugs(driven.bugs, folder.path)
    if driven.samples is not None:
        with folder.writing(METERS) as path:
            driven.samples.write_parquet(path)
    write_evidence(comparison, folder.path)
    return comparison


def _fitted(plan: Plan, driven: RunResult) -> tuple[tuple[ThrottleFit, ...], pl.DataFrame | None]:
    """Return what the records say of the throttles, and the prediction with their phases fitted, if there are any."""
    if driven.generator.verdict is Verdict.VOID or driven.end.cut_short:
        return (), None
    fits = fit_throttles(plan.study, driven.records, driven.anchors)
    if all(fit.phase is None for fit in fits):
        return fits, None
    return fits, simulate(plan.study, plan, anchors=fitted_anchors(fits, driven.anchors))


def _left_out(driven: RunResult) -> tuple[str, ...]:
    """Return a warning if calls were left out to keep the dialled numbers' limits, as the model leaves them out too."""
    if not driven.not_placed:
        return ()
    return (f"{driven.not_placed} calls and redials were left out, because a number was at its own limit",)


def _check_far_ends(study: Study) -> None:
    """Check that all far ends are ours: behind a trunk that we start there is nobody else.

    Raises:
        InputError: some are not.
    """
    problems = [
        Problem(
            where=f"trunks[{trunk}].traffic.destinations[{index}].far_end",
            what=f"{entry.far_end} is behind a trunk of others, and validate starts one of ours: write plan, or leave "
            "the destinations out; `trunkproof load --target` calls such numbers",
        )
        for trunk, settings in enumerate(study.trunks)
        for index, entry in enumerate(settings.traffic.destinations)
        if entry.far_end is not FarEnd.PLAN
    ]
    if problems:
        raise InputError(study.name, problems)


def _refusals(driven: RunResult) -> tuple[str, ...]:
    """Return a warning for each limit by which the trunk protected itself: what it refused is in no plan."""
    return tuple(f"the trunk's own limits refused {count} times, {what}" for what, count in driven.refused.items())


def _head_start_s(plan: Plan) -> float:
    """Return the time for the prediction before the first call. The model does about 10,000 attempts per second."""
    return 1.0 + plan.table.height / 5000


def read_evidence(folder: Path) -> Comparison:
    """Read the comparison that `validate` left in a folder. Where it was killed, make it from the journal.

    Raises:
        InputError: the folder has none.
    """
    if not (folder / COMPARISON).exists() and (folder / PREDICTED).exists():
        return _from_journal(folder)
    check_result(folder)
    try:
        # Two steps with two messages: no file, or a file of another version. The user does something else in each
        # case.
        study = Study.model_validate_json((folder / STUDY).read_text(encoding="utf-8"))
        saved = json.loads((folder / COMPARISON).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = Problem(where="folder", what=f"holds no validation that can be read ({why_unreadable(error)})")
        raise InputError(str(folder), [problem]) from error
    try:
        return _read_back(study, saved, folder)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = "is damaged, or was written by another version of trunkproof; run validate again"
        raise InputError(str(folder), [Problem(where=COMPARISON, what=what)]) from error


def _from_journal(folder: Path) -> Comparison:
    """Compare what was measured until the run was killed, and say what is missing."""
    run = read_run(folder)
    try:
        prospect = Prospect.from_json(json.loads((folder / PREDICTION).read_text(encoding="utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(str(folder), [Problem(where=PREDICTION, what=f"cannot be read ({error})")]) from error
    # Of an attempt that was under way nobody knows how it would have ended.
    predicted, ended = read_records(folder / PREDICTED), run.records.filter(~pl.col("row").is_in(run.under_way))
    return compare_records(
        draw_plan(run.study),
        predicted,
        ended,
        generator=run.generator,
        srtp=run.heard,
        ended=run.end,
        troubles=run.troubles,
        anchors=run.anchors,
        prediction_intervals=prospect.prediction_intervals,
        twin=prospect.twin,
        cpu=compare_cpu(run.study, predicted, run.meters),
        meters=run.meters,
        warnings=run.missing + prospect.warnings,
        provenance=prospect.provenance,
        bugs=run.bugs,
    )


def _read_back(study: Study, saved: dict[str, Any], folder: Path) -> Comparison:
    twin, generator = saved["twin"], saved["generator"]
    # JSON knows neither enums nor tuples.
    generator |= {"verdict": Verdict(generator["verdict"]), "reasons": tuple(generator["reasons"])}
    return Comparison(
        study=study,
        predicted=read_records(folder / PREDICTED),
        measured=read_records(folder / MEASURED),
        generator=GeneratorVerdict(**generator),
        provenance=Provenance(**saved["provenance"]),
        srtp=Heard(**saved["srtp"]),
        prediction_intervals={name: ends for name, pair in saved["kpis"].items() if (ends := saved_interval(pair))},
        twin=twin if isinstance(twin, str) else tuple(TwinCheck.from_json(check) for check in twin),
        anchors=saved["anchors"],
        ended=RunEnd.from_json(saved),
        troubles=tuple(saved["troubles"]),
        cpu=CpuComparison.from_json(saved["cpu"]),
        meters=read_report(saved["meters"]),
        warnings=tuple(saved["warnings"]),
        # Results of older versions have none of these.
        abroad=saved.get("abroad", False),
        fits=tuple(ThrottleFit.from_json(fit) for fit in saved.get("throttles", ())),
        refitted=read_records(folder / REFITTED) if saved.get("agreement_fitted") is not None else None,
    )


def write_evidence(comparison: Comparison, out: Path) -> None:
    """Write the study with stand-ins for numbers, both record tables and the comparison. It makes no page."""
    folder = ResultFolder(out)
    folder.write(STUDY, without_numbers(comparison.study).model_dump_json(indent=2) + "\n")
    tables = ((PREDICTED, comparison.predicted), (MEASURED, comparison.measured), (REFITTED, comparison.refitted))
    for name, records in tables:
        if records is not None:
            with folder.writing(name) as path:
                write_records(records, path)
    # Last, because whoever finds it takes the others for complete. NaN is no JSON.
    folder.write(COMPARISON, json.dumps(comparison.to_json(), indent=2, allow_nan=False) + "\n")
