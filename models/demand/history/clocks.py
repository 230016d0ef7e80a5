"""Find and correct the offset between two clocks that have recorded the calls of one history.

Pairs of times in the wrong order reveal an offset. There are three kinds:

- The end of a row is before its start or answer: another clock has recorded the ends.
- Two recorders have the same call: the difference of its times is the offset.
- A caller's failed attempt in one recorder is *after* the answered one to the same callee in another recorder. People
  redial until they are answered, not afterwards. If the failed attempt is in recorder A and the answered one in B, the
  offset adds to the wait between them; the other way round it is subtracted. So half the difference of the two medians
  is the offset, however long people wait.

A recorder is a value of a column that names hosts, or a file where there are several.
"""

from __future__ import annotations

import math

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import FILE_STEP
from trunkproof.models.demand.history.statuses import STATUS
from trunkproof.models.demand.history.table import CallStatus

_FEWEST = 20
"""Least number of pairs from which an offset is computed: fewer may be chance."""
_FEWEST_WRONG = 0.005
"""A smaller share of pairs in the wrong order is taken for single bad rows."""
_SMALLEST_S = 3.0
"""A smaller offset is ignored: recorders round to seconds and write an instant a little late."""
_ALIKE_S = 2.0
_MOSTLY = 0.8
_REDIALLED_S = 900.0
_SIGMAS = 4.5
_RISE = 1.2
_LATEST_RISE_S = 45
"""Seconds for which a call rings, at most, before it counts as answered."""
_TIMES = ("start", "answered", "end")


def on_one_clock(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Correct all times to the clock of the starts, and to that of the recorder with the most rows."""
    frame = _between_recorders(frame, ledger)
    return _ends(frame, ledger)


def _shifted(frame: pl.DataFrame, which: pl.Expr, offset_s: float, columns: tuple[str, ...]) -> pl.DataFrame:
    moved = pl.duration(microseconds=round(offset_s * 1e6))
    return frame.with_columns(pl.when(which).then(pl.col(name) - moved).otherwise(name).alias(name) for name in columns)


def _seconds(first: str, last: str) -> pl.Expr:
    return (pl.col(last) - pl.col(first)).dt.total_microseconds() / 1e6


def _ends(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    wrong = ((pl.col("end") < pl.col("start")) | (pl.col("end") < pl.col("answered"))).fill_null(value=False)
    count = int(frame.select(wrong.sum()).item())
    known = int(frame["end"].is_not_null().sum())
    if count < _FEWEST or count < _FEWEST_WRONG * known:
        return frame
    offset_s = _by_duration(frame) or _by_shortest(frame)
    if offset_s is None:
        ledger.note_rows(
            "two_clocks",
            frame,
            wrong,
            what="ends are before starts",
            handled="the offset cannot be found: it differs from row to row",
        )
        return frame
    told = f"ends are {abs(offset_s):.0f} s too {'late' if offset_s > 0 else 'early'}"
    ledger.note_rows("two_clocks", frame, pl.col("end").is_not_null(), what=told, handled="ends are corrected by that")
    # If answer and end fit the stated talking time, the clock of the ends has recorded the answer too.
    talk = frame.select((_seconds("answered", "end") - pl.col("holding_s")).median()).item()
    with_answer = talk is not None and abs(talk) <= _ALIKE_S
    return _shifted(frame, pl.lit(value=True), offset_s, ("answered", "end") if with_answer else ("end",))


def _by_duration(frame: pl.DataFrame) -> float | None:
    """Return the offset where rows state how long the whole call was: end minus start minus that duration."""
    rest = frame.select(rest=_seconds("start", "end") - pl.col("duration_s")).to_series().drop_nulls()
    if rest.len() < _FEWEST:
        return None
    middle = float(rest.median())  # type: ignore[arg-type]
    alike = float(((rest - middle).abs() <= _ALIKE_S).mean() or 0.0)  # type: ignore[arg-type]
    return middle if alike >= _MOSTLY and abs(middle) >= _SMALLEST_S else None


def _by_shortest(frame: pl.DataFrame) -> float | None:
    """Return the offset where no duration is stated, if all ends are wrong by the same: the shortest calls take 0 s.

    If some of the ends were right, the number of calls would rise at a duration of 0, or of ringing. Where it rises,
    the offset cannot be told, and None is returned. That is also so where all ends are wrong but hardly any call is
    short.
    """
    begun = pl.coalesce("answered", "start")
    lengths = frame.filter(pl.col("status") == pl.lit(CallStatus.ANSWERED.value, dtype=STATUS)).select(
        s=(pl.col("end") - begun).dt.total_microseconds() / 1e6
    )
    values = lengths.to_series().drop_nulls()
    if values.len() < _FEWEST:
        return None
    offset_s = float(values.quantile(0.001) or 0.0)
    if offset_s > -_SMALLEST_S:
        return None
    width = min(-offset_s / 3, 10.0)
    for edge in range(0, _LATEST_RISE_S, 3):
        below = int(values.is_between(edge - width, edge, closed="left").sum())
        above = int(values.is_between(edge, edge + width, closed="left").sum())
        if above > _RISE * below + _SIGMAS * math.sqrt(above + below):
            return None
    return offset_s


def _between_recorders(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    by_file = "recorder" not in frame.columns
    recorder = pl.col("row") // FILE_STEP if by_file else pl.col("recorder").to_physical().cast(pl.Int64)
    sizes = frame.select(recorder=recorder).drop_nulls().to_series().value_counts(sort=True, name="rows")
    if not 2 <= sizes.height <= 50:
        return frame.drop("recorder", strict=False)
    frame = frame.with_columns(recorder=recorder)
    main, *others = sizes["recorder"].to_list()
    for other in others:
        both = frame.lazy().filter(pl.col("recorder").is_in([main, other]))
        offset_s = _by_identity(both, main) if "id" in frame.columns else None
        if offset_s is None:
            offset_s, wrong = _by_redials(both, main)
            if offset_s is None and wrong:
                what = f"{wrong:,} redials of one recorder are before the calls that they follow in another"
                handled = "the offset cannot be found: there are pairs of one direction only"
                ledger.note("two_clocks", wrong, what=what, handled=handled)
        if offset_s is not None and abs(offset_s) >= _SMALLEST_S:
            side = "ahead of" if offset_s > 0 else "behind"
            told = f"a recorder is {abs(offset_s):.0f} s {side} the one with the most rows"
            which = pl.col("recorder") == other
            ledger.note_rows("two_clocks", frame, which, what=told, handled="its times are corrected by that")
            frame = _shifted(frame, which.fill_null(value=False), offset_s, _TIMES)
    return frame.drop("recorder")


def _by_identity(both: pl.LazyFrame, main: int) -> float | None:
    """Return the offset from calls that both recorders have: the other's starts minus the main one's."""
    ids = both.filter(pl.col("id").is_not_null()).select("id", "start", "recorder")
    here = ids.filter(pl.col("recorder") == main).unique("id", keep="none")
    there = ids.filter(pl.col("recorder") != main).unique("id", keep="none")
    lags = here.join(there, on="id", suffix="_there").select(s=_seconds("start", "start_there")).collect().to_series()
    if lags.len() < _FEWEST:
        return None
    middle = float(lags.median())  # type: ignore[arg-type]
    alike = float(((lags - middle).abs() <= _ALIKE_S).mean() or 0.0)  # type: ignore[arg-type]
    return middle if alike >= _MOSTLY else None


def _by_redials(both: pl.LazyFrame, main: int) -> tuple[float | None, int]:
    """Return the offset from failed and answered attempts of one caller to one callee, and the pairs out of order."""
    answered = pl.col("status") == pl.lit(CallStatus.ANSWERED.value, dtype=STATUS)
    near = (
        both.filter(pl.col("caller").is_not_null() & pl.col("callee").is_not_null())
        .select("caller", "callee", "start", "recorder", answered=answered)
        .sort("caller", "callee", "start")
        .with_columns(
            same=(pl.col("caller") == pl.col("caller").shift()) & (pl.col("callee") == pl.col("callee").shift()),
            lag=_previous("start"),
            before=pl.col("recorder").shift(),
            was=pl.col("answered").shift(),
        )
        .filter(pl.col("same") & (pl.col("was") != pl.col("answered")) & (pl.col("lag") <= _REDIALLED_S))
        # From failure to answer; below zero where the answered attempt comes first.
        .select(
            s=pl.when("answered").then("lag").otherwise(-pl.col("lag")),
            failed_in=pl.when("answered").then("before").otherwise("recorder"),
            answered_in=pl.when("answered").then("recorder").otherwise("before"),
        )
        .collect()
    )
    across = near.filter(pl.col("failed_in") != pl.col("answered_in"))
    wrong = int((across["s"] < 0).sum())
    inside = near.filter(pl.col("failed_in") == pl.col("answered_in"))["s"]
    usual = float((inside < 0).mean() or 0.0) if inside.len() else 0.0  # type: ignore[arg-type]
    expected = usual * across.height
    if across.height < _FEWEST or wrong <= 2 * expected + _SIGMAS * math.sqrt(expected + 1):
        return None, 0
    ways = [across.filter((pl.col("failed_in") == main) == is_main)["s"] for is_main in (True, False)]
    if min(way.len() for way in ways) < _FEWEST:
        return None, wrong
    after, before = (float(way.median()) for way in ways)  # type: ignore[arg-type]
    offset_s = (after - before) / 2
    # A normal sample's median has a standard error of 1.25 sigma / sqrt(n), and its quartiles are 1.35 sigma apart: so
    # the error is about their distance / sqrt(n).
    spread = sum((float(way.quantile(0.75) or 0) - float(way.quantile(0.25) or 0)) ** 2 / way.len() for way in ways)
    return (offset_s, wrong) if abs(offset_s) > _SIGMAS * math.sqrt(spread) / 2 else (None, wrong)


def _previous(column: str) -> pl.Expr:
    return (pl.col(column) - pl.col(column).shift()).dt.total_microseconds() / 1e6
