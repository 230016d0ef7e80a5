"""Find what really happens at each throttle: long-run shares over fresh days of the mechanism at the planning horizon.

Each fresh day is played under every throttle with the same draws. Days are added until a share is known well enough:
until its standard error is below 5 % of it, and below a third of its distance to the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trunkproof.experiments.verification.review.enforced import NO_THROTTLE, Policy
from trunkproof.experiments.verification.review.kernel import (
    AT_S,
    N_ATTEMPTS,
    N_ATTEMPTS_THEN,
    N_CALLERS,
    N_LOST,
    N_REFUSED,
    N_REFUSED_THEN,
    UNLIMITED,
    refuses_any,
)
from trunkproof.experiments.verification.review.mechanism import Mechanism
from trunkproof.experiments.verification.review.traffic import MINUTES, Day
from trunkproof.models.arrays import FloatArray

Period = tuple[int, float, float]
"""(Weekday, begin, end), in seconds after local midnight."""
CellName = tuple[int, int]
"""(Index of the interpretation, limit per minute)."""
WARM_UP_S, RUN_OUT_S = 3600.0, 1200.0
"""Played before and after the counted period: a window over attempts may have collapsed long before it, and callers
redial after it."""
_ROUND, _FIRST = 40, 120
_RELATIVE, _LEAST_ERROR = 0.05, 3e-5
SURE = 2.0
"""Standard errors by which a share must be off its target for the truth to be clear."""


@dataclass(frozen=True)
class Share:
    """A long-run share and its standard error."""

    value: float
    error: float

    def holds(self, bound: float) -> bool | None:
        """Tell whether the share keeps an upper bound; None: it is too close to say."""
        away = (bound - self.value) / self.error if self.error else np.inf * np.sign(bound - self.value + 1e-300)
        return None if abs(away) < SURE else bool(away > 0)

    def is_precise(self, bound: float) -> bool:
        """Tell whether more days would not change the answer."""
        return self.error <= max(_LEAST_ERROR, _RELATIVE * self.value) and (
            self.error <= abs(bound - self.value) / 3 or self.error <= _RELATIVE * bound / 3
        )


@dataclass(frozen=True)
class Cell:
    """The truth at one throttle."""

    refused: Share
    """Share of attempts refused, of callers who arrive in the judged periods."""
    lost: Share
    """Share of these callers lost by the throttle or the channels; callers lost by the far side are subtracted."""
    refused_then: Share
    """Share of attempts refused, of those made in the judged periods."""
    days: int

    def holds(self, bounds: Bounds, scale: float = 1.0) -> bool | None:
        """Tell whether both targets hold, each bound multiplied by `scale`; None: it is too close to say."""
        answers = [self.refused.holds(scale * bounds.refused), self.lost.holds(scale * bounds.lost)]
        return False if False in answers else None if None in answers else True

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        shares = {name: getattr(self, name) for name in ("refused", "lost", "refused_then")}
        return {name: [share.value, share.error] for name, share in shares.items()} | {"days": self.days}


@dataclass(frozen=True)
class Bounds:
    """The targets."""

    refused: float
    lost: float


@dataclass(eq=False)
class _Counted:
    """One cell while it is played: a row per day."""

    rows: list[FloatArray] = field(default_factory=list)
    lost_anyway: list[float] = field(default_factory=list)
    is_precise: bool = False

    def cell(self) -> Cell:
        rows, anyway = np.array(self.rows), np.array(self.lost_anyway)
        return Cell(
            refused=_ratio(rows[:, N_REFUSED], rows[:, N_ATTEMPTS]),
            lost=_ratio(rows[:, N_LOST] - anyway, rows[:, N_CALLERS]),
            refused_then=_ratio(rows[:, N_REFUSED_THEN], rows[:, N_ATTEMPTS_THEN]),
            days=len(rows),
        )


def _ratio(above: FloatArray, below: FloatArray) -> Share:
    """Return a ratio of sums, with its standard error over independent days (delta method)."""
    total = float(below.sum())
    if total == 0:
        return Share(0.0, 0.0)
    value = float(above.sum()) / total
    days = len(above)
    error = float(np.sqrt(((above - value * below) ** 2).sum() * days / max(1, days - 1))) / total
    return Share(value, error)


def future_day(mechanism: Mechanism, weekday: int, horizon_days: int, rng: np.random.Generator) -> Day:
    """Draw a day of that weekday at the horizon. Its place in the month is random."""
    return Day(mechanism.days - 1.0 + horizon_days, weekday, int(rng.integers(1, 31)))


def truth(
    mechanism: Mechanism,
    judged: Sequence[Period],
    policies: Sequence[Policy],
    limits: Sequence[int],
    *,
    bounds: Bounds,
    seed: int,
    horizon_days: int,
    channels: int = UNLIMITED,
    most_days: int = 2000,
) -> Mapping[CellName, Cell]:
    """Find the truth at every limit under every interpretation of the throttle.

    Args:
        mechanism: the customer.
        judged: the periods that count, all with the same frequency.
        policies: the interpretations.
        limits: limits per minute.
        bounds: the targets, which say how precise a share must be.
        seed: seed of the fresh days.
        horizon_days: how long after the end of the history these days lie.
        channels: calls possible at once.
        most_days: play no more days than this, whatever the precision.
    """
    rng = np.random.default_rng([seed, 77])
    cells = {(index, limit): _Counted() for index in range(len(policies)) for limit in limits}
    day = 0
    while True:
        wanted = [name for name, counted in cells.items() if not counted.is_precise]
        if not wanted or day >= most_days:
            return {name: counted.cell() for name, counted in cells.items()}
        for _ in range(min(_FIRST if day == 0 else _ROUND, most_days - day)):
            _play_day(mechanism, judged[day % len(judged)], policies, wanted, cells, horizon_days, channels, rng)
            day += 1
        for name in wanted:
            cell = cells[name].cell()
            cells[name].is_precise = cell.refused.is_precise(bounds.refused) and cell.lost.is_precise(bounds.lost)


def _play_day(  # noqa: PLR0917  # the body of the loop over days
    mechanism: Mechanism,
    period: Period,
    policies: Sequence[Policy],
    wanted: Sequence[CellName],
    cells: Mapping[CellName, _Counted],
    horizon_days: int,
    channels: int,
    rng: np.random.Generator,
) -> None:
    weekday, begin_s, end_s = period
    day = future_day(mechanism, weekday, horizon_days, rng)
    last_s = min(end_s + RUN_OUT_S, 60.0 * MINUTES)
    fresh_s = mechanism.traffic.instants(rng, day, max(0.0, begin_s - WARM_UP_S), last_s)
    luck, anchor_s = int(rng.integers(2**31)), float(rng.uniform(0, 60))
    play = mechanism.callers.play
    anyway = play(fresh_s, luck, NO_THROTTLE, UNLIMITED, (begin_s, end_s))[N_LOST]
    open_counts, records = mechanism.callers.recorded(fresh_s, luck, NO_THROTTLE, channels, (begin_s, end_s))
    asked_s = np.ascontiguousarray(records[:, AT_S])
    for name in wanted:
        index, limit = name
        throttle = policies[index].at(limit, anchor_s)
        # A throttle that refuses no attempt of the open day changes nothing: reuse the open day's counts.
        is_without = not refuses_any(throttle, asked_s)
        counts = open_counts if is_without else play(fresh_s, luck, throttle, channels, (begin_s, end_s))
        cells[name].rows.append(counts)
        cells[name].lost_anyway.append(float(anyway))
