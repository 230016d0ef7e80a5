"""Merge the results of several workers as if one process had measured them. Reads no files.

Records and instants are joined. Counts are added. Of figures that each worker has for itself, the worst is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from trunkproof.loadgen.bugs import merged
from trunkproof.loadgen.parties.audio import heard_together
from trunkproof.loadgen.verdict import Measurements
from trunkproof.loadgen.workers.placer import RECORD_ORDER, PlacedCalls


def merge(parts: Sequence[PlacedCalls], *, cores: int) -> PlacedCalls:
    """Return the results of all workers as one, in the order in which one process would have had them.

    Args:
        parts: the results, of at least one worker.
        cores: how many cores the workers could use.

    Raises:
        RuntimeError: two workers have a record of the same attempt. It is a bug of ours.
    """
    records = pl.concat([part.records for part in parts]).sort(RECORD_ORDER)
    # Counted twice, an attempt would make the trunk look busier than it was.
    if not records["row"].is_unique().all():
        raise RuntimeError("two workers placed the same attempt")
    return PlacedCalls(
        records=records,
        measured=merge_measurements([part.measured for part in parts], cores=cores),
        heard=heard_together(part.heard for part in parts),
        lost=tuple(worker for part in parts for worker in part.lost),
        bugs=merged(part.bugs for part in parts),
        keys={row: keys for part in parts for row, keys in part.keys.items()},
    )


def merge_measurements(parts: Sequence[Measurements], *, cores: int) -> Measurements:
    """Return the health of all workers together.

    - Lateness and loop lag: of all instants of all workers.
    - CPU share: the worst worker's. Where there are more workers than cores, the mean load of a core if that is worse.
    - Lateness of audio: the worst worker's. Within a worker it is the worst customer's.
    """
    shares = [part.cpu_share for part in parts]
    return Measurements(
        # All instants and not a mean of percentiles, which would be no percentile.
        lateness_s=np.concatenate([np.asarray(part.lateness_s, dtype=float) for part in parts]),
        loop_lag_s=np.concatenate([np.asarray(part.loop_lag_s, dtype=float) for part in parts]),
        # With more workers than cores, each may be at half a core and the machine still be full.
        cpu_share=max(*shares, sum(shares) / cores) if len(shares) > cores else max(shares),
        media_lateness_p99_ms=max(part.media_lateness_p99_ms for part in parts),
        never_placed=sum(part.never_placed for part in parts),
        workers=sum(part.workers for part in parts),
    )
