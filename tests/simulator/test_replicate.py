"""Estimates over repetitions: shares weigh by calls, and intervals contain the exact value as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trunkproof.models.study import Study
from trunkproof.models.teletraffic import fixed_window_refused
from trunkproof.simulator.replicate import Replications, random_anchors, replicate

RATE, LIMIT = 60.0, 60
# A window longer than the run: of N calls in it, those above the limit are refused, exactly.
EXACT = fixed_window_refused(RATE, LIMIT)


TRAFFIC = {"arrivals": {"kind": "poisson", "rate_per_minute": RATE}, "holding": 1}


def a_minute(seed: int = 1) -> Study:
    throttle = {"policy": "sliding_window_admitted", "limit": LIMIT, "window_s": 86_400}
    return Study.model_validate(
        {"name": "t", "seed": seed, "duration_s": 60, "trunks": [{"traffic": TRAFFIC, "throttle": throttle}]}
    )


def test_shares_are_refused_calls_over_all_calls_not_a_mean_of_shares() -> None:
    found = replicate(a_minute(), replications=150)
    refused = found.estimates["refused_share"]
    assert abs(refused.mean - EXACT) < 4.5 * refused.standard_error
    shares, attempts = (np.array(found.samples[name]) for name in ("refused_share", "attempts"))
    assert refused.mean == pytest.approx(float(shares @ attempts / attempts.sum()))
    # The mean of the shares is another figure, and these repetitions are enough to tell.
    apart = (attempts / attempts.mean() - 1) * (shares - refused.mean)
    assert refused.mean - shares.mean() > 4.5 * np.std(apart, ddof=1) / math.sqrt(len(apart))


@pytest.mark.parametrize("repetitions", [16, 200])
def test_intervals_of_a_share_contain_the_exact_value_as_often_as_they_say(repetitions: int) -> None:
    random, intervals = np.random.default_rng(5), 1500
    contained = 0
    for _ in range(intervals):
        attempts = random.poisson(RATE, repetitions)
        shares = np.maximum(attempts - LIMIT, 0) / attempts
        samples, weights = {"refused_share": shares.tolist()}, {"refused_share": attempts.tolist()}
        refused = Replications(samples, weights, confidence=0.95, reached=True).estimates["refused_share"]
        contained += abs(refused.mean - EXACT) <= refused.half_width
    # With few repetitions of a share that is mostly 0, Student's t falls short: by 0.045 here. Of the intervals around
    # a plain mean of 200 shares 62 % contain the exact value.
    short = 0.045 if repetitions == 16 else 0.0
    assert abs(contained / intervals + short - 0.95) < 4.5 * math.sqrt(0.95 * 0.05 / intervals)


def test_counts_and_peaks_weigh_the_same_in_every_repetition() -> None:
    found = replicate(a_minute(), replications=10)
    values = np.array(found.samples["attempts"])
    attempts = found.estimates["attempts"]
    assert attempts.mean == pytest.approx(values.mean())
    assert attempts.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(10))
    assert "attempts" not in found.weights
    assert "peak_channels" not in found.weights


def test_precision_is_that_of_the_share_over_all_calls() -> None:
    found = replicate(a_minute(), precision=0.2)
    refused = found.estimates["refused_share"]
    assert found.reached
    assert refused.half_width <= 0.2 * refused.mean
    assert abs(refused.mean - EXACT) < 4.5 * refused.standard_error


def test_what_no_repetition_has_is_left_out() -> None:
    found = replicate(a_minute(), replications=3)
    # The simulator knows no jitter.
    assert "jitter_p95_ms" not in found.estimates
    assert "jitter_p95_ms" not in found.prediction_intervals


def test_runs_without_calls_weigh_nothing() -> None:
    seldom = a_minute().trunks[0].model_dump() | {
        "traffic": {"arrivals": {"kind": "poisson", "rate_per_minute": 0.5}, "holding": 1}
    }
    quiet = Study.model_validate({"name": "t", "seed": 1, "duration_s": 60, "trunks": [seldom]})
    found = replicate(quiet, replications=40)
    assert None in found.samples["asr"]
    answered = found.estimates["asr"]
    assert (answered.mean, answered.standard_error) == (1.0, 0.0)
    assert answered.repetitions == sum(value is not None for value in found.samples["asr"])


def test_whatever_has_fixed_windows_has_a_random_phase_within_the_longest() -> None:
    fixed, bucket = {"policy": "fixed_window", "window_s": 10}, {"policy": "token_bucket"}
    throttles = (
        fixed,
        bucket,
        {"policy": "tandem", "limits": [bucket, fixed | {"window_s": 1}, fixed]},
        {"policy": "penalty_box", "window": "fixed", "window_s": 5},
        {"policy": "penalty_box"},
    )
    trunks = [
        {"name": str(number), "customer_address": f"127.0.0.{number + 2}", "throttle": throttle, "traffic": TRAFFIC}
        for number, throttle in enumerate(throttles)
    ]
    study = Study.model_validate({"name": "t", "trunks": trunks})
    drawn = [random_anchors(study, seed) for seed in range(200)]
    assert {frozenset(anchors) for anchors in drawn} == {frozenset("023")}
    for name, window_s in (("0", 10), ("2", 10), ("3", 5)):
        phases = [-anchors[name] for anchors in drawn]
        assert 0 <= min(phases) < window_s / 20
        assert window_s * 19 / 20 < max(phases) < window_s


def test_a_prediction_interval_is_wider_than_the_confidence_interval_of_the_mean() -> None:
    found = replicate(a_minute(), replications=10)
    mean = found.estimates["refused_share"]
    low, high = found.confidence_intervals["refused_share"]
    assert (low, high) == pytest.approx((max(0.0, mean.mean - mean.half_width), mean.mean + mean.half_width))
    further = found.prediction_intervals["refused_share"]
    assert further[0] <= low < high < further[1]
    assert all(one[0] >= 0 for one in found.confidence_intervals.values())
