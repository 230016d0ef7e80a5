"""Choose who places a run's calls: the process itself, or several worker processes."""

from __future__ import annotations

from trunkproof.loadgen.capture.capture import prepare_folder
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.schedule.share import check_divisible
from trunkproof.loadgen.workers.placer import CallPlacer, LocalPlacer
from trunkproof.loadgen.workers.pool import WorkerPool
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import Plan


def make_placer(plan: Plan, card: TrunkCard, target: Target, options: RunOptions) -> CallPlacer:
    """Return the call placer for the number of workers in the options.

    Raises:
        InputError: so many workers cannot place this study's calls or write a trace, or a capture cannot be written.
    """
    # Before any process is started: each problem is then told once, by us.
    check_divisible(plan.study, options.workers)
    if options.capture is not None:
        prepare_folder(options.capture.folder)
    if options.workers == 1:
        return LocalPlacer(plan, card, target, options)
    if options.trace is not None:
        what = f"is written by one process, and there are {options.workers} workers: leave one of the two out"
        raise InputError("load", [Problem(where="--trace", what=what)])
    return WorkerPool(plan, card, target, options)
