"""Distributions: their draws have the moments of the textbook, fresh and residual; a study can write them briefly."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from trunkproof.models.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Mixture,
    MixturePart,
)

READ = TypeAdapter[Distribution](Distribution)
DRAWS = 200_000
Moments = tuple[float, float, float]


def lognormal_moments(mean_s: float, cv: float) -> Moments:
    variance = math.log1p(cv**2)
    mu = math.log(mean_s) - variance / 2
    first, second, third = (math.exp(k * mu + k**2 * variance / 2) for k in (1, 2, 3))
    return first, second, third


def mixture_moments(*parts: tuple[float, Moments]) -> Moments:
    total = sum(weight for weight, _ in parts)
    first, second, third = (sum(weight * moments[k] for weight, moments in parts) / total for k in range(3))
    return first, second, third


SEEN = (0.0, 1.0, 1.0, 4.0, 30.0)
TWO_HABITS = Mixture(
    parts=(
        MixturePart(weight=3, of=Lognormal(mean_s=20, cv=0.8)),
        MixturePart(weight=1, of=Exponential(mean_s=200)),
    )
)
CASES: list[tuple[Distribution, Moments]] = [
    (Constant(value_s=8), (8, 64, 512)),
    (Exponential(mean_s=15), (15, 2 * 15**2, 6 * 15**3)),
    (Lognormal(mean_s=180, cv=1.2), lognormal_moments(180, 1.2)),
    (Empirical(values_s=SEEN), tuple(sum(x**k for x in SEEN) / len(SEEN) for k in (1, 2, 3))),
    (TWO_HABITS, mixture_moments((3, lognormal_moments(20, 0.8)), (1, (200, 2 * 200**2, 6 * 200**3)))),
    (
        Mixture(parts=(MixturePart(weight=1, of=Constant(value_s=0)), MixturePart(weight=1, of=TWO_HABITS))),
        mixture_moments((2, (0, 0, 0)), (1.5, lognormal_moments(20, 0.8)), (0.5, (200, 2 * 200**2, 6 * 200**3))),
    ),
]
IDS = [case.describe()[:40] for case, _ in CASES]


def uniforms(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.random(DRAWS), random.random(DRAWS)


def assert_mean(drawn: np.ndarray, mean: float, second_moment: float) -> None:
    standard_error = math.sqrt(max(0.0, second_moment - mean**2) / len(drawn))
    assert abs(drawn.mean() - mean) <= 4.5 * standard_error + 1e-9 * mean


@pytest.mark.parametrize(("distribution", "moments"), CASES, ids=IDS)
def test_draws_have_the_mean_that_is_stated(distribution: Distribution, moments: Moments) -> None:
    assert distribution.mean() == pytest.approx(moments[0], rel=1e-12)
    assert_mean(distribution.quantile(uniforms(1)[0]), moments[0], moments[1])


@pytest.mark.parametrize(("distribution", "moments"), CASES, ids=IDS)
def test_residuals_have_the_mean_of_renewal_theory(distribution: Distribution, moments: Moments) -> None:
    first, second, third = moments
    assert_mean(distribution.residual_quantile(*uniforms(2)), second / (2 * first), third / (3 * first))


def test_residuals_of_a_mixture_follow_the_equilibrium_distribution() -> None:
    mixture = Mixture(
        parts=(MixturePart(weight=3, of=Exponential(mean_s=10)), MixturePart(weight=1, of=Constant(value_s=50)))
    )

    def equilibrium_cdf(x: np.ndarray) -> np.ndarray:
        # The integral of P(X > t) up to x, over the mean: each part by weight times mean, 30 : 50.
        return (30 * -np.expm1(-x / 10) + 50 * np.minimum(x / 50, 1)) / 80

    # Two-sided z = 4.5 is 6.8e-6.
    assert stats.kstest(mixture.residual_quantile(*uniforms(3)), equilibrium_cdf).pvalue > 6.8e-6


def test_quantiles_are_those_of_the_inverse_distribution_function() -> None:
    levels = np.array([1e-9, 0.01, 0.25, 0.5, 0.9, 1 - 1e-9])
    sigma = math.sqrt(math.log(1 + 1.2**2))
    reference = stats.lognorm(s=sigma, scale=180 * math.exp(-(sigma**2) / 2)).ppf(levels)
    np.testing.assert_allclose(Lognormal(mean_s=180, cv=1.2).quantile(levels), reference, rtol=1e-12)
    np.testing.assert_allclose(Exponential(mean_s=15).quantile(levels), stats.expon(scale=15).ppf(levels), rtol=1e-12)
    assert Empirical(values_s=(3, 1, 2)).quantile(np.array([0.1, 0.34, 0.99])).tolist() == [1, 2, 3]


@given(u=st.floats(min_value=2**-54, max_value=1 - 2**-53), v=st.floats(min_value=2**-54, max_value=1 - 2**-53))
def test_every_uniform_gives_a_finite_duration(u: float, v: float) -> None:
    for distribution, _ in CASES:
        fresh = distribution.quantile(np.array([u]))
        residual = distribution.residual_quantile(np.array([u]), np.array([v]))
        assert np.isfinite(fresh).all()
        assert (fresh >= 0).all()
        assert np.isfinite(residual).all()
        assert (residual >= 0).all()


def test_a_uniform_on_the_bound_between_two_parts_stays_finite() -> None:
    halves = Mixture(parts=tuple(MixturePart(weight=1, of=Exponential(mean_s=1)) for _ in range(2)))
    assert np.isfinite(halves.quantile(np.array([0.5, 0.5 - 2**-54, 0.5 + 2**-53]))).all()


def test_durations_that_are_all_zero_have_zero_residuals() -> None:
    u, v = uniforms(4)
    nothing = Mixture(
        parts=(MixturePart(weight=1, of=Constant(value_s=0)), MixturePart(weight=2, of=Constant(value_s=0)))
    )
    assert not nothing.residual_quantile(u, v).any()
    assert not Empirical(values_s=(0, 0)).residual_quantile(u, v).any()


@pytest.mark.parametrize("number", [8, 8.0, 0])
def test_a_bare_number_is_a_constant(number: float) -> None:
    assert READ.validate_python(number) == Constant(value_s=number)


def test_a_mixture_is_read_with_parts_of_any_kind() -> None:
    written = {
        "kind": "mixture",
        "parts": [{"weight": 1, "of": 3}, {"weight": 1, "of": {"kind": "exponential", "mean_s": 5}}],
    }
    assert READ.validate_python(written).mean() == 4


@pytest.mark.parametrize(
    "written",
    [
        True,
        "8",
        -1,
        math.nan,
        math.inf,
        None,
        {"value_s": 8},
        {"kind": "normal", "mean_s": 8},
        {"kind": "exponential", "mean_s": 0},
        {"kind": "exponential", "mean_s": 3, "cv": 1},
        {"kind": "lognormal", "mean_s": 3, "cv": 0},
        {"kind": "empirical", "values_s": []},
        {"kind": "empirical", "values_s": [1, -1]},
        {"kind": "mixture", "parts": []},
        {"kind": "mixture", "parts": [{"weight": 0, "of": 3}]},
    ],
)
def test_what_is_no_distribution_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(written)


@pytest.mark.parametrize(("distribution", "_moments"), CASES, ids=IDS)
def test_a_distribution_survives_json_and_pickling(distribution: Distribution, _moments: Moments) -> None:
    assert READ.validate_json(READ.dump_json(distribution)) == distribution
    assert pickle.loads(pickle.dumps(distribution)) == distribution


def test_descriptions_read_like_a_phrase() -> None:
    assert Lognormal(mean_s=180, cv=1.2).describe() == "lognormal, mean 180 s, cv 1.2"
    assert Constant(value_s=8).describe() == "constant 8 s"
    assert Empirical(values_s=SEEN).describe() == "empirical, 5 values, mean 7.2 s"
    halves = Mixture(
        parts=(MixturePart(weight=1, of=Constant(value_s=1)), MixturePart(weight=3, of=Exponential(mean_s=2)))
    )
    assert halves.describe() == "mixture: 0.25 of (constant 1 s), 0.75 of (exponential, mean 2 s)"
