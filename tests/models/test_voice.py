"""The E-model subset: reference values, limits, and the same answers for arrays as for single calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.voice import (
    G711_CONCEALED,
    G711_PLAIN,
    Codec,
    burst_ratio,
    delay_impairment,
    loss_impairment,
    mos,
    r_factor,
    r_factor_of_mos,
)


@pytest.mark.parametrize(("r", "score"), [(93.2, 4.4093), (80, 4.024), (70, 3.597)])
def test_g107_b_reference_scores(r: float, score: float) -> None:
    assert mos(r) == pytest.approx(score, abs=5e-5)


@pytest.mark.parametrize(
    ("delay_ms", "codec", "score"),
    [(150, G711_CONCEALED, 4.228), (250, G711_CONCEALED, 3.846), (150, G711_PLAIN, 3.675)],
)
def test_one_percent_of_loss_at_a_delay(delay_ms: float, codec: Codec, score: float) -> None:
    assert mos(r_factor(delay_ms, 0.01, codec=codec)) == pytest.approx(score, abs=5e-4)


@pytest.mark.parametrize(("r", "score"), [(-50, 1.0), (0, 1.0), (3, 1.0), (100, 4.5), (130, 4.5)])
def test_g107_b_scores_stay_between_1_and_4_5(r: float, score: float) -> None:
    assert mos(r) == pytest.approx(score, abs=1e-12)


def test_delay_hurts_more_above_177_ms() -> None:
    assert delay_impairment(177.3) == pytest.approx(0.024 * 177.3)
    assert delay_impairment(277.3) == pytest.approx(0.024 * 277.3 + 11)


def test_g107_7_29_loss_impairment() -> None:
    assert loss_impairment(0.0) == 0
    assert loss_impairment(0.02) == pytest.approx(95 * 2 / (2 + 25.1))
    assert loss_impairment(0.02, burst_ratio=2) == pytest.approx(95 * 2 / (1 + 25.1))
    assert loss_impairment(0.02, codec=Codec("G.729A", ie=11, bpl=19)) == pytest.approx(11 + 84 * 2 / (2 + 19))


def test_burst_ratio_of_independent_losses_is_1() -> None:
    assert burst_ratio(0.2, mean_burst_packets=1 / 0.8) == pytest.approx(1)
    assert burst_ratio(0.1, mean_burst_packets=4) == pytest.approx(3.6)


def test_a_call_that_loses_everything_is_bad_and_not_an_error() -> None:
    everything = burst_ratio(1.0, mean_burst_packets=500)
    assert everything == 1
    assert mos(r_factor(100, 1.0, everything)) < 1.3


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), np.array([0.1, 2.0])])
def test_a_share_is_not_a_percentage(share: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        r_factor(100, share)


def test_arrays_give_what_single_calls_give() -> None:
    delays, losses, bursts = np.array([20.0, 150, 250]), np.array([0.0, 0.01, 0.3]), np.array([1.0, 1.5, 3])
    together = mos(r_factor(delays, losses, bursts))
    alone = [mos(r_factor(d, p, b)) for d, p, b in zip(delays.tolist(), losses.tolist(), bursts.tolist(), strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-14)
    assert r_factor(delays, 0.01).shape == r_factor(100.0, losses).shape == (3,)


def test_a_single_call_gives_a_float() -> None:
    assert isinstance(mos(r_factor(150.0, 0.01)), float)


@given(score=st.floats(1, 4.5))
def test_g107_appendix_i_inverse(score: float) -> None:
    r = r_factor_of_mos(score)
    assert 6.5 < r <= 100 + 1e-9
    assert mos(r) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("score", [0.99, 4.51, float("nan")])
def test_no_r_factor_gives_a_score_out_of_range(score: float) -> None:
    with pytest.raises(ValueError, match="mean opinion score"):
        r_factor_of_mos(score)


@given(loss=st.floats(0, 1), more=st.floats(0, 1), delay=st.floats(0, 1000), later=st.floats(0, 1000))
def test_more_loss_or_delay_never_sounds_better(loss: float, more: float, delay: float, later: float) -> None:
    low, high = sorted((loss, more))
    soon, late = sorted((delay, later))
    assert mos(r_factor(late, high)) <= mos(r_factor(soon, low)) + 1e-12
