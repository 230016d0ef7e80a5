"""What the page's slider for growth of demand knows: customers lost at every throttle looked at, by growth.

The table it starts with is made here; the page's script makes the same one for any other growth.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.formatting import formatted
from experiments.report.review_words import short_readings
from experiments.review.result import Review


def what_if(review: Review) -> dict[str, Any] | None:
    """All that the slider needs; none where the sweep has nothing for it."""
    grid = [float(growth) for growth in review.growth_grid]
    candidates = sorted({limit for reading in review.readings for limit in reading.refused_by_growth})
    if len(grid) < 2 or not candidates:
        return None
    planned = min(max(review.request.growth, grid[0]), grid[-1])
    names = short_readings(reading.reading for reading in review.readings)
    lost = [
        [
            [float(share) for share in reading.refused_by_growth.get(limit, [math.nan] * len(grid))]
            for limit in candidates
        ]
        for reading in review.readings
    ]
    bound = review.request.quality.customers_lost_share_max
    return {
        "growth": grid,
        "planned": planned,
        "per_minute": review.busy_hour_per_minute.value / review.request.growth,
        "bound": bound,
        "bound_words": None if bound is None else formatted(bound, "share"),
        "candidates": candidates,
        "names": names,
        "lost": lost,
        "rows": [
            [_cell(float(np.interp(planned, grid, reading[row])), bound) for reading in lost]
            for row in range(len(candidates))
        ],
    }


def _cell(share: float, bound: float | None) -> dict[str, str]:
    if math.isnan(share):
        return {"text": "n/a", "state": ""}
    fails = bound is not None and share > bound
    return {"text": formatted(share, "share"), "state": "" if bound is None else "fails" if fails else "holds"}
