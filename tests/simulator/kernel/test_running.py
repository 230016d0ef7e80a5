"""The compiled model by itself: memory stays flat, batches are handed over as asked, nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.models.columns import DISPOSITION_CODE
from trunkproof.models.errors import InputError
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study
from trunkproof.simulator.kernel.memory import Records
from trunkproof.simulator.kernel.running import Running
from trunkproof.simulator.run import Engine, Start, simulate, simulate_in_batches


def study(duration_s: float = 120.0, *, trunks: int = 1, **pop: object) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": {"kind": "exponential", "mean_s": 20},
        "redial": {"probability": 0.5},
    }
    throttle = {"policy": "fixed_window", "limit": 400}
    made = [
        {"name": f"t{k}", "customer_address": f"127.0.0.{k + 2}", "traffic": traffic, "throttle": throttle}
        for k in range(trunks)
    ]
    return Study.model_validate({"name": "t", "duration_s": duration_s, "pop": pop, "trunks": made})


@pytest.mark.parametrize("trunks", [1, 3])
def test_memory_is_that_of_the_calls_under_way_however_long_the_run(trunks: int) -> None:
    attempts = 0

    def count(records: Records, complete_until_s: float) -> None:
        nonlocal attempts
        attempts += len(records)

    runs = [Running(study(duration_s, trunks=trunks), count, batch=1000) for duration_s in (14_400.0, 72_000.0)]
    for run in runs:
        run.to_the_end()
    short, long = (run.room() for run in runs)
    assert attempts > 100_000
    # Calls under way differ by chance; places are doubled where they do not suffice.
    assert all(long[name] <= 2 * short[name] for name in short.keys() - {"records"})
    assert long["attempts"] < 2048 * trunks


def test_places_of_ended_calls_are_used_again_and_none_is_left_taken() -> None:
    run = Running(study(600.0), lambda records, complete_until_s: None)
    run.to_the_end()
    assert run.under_way == 0


def test_records_are_handed_over_in_batches_of_the_size_asked_for() -> None:
    sizes: list[int] = []
    Running(study(), lambda records, complete_until_s: sizes.append(len(records)), batch=100).to_the_end()
    assert set(sizes[:-1]) == {100}
    assert sizes[-1] < 100


def test_frames_keep_their_values_when_the_next_batch_comes() -> None:
    frames = []
    simulate_in_batches(study(), lambda frame, _: frames.append((frame, frame.clone().rows())), batch=1,
                        engine=Engine.KERNEL)  # fmt: skip
    assert all(frame.rows() == rows for frame, rows in frames[:50])


def test_what_simpy_refuses_is_refused() -> None:
    with pytest.raises(InputError, match="leaves no CPU"):
        simulate(study(machine={"quota": 1e-9, "calibration": "kamailio"}), engine=Engine.KERNEL)
    with pytest.raises(InputError, match="a stationary start counts from 60 s on"):
        simulate(study(30.0), start=Start.STATIONARY, engine=Engine.KERNEL)
    with pytest.raises(ValueError, match="cannot stop at 0"):
        simulate(study(), until_s=0, engine=Engine.KERNEL)


def test_a_month_under_way_can_be_stopped() -> None:
    seen: list[float] = []
    run = Running(study(30 * 86_400.0), lambda records, _: seen.extend(records["ended_s"]), until_s=60.0)
    run.to_the_end()
    assert np.max(seen) == 60.0


@pytest.mark.parametrize(
    "policy", ["fixed_window", "sliding_window_admitted", "sliding_window_attempts", "token_bucket"]
)
def test_a_week_of_calls_evenly_spaced_at_the_limit_is_not_refused(policy: str) -> None:
    # Inbound calls meet the throttle at their own instants, without a handshake before the first.
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 200}, "holding": 30, "inbound_share": 1}
    trunk = {"traffic": traffic, "throttle": {"policy": policy, "limit": 200}}
    week = Study.model_validate({"name": "t", "duration_s": 7 * 86_400, "trunks": [trunk]})
    counts = np.zeros(len(DISPOSITION_CODE), dtype=np.int64)

    def count(records: Records, _: float) -> None:
        counts[:] += np.bincount(records["disposition"], minlength=len(counts))

    Running(week, count).to_the_end()
    assert counts[DISPOSITION_CODE[Disposition.THROTTLED]] == 0
    assert counts[DISPOSITION_CODE[Disposition.COMPLETED]] == 7 * 1440 * 200
