"""Weighted least squares with what a reader needs to doubt the result: intervals, residuals, leverage, outliers.

It is made for a few dozen observations of a handful of parameters, none of them negative. No observation is dropped,
whatever its residual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from trunkproof.models.arrays import FloatArray

Explain = Callable[[FloatArray], FloatArray]
"""Maps parameters to the observations that they explain."""
OUTLIER = 3.0
"""Beyond this externally studentised residual an observation is shown as an outlier."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted parameters, and how well they explain what was observed. Arrays are in the order of the input."""

    values: FloatArray
    intervals: tuple[tuple[float, float], ...]
    """95 % confidence interval of each value (Student's t, from the slopes at the fitted values)."""
    fitted: FloatArray
    observed: FloatArray
    studentised: FloatArray
    """Externally studentised residuals: each divided by the spread that the others have."""
    r_squared: float
    """Explained share of the weighted sum of squares, which is taken about zero: the model has no constant term."""
    relative_error: float
    """Root mean square of the residuals, each as a share of what was observed."""

    @property
    def outliers(self) -> list[int]:
        """Return the indices of observations whose residual is beyond `OUTLIER`."""
        return [index for index, value in enumerate(self.studentised) if abs(value) > OUTLIER]


def fit_relative(explain: Explain, start: Sequence[float], observed: Sequence[float]) -> Fit:
    """Fit parameters by least squares of *relative* errors, for observations whose error grows with their size.

    Args:
        explain: must be smooth in its parameters.
        start: a guess of each parameter's order of magnitude; positive.
        observed: positive.

    Raises:
        ValueError: there are fewer observations than parameters plus two, or parameters cannot be told apart.
    """
    y, guess = np.asarray(observed, dtype=float), np.asarray(start, dtype=float)
    count, parameters = len(y), len(guess)

    def residuals(values: FloatArray) -> FloatArray:
        # Relative: two levels of the same work differ by some per cent, whatever their size.
        return np.asarray(1 - explain(values) / y)

    from scipy.optimize import least_squares  # noqa: PLC0415  # slow to load, and `validate` comes by here too

    # Scaled by the guess: the parameters differ by five orders of magnitude. No cost is negative.
    found = least_squares(residuals, guess, bounds=(0, np.inf), x_scale=guess, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    # In units of the guess: otherwise costs in microseconds could not be compared with shares of a core.
    slopes = np.asarray(found.jac) * guess
    # Two more than parameters: an externally studentised residual leaves one observation out and still needs a
    # spread.
    if count < parameters + 2 or np.linalg.matrix_rank(slopes, tol=1e-6 * np.linalg.norm(slopes, 2)) < parameters:
        raise ValueError(f"{count} observations do not determine {parameters} parameters")
    inverse = np.linalg.inv(slopes.T @ slopes)
    left, free = residuals(found.x), count - parameters
    variance = float(left @ left) / free
    reach = stdtrit(free, 0.975) * np.sqrt(variance * np.diag(inverse)) * guess
    # The leverage of each observation: the diagonal of the hat matrix.
    hat = np.einsum("ij,jk,ik->i", slopes, inverse, slopes)
    return Fit(
        values=found.x,
        intervals=tuple((float(v - r), float(v + r)) for v, r in zip(found.x, reach, strict=True)),
        fitted=explain(found.x),
        observed=y,
        studentised=_studentised(left, hat, variance, free),
        # In relative units every observation is 1, so their sum of squares is their number.
        r_squared=1 - float(left @ left) / count,
        relative_error=float(np.sqrt(np.mean(left**2))),
    )


def _studentised(residuals: FloatArray, hat: FloatArray, variance: float, free: int) -> FloatArray:
    """Return externally studentised residuals.

    Source: Belsley, Kuh, Welsch, "Regression Diagnostics" (1980), equation 2.26.
    """
    others = (free * variance - residuals**2 / (1 - hat)) / (free - 1)
    # A perfect fit has no spread, and would divide by zero.
    return np.asarray(residuals / np.sqrt(np.maximum(others, 1e-30) * (1 - hat)))
