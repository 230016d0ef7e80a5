"""Count how admitted attempts ended: shares of busy, no answer, abandoned, and of each rejection's code.

Also count the share of short calls among the answered ones, and the share of inbound calls.
"""

from __future__ import annotations

import polars as pl

from trunkproof.models.demand.fitting.result import Ranged, proportion
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.traffic import Outcomes, Rejection

SHORT_S = 6.0
_MEANING = {480: "no_answer", 408: "no_answer", 486: "busy", 600: "busy", 487: "abandoned"}
_NO_CODE = 500
"""Status of a rejection without one in the history: 500, a failure of no stated kind (RFC 3261, section 21.5.1)."""
_MOST_CODES = 8


def fit_outcomes(calls: pl.DataFrame) -> Outcomes:
    """Return the shares among the attempts that were not refused."""
    passed = calls.filter(pl.col("status") != CallStatus.REFUSED.value)
    if passed.is_empty():
        return Outcomes()
    counts: dict[str | int, int] = {}
    for status, code, count in passed.group_by("status", "code").len().rows():
        key = _key(status, code)
        counts[key] = counts.get(key, 0) + count
    share = {key: count / passed.height for key, count in counts.items()}
    codes = sorted((key for key in share if isinstance(key, int)), key=lambda code: (-share[code], code))
    # Rare codes go to the most frequent one: dropped, their calls would count as answered.
    merged = sum(share[code] for code in codes[_MOST_CODES:])
    rejected = tuple(
        Rejection(status=code, share=share[code] + (merged if place == 0 else 0.0))
        for place, code in enumerate(codes[:_MOST_CODES])
    )
    return Outcomes(
        busy=share.get("busy", 0.0),
        no_answer=share.get("no_answer", 0.0),
        abandoned=share.get("abandoned", 0.0),
        rejected=rejected,
    )


def _key(status: str, code: int | None) -> str | int:
    if status != CallStatus.REJECTED.value:
        return status
    # A rejection with the code of a success or a provisional response is a recorder's mistake.
    if code is None or not 400 <= code <= 699:
        return _NO_CODE
    # `rejected` with the code of a busy line is a busy line: codes are more exact than words.
    return _MEANING.get(code, code)


def short_share(calls: pl.DataFrame, short_s: float = SHORT_S) -> Ranged | None:
    """Return the share of calls shorter than `short_s` among answered calls of known duration; None without any."""
    held = calls.filter(pl.col("status") == CallStatus.ANSWERED.value)["holding_s"].drop_nulls()
    if held.is_empty():
        return None
    short = int((held < short_s).sum())
    return Ranged(short / held.len(), *proportion(short, held.len() - short))


def inbound_share(calls: pl.DataFrame) -> float:
    """Return the share of inbound calls among all attempts."""
    return float((calls["direction"] == "inbound").mean() or 0.0) if calls.height else 0.0  # type: ignore[arg-type]
