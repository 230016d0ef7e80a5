"""Whether the rows of every trunk have numbers: each trunk has `ROWS_PER_TRUNK` of them, and the next begins there.

Beyond them a trunk's rows would be the next one's, and a dialled number would name two calls. Studies that need more
are refused before anything runs; `models.draws` refuses the row itself, should the estimate have been too low.
"""

from __future__ import annotations

import math

from trunkproof.models.draws import ROWS_PER_TRUNK, drawn_chunks, too_many_rows
from trunkproof.models.errors import InputError
from trunkproof.models.rates import rate_path
from trunkproof.models.study import Study
from trunkproof.models.traffic import ReplayedArrivals

_NEVER_TOO_MANY = 1_000_000
"""So few calls have numbers, however often their callers try."""


def check_rows(study: Study) -> None:
    """Refuse a study whose trunks need more rows than they have numbers for.

    Raises:
        InputError: names every such trunk, how many rows it needs and how long it may last.
    """
    problems = []
    for trunk in range(len(study.trunks)):
        rows = _expected_rows(study, trunk)
        if rows > ROWS_PER_TRUNK:
            problems.append(too_many_rows(study, trunk, rows))
    if problems:
        raise InputError(study.name, problems)


def _expected_rows(study: Study, trunk: int) -> float:
    """As many as are to be expected; of random arrivals so many that hardly ever more come."""
    arrivals = study.trunks[trunk].traffic.arrivals
    if isinstance(arrivals, ReplayedArrivals):
        calls = float(len(arrivals.instants_s))
    else:
        expected = rate_path(arrivals, study.duration_s, study.seed, trunk).expected_calls
        calls = expected + 6 * math.sqrt(expected)
    if calls <= _NEVER_TOO_MANY:
        return calls
    # How often callers would try is asked of the first ones: the redial rules are then known in one place only.
    first = next(drawn_chunks(study, trunk))
    return calls * len(first) / int((first.attempt == 0).sum())
