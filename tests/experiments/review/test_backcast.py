"""The history, simulated again: what made it is reproduced, what did not is contradicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from tests.experiments.review.theory.test_premises import request as request_with

from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.histories.truth import Truth
from trunkproof.experiments.review.backcast import back_cast, not_contradicted
from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import BackCast, BackCastRow
from trunkproof.models.demand.fitting.fit import fit_history
from trunkproof.models.demand.fitting.odd_days import usable_hours
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import Outcomes, Redial

LIMIT = 12
INTERPRETATIONS: tuple[ThrottleSettings, ...] = (
    FixedWindow(),
    SlidingWindowAttempts(),
    TokenBucket(burst=1),
    FixedWindow(window_s=10),
)
PROFILE = (0.2,) * 8 + (2.0, 5.0, 11.0, 9.0, 6.0, 7.0, 9.0, 8.0, 5.0, 3.0) + (1.0,) * 6


def truth(**changes: object) -> Truth:
    """A fixed window of twelve a minute, and callers who try again."""
    values: dict[str, object] = {
        "name": "made",
        "first_day": date(2026, 9, 7),
        "days": 10,
        "hourly_per_minute": (PROFILE,) * 7,
        "day_cv": 0.05,
        "holding": Exponential(kind="exponential", mean_s=60.0),
        "ringing": Constant(kind="constant", value_s=5.0),
        "outcomes": Outcomes(busy=0.1, no_answer=0.1),
        "redial": Redial(
            probability=0.6, attempts=5, delay=Exponential(kind="exponential", mean_s=30.0), obeys_retry_after=False
        ),
        "throttle": FixedWindow(limit=LIMIT),
        "seed": 3,
    }
    return Truth.model_validate(values | changes)


@dataclass(frozen=True)
class Made:
    """A history, read and fitted."""

    request: Request
    history: History
    fit: Fit
    courses: Courses
    busy: BusyPeriods

    @classmethod
    def of(cls, folder: Path, made: Truth, interpretations: Sequence[ThrottleSettings] = INTERPRETATIONS) -> Made:
        path = folder / "made.csv"
        generate(made, path)
        asked = request_with(
            now_per_minute=LIMIT,
            requested_per_minute=30,
            interpretations=tuple(interpretations),
            pop={},
            bandwidth_mbit_per_s=None,
            history=HistorySettings(path=path),
        )
        return cls.read(asked, read_history(asked.history, folder))

    @classmethod
    def read(cls, asked: Request, history: History) -> Made:
        fit = fit_history(history, limit_per_minute=LIMIT)
        courses = Courses.of(asked, history, fit)
        busy = BusyPeriods.of(fit.days, courses.to_end, 1, usable_hours(fit.grid, fit.odd))
        return cls(asked, history, fit, courses, busy)

    def again(self) -> tuple[BackCast, ...]:
        return back_cast(self.request, self.history, self.fit, self.busy, self.courses.limits)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made.of(tmp_path_factory.mktemp("made"), truth())


@pytest.fixture(scope="module")
def found(made: Made) -> tuple[BackCast, ...]:
    return made.again()


def row(one: BackCast, quantity: str, scope: str = "the busy periods") -> BackCastRow:
    return next(row for row in one.rows if (row.quantity, row.scope) == (quantity, scope))


def test_what_made_the_history_reproduces_it(made: Made, found: tuple[BackCast, ...]) -> None:
    window = found[0]
    assert window.interpretation == FixedWindow()
    assert window.reproduces
    refused = row(window, "attempts refused")
    assert refused.seen > 0.1
    assert refused.expected.low < refused.seen < refused.expected.high
    assert refused.p_value > 0.003
    for quantity in ("attempts", "admitted", "redials", "calls at once"):
        told = row(window, quantity)
        assert told.reproduced
        assert told.seen > 0
    # Twelve a minute at most are let pass, by this interpretation and by the history.
    assert row(window, "admitted").seen <= LIMIT
    assert row(window, "admitted").expected.value <= LIMIT


def test_interpretations_that_did_not_make_it_are_contradicted(made: Made, found: tuple[BackCast, ...]) -> None:
    others = {one.interpretation: one.reproduces for one in found}
    assert others[SlidingWindowAttempts()] is False
    assert others[TokenBucket(burst=1)] is False
    # What a bucket without a burst refuses is far more than the history shows, and surely so.
    bucket = row(found[2], "attempts refused")
    assert bucket.expected.low > 1.2 * bucket.seen
    assert bucket.p_value < 0.003
    assert 0 in not_contradicted(found, made.request)
    assert 1 not in not_contradicted(found, made.request)


def test_what_is_seen_is_what_the_history_has(made: Made, found: tuple[BackCast, ...]) -> None:
    (period,) = made.busy.periods
    start = (pl.col("start_local") - pl.col("start_local").dt.truncate("1d")).dt.total_seconds()
    inside = made.history.counts.filter((start >= period.start_s) & (start < period.start_s + period.length_s))
    attempts, refused = inside["attempts"].sum(), inside["refused"].sum()
    hours = 60 * len(made.busy.days)
    assert row(found[0], "attempts").seen == pytest.approx(attempts / hours, rel=1e-6)
    assert row(found[0], "attempts refused").seen == pytest.approx(refused / attempts)
    assert row(found[0], "admitted").seen == pytest.approx((attempts - refused) / hours, rel=1e-6)


def test_the_worst_periods_are_told_and_decide_nothing(found: tuple[BackCast, ...]) -> None:
    worst = row(found[0], "attempts refused", "the worst busy periods")
    assert worst.seen > row(found[0], "attempts refused").seen
    assert not worst.is_decisive
    broken = replace(worst, reproduced=False)
    assert BackCast(FixedWindow(), (broken,)).reproduces
    assert not BackCast(FixedWindow(), (broken, replace(broken, is_decisive=True))).reproduces


def test_an_interpretation_that_is_known_is_the_only_one_that_is_asked(made: Made) -> None:
    known = replace(made, request=made.request.model_copy(update={"enforced": FixedWindow(limit=LIMIT)}))
    (one,) = known.again()
    assert one.reproduces
    assert not_contradicted((one,), known.request) == (0, 1, 2, 3)
    wrong = replace(made, request=made.request.model_copy(update={"enforced": TokenBucket(limit=LIMIT, burst=1)}))
    assert not_contradicted(wrong.again(), wrong.request) == ()


def test_hidden_refusals_are_held_against_what_was_let_pass(made: Made) -> None:
    """Nobody wrote down who was refused: the admitted calls a minute are all there is, and they are reproduced."""
    calls = made.history.calls
    assert calls is not None
    kept = calls.filter(pl.col("status") != "refused")
    counts = made.history.counts.with_columns(
        attempts=pl.col("attempts") - pl.col("refused"), refused=pl.lit(0, dtype=pl.Int64)
    )
    hidden = Made.read(made.request, replace(made.history, calls=kept, counts=counts))
    found = hidden.again()
    quantities = {row.quantity for one in found for row in one.rows}
    assert "attempts refused" not in quantities
    assert "redials" not in quantities
    admitted = row(found[0], "admitted")
    assert admitted.is_decisive
    assert admitted.seen == pytest.approx(row(made.again()[0], "admitted").seen, rel=0.05)
    assert found[0].reproduces


def test_refusals_that_no_throttle_of_the_time_explains_make_every_interpretation_fail(made: Made) -> None:
    """One attempt in five is refused at random, at all hours: a fault of the far side, say, that is taken for it."""
    calls = made.history.calls
    assert calls is not None
    spoilt = replace(made, courses=replace(made.courses, limits=dict.fromkeys(made.courses.limits, 10 * LIMIT)))
    found = spoilt.again()
    assert not any(one.reproduces for one in found)
    assert not_contradicted(found, made.request) == ()
    assert row(found[0], "attempts refused").expected.high < row(found[0], "attempts refused").seen


def test_days_under_another_throttle_are_simulated_under_that_one(tmp_path: Path) -> None:
    """Five days under twelve, five under fifteen: with the true limits it comes out again, with one of them not."""
    first = Made.of(tmp_path, truth(days=10), INTERPRETATIONS[:1])
    wide = Made.of(tmp_path, truth(days=10, throttle=FixedWindow(limit=16)), INTERPRETATIONS[:1])
    days = sorted(first.fit.days.dates)
    late = pl.col("start_local").dt.date() >= days[5]
    assert first.history.calls is not None
    assert wide.history.calls is not None
    both = replace(
        first.history,
        calls=pl.concat([first.history.calls.filter(~late), wide.history.calls.filter(late)]),
        counts=pl.concat([first.history.counts.filter(~late), wide.history.counts.filter(late)]),
    )
    mixed = Made.read(first.request, both)
    true_limits = {day: LIMIT if day < days[5] else 16 for day in mixed.fit.days.dates}
    right = replace(mixed, courses=replace(mixed.courses, limits=true_limits)).again()
    wrong = replace(mixed, courses=replace(mixed.courses, limits=dict.fromkeys(true_limits, LIMIT))).again()
    assert right[0].reproduces
    assert not wrong[0].reproduces


def test_a_range_is_never_narrower_than_chance(found: tuple[BackCast, ...]) -> None:
    for one in found:
        for told in one.rows:
            assert told.expected.low <= told.expected.value <= told.expected.high
            assert 0 <= told.p_value <= 1
            assert isinstance(told.expected, Ranged)
