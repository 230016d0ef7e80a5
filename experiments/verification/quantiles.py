"""Quantile plots: do arrivals and holding times of the records have the distributions that the study gives?

Samples are turned into normal scores by SciPy's distribution functions, not by those that they were drawn with. A
correct sample lies on the diagonal, inside a band that it leaves once in 150,000 times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats
from scipy.special import ndtri

from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.verification.check import Check, Point, one_sided_alarm
from trunkproof.experiments.verification.durations import arrival_gaps, holding_times
from trunkproof.experiments.verification.figures import quantile_figure
from trunkproof.experiments.verification.size import Size
from trunkproof.models.arrays import FloatArray

_READ = "Observed against expected quantiles, as normal scores. Correct: every mark inside the grey band. {of}"


def gap_check(size: Size) -> Check:
    """Check the times between arrivals, in units of their expectation."""
    of = "Gaps are in expected calls, that is with time rescaled by the rate: so they are exponential at any rate."
    return quantile_check("gaps", "Arrivals: times between calls", arrival_gaps(size.durations), of)


def holding_check(size: Size) -> Check:
    """Check holding times, from answer to BYE."""
    return quantile_check("holding", "Holding times", holding_times(size.durations), "From answer to BYE, in records.")


def score_check(points: Sequence[Point]) -> Check:
    """Check that the standardised differences of all other checks are normal: then standard errors are right."""
    scores = np.array([point.score for point in points])
    of = "Steeper than the diagonal: standard errors are too small. Flatter: they are too large. Shifted: a bias."
    return quantile_check(
        "scores",
        "All differences, in standard errors",
        {"every independent difference on this page": stats.norm.cdf(scores)},
        of,
    )


def band(count: int) -> tuple[FloatArray, FloatArray]:
    """Return the band of `count` ordered uniforms: quantiles of their beta distributions, Bonferroni-corrected."""
    ranks = np.arange(1, count + 1)
    alarm = one_sided_alarm() / count
    low, high = stats.beta.ppf(alarm, ranks, ranks[::-1]), stats.beta.isf(alarm, ranks, ranks[::-1])
    return np.asarray(low), np.asarray(high)


def quantile_check(name: str, title: str, samples: Mapping[str, FloatArray], of: str) -> Check:
    """Judge samples that should be uniform in (0, 1), all of one size."""
    ordered = {kind: np.sort(sample) for kind, sample in samples.items()}
    count = min(len(sample) for sample in ordered.values())
    low, high = band(count)
    outside = {kind: int(np.count_nonzero((u < low) | (u > high))) for kind, u in ordered.items()}
    wrong = {kind: number for kind, number in outside.items() if number}
    line = (
        f"Of {count:,} values each, {', '.join(f'{number:,} ({kind})' for kind, number in wrong.items())} lie outside."
        if wrong
        else f"All {count:,} values lie inside the band: {', '.join(ordered)}."
    )
    scores = {kind: ndtri(u) for kind, u in ordered.items()}
    panel = Panel(name, title, _READ.format(of=of), quantile_figure(scores, ndtri(low), ndtri(high)))
    return Check(panel, not wrong, line, {"sample": count, "outside": outside})
