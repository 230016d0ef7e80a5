"""Two requests that a planner would make, and what the review must not answer.

    python -m trunkproof.experiments.verification.review.two_cases

1. A contact centre whose dialler runs each weekday from 10:00 to 10:40, behind a throttle of 200, asks for 260. The
   history shows refusals. The review must notice them. It must approve no throttle that does not keep the targets, and
   never 204.
2. A customer with 3 calls a minute asks for 5,000 instead of 200: the present throttle is enough.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from trunkproof.experiments.cli.app import err, out
from trunkproof.experiments.common.exit_codes import ExitCode, exit_code_of
from trunkproof.experiments.verification.review.answer import APPROVALS, NOT_NEEDED, Answer, ask
from trunkproof.experiments.verification.review.callers import callers
from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Policy
from trunkproof.experiments.verification.review.export import DAY_S, attempts
from trunkproof.experiments.verification.review.kernel import AT_S, ENDING, THROTTLED, UNLIMITED
from trunkproof.experiments.verification.review.mechanism import Mechanism
from trunkproof.experiments.verification.review.scenario import Scenario
from trunkproof.experiments.verification.review.score import covers
from trunkproof.experiments.verification.review.traffic import Campaign, Traffic, day_curve
from trunkproof.experiments.verification.review.truth import Bounds, truth
from trunkproof.models.arrays import FloatArray
from trunkproof.models.errors import TrunkproofError

INTERPRETATIONS = (
    FIXED_WINDOW,
    Policy("sliding_window_admitted"),
    Policy("sliding_window_attempts"),
    Policy("token_bucket"),
    Policy("shaper"),
)
"""The interpretations of a request that names none."""
HOUR = (10 * 3600.0, 11 * 3600.0)
NOT_TO_APPROVE = 204
SEED = 10
_ON_WEEKDAYS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.1])[:, None]


@dataclass(frozen=True)
class Shown:
    """What a history shows of the dialler's hour, on the history's weekdays."""

    refused: FloatArray
    """Share of that hour's attempts that were refused, one entry per day."""
    attempts_per_minute: float
    campaign_per_minute: float
    """Attempts per minute from 10:00 to 10:40."""
    pooled: float
    """Share of all attempts of these hours that were refused."""

    @property
    def line(self) -> str:
        """Return the values in words."""
        return (
            f"{len(self.refused)} weekdays; from 10:00 to 11:00 {self.attempts_per_minute:.0f} attempts a minute, "
            f"{self.campaign_per_minute:.0f} until 10:40; refused {100 * self.pooled:.2f} %, above 1 % on "
            f"{int((self.refused > 0.01).sum())} days, on the worst {100 * self.refused.max():.1f} %"
        )


def contact_centre() -> Scenario:
    """Return 19 weekdays of a dialler with 178 calls a minute in its 40 minutes, more or fewer from day to day."""
    curve = day_curve(((11.0, 4.0, 1.0), (16.0, 4.0, 0.8)))
    traffic = Campaign(week=4.0 * _ON_WEEKDAYS * curve, first_minute=600, minutes=40, per_minute=174.0, deviation=0.1)
    who = callers(np.random.default_rng(3), hold_s=(60.0, 61.0), rejected=0.0)
    # From a Tuesday to a Sunday: 19 weekdays.
    mechanism = Mechanism(kind="contact centre", traffic=traffic, callers=who, first_day=date(2026, 3, 3), days=27)
    return _scenario(mechanism, requested=260, candidates=(204, 220, 240))


def small_customer() -> Scenario:
    """Return four weeks with 3 calls a minute."""
    curve = day_curve(((11.0, 4.0, 1.0), (16.0, 4.0, 0.8)))
    who = callers(np.random.default_rng(4), rejected=0.0)
    mechanism = Mechanism(kind="small customer", traffic=Traffic(week=3.0 * _ON_WEEKDAYS * curve), callers=who)
    return _scenario(mechanism, requested=5000, candidates=())


def _scenario(mechanism: Mechanism, requested: int, candidates: tuple[int, ...]) -> Scenario:
    return Scenario(
        mechanism=mechanism,
        seed=SEED,
        interpretations=INTERPRETATIONS,
        now=200,
        requested=requested,
        candidates=candidates,
        channels=UNLIMITED,
        bounds=Bounds(refused=0.01, lost=0.01),
        just_enough=0,
    )


def shown(scenario: Scenario) -> Shown:
    """Count the dialler's hour in the same attempts that the file holds."""
    made = attempts(scenario.mechanism, scenario.enforced, scenario.draws(), scenario.channels)
    day, second = np.divmod(made[:, AT_S], DAY_S)
    weekday = (day + scenario.mechanism.first_day.weekday()) % 7 < 5
    then = weekday & (second >= HOUR[0]) & (second < HOUR[1])
    until = then & (second < HOUR[0] + 2400)
    refused = made[:, ENDING] >= THROTTLED
    days = np.unique(day[weekday])
    by_day = np.array([refused[then & (day == one)].mean() for one in days])
    return Shown(by_day, then.sum() / 60 / len(days), until.sum() / 40 / len(days), float(refused[then].mean()))


def _reviewed(scenario: Scenario) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        scenario.write_history(path)
        return ask(scenario, path)


def _said(answer: Answer) -> Iterator[str]:
    yield f"decision: {answer.decision} {answer.recommended or ''} (confidence {answer.confidence:.3f})"
    yield from (f"back-cast: {line}" for line in answer.backcast)


def first_case() -> bool:
    """Review the case and print the answer. Return whether the review passed."""
    scenario = contact_centre()
    out.print("1. A dialler from 10:00 to 10:40, throttle 200, asks for 260", markup=False)
    out.print(f"   history: {shown(scenario).line}", markup=False)
    answer = _reviewed(scenario)
    at_now = [claim.refused for claim in answer.claims if claim.limit == scenario.now and claim.interpretation == 0]
    for value, low, high in filter(None, at_now):
        words = f"{100 * value:.2f} % ({100 * low:.2f} to {100 * high:.2f} %)"
        out.print(f"   review at 200, fixed window: refused {words}", markup=False)
    for line in _said(answer):
        out.print(f"   {line}", markup=False)
    limits = sorted({200, 204, 260, answer.recommended or 260})
    judged = tuple((weekday, *HOUR) for weekday in range(5))
    cells = truth(
        scenario.mechanism, judged, INTERPRETATIONS, limits, bounds=scenario.bounds, seed=SEED, horizon_days=1,
        most_days=4000,
    )  # fmt: skip
    for limit in limits:
        shares = ", ".join(
            f"{policy.name} {100 * cells[index, limit].refused.value:.2f} %"
            for index, policy in enumerate(INTERPRETATIONS)
        )
        out.print(f"   truth at {limit}, refused from 10:00 to 11:00: {shares}", markup=False)
    at_200 = cells[0, scenario.now].refused
    knows_today = any(covers(interval, at_200.value, at_200.error) for interval in filter(None, at_now))
    # Interpretations that the history contradicts need not keep the targets. The first one is the true one.
    counts = {claim.interpretation for claim in answer.claims} | {0}
    keeps = [cells[index, answer.recommended or 260].holds(scenario.bounds) for index in counts]
    is_bold = answer.decision in APPROVALS and False in keeps
    out.print(f"   the review's figure at 200 holds the truth: {knows_today}; too bold: {is_bold}", markup=False)
    is_204 = answer.decision in APPROVALS and (answer.recommended or 0) <= NOT_TO_APPROVE
    return knows_today and not is_bold and not is_204


def second_case() -> bool:
    """Review the case and print the answer. Return whether the review passed."""
    out.print("2. 3 calls a minute ask for 5,000 instead of 200", markup=False)
    answer = _reviewed(small_customer())
    for line in _said(answer):
        out.print(f"   {line}", markup=False)
    return answer.decision == NOT_NEEDED


def main() -> None:
    """Run both cases; the exit code is 3 if one failed."""
    try:
        passed = [first_case(), second_case()]
    except TrunkproofError as error:
        err.print(str(error), markup=False)
        sys.exit(exit_code_of(error))
    out.print(f"passed: {sum(passed)} of {len(passed)}", markup=False)
    sys.exit(ExitCode.OK if all(passed) else ExitCode.DISAGREE)


if __name__ == "__main__":
    main()
