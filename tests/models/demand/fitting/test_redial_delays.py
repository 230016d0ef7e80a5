"""Delays before a redial: cut off at the window, mixed with chance meetings, and found all the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from trunkproof.models.demand.fitting.redial_delays import fit_delay, own_delays
from trunkproof.models.distributions import Empirical, Exponential, Lognormal

WINDOW_S = 600.0
COUNT = 20_000


def drawn(distribution: Exponential | Lognormal, seed: int = 1) -> np.ndarray:
    return distribution.quantile(np.random.default_rng(seed).random(COUNT))


@pytest.mark.parametrize("mean_s", [20.0, 300.0])
def test_an_exponential_is_found_with_what_lies_beyond_the_window(mean_s: float) -> None:
    waits = drawn(Exponential(mean_s=mean_s))
    found, within = fit_delay(waits[waits <= WINDOW_S], WINDOW_S)
    assert isinstance(found, Exponential)
    # The information that is lost with what is cut off: 2 % of the mean is far beyond its error for either.
    assert found.mean_s == pytest.approx(mean_s, rel=0.05)
    assert within == pytest.approx((waits <= WINDOW_S).mean(), abs=0.02)


@pytest.mark.parametrize(("mean_s", "cv"), [(60.0, 2.0), (250.0, 1.5)])
def test_a_long_tail_is_found_with_what_lies_beyond_the_window(mean_s: float, cv: float) -> None:
    waits = drawn(Lognormal(mean_s=mean_s, cv=cv))
    found, within = fit_delay(np.round(waits[waits <= WINDOW_S]), WINDOW_S)
    assert isinstance(found, Lognormal)
    sigma = np.sqrt(np.log1p(cv**2))
    beyond = ndtr((np.log(WINDOW_S / mean_s) + sigma**2 / 2) / sigma)
    assert within == pytest.approx(beyond, abs=0.015)
    seen, model = np.median(waits), float(found.quantile(np.array([0.5]))[0])
    assert model == pytest.approx(seen, rel=0.05)


def test_what_is_no_textbooks_says_nothing_of_what_comes_later() -> None:
    waits = np.concatenate([np.full(300, 30.0), np.full(100, 200.0)])
    found, within = fit_delay(waits, WINDOW_S)
    assert isinstance(found, Empirical)
    assert within == 1.0


def test_chance_meetings_are_taken_out_of_the_delays() -> None:
    rng = np.random.default_rng(2)
    meant = drawn(Exponential(mean_s=40.0))
    waits = np.concatenate([meant[meant <= WINDOW_S], rng.uniform(0, WINDOW_S, COUNT // 4)])
    own = own_delays(waits, WINDOW_S, coincident=0.2)
    assert len(own) == pytest.approx(COUNT, rel=0.02)
    # Bins are 15 s wide; what is left of the meetings' own noise in empty ones moves the mean by little.
    assert own.mean() == pytest.approx(40.0, rel=0.1)
    assert waits.mean() > 80
    assert len(own_delays(np.empty(0), WINDOW_S, 0.5)) == 0
    assert (own_delays(waits, WINDOW_S, 0.0) == np.sort(waits)).all()
