"""From counts to chances: chance meetings off, late redials on, a wide range where little was seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trunkproof.models.demand.fitting.redial_chances import ReasonChances, clean, cluster_factor, with_chances
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Redial

SEEN = ReasonChances(
    Disposition.THROTTLED,
    failures=400,
    value=(0.7,),
    share=0.7,
    followed=0.65,
    yes=(260.5,),
    no=(140.5,),
    background=0.1,
    within=0.9,
)


def test_of_those_followed_some_met_by_chance_and_some_come_later() -> None:
    # Of 100 failures 61.1 redial within the window; of the others a tenth meets by chance.
    meant = (0.65 - 0.1) / 0.9
    assert clean(0.65, 0.1) == pytest.approx(meant)
    assert SEEN.coincident == pytest.approx((0.65 - meant) / 0.65)
    assert SEEN.late == pytest.approx((meant / 0.9 - meant) / (1 - meant))
    assert replace(SEEN, followed=0.0).coincident == 0.0
    assert replace(SEEN, followed=1.0).late == 0.0
    assert clean(0.05, 0.1) == 0.0
    assert clean(0.95, 0.0, 0.9) == 1.0


def test_draws_are_spread_as_what_is_known() -> None:
    known = replace(SEEN, within=1.0)
    rng = np.random.default_rng(1)
    draws = np.array([known.draw(rng)[0] for _ in range(4000)])
    mean, deviation = (260.5 / 401 - 0.1) / 0.9, np.sqrt(260.5 * 140.5 / 401**2 / 402) / 0.9
    assert abs(draws.mean() - mean) < 4.5 * deviation / np.sqrt(4000)
    # A standard deviation's own standard error is 1 / sqrt(2 n) of it.
    assert draws.std() == pytest.approx(deviation, rel=4.5 / np.sqrt(8000))
    # Of an unseen tail there may be none, or twice as much.
    least, most = SEEN.bounds(0.65, 0.65)
    assert least == pytest.approx(clean(0.65, 0.1))
    assert most == pytest.approx(clean(0.65, 0.1) / 0.8)
    unsure = np.array([SEEN.draw(rng)[0] for _ in range(500)])
    assert unsure.std() > draws.std()


def test_what_a_caller_cannot_tell_from_a_refusal_has_its_chances() -> None:
    found = with_chances(Redial(), {Disposition.THROTTLED: (0.9, 0.5), Disposition.BUSY: (0.3,)})
    assert found.probability == pytest.approx(0.7)
    for alike in (Disposition.THROTTLED, Disposition.NO_CHANNEL, Disposition.TIMED_OUT):
        assert [found.chance(alike, attempt) for attempt in range(3)] == [0.9, 0.5, 0.5]
    assert found.chance(Disposition.BUSY, 0) == 0.3
    assert found.chance(Disposition.NO_ANSWER, 0) == 0.0
    assert with_chances(Redial(probability=0.4), {Disposition.BUSY: (0.3,)}).chance(Disposition.THROTTLED, 0) == 0.4


def test_hours_that_differ_make_a_share_less_sure() -> None:
    failures = np.full(40, 50.0)
    rng = np.random.default_rng(1)
    # Of independent failures the factor is chi-squared over its degrees of freedom.
    alike = cluster_factor(failures, rng.binomial(50, 0.5, 40).astype(np.float64))
    assert 1.0 <= alike < 1 + 4.5 * np.sqrt(2 / 39)
    assert cluster_factor(failures, np.where(np.arange(40) % 2, 45.0, 5.0)) == pytest.approx(
        50 * 0.4**2 / 0.25 * 40 / 39
    )
    assert cluster_factor(failures, failures) == 1.0
    assert cluster_factor(np.zeros(0), np.zeros(0)) == 1.0
