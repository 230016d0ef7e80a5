"""Write a call history whose truth is known: demand, throttle, redials, and defects of the file.

Everything is drawn on arrays, except in the minutes in which the throttle may refuse. This is not the model of a trunk:
neither channels nor CPU limit anything here.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import polars as pl

from trunkproof.experiments.histories.admission import admit
from trunkproof.experiments.histories.calls import (
    ANSWERED,
    REFUSED,
    began,
    duration_s,
    fresh_instants,
    unrefused_attempts,
)
from trunkproof.experiments.histories.defects import Chosen, choose, spoil
from trunkproof.experiments.histories.formats import HAS_HEADING, UNPARSABLE, WRITTEN_AT_END, numbers, written
from trunkproof.experiments.histories.truth import Truth
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.streams import uniforms

Progress = Callable[[float, str], None]
_START = {"operator": "StartTime", "asterisk": "start", "freeswitch": "start_stamp", "columns": "began"}
_ROWS_AT_ONCE = 500_000
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Generated:
    """What was written, and the truth behind it."""

    path: str
    rows: int
    size_bytes: int
    fresh_calls: int
    attempts: int
    """Attempts made; rows that a defect writes twice count once."""
    refused: int
    redials: int
    customers_lost: int
    """Callers whose last attempt was refused."""
    mean_hold_s: float | None
    """Mean of the answered calls, as drawn."""
    defects: Mapping[str, int]
    """Number of wrong rows of each kind."""
    truth: Mapping[str, Any]
    """The figures that a review has to find again."""

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


def generate(truth: Truth, path: Path, progress: Progress = lambda share, words: None) -> Generated:
    """Draw a history from its truth, and write it in the form that `path`'s ending says: .csv, .csv.gz or .parquet.

    Raises:
        InputError: `path` has another ending or cannot be written to, or the truth asks for more wrong rows than there
            are calls.
    """
    _check(path)
    progress(0.0, "drawing calls")
    attempts = made_attempts(truth, progress)
    progress(0.5, "writing")
    if truth.format == "counts":
        tables, defects = iter([_counted(truth, attempts)]), {}
    else:
        attempts = _in_order(truth, attempts)
        chosen = choose(truth, attempts)
        tables, defects = _tables(truth, attempts, chosen), chosen.counts() | _repeated_hours(truth, attempts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _write(tables, path, heading=HAS_HEADING[truth.format])
    except OSError as error:
        raise InputError(str(path), [Problem(where="--out", what=f"cannot be written ({error.strerror})")]) from error
    progress(1.0, "done")
    return _summary(truth, path, rows, attempts, defects)


def _check(path: Path) -> None:
    if not path.name.endswith(_SUFFIXES):
        raise InputError(str(path), [Problem(where="--out", what=f"must end in {', '.join(_SUFFIXES)}")])


def made_attempts(truth: Truth, progress: Progress = lambda share, words: None) -> pl.DataFrame:
    """Return every attempt of the history, in the order of time.

    Columns are `call` (index of the fresh call), `attempt` (0 for the fresh call), `at_s` (after midnight of the first
    day), `status` (index of `STATUSES`), `code`, `ring_s`, `inbound` and `hold_s`.
    """
    instants = fresh_instants(truth)
    is_inbound = uniforms(truth.seed, "history direction", start=0, count=len(instants)) < truth.inbound_share
    wanted = unrefused_attempts(truth, instants)
    progress(0.2, "asking the throttle")
    asked = wanted["call"].to_numpy()
    counted = np.ones(wanted.height, dtype=np.bool_) if truth.throttle.counts == "both" else ~is_inbound[asked]
    made = pl.concat([admit(truth, wanted.filter(counted)), wanted.filter(~counted)]).sort("at_s", "call")
    hold_s = np.zeros(made.height)
    answered = made["status"].to_numpy() == ANSWERED
    draws = uniforms(truth.seed, "history holding", start=0, count=int(answered.sum()))
    hold_s[answered] = truth.holding.quantile(draws)
    return made.with_columns(inbound=pl.Series(is_inbound[made["call"].to_numpy()]), hold_s=pl.Series(hold_s))


def _in_order(truth: Truth, attempts: pl.DataFrame) -> pl.DataFrame:
    """Return attempts in the order in which the recorder writes them."""
    if truth.format not in WRITTEN_AT_END:
        return attempts
    return attempts.sort(pl.col("at_s") + pl.col("ring_s") + pl.col("hold_s"), maintain_order=True)


def _tables(truth: Truth, attempts: pl.DataFrame, chosen: Chosen) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file of calls in pieces, because text takes far more memory than numbers."""
    for start in range(0, max(1, attempts.height), _ROWS_AT_ONCE):
        piece = attempts[start : start + _ROWS_AT_ONCE]
        yield _table(truth, piece, chosen.part(start, piece.height))


def _table(truth: Truth, attempts: pl.DataFrame, chosen: Chosen) -> pl.DataFrame:
    times = spoil(truth, _times(truth, attempts), chosen)
    calls = pl.concat([attempts, numbers(truth, attempts["call"])], how="horizontal")
    start, unparsable = _START[truth.format], pl.Series(chosen.rows["unparsable"])
    table = written(truth, calls, times)
    table = table.with_columns(pl.when(unparsable).then(pl.lit(UNPARSABLE)).otherwise(pl.col(start)).alias(start))
    twice = chosen.rows["duplicate"]
    return table[np.repeat(np.arange(table.height), 1 + twice)] if twice.any() else table


def _times(truth: Truth, attempts: pl.DataFrame) -> pl.DataFrame:
    """Return when calls began, were answered and ended, in the zone of the truth."""
    first_us = round(began(truth).timestamp() * 1e6)
    start = pl.col("at_s")
    answer = start + pl.col("ring_s")

    def instant(seconds: pl.Expr) -> pl.Expr:
        since_epoch = (seconds * 1e6).round().cast(pl.Int64) + first_us
        return since_epoch.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(truth.timezone)

    return attempts.select(
        start=instant(start),
        answer=pl.when(pl.col("status") == ANSWERED).then(instant(answer)),
        end=instant(answer + pl.col("hold_s")),
    )


def _repeated_hours(truth: Truth, attempts: pl.DataFrame) -> dict[str, int]:
    """Count attempts whose wall clock, without an offset, may mean either of two instants."""
    if truth.times != "local":
        return {"ambiguous_time": 0}
    starts = _times(truth, attempts)["start"]
    wall = starts.dt.replace_time_zone(None)
    early, late = (wall.dt.replace_time_zone(truth.timezone, ambiguous=which) for which in ("earliest", "latest"))
    return {"ambiguous_time": int((early != late).sum())}


def _counted(truth: Truth, attempts: pl.DataFrame) -> pl.DataFrame:
    intervals = int(np.ceil(duration_s(truth) / truth.interval_s))
    number = (attempts["at_s"].to_numpy() // truth.interval_s).astype(np.int64)
    refused = attempts["status"].to_numpy() == REFUSED
    first_us = round(began(truth).timestamp() * 1e6)
    at_us = first_us + np.round(np.arange(intervals) * truth.interval_s * 1e6).astype(np.int64)
    start = pl.Series(at_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(truth.timezone)
    return pl.DataFrame(
        {
            "start": start.dt.to_string("%Y-%m-%d %H:%M:%S"),
            "calls": np.bincount(number, minlength=intervals),
            "refused": np.bincount(number[refused], minlength=intervals),
        }
    )


def _write(tables: Iterator[pl.DataFrame], path: Path, *, heading: bool) -> int:
    """Write tables one after the other. Return the number of rows."""
    if path.name.endswith(".parquet"):
        whole = pl.concat(tables)
        whole.write_parquet(path)
        return whole.height
    with path.open("wb") as raw:
        if not path.name.endswith(".gz"):
            return _append(tables, raw, heading=heading)
        # No name and no time in the header: so the same rows make the same file.
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
            return _append(tables, cast("IO[bytes]", packed), heading=heading)


def _append(tables: Iterator[pl.DataFrame], file: IO[bytes], *, heading: bool) -> int:
    rows = 0
    for number, table in enumerate(tables):
        table.write_csv(file, include_header=heading and number == 0)
        rows += table.height
    return rows


def _summary(truth: Truth, path: Path, rows: int, attempts: pl.DataFrame, defects: Mapping[str, int]) -> Generated:
    refused = attempts["status"] == REFUSED
    last = attempts.group_by("call").agg(pl.col("status").sort_by("attempt").last())
    return Generated(
        path=str(path),
        rows=rows,
        size_bytes=path.stat().st_size,
        fresh_calls=int((attempts["attempt"] == 0).sum()),
        attempts=attempts.height,
        refused=int(refused.sum()),
        redials=int((attempts["attempt"] > 0).sum()),
        customers_lost=int((last["status"] == REFUSED).sum()),
        mean_hold_s=_mean_hold(attempts),
        defects=dict(defects),
        truth=truth.figures(),
    )


def _mean_hold(attempts: pl.DataFrame) -> float | None:
    held = attempts.filter(pl.col("status") == ANSWERED)["hold_s"]
    return float(held.mean()) if len(held) else None  # type: ignore[arg-type]
