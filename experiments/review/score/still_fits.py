"""After a review: is demand in the judged periods as forecast, and does an interpretation of the throttle still fit?

This module only counts and compares; `experiments.review.score.score` draws the conclusions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl
from scipy import stats

from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.experiments.review.score.bands import Band
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.errors import InputError, Problem

_LEAST_PERIODS = 3
"""Least number of periods for a mean with an error."""
_OUTSIDE = 0.05
"""Share of single periods above the band of nine in ten; the same share is below it."""


def periods_of(decision: Mapping[str, Any]) -> tuple[BusyPeriod, ...]:
    """Return the periods that the review judged.

    Raises:
        InputError: the decision does not have them.
    """
    try:
        return tuple(
            BusyPeriod(tuple(map(int, one["weekdays"])), float(one["start_s"]), float(one["length_s"]),
                       float(one["level_per_minute"]))
            for one in decision["busy_hour"]["periods"]
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        what = f"are no judged periods ({error!r}); review again with this version"
        raise InputError("decision", [Problem(where="busy_hour.periods", what=what)]) from None


@dataclass(frozen=True)
class DemandSeen:
    """Fresh calls per minute in the judged periods: the mean seen, against the forecast of that mean."""

    forecast: Ranged
    """Its range reaches from demand before growth to demand after it: the new history lies in between."""
    seen: Ranged | None
    """None where the history does not tell callers apart, or has too few periods."""
    periods: int

    @classmethod
    def of(cls, decision: Mapping[str, Any], seen: pl.DataFrame, length_s: float, growth: float) -> Self:
        """Compare the periods of `observed.by_period` with the forecast, which includes `growth`."""
        told = ranged_of(decision["busy_hour"]["fresh_per_minute"])
        forecast = Ranged(told.value, min(told.low, told.low / growth), max(told.high, told.high / growth))
        rates = 60 / length_s * seen["calls"].drop_nulls().to_numpy()
        if len(rates) < _LEAST_PERIODS:
            return cls(forecast, None, len(rates))
        mean, error = float(rates.mean()), float(rates.std(ddof=1)) / math.sqrt(len(rates))
        reach = float(stats.t.ppf(0.975, len(rates) - 1)) * error
        return cls(forecast, Ranged(mean, mean - reach, mean + reach), len(rates))

    @property
    def is_higher(self) -> bool:
        """Tell whether it is surely above the forecast."""
        return self.seen is not None and self.seen.low > self.forecast.high

    @property
    def is_lower(self) -> bool:
        """Tell whether it is surely below the forecast."""
        return self.seen is not None and self.seen.high < self.forecast.low

    @property
    def held(self) -> bool | None:
        """Tell whether the forecast held; None where demand was not seen."""
        return None if self.seen is None else not (self.is_higher or self.is_lower)

    @property
    def said(self) -> str:
        """The comparison in a sentence."""
        forecast = f"{self.forecast.value:.1f} ({self.forecast.low:.1f} to {self.forecast.high:.1f})"
        if self.seen is None:
            return f"Demand of the judged periods is not known yet; the forecast is {forecast} fresh calls a minute."
        state = "as forecast" if self.held else "above the forecast" if self.is_higher else "below the forecast"
        seen = f"{self.seen.value:.1f} ({self.seen.low:.1f} to {self.seen.high:.1f})"
        return f"The judged periods brought {seen} fresh calls a minute, {state}: {forecast}."

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return {"forecast": self.forecast, "seen": self.seen, "periods": self.periods, "held": self.held}


@dataclass(frozen=True)
class InterpretationSeen:
    """Refused shares of single judged periods, compared with the band of one interpretation of the throttle."""

    name: str
    """As in `per_interpretation`, such as `fixed_window`."""
    refused: Band

    @property
    def fits(self) -> bool | None:
        """Tell whether the shares lie in the band, apart from what chance explains; None where none was seen."""
        return self.refused.kept

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return {"refused_share": self.refused.to_json(), "fits": self.fits}


def interpretations_seen(
    decision: Mapping[str, Any], per_minute: int, seen: pl.DataFrame
) -> tuple[InterpretationSeen, ...]:
    """Return each interpretation of the decision that has a band at that throttle."""
    found = []
    # A decision.json of earlier versions has the same content under `per_reading`.
    each = decision.get("per_interpretation", decision.get("per_reading", {}))
    for name, interpretation in each.items():
        for point in interpretation["points"]:
            band = point.get("busy_hours", {}).get("refused_share")
            if int(point["per_minute"]) == per_minute and band is not None:
                found.append(
                    InterpretationSeen(name, Band.of("refused_share", ranged_of(band), seen, outside=_OUTSIDE))
                )
    return tuple(found)


def interpretations_said(found: Sequence[InterpretationSeen], per_minute: int) -> str:
    """Return the comparison in a sentence; empty where nothing was seen."""
    seen = [one for one in found if one.fits is not None]
    if not seen:
        return ""
    mean = seen[0].refused.mean or 0.0
    fits = [one.name.replace("_", " ") for one in seen if one.fits]
    where = f"{100 * mean:.2f} % of attempts were refused in them at {per_minute}"
    if len(fits) == len(seen):
        return f"{where}, as forecast ({', '.join(fits)})."
    if fits:
        return f"{where}, which fits {', '.join(fits)} and no other interpretation."
    return f"{where}, which fits no interpretation of the throttle: {_bands(seen)}."


def _bands(found: Sequence[InterpretationSeen]) -> str:
    return ", ".join(
        f"{one.name.replace('_', ' ')} {100 * one.refused.forecast.low:.2f} to {100 * one.refused.forecast.high:.2f} %"
        for one in found
    )


def ranged_of(saved: Mapping[str, Any]) -> Ranged:
    """Read a range of `decision.json`; null becomes NaN."""
    return Ranged(
        **{part: math.nan if saved[part] is None else float(saved[part]) for part in ("value", "low", "high")}
    )
