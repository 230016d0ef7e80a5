"""Place a study's calls on a trunk that is running, watch its thresholds, and return the judged result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from trunkproof.experiments.common.progress import Progress, TellsProgress, silent
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import ResultFolder
from trunkproof.experiments.load.result import LoadResult, begin_load
from trunkproof.experiments.load.watch import ThresholdWatch
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.run import Run, reach
from trunkproof.loadgen.schedule.share import check_divisible
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

Beside = Callable[[Run], Awaitable[None]]


def load(
    study: Study,
    trunk: TrunkCard | Path | str,
    *,
    folder: ResultFolder | None = None,
    show_numbers: bool = False,
    options: RunOptions = DEFAULTS,
    stop: asyncio.Event | None = None,
    advance: Progress = silent,
    command: str = "",
    beside: Beside | None = None,
) -> LoadResult:
    """Place the study's calls on the trunk of a card, or of a card's file, and judge them.

    `beside` is awaited while the calls are placed, with the run, which it may control. It is cancelled at the end.
    With a folder, what is measured is journalled there, so that a run that is killed leaves a result. At the end
    `write_load` writes the whole result into it.

    Raises:
        InputError: the card cannot be read, or so many workers cannot place this study's calls.
        GuardError: the target may not be called.
        StackError: the trunk cannot be reached, or a worker does not start.
    """
    return run_loop(
        load_async(
            study,
            trunk,
            folder=folder,
            show_numbers=show_numbers,
            options=options,
            stop=stop,
            advance=advance,
            command=command,
            beside=beside,
        )
    )


async def load_async(
    study: Study,
    trunk: TrunkCard | Path | str,
    *,
    folder: ResultFolder | None = None,
    show_numbers: bool = False,
    options: RunOptions = DEFAULTS,
    stop: asyncio.Event | None = None,
    advance: Progress = silent,
    command: str = "",
    beside: Beside | None = None,
) -> LoadResult:
    """Do the same as `load`, for callers that have an event loop, such as notebooks."""
    check_divisible(study, options.workers)
    card = trunk if isinstance(trunk, TrunkCard) else read_card(Path(trunk))
    plan = draw_plan(study)
    provenance = Provenance.collect(study, command)
    # Before anything is opened: one handshake says what is wrong with address, versions and certificates.
    await reach(plan, card, options)
    if folder is not None:
        begin_load(study, card, provenance, folder, show_numbers=show_numbers)
        options = replace(options, journal=folder.journal)
    watch = ThresholdWatch(plan)
    options = replace(options, observers=(*options.observers, watch, TellsProgress(advance)))
    async with Run(plan, card, options) as run:
        watch.abort = run.abort
        await run.begin()
        steering = asyncio.ensure_future(beside(run)) if beside is not None else None
        try:
            driven = await run.finish(stop)
        finally:
            if steering is not None:
                steering.cancel()
                await asyncio.wait([steering])
        if steering is not None and not steering.cancelled():
            steering.result()
    return LoadResult.of(study, driven, card, provenance)
