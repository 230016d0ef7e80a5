"""One indicator of the busy hours after a raise, against the band that the rollout has for it.

Counting only; what follows from it is `experiments.review.score.score`'s.
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
"""Of busy hours lie so many above the rollout's band, and as many below, if all goes as forecast."""
_SIGNIFICANT = 0.005


@dataclass(frozen=True)
class Band:
    """One indicator of the busy hours against its band."""

    kpi: str
    forecast: Ranged
    hours: int
    """Busy hours that show it."""
    inside: int
    above: int
    below: int
    above_at_first: int
    """Among the first busy hours, which the rule that halts looks at."""
    mean: float | None
    outside: float = _OUTSIDE
    """Share of hours that lie above the band if all goes as forecast, and share of those below."""

    @classmethod
    def of(cls, kpi: str, forecast: Ranged, busy: pl.DataFrame, *, outside: float = _OUTSIDE) -> Self:
        """That indicator of busy hours, as `experiments.review.periods.observed.by_period` gives them."""
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
        """Whether more hours are above than chance puts there."""
        return _is_many(self.above, self.hours, self.outside)

    @property
    def too_low(self) -> bool:
        """Whether more hours are below than chance puts there."""
        return _is_many(self.below, self.hours, self.outside)

    @property
    def halts(self) -> bool:
        """Whether the rollout's rule, which is of its own bands only, halts the raise for it."""
        return self.kpi in WATCHED and self.outside == _OUTSIDE and self.above_at_first >= HOURS_TO_HALT

    @property
    def kept(self) -> bool | None:
        """Whether the band was kept, but for what chance explains; None: not seen."""
        return None if not self.hours else not (self.too_high or self.too_low or self.halts)

    @property
    def breach(self) -> str:
        """How the band was broken, for people."""
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
