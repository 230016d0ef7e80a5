"""Distributions of durations, as a study writes them: how long a call holds, rings, waits before a redial.

Each turns uniform numbers that the caller brings into durations, one uniform per draw, so that a draw can be keyed by
its call. Nothing here owns a random generator, and nothing here fits a distribution to a history.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field
from scipy.special import ndtri

from trunkproof.models.arrays import FloatArray
from trunkproof.models.settings import Settings

Duration = Annotated[float, Field(ge=0, le=1e9)]
PositiveDuration = Annotated[float, Field(gt=0, le=1e9)]


class DurationDistribution(Settings, ABC):
    """What every kind of distribution can do. Uniforms `u`, `v` lie in (0, 1), results are seconds."""

    @abstractmethod
    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`, same shape: the inverse distribution function, except for `Mixture`."""

    @abstractmethod
    def mean(self) -> float:
        """Return the expected duration, in seconds."""

    @abstractmethod
    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return the rest of durations that are under way at a random instant, from two independent uniforms.

        This is the equilibrium distribution, with density P(X > x) / E[X] and mean E[X²] / (2 E[X]): an instant falls
        into a long duration more often than into a short one (length bias, `v`), anywhere within it (`u`).
        Source: Cox, "Renewal Theory" (1962), chapter 5.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the distribution as a phrase for people."""


class Constant(DurationDistribution):
    """Always the same duration; a bare number in a study means this."""

    kind: Literal["constant"] = "constant"
    """Always the same."""
    value_s: Duration
    """Seconds."""

    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`."""
        return np.full(np.shape(u), self.value_s)

    def mean(self) -> float:
        """Return the expected duration, in seconds."""
        return self.value_s

    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return what is left of durations that are under way: uniform over the duration, `v` is not used."""
        return self.value_s * u

    def describe(self) -> str:
        """Return the distribution as a phrase for people."""
        return f"constant {self.value_s:g} s"


class Exponential(DurationDistribution):
    """Without memory."""

    kind: Literal["exponential"] = "exponential"
    """Without memory: most are short, a few are long."""
    mean_s: PositiveDuration
    """The mean, in seconds."""

    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`."""
        return -self.mean_s * np.log1p(-u)

    def mean(self) -> float:
        """Return the expected duration, in seconds."""
        return self.mean_s

    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return what is left of durations that are under way: as much as of a fresh one, `v` is not used."""
        return self.quantile(u)

    def describe(self) -> str:
        """Return the distribution as a phrase for people."""
        return f"exponential, mean {self.mean_s:g} s"


class Lognormal(DurationDistribution):
    """The usual shape of call holding times (Brown et al. 2005), given by its mean and coefficient of variation."""

    kind: Literal["lognormal"] = "lognormal"
    """The usual shape of call durations."""
    mean_s: PositiveDuration
    """The mean, in seconds."""
    cv: Annotated[float, Field(gt=0, le=1000)]
    """Standard deviation over mean."""

    @property
    def _sigma(self) -> float:
        return math.sqrt(math.log1p(self.cv**2))

    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`."""
        return self.mean_s * np.exp(self._sigma * ndtri(u) - self._sigma**2 / 2)

    def mean(self) -> float:
        """Return the expected duration, in seconds."""
        return self.mean_s

    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return what is left of durations that are under way.

        A lognormal biased by length is a lognormal with mu + sigma² in place of mu.
        """
        return u * self.quantile(v) * math.exp(self._sigma**2)

    def describe(self) -> str:
        """Return the distribution as a phrase for people."""
        return f"lognormal, mean {self.mean_s:g} s, cv {self.cv:g}"


class Empirical(DurationDistribution):
    """Durations that were seen, each as likely as the next; kept in ascending order."""

    kind: Literal["empirical"] = "empirical"
    """Durations that were seen."""
    values_s: Annotated[tuple[Duration, ...], Field(min_length=1), AfterValidator(lambda seen: tuple(sorted(seen)))]
    """The durations in seconds, in any order. Each is equally likely."""

    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`."""
        values = np.array(self.values_s, dtype=np.float64)
        # Close below 1, the product may round up to the number of values.
        index = np.minimum((u * len(values)).astype(np.int64), len(values) - 1)
        return values[index]

    def mean(self) -> float:
        """Return the expected duration, in seconds."""
        return math.fsum(self.values_s) / len(self.values_s)

    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return what is left of durations that are under way."""
        values = np.array(self.values_s, dtype=np.float64)
        index, _ = _split(v, _bounds(values))
        return u * values[index]

    def describe(self) -> str:
        """Return the distribution as a phrase for people."""
        return f"empirical, {len(self.values_s)} values, mean {self.mean():.4g} s"


class MixturePart(Settings):
    """One population in a mixture."""

    weight: Annotated[float, Field(gt=0, le=1e9)]
    """Relative to the other parts' weights; they need not add up to 1."""
    of: Distribution
    """The distribution of this part."""


class Mixture(DurationDistribution):
    """Several populations in one: with probability proportional to its weight, a draw comes from a part."""

    kind: Literal["mixture"] = "mixture"
    """Several populations in one."""
    parts: Annotated[tuple[MixturePart, ...], Field(min_length=1)]
    """The populations."""

    @property
    def _weights(self) -> FloatArray:
        return np.array([part.weight for part in self.parts])

    @property
    def _means(self) -> FloatArray:
        return np.array([part.of.mean() for part in self.parts])

    def quantile(self, u: FloatArray) -> FloatArray:
        """Return durations for uniforms `u`, distributed as the mixture but *not* ascending in `u`.

        The unit interval is divided among the parts by weight; within its share, `u` is stretched back to (0, 1) and
        serves the part. So one uniform gives both the part and its duration.
        """
        index, within = _split(u, _bounds(self._weights))
        drawn = np.empty(np.shape(u))
        for number, part in enumerate(self.parts):
            chosen = index == number
            drawn[chosen] = part.of.quantile(within[chosen])
        return drawn

    def mean(self) -> float:
        """Return the expected duration, in seconds."""
        return float(self._weights @ self._means / self._weights.sum())

    def residual_quantile(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return what is left of durations that are under way.

        An instant falls into a part in proportion to its weight times its mean.
        """
        index, within = _split(v, _bounds(self._weights * self._means))
        drawn = np.empty(np.shape(u))
        for number, part in enumerate(self.parts):
            chosen = index == number
            drawn[chosen] = part.of.residual_quantile(u[chosen], within[chosen])
        return drawn

    def describe(self) -> str:
        """Return the distribution as a phrase for people."""
        shares = self._weights / self._weights.sum()
        named = (f"{share:.3g} of ({part.of.describe()})" for share, part in zip(shares, self.parts, strict=True))
        return f"mixture: {', '.join(named)}"


def _bounds(weights: FloatArray) -> FloatArray:
    """Return the bounds, shape (n + 1,), of the shares of [0, 1] for weights of shape (n,). All 0: equal shares."""
    if not weights.any():
        weights = np.ones(len(weights))
    cumulative = np.concatenate([[0.0], np.cumsum(weights)])
    bounds: FloatArray = cumulative / cumulative[-1]
    return bounds


def _split(u: FloatArray, bounds: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Return in which share each `u` lies, and where within it as a number in (0, 1)."""
    index = np.searchsorted(bounds[1:-1], u, side="right")
    within = (u - bounds[index]) / (bounds[index + 1] - bounds[index])
    # A uniform on the very bound of a share would otherwise become 0 or 1, where a quantile may be infinite.
    return index, np.clip(within, 2.0**-54, 1 - 2.0**-53)


def _bare_number_is_constant(written: Any) -> Any:
    is_number = isinstance(written, int | float) and not isinstance(written, bool)
    return {"kind": "constant", "value_s": written} if is_number else written


_Kinds = Annotated[Constant | Exponential | Lognormal | Mixture | Empirical, Field(discriminator="kind")]
Distribution = Annotated[_Kinds, BeforeValidator(_bare_number_is_constant, json_schema_input_type=_Kinds | Duration)]

MixturePart.model_rebuild()
Mixture.model_rebuild()
