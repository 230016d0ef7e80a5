"""The attempts that customers would make if nothing were refused: fresh calls, and redials after calls that failed.

All are drawn at once, on arrays. `experiments.histories.admission` applies the throttle to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkproof.experiments.histories.truth import Truth
from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.rates import arrival_chunks
from trunkproof.models.records import Disposition
from trunkproof.models.streams import uniforms
from trunkproof.models.traffic import Outcomes

STATUSES = tuple(CallStatus)
"""The column `status` of a table of attempts is an index into this."""
REFUSED = STATUSES.index(CallStatus.REFUSED)
ANSWERED = STATUSES.index(CallStatus.ANSWERED)
_DISPOSITIONS = {
    CallStatus.ANSWERED: Disposition.COMPLETED,
    CallStatus.BUSY: Disposition.BUSY,
    CallStatus.NO_ANSWER: Disposition.NO_ANSWER,
    CallStatus.ABANDONED: Disposition.ABANDONED,
    CallStatus.REFUSED: Disposition.THROTTLED,
    CallStatus.REJECTED: Disposition.CARRIER_REJECTED,
}
_CALLS_PER_CHUNK = 1_048_576


def began(truth: Truth) -> datetime:
    """Return midnight of the first day, with its zone."""
    return datetime.combine(truth.first_day, time(), ZoneInfo(truth.timezone))


def duration_s(truth: Truth) -> float:
    """Return the real seconds from midnight of the first day to midnight after the last."""
    after = datetime.combine(truth.first_day + timedelta(days=truth.days), time(), ZoneInfo(truth.timezone))
    return after.timestamp() - began(truth).timestamp()


def redial_chances(truth: Truth, attempt: int) -> FloatArray:
    """Return the probability of a redial after attempt number `attempt`, by how it ended (index of `STATUSES`)."""
    return np.array([truth.redial.chance(_DISPOSITIONS[status], attempt) for status in STATUSES])


def fresh_instants(truth: Truth) -> FloatArray:
    """Return the instants of fresh calls in seconds after midnight of the first day, ascending.

    Rates go by the wall clock. On a day on which daylight saving begins or ends, the hours before and after the change
    have separate busyness factors.
    """
    parts = [
        start_s + instants
        for number, (start_s, end_s, local) in enumerate(_even_spans(truth))
        for instants in arrival_chunks(
            truth.arrivals(local.weekday(), local.hour + local.minute / 60),
            end_s - start_s,
            truth.seed,
            number,
            _CALLS_PER_CHUNK,
        )
    ]
    return np.concatenate(parts)


def _even_spans(truth: Truth) -> Iterator[tuple[float, float, datetime]]:
    """Yield spans without a change of the clock: begin and end in seconds, and the wall clock at the beginning."""
    zone, first, total = ZoneInfo(truth.timezone), began(truth).timestamp(), duration_s(truth)
    quarters = np.append(np.arange(0.0, total, 900.0), total)
    walls = [datetime.fromtimestamp(first + at, zone) for at in quarters]
    offsets = [wall.utcoffset() for wall in walls]
    changes = [index for index in range(1, len(walls) - 1) if offsets[index] != offsets[index - 1]]
    for begin, end in zip([0, *changes], [*changes, len(walls) - 1], strict=True):
        yield float(quarters[begin]), float(quarters[end]), walls[begin]


@dataclass(frozen=True, eq=False)
class Drawn:
    """How admitted attempts end: arrays with one entry per attempt."""

    status: NDArray[np.int8]
    code: NDArray[np.int16]
    ring_s: FloatArray


def draw_endings(truth: Truth, attempt: int, count: int, *, start: int = 0) -> Drawn:
    """Draw endings for `count` attempts from the streams of that attempt number."""

    def uniform(purpose: str) -> FloatArray:
        return uniforms(truth.seed, f"history {purpose}", attempt, start=start, count=count)

    status, code = _endings(truth.outcomes, uniform("outcome"))
    rings = np.isin(status, [ANSWERED, STATUSES.index(CallStatus.NO_ANSWER)])
    abandoned = status == STATUSES.index(CallStatus.ABANDONED)
    ring_s = np.zeros(count)
    ring_s[rings] = truth.ringing.quantile(uniform("ringing")[rings])
    ring_s[abandoned] = truth.patience.quantile(uniform("patience")[abandoned])
    return Drawn(status, code, ring_s)


def _endings(mix: Outcomes, draws: FloatArray) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    kinds = [
        (CallStatus.BUSY, 486, mix.busy),
        (CallStatus.NO_ANSWER, 480, mix.no_answer),
        (CallStatus.ABANDONED, 487, mix.abandoned),
        *((CallStatus.REJECTED, part.status, part.share) for part in mix.rejected),
        (CallStatus.ANSWERED, 200, 1.0),
    ]
    chosen = np.searchsorted(np.cumsum([share for _, _, share in kinds[:-1]]), draws, side="right")
    statuses = np.array([STATUSES.index(status) for status, _, _ in kinds], dtype=np.int8)
    return statuses[chosen], np.array([code for _, code, _ in kinds], dtype=np.int16)[chosen]


def unrefused_attempts(truth: Truth, instants: FloatArray) -> pl.DataFrame:
    """Return every attempt that is made if nothing is refused, in the order of time.

    Columns are `call` (index of the fresh call), `attempt`, `at_s`, `status`, `code` and `ring_s`.
    """
    redial = truth.redial
    calls, at_s, parts = np.arange(len(instants)), instants, []
    for attempt in range(redial.attempts):
        drawn = draw_endings(truth, attempt, len(calls))
        parts.append(_table(calls, attempt, at_s, drawn))
        willing = _uniform(truth, "redial", attempt, len(calls)) < redial_chances(truth, attempt)[drawn.status]
        if not willing.any():
            break
        wait_s = redial.delay.quantile(_uniform(truth, "redial delay", attempt, len(calls))[willing])
        calls, at_s = calls[willing], at_s[willing] + drawn.ring_s[willing] + wait_s
    return pl.concat(parts).filter(pl.col("at_s") < duration_s(truth)).sort("at_s", "call")


def _uniform(truth: Truth, purpose: str, attempt: int, count: int) -> FloatArray:
    return uniforms(truth.seed, f"history {purpose}", attempt, start=0, count=count)


def _table(calls: IntArray, attempt: int, at_s: FloatArray, drawn: Drawn) -> pl.DataFrame:
    columns = {
        "call": calls.astype(np.int64),
        "attempt": np.full(len(calls), attempt, dtype=np.int8),
        "at_s": at_s,
        "status": drawn.status,
        "code": drawn.code,
        "ring_s": drawn.ring_s,
    }
    return pl.DataFrame(columns)
