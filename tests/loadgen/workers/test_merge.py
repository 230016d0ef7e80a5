"""However a run's records and measurements are split among workers, put together they are what they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.loadgen.workers.merge import merge, merge_measurements
from trunkproof.loadgen.workers.placer import LostWorker, PlacedCalls
from trunkproof.models.records import Direction, Disposition, Record, to_frame

SECONDS = st.lists(st.floats(0, 0.3), max_size=60)
LOST = LostWorker("worker 2", 1.5, "killed by SIGKILL", 7)
WORKERS = 4
OWNERS = st.integers(0, WORKERS - 1)


def record(row: int, intended_s: float) -> Record:
    return Record(
        row=row,
        call=row,
        attempt=0,
        trunk="t",
        direction=Direction.OUTBOUND,
        disposition=list(Disposition)[row % len(Disposition)],
        intended_s=intended_s,
    )


def part(rows: list[Record], measured: Measurements, heard: tuple[int, int] = (0, 0)) -> PlacedCalls:
    return PlacedCalls(to_frame(sorted(rows, key=lambda one: (one.intended_s, one.row))), measured, Heard(*heard))


@given(
    st.lists(st.tuples(st.floats(0, 3), OWNERS), max_size=60),
    st.lists(st.tuples(st.floats(0, 0.3), OWNERS), max_size=60),
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 90), st.integers(0, 2), st.integers(0, 99)), min_size=4, max_size=4
    ),
)
def test_split_and_merged_is_unsplit(
    calls: list[tuple[float, int]], lags: list[tuple[float, int]], own: list[tuple[float, float, int, int]]
) -> None:
    records = [record(row, intended_s) for row, (intended_s, _) in enumerate(calls)]
    # Lateness goes with the attempt that was late.
    late_s = [intended_s / 20 for intended_s, _ in calls]
    cpu, media_ms, never, packets = zip(*own, strict=True)
    whole = part(
        records,
        Measurements(
            lateness_s=late_s,
            loop_lag_s=[lag_s for lag_s, _ in lags],
            cpu_share=max(cpu),
            media_lateness_p99_ms=max(media_ms),
            never_placed=sum(never),
            workers=WORKERS,
        ),
        (sum(packets), sum(packets)),
    )
    parts = [
        part(
            [one for one, (_, owner) in zip(records, calls, strict=True) if owner == worker],
            Measurements(
                lateness_s=[late for late, (_, owner) in zip(late_s, calls, strict=True) if owner == worker],
                loop_lag_s=np.array([lag_s for lag_s, owner in lags if owner == worker]),
                cpu_share=cpu[worker],
                media_lateness_p99_ms=media_ms[worker],
                never_placed=never[worker],
            ),
            (packets[worker], packets[worker]),
        )
        for worker in range(WORKERS)
    ]
    merged = merge(parts, cores=WORKERS)
    assert_frame_equal(merged.records, whole.records)
    assert judge(merged.measured) == judge(whole.measured)
    assert merged.heard == whole.heard
    assert merged.lost == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 6))
def test_workers_that_share_a_core_are_judged_by_what_is_on_it(shares: list[float], cores: int) -> None:
    merged = merge_measurements([Measurements(cpu_share=share) for share in shares], cores=cores)
    assert merged.cpu_share >= max(shares)
    assert merged.workers == len(shares)
    if len(shares) <= cores:
        assert merged.cpu_share == max(shares)
    else:
        assert merged.cpu_share == pytest.approx(max(*shares, sum(shares) / cores))


def test_one_attempt_twice_is_a_bug() -> None:
    twice = part([record(7, 1.0)], Measurements())
    with pytest.raises(RuntimeError, match="same attempt"):
        merge([twice, twice], cores=2)


def test_what_was_lost_is_kept() -> None:
    whole = part([record(1, 0.0)], Measurements())
    gone = PlacedCalls(to_frame([]), Measurements(), Heard(), lost=(LOST,))
    merged = merge([whole, gone], cores=2)
    assert merged.lost == (LOST,)
    assert merged.records.height == 1
