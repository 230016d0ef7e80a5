"""The levels of a calibration: known amounts of one kind of work each, done by real calls and metered.

`calibrate` finds the costs that explain them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.costs import CostName, cost_counts
from trunkproof.models.errors import StackError
from trunkproof.models.kpis import compute_kpis
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import StackName, Study

LEVEL_S = 12.0
"""Two levels of the same work differ by some 8 % however long they are, as the programs start anew for each."""
_RATES_PER_MINUTE = (150, 600, 2400)
_CALLS_AT_ONCE = (8, 32, 96)
"""Rates and calls at once below and far above those of a trunk of 200 calls per minute, because rare work costs more.

Within an hour a call cost Kamailio 4.2 ms at 150 a minute, 2.8 ms at 600 and 1.4 ms at 2,400. A packet cost rtpengine
28 us with 8 calls at once and 14 us with 92.
"""
_LAST_SHARE = 4
"""The last calls of a level are one in this many."""
IDLING, UNLIMITED, LIMITED, AUDIO = "idling", "calls", "calls past a throttle", "audio"


@dataclass(frozen=True)
class Level:
    """One amount of one kind of work, and what was measured."""

    work: str
    amount: float
    """Calls per minute; calls at once for audio; seconds for idling; under a quota its share of the CPU needed."""
    counts: dict[CostName, float]
    """How often work of each cost was done; idling in seconds."""
    cpu_s: float
    generator: Verdict
    """The load generator's verdict. A level at which it was not VALID stays in the fit and is marked."""
    wakings: float
    """How often threads of the trunk's programs were woken."""
    mos_p5: float | None
    """5th percentile of the MOS of the calls that were answered last. Earlier calls do not count: where one program
    does everything, the set-up of later calls disturbs them."""
    response_s: tuple[float, ...]
    """From INVITE to first ringing, less the carrier's set-up time, of each call."""
    reference_s: float | None = None
    """What the reference workload took meanwhile, on average: how fast the machine was."""


def studies_of(stack: StackName, level_s: float = LEVEL_S) -> Iterator[tuple[str, float, Study]]:
    """Yield the levels: the kind of work, its amount, and the study that does it."""
    make = partial(study_of, stack, level_s)
    for _ in range(3):
        yield IDLING, level_s, make(0.001)
    for rate in _RATES_PER_MINUTE:
        yield UNLIMITED, rate, make(rate)
        # A throttle that refuses nobody: the difference to calls without one is what its decision costs.
        yield LIMITED, rate, make(rate, limit=1_000_000)
        yield "busy calls", rate, make(rate, outcomes={"busy": 1.0})
        # One call an hour passes. All others are refused.
        yield "refused calls", rate, make(rate, limit=1)
        yield "full handshakes", rate, make(rate, tls={"policy": "per_call"})
        yield "resumed handshakes", rate, make(rate, tls={"policy": "per_call", "resumption_share": 1.0})
    for calls in _CALLS_AT_ONCE:
        # All calls begin in the first second and last until the level's end.
        instants = {"kind": "replay", "instants_s": [number / calls for number in range(calls)]}
        yield AUDIO, calls, make(0, arrivals=instants, holding=level_s - 1)


def study_of(
    stack: StackName,
    level_s: float,
    rate: float,
    *,
    limit: int | None = None,
    quota: float | None = None,
    **traffic: Any,
) -> Study:
    """Return the study of a level with `rate` calls a minute. `limit` is that of the throttle, `quota` is in cores."""
    throttle: dict[str, Any] = {"policy": "none"}
    if limit is not None:
        # A window far longer than a level, so that no boundary falls into it.
        throttle = {"policy": "fixed_window", "limit": limit, "window_s": 3600, "retry_after_s": None}
    arrivals = {"kind": "constant", "rate_per_minute": rate}
    trunks = [{"throttle": throttle, "traffic": {"arrivals": arrivals, "holding": 0.2, "ringing": 0.05} | traffic}]
    pop = {"stack": stack, "carrier": {"setup": 0.05}, "machine": {"quota": quota}}
    return Study.model_validate({"name": "calibration", "duration_s": level_s, "pop": pop, "trunks": trunks})


async def measure_level(work: str, amount: float, study: Study, folder: Path) -> Level:
    """Measure one level on a trunk started for it. Its files are left in `folder`.

    Raises:
        StackError: the run ended early, or its programs could not be metered.
    """
    async with running_trunk(study, folder) as card:
        driven = await drive(draw_plan(study), card, RunOptions(at_least_s=study.duration_s))
    if driven.end.cut_short or driven.meters is None:
        raise StackError(f"the level {work}, {amount:g} could not be measured: {driven.end.interrupted or 'no meter'}")
    return _level(work, amount, driven, study)


def _level(work: str, amount: float, driven: RunResult, study: Study) -> Level:
    assert driven.meters is not None
    programs = driven.meters.programs.values()
    spent = [program.cpu_s for program in programs if program.cpu_s is not None]
    # Idling is counted in seconds of the meter's span, because the CPU is of that span too.
    counts = cost_counts(driven.records) | {"idle_share": driven.meters.to_s - driven.meters.from_s}
    setup_s = study.pop.carrier.setup.mean()
    # The carrier's set-up time is the study's own. What is left belongs to the stack.
    responses = (driven.records["ringing_s"] - driven.records["sent_s"] - setup_s).drop_nulls()
    wakings = sum(program.wakings or 0.0 for program in programs)
    return Level(
        work,
        amount,
        counts,
        sum(spent),
        driven.generator.verdict,
        wakings,
        last_mos_p5(driven.records),
        tuple(responses.to_list()),
        driven.meters.reference_s,
    )


def last_mos_p5(records: pl.DataFrame) -> float | None:
    """Return the 5th percentile of the MOS of the calls that were answered last; None where none was answered."""
    answered = records.drop_nulls("answered_s").sort("answered_s")
    # Rounded up, so that a single call is still judged.
    return compute_kpis(answered.tail(-(-answered.height // _LAST_SHARE)))["mos_p5"]
