"""Draw equally likely alternatives of callers' behaviour, so that its uncertainty reaches the decision.

Arrivals have alternatives of their own (`models.demand.fitting.day_rates`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trunkproof.models.demand.fitting.durations import with_mean
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.traffic import Outcomes, Rejection

_CALLS_ALIKE = 10.0
"""Outcomes come in runs (a line that is down, a busy afternoon): ten calls tell as much as one independent call."""
_LEAST_CALLS = 30.0


def alternative(fit: Fit, calls: float, random: np.random.Generator) -> Fit:
    """Return a fit whose mean hold, redial probability and outcomes are one alternative.

    Args:
        fit: the best estimates and their ranges.
        calls: number of attempts from which the outcomes were counted.
        random: draws the alternative.
    """
    hold = fit.holding.mean_s
    mean_s = _normal(hold, random, least=0.05 * hold.value)
    # Only the mean is drawn, at the same shape: the mean decides how many channels are needed.
    holding = replace(fit.holding, distribution=with_mean(fit.holding.distribution, mean_s))
    # Drawn from its own posterior, by reason and attempt; the fit's ranges are made of the same counts.
    redial = replace(fit.redial, redial=fit.redial.draw(random))
    # At least 30 calls in effect: with fewer, any mix of outcomes would be drawn.
    outcomes = _outcomes(fit.outcomes, max(_LEAST_CALLS, calls / _CALLS_ALIKE), random)
    return replace(fit, holding=holding, redial=redial, outcomes=outcomes)


def _normal(ranged: Ranged, random: np.random.Generator, *, least: float) -> float:
    """Draw a value whose central 95 % are the range; each side has its own half of a normal distribution."""
    z = float(random.standard_normal())
    # The two sides may differ: a range of a mean near 0 reaches further up than down.
    reach = (ranged.high - ranged.value) if z > 0 else (ranged.value - ranged.low)
    return max(least, ranged.value + z * reach / 1.96)


def _outcomes(mix: Outcomes, calls: float, random: np.random.Generator) -> Outcomes:
    parts = [mix.busy, mix.no_answer, mix.abandoned, *(part.share for part in mix.rejected), mix.answered]
    # Gammas over their sum are a Dirichlet draw: positive shares that add up to 1.
    drawn = random.standard_gamma(np.maximum(parts, 0.0) * calls)
    drawn = drawn / max(float(drawn.sum()), 1e-300)
    rejected = tuple(
        Rejection(status=part.status, share=float(share)) for part, share in zip(mix.rejected, drawn[3:-1], strict=True)
    )
    return Outcomes(busy=float(drawn[0]), no_answer=float(drawn[1]), abandoned=float(drawn[2]), rejected=rejected)
