"""Weighted least squares with what a reader needs to doubt it: intervals, residuals, leverage, outliers.

A few dozen observations of a handful of costs: nothing is dropped, whatever its residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
OUTLIER = 3.0
"""Beyond this externally studentised residual an observation is shown as an outlier."""


@dataclass(frozen=True, eq=False)
class Fit:
    """`observed` is about `design` @ `values`; arrays by parameter or by observation, in the order given."""

    values: FloatArray
    intervals: tuple[tuple[float, float], ...]
    """95 % confidence interval of each value (Student's t)."""
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


def fit_relative(design: Sequence[Sequence[float]], observed: Sequence[float]) -> Fit:
    """Least squares of *relative* errors, for observations whose error grows with their size.

    Args:
        design: one row per observation, one column per parameter.
        observed: positive.

    Raises:
        ValueError: fewer observations than parameters plus two, or columns that cannot be told apart.
    """
    x, y = np.asarray(design, dtype=float), np.asarray(observed, dtype=float)
    count, parameters = x.shape
    if count < parameters + 2 or np.linalg.matrix_rank(x / y[:, None]) < parameters:
        raise ValueError(f"{count} observations do not determine {parameters} parameters")
    # Dividing a row by its observation makes all observations 1 and all errors relative.
    scaled = x / y[:, None]
    inverse = np.linalg.inv(scaled.T @ scaled)
    values = inverse @ scaled.sum(axis=0)
    residuals = 1 - scaled @ values
    free = count - parameters
    variance = float(residuals @ residuals) / free
    reach = stats.t.ppf(0.975, free) * np.sqrt(variance * np.diag(inverse))
    hat = np.einsum("ij,jk,ik->i", scaled, inverse, scaled)
    return Fit(
        values=values,
        intervals=tuple((float(v - r), float(v + r)) for v, r in zip(values, reach, strict=True)),
        fitted=x @ values,
        observed=y,
        studentised=_studentised(residuals, hat, variance, free),
        r_squared=1 - float(residuals @ residuals) / count,
        relative_error=float(np.sqrt(np.mean(residuals**2))),
    )


def _studentised(residuals: FloatArray, hat: FloatArray, variance: float, free: int) -> FloatArray:
    """Source: Belsley, Kuh, Welsch, "Regression Diagnostics" (1980), equation 2.26."""
    others = (free * variance - residuals**2 / (1 - hat)) / (free - 1)
    return np.asarray(residuals / np.sqrt(np.maximum(others, 1e-30) * (1 - hat)))
