"""Compare one indicator of the busy hours after a raise with its band in the rollout.

This module only counts; `experiments.review.score.score` draws the conclusions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import polars as pl
from scipy.stats import binom

from trunkproof.experiments.review.words.rollout import HOURS_TO_HALT, HOURS_WATCHED, WATCHED
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.kpis import DEFINITIONS

_OUTSIDE = 0.025
"""Share of busy hours above the rollout's band if all goes as forecast; the same share is below it."""
_SIGNIFICANT = 0.005


@dataclass(frozen=True)
class Band:
    """One indicator of the busy hours against its band."""

    kpi: str
    forecast: Ranged
    hours: int
    """Number of busy hours that show the indicator."""
    inside: int
    above: int
    below: int
    above_at_first: int
    """Number above the band among the first busy hours, to which the halting rule applies."""
    mean: float | None
    outside: float = _OUTSIDE
    """Share of hours that lie above the band if all goes as forecast, and share of those below."""

    @classmethod
    def of(cls, kpi: str, forecast: Ranged, busy: pl.DataFrame, *, outside: float = _OUTSIDE) -> Self:
        """Compare a column of the table of `experiments.review.periods.observed.by_period` with its band."""
        seen = (busy[kpi].drop_nulls() if kpi in busy.columns else pl.Series([], dtype=pl.Float64)).to_numpy()
        above, below = seen > forecast.high, seen < forecast.low
        return cls(
            kpi=kpi,
            forecast=forecast,
            hours=len(seen),
            inside=int((~above & ~below).sum()),
            above=int(above.sum()),
            below=int(below.sum()),
            above_at_first=int(above[:HOURS_WATCHED].sum()),
            mean=float(seen.mean()) if len(seen) else None,
            outside=outside,
        )

    @property
    def too_high(self) -> bool:
        """Tell whether significantly more hours are above the band than expected by chance."""
        return _is_many(self.above, self.hours, self.outside)

    @property
    def too_low(self) -> bool:
        """Tell whether significantly more hours are below the band than expected by chance."""
        return _is_many(self.below, self.hours, self.outside)

    @property
    def halts(self) -> bool:
        """Tell whether the rollout's rule halts the raise for it. The rule applies to the rollout's own bands only."""
        return self.kpi in WATCHED and self.outside == _OUTSIDE and self.above_at_first >= HOURS_TO_HALT

    @property
    def kept(self) -> bool | None:
        """Tell whether the band was kept, apart from what chance explains; None where no hour shows the indicator."""
        return None if not self.hours else not (self.too_high or self.too_low or self.halts)

    @property
    def breach(self) -> str:
        """A phrase that says how the band was broken."""
        title = DEFINITIONS[self.kpi].title.lower() if self.kpi in DEFINITIONS else self.kpi
        where = "above" if self.above >= self.below else "below"
        return f"{title} {where} the band in {max(self.above, self.below)} of {self.hours}"

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return {
            "low": self.forecast.low,
            "high": self.forecast.high,
            "mean": self.mean,
            "hours": self.hours,
            "inside": self.inside,
            "above": self.above,
            "below": self.below,
            "kept": self.kept,
        }


def _is_many(count: int, hours: int, outside: float) -> bool:
    return count > 0 and float(binom.sf(count - 1, hours, outside)) < _SIGNIFICANT
