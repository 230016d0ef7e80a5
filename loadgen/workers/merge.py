"""What several workers measured, put together as if one had: records, health, packets. It reads no files.

Nothing is averaged: records and instants are joined, counts are added, and of what is one worker's own the worst stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements
from trunkproof.loadgen.workers.placer import RECORD_ORDER, PlacedCalls


def merge(parts: Sequence[PlacedCalls], *, cores: int) -> PlacedCalls:
    """Return one of all: the same records, in the same order, and the same figures as one process would have had.

    Args:
        parts: at least one.
        cores: how many cores the workers could use; see `merge_measurements`.

    Raises:
        RuntimeError: two parts have a record of one attempt, which is a bug of ours.
    """
    records = pl.concat([part.records for part in parts]).sort(RECORD_ORDER)
    if not records["row"].is_unique().all():
        raise RuntimeError("two workers placed the same attempt")
    return PlacedCalls(
        records=records,
        measured=merge_measurements([part.measured for part in parts], cores=cores),
        heard=Heard(sum(part.heard.received for part in parts), sum(part.heard.authenticated for part in parts)),
        lost=tuple(worker for part in parts for worker in part.lost),
    )


def merge_measurements(parts: Sequence[Measurements], *, cores: int) -> Measurements:
    """The health of all workers together.

    Lateness and loop lag are judged over the union of all instants. The CPU share is the worst worker's; but where
    there are more workers than cores, they share those, and it is the mean load of a core if that is worse. The audio's
    lateness is the worst worker's, as it is the worst customer's within one.
    """
    shares = [part.cpu_share for part in parts]
    return Measurements(
        lateness_s=np.concatenate([np.asarray(part.lateness_s, dtype=float) for part in parts]),
        loop_lag_s=np.concatenate([np.asarray(part.loop_lag_s, dtype=float) for part in parts]),
        cpu_share=max(*shares, sum(shares) / cores) if len(shares) > cores else max(shares),
        media_lateness_p99_ms=max(part.media_lateness_p99_ms for part in parts),
        never_placed=sum(part.never_placed for part in parts),
        workers=sum(part.workers for part in parts),
    )
