"""Alternatives of callers: as wide as what is known of them, and no wider."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.models.demand.fitting.conftest import Truth, make_history

from trunkproof.models.demand.fitting.alternatives import alternative
from trunkproof.models.demand.fitting.fit import fit_history
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.distributions import Lognormal
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Outcomes, Rejection

DRAWS = 400


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_history(make_history(Truth(days=14)), limit_per_minute=30)


@pytest.fixture(scope="module")
def drawn(fit: Fit) -> list[Fit]:
    random = np.random.default_rng(1)
    return [alternative(fit, 50_000, random) for _ in range(DRAWS)]


def share_within(values: np.ndarray, ranged: Ranged) -> float:
    return float(((values >= ranged.low) & (values <= ranged.high)).mean())


WITHIN = 4.5 * math.sqrt(0.95 * 0.05 / DRAWS)


def test_mean_holds_lie_in_their_range_as_often_as_it_says(fit: Fit, drawn: list[Fit]) -> None:
    means = np.array([one.holding.distribution.mean() for one in drawn])
    assert share_within(means, fit.holding.mean_s) == pytest.approx(0.95, abs=WITHIN)
    assert np.median(means) == pytest.approx(fit.holding.mean_s.value, rel=0.01)
    assert {type(one.holding.distribution) for one in drawn} == {type(fit.holding.distribution)}


def test_a_range_that_is_wider_on_one_side_stays_so(fit: Fit) -> None:
    lopsided = replace(
        fit, holding=replace(fit.holding, distribution=Lognormal(kind="lognormal", mean_s=100, cv=1.0),
                             mean_s=Ranged(100.0, 90.0, 160.0))
    )  # fmt: skip
    random = np.random.default_rng(1)
    means = np.array([alternative(lopsided, 1000, random).holding.distribution.mean() for _ in range(DRAWS)])
    assert (means < 100).mean() == pytest.approx(0.5, abs=4.5 * 0.5 / math.sqrt(DRAWS))
    assert share_within(means, lopsided.holding.mean_s) == pytest.approx(0.95, abs=WITHIN)
    # One deviation above, and the error of that quantile.
    deviation = 60 / 1.96
    error = deviation * math.sqrt(0.84 * 0.16 / DRAWS) / 0.243
    assert np.quantile(means, 0.84) == pytest.approx(100 + 0.994 * deviation, abs=4.5 * error)


def test_redial_probabilities_lie_in_their_range(fit: Fit, drawn: list[Fit]) -> None:
    chances = np.array([one.redial.redial.largest(Disposition.THROTTLED) for one in drawn])
    assert fit.redial.observed
    assert chances.std() > 0
    assert ((chances >= 0) & (chances <= 1)).all()
    asked = fit.redial.probability
    reach = asked.high - asked.low
    assert np.median(chances) == pytest.approx(asked.value, abs=reach)


def test_outcomes_scatter_as_counts_that_come_in_runs(fit: Fit) -> None:
    mix = Outcomes(busy=0.1, no_answer=0.2, abandoned=0.05, rejected=(Rejection(status=404, share=0.05),))
    known = replace(fit, outcomes=mix)
    random = np.random.default_rng(1)
    found = [alternative(known, 10_000, random).outcomes for _ in range(DRAWS)]
    busy = np.array([one.busy for one in found])
    # Ten calls tell as much as one that is independent.
    deviation = math.sqrt(0.1 * 0.9 / 1000)
    assert busy.mean() == pytest.approx(0.1, abs=4.5 * deviation / math.sqrt(DRAWS))
    assert busy.std() == pytest.approx(deviation, rel=4.5 / math.sqrt(2 * DRAWS))
    assert all(one.rejected[0].status == 404 for one in found)
    total = [one.busy + one.no_answer + one.abandoned + one.rejected[0].share + one.answered for one in found]
    assert total == pytest.approx(np.ones(DRAWS))


def test_what_never_happened_does_not_happen_in_an_alternative_either(fit: Fit) -> None:
    known = replace(fit, outcomes=Outcomes(busy=0.1))
    found = alternative(known, 100, np.random.default_rng(1)).outcomes
    assert (found.no_answer, found.abandoned, found.rejected) == (0, 0, ())
    certain = alternative(replace(fit, outcomes=Outcomes()), 100, np.random.default_rng(1)).outcomes
    assert certain.answered == pytest.approx(1)


def test_arrivals_are_not_its_matter(fit: Fit, drawn: list[Fit]) -> None:
    assert drawn[0].days is fit.days
    assert drawn[0].arrivals is fit.arrivals
