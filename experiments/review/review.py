"""Answer a request: the function `review`. Read `Case.decided` and `Case.reviewed` from top to bottom.

This module calls the parts of the review in turn and collects their results. Each part is explained in its own module.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trunkproof.experiments.common.progress import Progress, part_of, silent
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.review.backcast import back_cast, not_contradicted
from trunkproof.experiments.review.candidates import Search
from trunkproof.experiments.review.checks import cheap_checks, checks_of
from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.judging import GROWTH_GRID, Judge
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.protection import protections
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.request_file import read_request
from trunkproof.experiments.review.result import (
    BackCast,
    Check,
    Decision,
    Endings,
    InterpretationResult,
    Limit,
    Needed,
    Protection,
    Review,
    Swing,
    strictest_of,
)
from trunkproof.experiments.review.sweep.replay import replay
from trunkproof.experiments.review.sweep.states import two_states
from trunkproof.experiments.review.sweep.sweep import Cell, prepare
from trunkproof.experiments.review.theory.formulas import Busyness
from trunkproof.experiments.review.theory.limits import binding, limits_of
from trunkproof.experiments.review.theory.lost import lost_anyway
from trunkproof.experiments.review.theory.needed import needed_for
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.experiments.review.theory.tornado import tornado
from trunkproof.experiments.review.verdict import Verdict, decide
from trunkproof.experiments.review.witnesses import disagreements_of
from trunkproof.experiments.review.words.headline import (
    Findings,
    headline,
    headline_unreproduced,
    headline_without_sweep,
)
from trunkproof.experiments.review.words.reasons import assumptions, reasons, reasons_without_sweep
from trunkproof.experiments.review.words.rollout import rollout_of
from trunkproof.experiments.review.words.situations import situations_of
from trunkproof.models.demand.fitting.fit import fit_history
from trunkproof.models.demand.fitting.odd_days import usable_hours
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.demand.fitting.told_apart import told_apart
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.table import History
from trunkproof.models.distributions import Constant
from trunkproof.models.streams import generator
from trunkproof.models.study import Study, Trunk
from trunkproof.models.traffic import PoissonArrivals, Traffic

_MANY_CORES = 1024
_NONE = Ranged(math.nan, math.nan, math.nan)


def review(
    request: Request | Path | str,
    base: Path | None = None,
    *,
    executor: Executor | None = None,
    advance: Progress = silent,
    command: str = "",
) -> Review:
    """Answer a request.

    Args:
        request: the history, the trunk, the requested throttle, and the confidence; or the file that says them.
        base: folder that the history's path is relative to. That of a request's file is its own folder.
        executor: runs the simulations. None: they run here, one after the other.
        advance: called with the share done (0 to 1) and a few words.
        command: the command that makes the result again, for its provenance.

    Raises:
        InputError: the request, the history or the calibration cannot be read. Lists all problems.
    """
    if not isinstance(request, Request):
        path = Path(request)
        request, base = read_request(path), base or path.parent
    case = read_case(request, base, executor=executor, advance=advance, command=command)
    return case.reviewed() if case.fit.is_enough else case.without_sweep()


def read_case(
    request: Request,
    base: Path | None = None,
    *,
    executor: Executor | None = None,
    advance: Progress = silent,
    command: str = "",
) -> Case:
    """Read and fit the history of a request. Arguments and errors are those of `review`."""
    advance(0.0, "reading the history")
    history = read_history(request.history, base)
    history = told_apart(history, request.now_per_minute, request.enforced, seed=request.seed)
    advance(0.1, "fitting")
    fit = fit_history(
        history,
        limit_per_minute=request.now_per_minute,
        enforced=request.enforced,
        assumed=request.assumed,
        seed=request.seed,
    )
    return Case(request, history, fit, executor, advance, command)


@dataclass(frozen=True)
class Case:
    """A request whose history has been read and fitted."""

    request: Request
    history: History
    fit: Fit
    executor: Executor | None
    advance: Progress
    command: str

    def decided(self, meanwhile: Callable[[Judge, Premises], None] | None = None) -> Decided:
        """Return the decision and what it rests on. The history must be enough (`Fit.is_enough`).

        Args:
            meanwhile: called before the simulations begin. Work that it starts runs beside them.
        """
        request, fit = roomy(self.request), self.fit
        courses = Courses.of(request, self.history, fit)
        busy = BusyPeriods.of(fit.days, courses.to_end, request.seed, usable_hours(fit.grid, fit.odd))
        demands = courses.demands(busy)
        self.advance(0.15, "back-casting the history")
        backcast = back_cast(request, self.history, fit, busy, courses.limits, self.executor)
        usable = not_contradicted(backcast, request)
        # If no interpretation reproduces the history, all are simulated all the same: the page shows their figures, and
        # the verdict becomes "cannot tell" below.
        interpretations = usable or tuple(range(len(request.interpretations)))
        demand = demands[0].mean_per_minute
        premises = Premises.of(request, fit, demand.value, busyness_of(fit, busy, demands[0].day_cv, request.seed))
        self.advance(0.3, "simulating")
        judge = Judge(request, prepare(request, fit, busy, demands[0]), demands, lost_anyway(fit.traffic()), premises)
        if meanwhile is not None:
            meanwhile(judge, premises)
        search = Search(judge, interpretations, premises, self.executor, part_of(self.advance, 0.3, 0.8))
        limits = search.limits()
        self.advance(0.8, "asking what each throttle protects")
        protection = protections(request, fit, premises, search.with_headroom(limits), self.executor)
        protects = {one.limit_per_minute: one.holds for one in protection}
        verdict = decide({limit: judge.holds(interpretations, limit) for limit in limits}, protects, request)
        verdict = courses.settled(verdict, judge, interpretations, limits, protects)
        if verdict.recommended is not None:
            # The recommended throttle may lie between the candidates. Its own figures are shown, so it is simulated
            # too.
            limits = search.with_limit(limits, verdict.recommended)
        verdict = verdict if usable else Verdict(Decision.CANNOT_TELL, None, verdict.smallest)
        return Decided(request, courses, busy, judge, interpretations, limits, verdict, premises, backcast, protection)

    def reviewed(self) -> Review:
        """Return the whole answer, with everything that explains it."""
        # While workers simulate this process has nothing to do.
        with ThreadPoolExecutor(1) as beside:
            begun: list[Future[Explained]] = []
            found = self.decided(lambda judge, premises: begun.append(beside.submit(self._explained, judge, premises)))
            return self._told(found, begun[0].result())

    def _explained(self, judge: Judge, premises: Premises) -> Explained:
        """Return the explanations that do not depend on the decision."""
        demand = judge.demand.mean_per_minute
        swings, measure_next = tornado(premises, self.fit, demand)
        return Explained(
            swings=swings,
            measure_next=measure_next,
            needed=needed_of(premises, judge),
            limits=limits_of(premises),
            checks=checks_of(premises.request, self.fit, demand.value, self.executor),
        )

    def _told(self, found: Decided, explained: Explained) -> Review:
        request, fit, judge, verdict = found.request, self.fit, found.judge, found.verdict
        self.advance(0.86, "replaying a bad hour")
        cells = [(interpretation, limit) for interpretation in found.interpretations for limit in found.limits]
        grown = judge.by_growth(cells, self.executor)
        results = tuple(self._interpretation(found, interpretation, grown) for interpretation in found.interpretations)
        chosen = verdict.recommended or request.requested_per_minute
        strictest = strictest_of(results, chosen)
        raised = found.premises.throttle(chosen)
        findings = Findings(
            request=request,
            fit=fit,
            verdict=verdict,
            interpretations=results,
            strictest=strictest,
            limits=explained.limits,
            binding_next=binding(explained.limits, math.inf if raised is None else raised),
            demand=judge.demand.mean_per_minute,
            protection=found.protection,
            needed=explained.needed,
            backcast=found.backcast,
            confidence=found.confidence,
            reproduced=bool(not_contradicted(found.backcast, request)),
            courses=found.courses,
        )
        strict = found.interpretations[results.index(strictest)]
        return Review(
            request=self.request,
            history=self.history,
            fit=fit,
            decision=verdict.decision,
            recommended_per_minute=verdict.recommended,
            confidence=findings.confidence,
            headline=headline(findings) if findings.reproduced else headline_unreproduced(findings),
            reasons=reasons(findings),
            depends_on_enforcement=len({(one.decision, one.recommended_per_minute) for one in results}) > 1,
            busy_hour=found.busy.words,
            busy_periods=found.busy.periods,
            busy_hour_per_minute=findings.demand,
            interpretations=results,
            contradicted=tuple(
                interpretation
                for number, interpretation in enumerate(request.interpretations)
                if number not in found.interpretations
            ),
            backcast=found.backcast,
            disagreements=disagreements_of(judge, found.interpretations, found.limits, found.busy, fit),
            situations=situations_of(judge, strict, verdict, found.courses, found.protection, found.busy),
            protection=found.protection,
            states=two_states(request, fit, found.busy, judge.demand, found.interpretations, chosen, self.executor),
            growth_grid=GROWTH_GRID,
            limits=explained.limits,
            binding_now=binding(explained.limits),
            binding_next=findings.binding_next,
            neighbours=judge.neighbours(strict),
            needed=findings.needed,
            tornado=explained.swings,
            measure_next=explained.measure_next,
            rollout=()
            if verdict.decision is Decision.NOT_NEEDED
            else rollout_of(judge, verdict.recommended, strict, sum(len(one.weekdays) for one in found.busy.periods)),
            replay=replay(request, self.history, fit, chosen, self.executor),
            endings=Endings(
                judge.endings(strict, request.now_per_minute), judge.endings(strict, request.requested_per_minute)
            ),
            checks=explained.checks,
            assumptions=assumptions(request, fit, self.history, found.courses),
            provenance=self._provenance(),
            simulated_calls=judge.sweep.simulated_attempts,
        )

    def _interpretation(
        self, found: Decided, number: int, grown: Mapping[Cell, tuple[float, ...]]
    ) -> InterpretationResult:
        """Return the answer under one interpretation alone."""
        judge, request = found.judge, found.request
        points = tuple(judge.point(number, limit) for limit in found.limits)
        protects = {one.limit_per_minute: one.holds for one in found.protection}
        alone = decide({point.limit_per_minute: point.holds for point in points}, protects, request)
        return InterpretationResult(
            interpretation=request.interpretations[number],
            points=points,
            decision=alone.decision,
            recommended_per_minute=alone.recommended,
            smallest_per_minute=alone.smallest,
            refused_by_growth={limit: grown[number, limit] for limit in found.limits},
        )

    def without_sweep(self) -> Review:
        """Return the answer if the history is not enough for a decision. It says why, and nothing is simulated."""
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
            busy_periods=(),
            busy_hour_per_minute=_NONE,
            interpretations=(),
            contradicted=(),
            backcast=(),
            disagreements=(),
            situations=(),
            protection=(),
            states=(),
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
            assumptions=assumptions(request, fit, self.history, None),
            provenance=self._provenance(),
            simulated_calls=0,
        )

    def _provenance(self) -> Provenance:
        """Return the provenance of the request. `Provenance` takes a study, so one with the request's PoP stands in."""
        request = self.request
        traffic = Traffic(arrivals=PoissonArrivals(kind="poisson", rate_per_minute=1), holding=Constant(value_s=1))
        study = Study(name=request.name, seed=request.seed, pop=request.pop, trunks=(Trunk(traffic=traffic),))
        # Both engines give the same records to the last bit, so the engine does not make another request.
        digest = hashlib.sha256(request.model_dump_json(exclude={"engine"}).encode()).hexdigest()[:16]
        return replace(Provenance.collect(study, self.command), study_hash=digest)


@dataclass(frozen=True)
class Explained:
    """The explanations of a review that do not depend on its decision."""

    swings: tuple[Swing, ...]
    measure_next: str
    needed: tuple[Needed, ...]
    limits: tuple[Limit, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Decided:
    """A decision, and what it rests on."""

    request: Request
    """The request as it was simulated (`roomy`)."""
    courses: Courses
    busy: BusyPeriods
    judge: Judge
    interpretations: tuple[int, ...]
    limits: Sequence[int]
    verdict: Verdict
    premises: Premises
    backcast: tuple[BackCast, ...]
    protection: tuple[Protection, ...]

    @property
    def confidence(self) -> float:
        """Return the probability that all targets hold together under every interpretation.

        It is that at the recommended throttle, or at the requested one if none is recommended.
        """
        return self.judge.together(self.interpretations, self.verdict.recommended or self.request.requested_per_minute)


def roomy(request: Request) -> Request:
    """Return the request as it is simulated: if it does not describe the machine, the machine has cores enough."""
    machine = request.pop.machine
    if machine.model_fields_set & {"cores", "quota"}:
        return request
    pop = request.pop.model_copy(update={"machine": machine.model_copy(update={"cores": _MANY_CORES})})
    return request.model_copy(update={"pop": pop})


def busyness_of(fit: Fit, busy: BusyPeriods, day_cv: float, seed: int) -> Busyness:
    """Return how the load of the judged periods differs from day to day, and from minute to minute within a period."""
    rates = fit.days.draw(generator(seed, "busyness"))
    within = round(busy.length_s / fit.days.period_s)
    spreads = []
    for day, start_s in zip(busy.days, busy.start_s, strict=True):
        first = round(start_s / fit.days.period_s)
        minutes = rates[day, first : first + within]
        spreads.append(float(minutes.std() / max(minutes.mean(), 1e-9)))
    return Busyness(day_cv, float(np.sqrt(np.mean(np.square(spreads)))))


def needed_of(premises: Premises, judge: Judge) -> tuple[Needed, ...]:
    """Return what two loads need: the calls of the requested throttle, and the demand at the confidence asked for."""
    request = premises.request
    # One mean over days per alternative of demand: the targets are judged on the mean, not on the worst day.
    means = (judge.demand.per_minute * judge.demand.weights).sum(axis=1)
    return (
        needed_for(premises, request.requested_per_minute),
        needed_for(premises, float(np.quantile(means, request.confidence))),
    )
