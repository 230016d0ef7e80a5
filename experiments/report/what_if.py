"""The data of the page's slider for growth of demand: customers lost at every candidate, by growth.

The table for the planned growth is made here; the page's script makes the same table for any other growth. At the
planned growth the table must show the same figures as the rest of the page, which takes them from the less sure
witness. Where the replayed record loses more than the model, the model's curve is therefore stretched: it is read at
the higher demand at which the model loses as many.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.report.review_words import short_interpretations, told
from trunkproof.experiments.review.result import InterpretationResult, Review
from trunkproof.models.arrays import FloatArray


def what_if(review: Review) -> dict[str, Any] | None:
    """Return all data of the slider; None where the sweep has none."""
    grid = list(review.growth_grid)
    candidates = sorted(
        {limit for interpretation in review.interpretations for limit in interpretation.refused_by_growth}
    )
    if len(grid) < 2 or not candidates:
        return None
    # The slider ends where the simulated growths end.
    planned = float(min(max(review.request.growth, grid[0]), grid[-1]))
    # The planned growth is a point of its own, so that its figures are not interpolated.
    growths = np.unique([*grid, planned])
    names = short_interpretations(interpretation.interpretation for interpretation in review.interpretations)
    lost = [
        [
            _curve(interpretation, limit, np.array(grid), growths, planned)
            if limit in interpretation.refused_by_growth
            else [math.nan] * len(growths)
            for limit in candidates
        ]
        for interpretation in review.interpretations
    ]
    bound = review.request.quality.customers_lost_share_max
    return {
        "growth": growths.tolist(),
        "planned": planned,
        "per_minute": review.busy_hour_per_minute.value / review.request.growth,
        "bound": bound,
        "bound_words": None if bound is None else formatted(bound, "share"),
        "candidates": candidates,
        "names": names,
        "lost": lost,
        "rows": [
            [_cell(float(np.interp(planned, growths, interpretation[row])), bound) for interpretation in lost]
            for row in range(len(candidates))
        ],
    }


def _curve(
    interpretation: InterpretationResult, limit: int, grid: FloatArray, growths: FloatArray, planned: float
) -> list[float]:
    """Return customers lost at each of `growths`; the curve passes through the page's figure at the planned one."""
    shares = np.asarray(interpretation.refused_by_growth[limit], dtype=np.float64)
    point = next((one for one in interpretation.points if one.limit_per_minute == limit), None)
    value = None if point is None else told(point, "customers_lost_share")
    if value is None or not math.isfinite(value.value):
        return [float(share) for share in np.interp(growths, grid, shares)]
    # The stretched curve is read beyond the last known growth: continue it there in a straight line.
    rise = (shares[-1] - shares[-2]) / (grid[-1] - grid[-2])
    grid, shares = np.append(grid, 2 * grid[-1]), np.append(shares, min(1.0, shares[-1] + rise * grid[-1]))
    # `np.interp` needs rising values, and a curve may be flat at its ends: add a negligible slope.
    meant = max(planned, float(np.interp(value.value, shares + 1e-12 * np.arange(len(shares)), grid)))
    curve = np.interp(growths * (meant / planned), grid, shares)
    # Exactly the page's figure at the planned growth, without the error of the interpolation.
    return [float(share) for share in np.where(growths == planned, value.value, curve)]


def _cell(share: float, bound: float | None) -> dict[str, str]:
    if math.isnan(share):
        return {"text": "n/a", "state": ""}
    fails = bound is not None and share > bound
    return {"text": _percent(share), "state": "" if bound is None else "fails" if fails else "holds"}


def _percent(share: float) -> str:
    """Write a share; `percent` in review.js must write the same."""
    return "< 0.01 %" if share < 0.00005 else formatted(share, "share")
