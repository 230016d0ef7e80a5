"""`review`: from a request to its answer; read `_reviewed` from top to bottom.

It asks the parts in turn and puts together what they say. What each of them does is theirs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.provenance import Provenance
from experiments.review.busy import BusyHour, LoadDraws
from experiments.review.checks import cheap_checks, checks_of
from experiments.review.headline import Findings, headline, headline_without_sweep
from experiments.review.judging import GROWTH_GRID, LOST, Judge
from experiments.review.limits import binding, limits_of
from experiments.review.lost import lost_anyway
from experiments.review.needed import needed_for
from experiments.review.premises import Premises
from experiments.review.reasons import assumptions, reasons, reasons_without_sweep
from experiments.review.replay import replay
from experiments.review.request import Request
from experiments.review.result import Decision, Endings, Needed, Review
from experiments.review.rollout import rollout_of
from experiments.review.sweep import Sweep, nodes_for, sweep
from experiments.review.tornado import tornado
from experiments.review.verdict import decisive, verdict_of
from models.distributions import Constant
from models.fitting.fit import fit_history
from models.fitting.result import Fit, Ranged
from models.fitting.told_apart import told_apart
from models.history.reading import read_history
from models.history.table import History
from models.streams import generator
from models.study import Study, Trunk
from models.traffic import PoissonArrivals, Traffic

Advance = Callable[[float, str], None]
_MANY_CORES = 1024
_NONE = Ranged(math.nan, math.nan, math.nan)


def review(
    request: Request,
    base: Path | None = None,
    *,
    executor: Executor | None = None,
    advance: Advance = lambda share, words: None,
    command: str = "",
) -> Review:
    """Answer a request.

    Args:
        request: whose history, which trunk, how high, how sure.
        base: folder that the history's path is relative to.
        executor: runs the simulations; none: here, one after the other.
        advance: is told the share done (0 to 1) and a few words.
        command: what makes the result again, for its provenance.

    Raises:
        InputError: the history cannot be read, or the calibration; lists all problems.
    """
    advance(0.0, "reading the history")
    history = read_history(request.history, base)
    history = told_apart(history, request.now_per_minute, request.enforced, seed=request.seed)
    advance(0.05, "fitting")
    fit = fit_history(
        history,
        limit_per_minute=request.now_per_minute,
        enforced=request.enforced,
        assumed=request.assumed,
        seed=request.seed,
    )
    case = Case(request, history, fit, executor, advance, command)
    return case.reviewed() if fit.is_enough else case.without_sweep()


@dataclass(frozen=True)
class Case:
    """A request whose history has been read and fitted."""

    request: Request
    history: History
    fit: Fit
    executor: Executor | None
    advance: Advance
    command: str

    def reviewed(self) -> Review:
        """The whole answer."""
        request, fit = self.request, self.fit
        busy = BusyHour.of(fit)
        loads = busy.loads(fit, request.growth, request.growth_cv, generator(request.seed, "growth"))
        premises = Premises.of(request, fit, loads.mean_per_minute.value)
        self.advance(0.1, "simulating")
        judge = Judge(request, self._swept(loads), loads, lost_anyway(fit.traffic()), premises)
        self.advance(0.8, "judging")
        readings = judge.readings()
        verdict = verdict_of(readings, request)
        limits = limits_of(premises)
        raised = premises.throttle(verdict.recommended or request.requested_per_minute)
        found = Findings(
            request=request,
            fit=fit,
            verdict=verdict,
            readings=readings,
            limits=limits,
            binding_next=binding(limits, math.inf if raised is None else raised),
            demand=loads.mean_per_minute,
            guard=premises.guard,
            needed=needed_of(premises, loads),
        )
        swings, measure_next = tornado(premises, fit, busy_hour_of_fit(busy, request))
        strict = readings.index(decisive(readings, request))
        self.advance(0.86, "replaying a bad hour")
        replayed = replay(roomy(request), self.history, fit, self.executor)
        self.advance(0.9, "asking exact theory")
        return Review(
            request=request,
            history=self.history,
            fit=fit,
            decision=verdict.decision,
            recommended_per_minute=verdict.recommended,
            confidence=verdict.confidence,
            headline=headline(found),
            reasons=reasons(found),
            depends_on_enforcement=verdict.depends_on_enforcement,
            busy_hour=busy.words,
            busy_hour_per_minute=loads.mean_per_minute,
            readings=readings,
            growth_grid=GROWTH_GRID,
            limits=limits,
            binding_now=binding(limits),
            binding_next=found.binding_next,
            neighbours=judge.neighbours(),
            needed=found.needed,
            tornado=swings,
            measure_next=measure_next,
            rollout=rollout_of(judge, verdict.recommended, strict, len(busy.hours)),
            replay=replayed,
            endings=Endings(judge.endings(request.now_per_minute), judge.endings(request.requested_per_minute)),
            checks=checks_of(request, fit, loads.mean_per_minute.value, self.executor),
            assumptions=assumptions(request, fit, self.history),
            provenance=self._provenance(),
            simulated_calls=judge.sweep.simulated_attempts,
        )

    def without_sweep(self) -> Review:
        """The answer where the history is not enough to decide on: why, and nothing simulated."""
        request, fit = self.request, self.fit
        return Review(
            request=request,
            history=self.history,
            fit=fit,
            decision=Decision.CANNOT_TELL,
            recommended_per_minute=None,
            confidence=0.0,
            headline=headline_without_sweep(request, fit),
            reasons=reasons_without_sweep(fit),
            depends_on_enforcement=False,
            busy_hour="none: the history is not enough",
            busy_hour_per_minute=_NONE,
            readings=(),
            growth_grid=(),
            limits=(),
            binding_now=None,
            binding_next=None,
            neighbours={},
            needed=(),
            tornado=(),
            measure_next="Bring a longer history of this trunk: that alone allows a decision.",
            rollout=(),
            replay=None,
            endings=None,
            checks=cheap_checks(fit),
            assumptions=assumptions(request, fit, self.history),
            provenance=self._provenance(),
            simulated_calls=0,
        )

    def _swept(self, loads: LoadDraws) -> Sweep:
        def advance(share: float, words: str) -> None:
            self.advance(0.1 + 0.7 * share, words)

        return sweep(
            roomy(self.request),
            self.fit,
            loads,
            nodes=nodes_for(loads, reach=(min(0.85, GROWTH_GRID[0] / self.request.growth), 1.3)),
            not_judged={LOST: lost_anyway(self.fit.traffic())},
            executor=self.executor,
            advance=advance,
        )

    def _provenance(self) -> Provenance:
        """Of the request; a study stands in for it to learn of the machine."""
        request = self.request
        traffic = Traffic(arrivals=PoissonArrivals(kind="poisson", rate_per_minute=1), holding=Constant(value_s=1))
        study = Study(name=request.name, seed=request.seed, pop=request.pop, trunks=(Trunk(traffic=traffic),))
        digest = hashlib.sha256(request.model_dump_json(exclude={"engine"}).encode()).hexdigest()[:16]
        return replace(Provenance.collect(study, self.command), study_hash=digest)


def roomy(request: Request) -> Request:
    """The request as it is simulated: a machine that it says nothing of has cores enough."""
    machine = request.pop.machine
    if machine.model_fields_set & {"cores", "quota"}:
        return request
    pop = request.pop.model_copy(update={"machine": machine.model_copy(update={"cores": _MANY_CORES})})
    return request.model_copy(update={"pop": pop})


def needed_of(premises: Premises, loads: LoadDraws) -> tuple[Needed, ...]:
    """For the requested throttle's worth of calls, and for all demand with the confidence asked for."""
    request = premises.request
    demand = float(np.quantile(loads.mean(loads.per_minute), request.confidence))
    return (needed_for(premises, request.requested_per_minute), needed_for(premises, demand))


def busy_hour_of_fit(busy: BusyHour, request: Request) -> Ranged:
    """The busy hour's demand at the planning horizon, were growth known exactly."""
    seen = busy.per_minute
    return Ranged(*(request.growth * value for value in (seen.value, seen.low, seen.high)))
