"""Play a mechanism's days under the throttle of the time, and write them as the customer's file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from trunkproof.experiments.verification.review.enforced import Enforced
from trunkproof.experiments.verification.review.kernel import (
    ANSWERED,
    AT_S,
    CALL,
    ENDING,
    HOLD_S,
    RING_S,
    THROTTLED,
    UNLIMITED,
)
from trunkproof.experiments.verification.review.mechanism import Mechanism, Recording
from trunkproof.experiments.verification.review.traffic import Day
from trunkproof.models.arrays import FloatArray

DAY_S = 86_400.0
_WORDS = ["answered", "busy", "no_answer", "abandoned", "rejected", "refused", "refused"]
_CODES = [200, 486, 480, 487, 500, 503, 503]
_OPERATORS_WORDS = ["completed", "busy", "no-answer", "canceled", "failed", "failed", "failed"]
_FIRST_FAR, _FAR_NUMBERS = 7 * 10**9, 3 * 10**9
_OWN_NUMBERS = 40


def attempts(mechanism: Mechanism, enforced: Enforced, rng: np.random.Generator, channels: int) -> FloatArray:
    """Return every attempt of the history in the order of time, shape (attempts, 6).

    Columns are `kernel.AT_S` and those after it. Seconds count from midnight of the first day. Calls are numbered
    consecutively over all days.
    """
    days, calls = [], 0
    for number in range(mechanism.days):
        fresh_s = mechanism.traffic.instants(rng, Day.at(mechanism.first_day, number), 0.0, DAY_S)
        _, records = mechanism.callers.recorded(fresh_s, int(rng.integers(2**31)), enforced.on(number), channels)
        records[:, AT_S] += number * DAY_S
        records[:, CALL] += calls
        calls += len(fresh_s)
        days.append(records)
    whole = np.concatenate(days)
    return whole[np.argsort(whole[:, AT_S], kind="stable")]


def write_export(
    mechanism: Mechanism, enforced: Enforced, path: Path, rng: np.random.Generator, channels: int = UNLIMITED
) -> FloatArray:
    """Play the history and write it as CSV. Return all attempts that were made, refused ones too."""
    made = attempts(mechanism, enforced, rng, channels)
    table = _table(mechanism, made, rng)
    recording = mechanism.recording
    if not recording.shows_refusals:
        table = table.filter(pl.col("ending") < THROTTLED)
    if recording.duplicates:
        twice = pl.Series(rng.random(table.height) < recording.duplicates)
        table = pl.concat([table, table.filter(twice)])
    if recording.second_clock_s or recording.duplicates:
        table = table.sort("start", maintain_order=True)
    write = _as_operator if recording.form == "operator" else _as_columns
    write(table, recording).write_csv(path)
    return made


def _table(mechanism: Mechanism, made: FloatArray, rng: np.random.Generator) -> pl.DataFrame:
    """Return the attempts with telephone numbers, and with times as recorded, to the second."""
    recording = mechanism.recording
    call = made[:, CALL].astype(np.int64)
    callers = int(call.max(initial=0)) + 1
    far = _FIRST_FAR + rng.integers(0, _FAR_NUMBERS, callers)[call]
    own = 2 * 10**9 + rng.integers(0, _OWN_NUMBERS, callers)[call]
    withheld = (rng.random(callers) < recording.anonymous)[call]
    ahead_s = recording.second_clock_s * (rng.random(len(made)) < 0.5)
    midnight = datetime.combine(mechanism.first_day, datetime.min.time())
    start_s = made[:, AT_S] + ahead_s
    answer_s = start_s + made[:, RING_S]

    def instant(seconds: FloatArray) -> pl.Series:
        return (pl.Series(np.floor(seconds).astype(np.int64)) * 1_000_000).cast(pl.Duration("us")) + midnight

    ending = made[:, ENDING].astype(np.int64)
    return pl.DataFrame(
        {
            "id": np.arange(len(made)),
            "ending": ending,
            "start": instant(start_s),
            "answer": instant(answer_s),
            "end": instant(answer_s + made[:, HOLD_S]),
            "far": pl.Series(far).cast(pl.String),
            "own": pl.Series(own).cast(pl.String),
            "withheld": withheld,
            "ends_missing": rng.random(len(made)) < recording.missing_ends,
        }
    ).with_columns(
        answer=pl.when(pl.col("ending") == ANSWERED).then("answer"),
        end=pl.when(~pl.col("ends_missing")).then("end"),
        far=pl.when("withheld").then(pl.lit("anonymous")).otherwise(pl.format("+91{}", "far")),
        own=pl.format("+91{}", "own"),
    )


def _sides(recording: Recording) -> tuple[pl.Expr, pl.Expr]:
    """Return the columns of who calls and who is called."""
    return (pl.col("far"), pl.col("own")) if recording.is_inbound else (pl.col("own"), pl.col("far"))


def _worded(words: list[str] | list[int]) -> pl.Expr:
    return pl.col("ending").replace_strict(list(range(len(words))), words)


def _as_columns(table: pl.DataFrame, recording: Recording) -> pl.DataFrame:
    caller, called = _sides(recording)
    return table.select(
        began=_stamp("start"),
        answered=_stamp("answer"),
        ended=_stamp("end"),
        result=_worded(_WORDS),
        sip=_worded(_CODES),
        caller=caller,
        called=called,
        direction=pl.lit("inbound" if recording.is_inbound else "outbound"),
    )


COLUMNS = {
    "start": "began",
    "answered": "answered",
    "end": "ended",
    "status": "result",
    "code": "sip",
    "caller": "caller",
    "callee": "called",
    "direction": "direction",
}
"""The columns of the form `columns`, as a request names them."""


def _as_operator(table: pl.DataFrame, recording: Recording) -> pl.DataFrame:
    """Return the operator's columns: `DateCreated` is when a call was placed, `StartTime` when it was answered."""
    caller, called = _sides(recording)
    return table.select(
        CallSid=pl.format("c{}", pl.col("id").cast(pl.String).str.zfill(12)),
        DateCreated=_stamp("start"),
        From=caller,
        To=called,
        PhoneNumberSid=pl.col("own"),
        Direction=pl.lit("inbound" if recording.is_inbound else "outbound-api"),
        Status=_worded(_OPERATORS_WORDS),
        StartTime=_stamp("answer"),
        EndTime=_stamp("end"),
        Duration=(pl.col("end") - pl.col("start")).dt.total_seconds(),
        ConversationDuration=(pl.col("end") - pl.col("answer")).dt.total_seconds(),
        Price=pl.lit("0.50"),
    )


def _stamp(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string("%Y-%m-%d %H:%M:%S")
