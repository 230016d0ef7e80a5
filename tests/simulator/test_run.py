"""Runs: batches equal the whole, stopping early, the stationary start, repetitions on any executor."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.kpis import KpiAccumulator, compute_kpis
from trunkproof.models.study import Study
from trunkproof.simulator.replicate import processes, replicate
from trunkproof.simulator.run import Start, simulate, simulate_in_batches
from trunkproof.simulator.standing import residual_times


def study(*, seed: int = 1, duration_s: float = 120, **pop: object) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 120},
        "holding": {"kind": "exponential", "mean_s": 20},
        "redial": {"probability": 0.5},
    }
    trunks = [{"traffic": traffic, "throttle": {"policy": "fixed_window", "limit": 40, "window_s": 30}}]
    return Study.model_validate({"name": "t", "seed": seed, "duration_s": duration_s, "pop": pop, "trunks": trunks})


def test_batches_equal_the_whole_and_name_how_far_they_are_complete() -> None:
    accumulator, batches = KpiAccumulator(), []

    def take(batch: pl.DataFrame, complete_until_s: float) -> None:
        batches.append((batch, complete_until_s))
        accumulator.add(batch, complete_until_s)

    simulate_in_batches(study(), take, batch=17)
    whole = simulate(study())
    assert len(batches) > 5
    assert pl.concat([batch for batch, _ in batches]).sort("intended_s", "row").equals(whole)
    assert accumulator.result().values == pytest.approx(compute_kpis(whole).values)
    for index, (_, complete_until_s) in enumerate(batches):
        later = [batch["intended_s"].min() for batch, _ in batches[index + 1 :] if batch.height]
        assert all(complete_until_s <= first for first in later if isinstance(first, float))


@pytest.mark.parametrize("start", list(Start))
def test_what_is_counted_may_be_said_for_either_start(start: Start) -> None:
    def handed_over(from_s: float | None) -> pl.DataFrame:
        batches: list[pl.DataFrame] = []
        simulate_in_batches(study(), lambda batch, _: batches.append(batch), start=start, counts_from_s=from_s)
        return pl.concat(batches).sort("intended_s", "row")

    seen = {from_s: handed_over(from_s) for from_s in (None, 0.0, 45.0)}
    assert seen[45.0].equals(seen[0.0].filter(pl.col("intended_s") >= 45))
    # The throttle remembers 30 s.
    by_default = 0.0 if start is Start.EMPTY else 30.0
    assert seen[None].equals(seen[0.0].filter(pl.col("intended_s") >= by_default))
    assert seen[0.0]["intended_s"].min() < 30


def test_what_has_not_ended_when_the_run_is_stopped_is_still_up() -> None:
    records = simulate(study(), until_s=60)
    up = records.filter(pl.col("disposition") == "still_up")
    assert up.height > 0
    assert (up["ended_s"] == 60).all()
    assert (records["intended_s"] <= 60).all()


def test_another_throttle_changes_no_caller() -> None:
    one = simulate(study()).filter(pl.col("attempt") == 0)
    trunk = study().trunks[0]
    throttle = trunk.throttle.model_copy(update={"limit": 10})
    other_study = study().model_copy(update={"trunks": (trunk.model_copy(update={"throttle": throttle}),)})
    other = simulate(other_study).filter(pl.col("attempt") == 0)
    assert one["intended_s"].equals(other["intended_s"])
    both = pl.col("disposition") == "completed"
    held = one.filter(both).join(other.filter(both), on="call", suffix="_other")
    assert held.height
    assert np.allclose(held["bye_s"] - held["answered_s"], held["bye_s_other"] - held["answered_s_other"])


def test_residual_times_have_their_renewal_mean() -> None:
    found = np.concatenate([residual_times(study(seed=seed), 0) for seed in range(60)])
    # Set-up 0.1 and ringing 2 s before an exponential 20: E[X²] / (2 E[X]).
    mean = (400 + 22.1**2) / (2 * 22.1)
    assert abs(found.mean() - mean) < 4.5 * found.std() / math.sqrt(len(found))


def test_a_stationary_start_has_no_warm_up() -> None:
    loss = study(duration_s=40, carrier={"channels": 40})
    trunk = loss.trunks[0].model_copy(update={"throttle": _unlimited()})
    loss = loss.model_copy(update={"trunks": (trunk,)})
    carried = []
    for seed in range(60):
        records = simulate(loss.model_copy(update={"seed": seed}), start=Start.STATIONARY, until_s=40)
        early = records.filter(pl.col("intended_s") < 5)
        carried.append(float((early["disposition"] == "no_channel").mean() or 0.0))
    # From an empty start nobody could be refused in the first seconds.
    assert np.mean(carried) > 0.05


def test_a_stationary_study_that_is_over_before_it_counts_is_refused() -> None:
    with pytest.raises(InputError, match="duration_s: a stationary start counts from 30 s on"):
        simulate(study(duration_s=30), start=Start.STATIONARY)


def _unlimited() -> object:
    open_study = {"name": "t", "trunks": [{"throttle": {"policy": "none"}, "traffic": _TRAFFIC}]}
    return Study.model_validate(open_study).trunks[0].throttle


_TRAFFIC = {"arrivals": {"kind": "poisson", "rate_per_minute": 60}, "holding": 1}


def test_repetitions_are_the_same_on_processes() -> None:
    serial = replicate(study(), replications=4)
    with processes(2) as executor:
        parallel = replicate(study(), replications=4, executor=executor)
    assert serial.samples == parallel.samples


def test_precision_asked_for_is_reached_or_owned_up_to() -> None:
    reached = replicate(study(), precision=0.2)
    estimate = reached.estimates["refused_share"]
    assert reached.reached
    assert estimate.half_width <= 0.2 * estimate.mean
    assert not replicate(study(), precision=0.001, most=10).reached


def test_refusals_that_no_repetition_saw_are_not_known_precisely() -> None:
    quiet = study(duration_s=10)
    found = replicate(quiet, precision=0.2, most=16)
    assert found.estimates["refused_share"].mean == 0
    assert found.repetitions == 16
    assert not found.reached


def test_intervals_hold_a_further_repetition_about_as_often_as_they_say() -> None:
    bounds = replicate(study(), replications=40).prediction_intervals["attempts"]
    others = replicate(study(seed=2), replications=60).samples["attempts"]
    inside = np.mean([bounds[0] <= value <= bounds[1] for value in others if value is not None])
    # 95 % asked; a binomial of 60 draws, and bounds that are themselves estimated from 40.
    assert inside > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 60)
