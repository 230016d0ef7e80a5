"""Check that there are enough row numbers: each trunk has `ROWS_PER_TRUNK` of them.

With more rows, two trunks would use the same number, and a dialled number would mean two calls. A study that needs more
is refused before anything runs. If the estimate was too low, `models.draws` refuses the row itself.
"""

from __future__ import annotations

import math

from trunkproof.models.draws import ROWS_PER_TRUNK, drawn_chunks, too_many_rows
from trunkproof.models.errors import InputError
from trunkproof.models.rates import rate_path
from trunkproof.models.study import Study
from trunkproof.models.traffic import ReplayedArrivals

_NEVER_TOO_MANY = 1_000_000
"""This few calls always have numbers, even if all callers make all attempts."""


def check_rows(study: Study) -> None:
    """Refuse a study whose trunks need more rows than they have numbers for.

    Raises:
        InputError: lists every such trunk, how many rows it needs, and how long the study may last.
    """
    problems = []
    for trunk in range(len(study.trunks)):
        rows = _expected_rows(study, trunk)
        if rows > ROWS_PER_TRUNK:
            problems.append(too_many_rows(study, trunk, rows))
    if problems:
        raise InputError(study.name, problems)


def _expected_rows(study: Study, trunk: int) -> float:
    """Return the expected number of rows. For random arrivals, a number that is hardly ever exceeded."""
    arrivals = study.trunks[trunk].traffic.arrivals
    if isinstance(arrivals, ReplayedArrivals):
        calls = float(len(arrivals.instants_s))
    else:
        expected = rate_path(arrivals, study.duration_s, study.seed, trunk).expected_calls
        calls = expected + 6 * math.sqrt(expected)
    if calls <= _NEVER_TOO_MANY:
        return calls
    # Count the attempts of the first callers, so that the redial rules are in one place only.
    first = next(drawn_chunks(study, trunk))
    return calls * len(first) / int((first.attempt == 0).sum())
