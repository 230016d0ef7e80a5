"""Find the longest time in which a trunk stood still: attempts waited for a first response, and none came to anybody.

A trunk that stops for some seconds still gives every call its right end. So this is looked at by itself. The figure is
compared with the prediction's own, because with few calls, or a carrier that rings late, waiting is usual.
"""

from __future__ import annotations

import numpy as np
import polars as pl


def longest_stall_s(records: pl.DataFrame) -> float:
    """Return the longest such time in seconds; 0 without responses.

    Attempts that nobody ever answered are left out: they are timeouts of the caller, and differ by their disposition.
    """
    first = pl.coalesce("ringing_s", "answered_s", pl.when(pl.col("status").is_not_null()).then("ended_s"))
    waits = records.select("sent_s", response_s=first).drop_nulls().sort("response_s")
    if waits.is_empty():
        return 0.0
    response_s = waits["response_s"].to_numpy()
    # The attempt that has waited longest of those that are answered at this response or later.
    waiting_since_s = np.minimum.accumulate(waits["sent_s"].to_numpy()[::-1])[::-1]
    before_s = np.append(-np.inf, response_s[:-1])
    return max(0.0, float((response_s - np.maximum(before_s, waiting_since_s)).max()))
