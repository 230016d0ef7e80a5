"""Weighted least squares with what a reader needs to doubt it: intervals, residuals, leverage, outliers.

A few dozen observations of a handful of parameters, none of them negative: nothing is dropped, whatever its residual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import least_squares

from trunkproof.models.arrays import FloatArray

Explain = Callable[[FloatArray], FloatArray]
"""Parameters -> what would be observed."""
OUTLIER = 3.0
"""Beyond this externally studentised residual an observation is shown as an outlier."""


@dataclass(frozen=True, eq=False)
class Fit:
    """`observed` is about what `values` explain; arrays by parameter or by observation, in the order given."""

    values: FloatArray
    intervals: tuple[tuple[float, float], ...]
    """95 % confidence interval of each value (Student's t, from the slopes at the values)."""
    fitted: FloatArray
    observed: FloatArray
    studentised: FloatArray
    """Externally studentised residuals: each against the spread of the others."""
    r_squared: float
    """Share of the weighted sum of squares that is explained (about zero, since idling is a parameter)."""
    relative_error: float
    """Root mean square of the residuals, each as a share of what was observed."""

    @property
    def outliers(self) -> list[int]:
        """Observations whose residual stands out."""
        return [index for index, value in enumerate(self.studentised) if abs(value) > OUTLIER]


def fit_relative(explain: Explain, start: Sequence[float], observed: Sequence[float]) -> Fit:
    """Least squares of *relative* errors, for observations whose error grows with their size.

    Args:
        explain: smooth in its parameters.
        start: a guess of the parameters, by their order of magnitude; positive.
        observed: positive.

    Raises:
        ValueError: fewer observations than parameters plus two, or parameters that cannot be told apart.
    """
    y, guess = np.asarray(observed, dtype=float), np.asarray(start, dtype=float)
    count, parameters = len(y), len(guess)

    def residuals(values: FloatArray) -> FloatArray:
        return np.asarray(1 - explain(values) / y)

    found = least_squares(residuals, guess, bounds=(0, np.inf), x_scale=guess, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    # In units of the guess, or costs of microseconds and shares of a core would not compare.
    slopes = np.asarray(found.jac) * guess
    if count < parameters + 2 or np.linalg.matrix_rank(slopes, tol=1e-6 * np.linalg.norm(slopes, 2)) < parameters:
        raise ValueError(f"{count} observations do not determine {parameters} parameters")
    inverse = np.linalg.inv(slopes.T @ slopes)
    left, free = residuals(found.x), count - parameters
    variance = float(left @ left) / free
    reach = stats.t.ppf(0.975, free) * np.sqrt(variance * np.diag(inverse)) * guess
    hat = np.einsum("ij,jk,ik->i", slopes, inverse, slopes)
    return Fit(
        values=found.x,
        intervals=tuple((float(v - r), float(v + r)) for v, r in zip(found.x, reach, strict=True)),
        fitted=explain(found.x),
        observed=y,
        studentised=_studentised(left, hat, variance, free),
        r_squared=1 - float(left @ left) / count,
        relative_error=float(np.sqrt(np.mean(left**2))),
    )


def _studentised(residuals: FloatArray, hat: FloatArray, variance: float, free: int) -> FloatArray:
    """Source: Belsley, Kuh, Welsch, "Regression Diagnostics" (1980), equation 2.26."""
    others = (free * variance - residuals**2 / (1 - hat)) / (free - 1)
    return np.asarray(residuals / np.sqrt(np.maximum(others, 1e-30) * (1 - hat)))
