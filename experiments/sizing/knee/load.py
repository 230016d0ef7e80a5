"""One load of a search for the knee: the study changed to it, run on the model or with real calls, and judged.

Both sides are judged by the same criterion. `search` chooses the next load, `result` holds the knee.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkproof.experiments.common.targets import JudgedTarget, judge_quality
from trunkproof.experiments.sizing.knee.throttling import throttling_of
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.registry import is_ours, label_of
from trunkproof.loadgen.system.quota import QuotaThrottling
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.costs import cpu_seconds, load_calibration, study_costs
from trunkproof.models.errors import InputError, Problem, StackError
from trunkproof.models.kpis import compute_kpis
from trunkproof.models.plan import Outcome, Plan, draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Machine, Study
from trunkproof.models.traffic import ConstantArrivals, ReplayedArrivals
from trunkproof.simulator.run import simulate

_JUDGED = ("srd_p95_ms", "mos_p5")
_NEAR = {"srd_p95_ms": 0.25, "mos_p5": 0.03}
"""A value within this share of its bound is borderline: runs of the same load differ by as much."""
_FEW = 0.02
"""Up to this share of failed calls may be chance, so that the run is borderline."""
_RAMP_SHARE = 0.25
"""Calls that must be up at the same time all begin within this first share of the run."""


class LoadKind(StrEnum):
    """What a search increases: the rate of calls, or the number of calls at once."""

    PER_MINUTE = "calls per minute"
    AT_ONCE = "calls at once"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The result of one run at one load, on the model or with real calls."""

    load: float
    """Calls per minute, or calls at once."""
    wanted: int
    """Calls that the plan says are answered."""
    failures: int
    """How many of them were not completed."""
    targets: tuple[JudgedTarget, ...]
    """The study's targets that apply."""
    srd_p95_ms: float | None
    mos_p5: float | None
    cpu_share: float | None
    """CPU of all programs together, in cores."""
    throttled_share: float | None = None
    """Share of the quota's periods with quota throttling, of those in which the programs wanted CPU."""
    slowdown: float | None = None
    """How many times as long as in the calibration work took, by the reference workload; None where it is not known."""
    generator: Verdict = Verdict.VALID
    reasons: tuple[str, ...] = ()
    """Why the load generator is SUSPECT or VOID."""

    @property
    def holds(self) -> bool:
        """Tell whether every call that the plan says is answered was completed, and every target is kept.

        Source: RFC 7501, "session establishment rate": the largest rate at which no attempt fails.
        """
        return not self.failures and all(target.holds is not False for target in self.targets)

    @property
    def is_borderline(self) -> bool:
        """Tell whether another run of the same load may well say the opposite."""
        # So many failures are no chance, whatever the other figures are.
        if self.failures > _FEW * self.wanted:
            return False
        gaps = {t.asked.kpi: abs(t.value - t.asked.bound) / t.asked.bound for t in self.targets if t.value is not None}
        near = any(gap <= _NEAR[kpi] for kpi, gap in gaps.items())
        # A target that is missed by far decides, even where another one is near its bound.
        clear = any(
            target.holds is False and gaps[target.asked.kpi] > _NEAR[target.asked.kpi] for target in self.targets
        )
        return not clear and (near or self.failures > 0)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"targets": [target.to_json() for target in self.targets], "holds": self.holds}


def load_kind(study: Study) -> LoadKind:
    """Return calls at once for calls that last half of the run or longer, otherwise calls per minute."""
    lasting = study.trunks[0].traffic.holding.mean() >= study.duration_s / 2
    return LoadKind.AT_ONCE if lasting else LoadKind.PER_MINUTE


def first_load(study: Study) -> float:
    """Return the load that the study itself offers: the search begins there.

    Raises:
        InputError: this study does not suit a search for the knee; lists all reasons.
    """
    traffic = study.trunks[0].traffic
    problems = [Problem(where="trunks", what="a search for the knee needs one trunk")] * (len(study.trunks) > 1)
    rate = traffic.arrivals.rate_per_minute if isinstance(traffic.arrivals, ConstantArrivals) else 0.0
    if not rate:
        what = "must be constant and above zero: the search begins at their rate"
        problems.append(Problem(where="traffic.arrivals", what=what))
    if is_ours(study.pop.stack) and study.pop.machine.quota is not None:
        what = f"{label_of(study.pop.stack)} cannot run under a quota; choose another stack"
        problems.append(Problem(where="pop.machine.quota", what=what))
    if problems:
        raise InputError(study.name, problems)
    if load_kind(study) is LoadKind.PER_MINUTE:
        return rate
    # Little's law: rate times mean holding time.
    return max(1.0, round(rate / 60 * traffic.holding.mean()))


def at_load(study: Study, load: float) -> Study:
    """Return the same study with another load."""
    trunk = study.trunks[0]
    arrivals: ConstantArrivals | ReplayedArrivals = ConstantArrivals(kind="constant", rate_per_minute=load)
    if load_kind(study) is LoadKind.AT_ONCE:
        # Evenly spread: all at once would test the rate of calls, not how many the trunk carries.
        instants = np.arange(int(load)) * (_RAMP_SHARE * study.duration_s / load)
        arrivals = ReplayedArrivals(kind="replay", instants_s=tuple(instants.tolist()))
    traffic = trunk.traffic.model_copy(update={"arrivals": arrivals})
    changed = trunk.model_copy(update={"traffic": traffic})
    return study.model_copy(update={"name": f"{study.name}, {load:.4g}", "trunks": (changed,)})


def with_quota(study: Study, quota: float | None) -> Study:
    """Return the same study under a CPU quota in cores; with None on the whole machine."""
    return _with_machine(study, quota=quota)


def at_slowdown(study: Study, slowdown: float) -> Study:
    """Return the same study on a machine on which work takes `slowdown` times as long as in the calibration."""
    return _with_machine(study, slowdown=slowdown)


def _with_machine(study: Study, **changes: Any) -> Study:
    machine: Machine = study.pop.machine.model_copy(update=changes)
    return study.model_copy(update={"pop": study.pop.model_copy(update={"machine": machine})})


async def predict_load(study: Study, load: float) -> Reading:
    """Run one load on the model."""
    plan = draw_plan(at_load(study, load))
    records = simulate(plan.study, plan)
    lasted_s = float(records["ended_s"].to_numpy().max())
    spent_s = cpu_seconds(study_costs(study), records, lasted_s)
    return _reading(load, plan, records, cpu_share=spent_s / lasted_s)


async def measure_load(study: Study, load: float, folder: Path) -> Reading:
    """Run one load with real calls, on a trunk started for it. Its files are left in `folder`.

    Raises:
        StackError: the trunk did not start, or died.
    """
    plan = draw_plan(at_load(study, load))
    async with running_trunk(plan.study, folder) as card:
        # All programs are in one group, so any of them leads to its counts.
        programs = list(card.processes.values())
        before = throttling_of(programs[0]) if programs else None
        # At least the whole duration, also when all calls end early: CPU shares are of the same time at every load.
        driven = await drive(plan, card, RunOptions(at_least_s=study.duration_s))
        after = throttling_of(programs[0]) if programs else None
    if driven.end.cut_short:
        raise StackError(f"at a load of {load:g}: {driven.end}")
    return _reading(
        load,
        plan,
        driven.records,
        cpu_share=_cpu_share(driven),
        throttled_share=_throttled_share(before, after),
        slowdown=None
        if driven.meters is None
        else load_calibration(study.pop.calibration).slowdown(driven.meters.reference_s),
        generator=driven.generator.verdict,
        reasons=driven.generator.reasons,
    )


def _reading(load: float, plan: Plan, records: pl.DataFrame, **measured: Any) -> Reading:
    kpis = compute_kpis(records)
    # First attempts only: a redial that succeeds does not undo the failure before it.
    wanted = plan.table.filter(outcome=Outcome.ANSWERED.value, attempt=0)["row"]
    completed = records.filter(disposition=Disposition.COMPLETED.value)["row"]
    return Reading(
        load=load,
        wanted=len(wanted),
        failures=len(wanted) - int(wanted.is_in(completed.implode()).sum()),
        targets=tuple(target for target in judge_quality(plan.study.quality, kpis) if target.asked.kpi in _JUDGED),
        srd_p95_ms=kpis["srd_p95_ms"],
        mos_p5=kpis["mos_p5"],
        **measured,
    )


def _cpu_share(driven: RunResult) -> float | None:
    if driven.meters is None:
        return None
    spent: Sequence[float] = [one.cpu_s for one in driven.meters.programs.values() if one.cpu_s is not None]
    return sum(spent) / (driven.meters.to_s - driven.meters.from_s) if spent else None


def _throttled_share(before: QuotaThrottling | None, after: QuotaThrottling | None) -> float | None:
    # Without a period in between there is no share.
    if before is None or after is None or after.periods <= before.periods:
        return None
    return (after.throttled_periods - before.throttled_periods) / (after.periods - before.periods)
