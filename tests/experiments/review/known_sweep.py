"""A sweep whose curves are chosen, for tests of what is made of a sweep: straight lines of the load, without noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.review.request import Request
from experiments.review.sweep import Sweep, candidates_of

NODES = np.array([50.0, 150.0, 250.0, 350.0, 450.0])


def known_sweep(request: Request, lost: Callable[[int, int, float], float], **others: float) -> Sweep:
    """`lost`: (number of the reading, limit, load) -> share of attempts refused and of customers lost."""

    def at(reading: int, limit: int, load: float) -> dict[str, float]:
        share = lost(reading, limit, load)
        return {
            "offered_per_minute": float(load),
            "attempts": 60 * load,
            "refused_share": share,
            "customers_lost_share": share,
            "srd_p95_ms": 300.0,
            "mos_p5": 4.3,
            "peak_concurrency": 3 * load * (1 - share),
            "ends_completed": 0.9 * (1 - share),
            "ends_throttled": share,
            "ends_busy": 0.1 * (1 - share),
            **others,
        }

    cells = [(reading, limit) for reading in range(len(request.readings)) for limit in candidates_of(request)]
    values = {
        (reading, limit): tuple(tuple(at(reading, limit, float(load)) for load in NODES) for _ in range(3))
        for reading, limit in cells
    }
    return Sweep(request.readings, candidates_of(request), NODES, values, 1000, 10, 0)
