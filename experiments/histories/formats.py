"""Write calls as a recorder does: the columns, words and times of each format. The telephone numbers are made up.

Source of Asterisk's and FreeSWITCH's columns: their documentation of cdr_csv and mod_cdr_csv (template `example`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from trunkproof.experiments.histories.calls import STATUSES
from trunkproof.experiments.histories.truth import Truth, TruthFormat
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.streams import uniforms

HAS_HEADING: dict[TruthFormat, bool] = {
    "operator": True,
    "columns": True,
    "counts": True,
    "asterisk": False,
    "freeswitch": False,
}
WRITTEN_AT_END = frozenset({"asterisk", "freeswitch"})
"""Formats whose recorder writes a row when the call ends, in that order. The others list calls by their beginning."""
UNPARSABLE = "0000-00-00 00:00:00"
_WORDS: dict[str, dict[CallStatus, str]] = {
    "operator": {
        CallStatus.ANSWERED: "completed",
        CallStatus.BUSY: "busy",
        CallStatus.NO_ANSWER: "no-answer",
        CallStatus.ABANDONED: "canceled",
        CallStatus.REFUSED: "failed",
        CallStatus.REJECTED: "failed",
    },
    "asterisk": {
        CallStatus.ANSWERED: "ANSWERED",
        CallStatus.BUSY: "BUSY",
        CallStatus.NO_ANSWER: "NO ANSWER",
        CallStatus.ABANDONED: "NO ANSWER",
        CallStatus.REFUSED: "CONGESTION",
        CallStatus.REJECTED: "FAILED",
    },
    "freeswitch": {
        CallStatus.ANSWERED: "NORMAL_CLEARING",
        CallStatus.BUSY: "USER_BUSY",
        CallStatus.NO_ANSWER: "NO_ANSWER",
        CallStatus.ABANDONED: "ORIGINATOR_CANCEL",
        CallStatus.REFUSED: "NORMAL_TEMPORARY_FAILURE",
        CallStatus.REJECTED: "CALL_REJECTED",
    },
    "columns": {status: status.value for status in CallStatus},
}


def numbers(truth: Truth, calls: pl.Series) -> pl.DataFrame:
    """Return the numbers `own` and `far` of each call, +91 and ten digits, and whether its caller is `withheld`.

    All attempts of a caller have the same two numbers. Two callers have the same far number in one of `far_numbers`
    pairs of callers.
    """
    if calls.is_empty():
        return pl.DataFrame(schema={"own": pl.String(), "far": pl.String(), "withheld": pl.Boolean()})
    rows = calls.to_numpy()
    start, count = int(rows.min()), int(rows.max() - rows.min()) + 1
    far = 7 * 10**9 + np.floor(uniforms(truth.seed, "history far", start=start, count=count) * truth.far_numbers)
    own = 2 * 10**9 + np.floor(uniforms(truth.seed, "history own", start=start, count=count) * truth.own_numbers)
    rows = rows - start
    withheld = uniforms(truth.seed, "history withheld", start=start, count=count) < truth.anonymous_share
    return pl.DataFrame({"own": _spelt(own[rows]), "far": _spelt(far[rows]), "withheld": withheld[rows]})


def _spelt(national: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pl.Series:
    return pl.select("+91" + pl.Series(national.astype(np.int64)).cast(pl.String)).to_series()


def written(truth: Truth, calls: pl.DataFrame, times: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the file in the order given. All values are text, or null where the recorder writes nothing.

    Args:
        truth: format and zone.
        calls: `call`, `attempt`, `status`, `code`, `inbound`, `own`, `far`, `withheld`.
        times: `start`, `answer`, `end`.
    """
    seconds = times.with_columns(pl.all().dt.truncate("1s"))
    stamps = seconds.select(_stamp(truth, name) for name in times.columns)
    lengths = seconds.select(
        duration=(pl.col("end") - pl.col("start")).dt.total_seconds(),
        talking=(pl.col("end") - pl.col("answer")).dt.total_seconds(),
    )
    whole = pl.concat([calls, stamps, lengths], how="horizontal")
    words = _WORDS[truth.format]
    far_first = pl.col("inbound")
    whole = whole.with_columns(
        word=pl.col("status").replace_strict(list(range(len(STATUSES))), [words[status] for status in STATUSES]),
        caller=pl.when("withheld").then(None).when(far_first).then("far").otherwise("own"),
        callee=pl.when(far_first).then("own").otherwise("far"),
        id=pl.format("{}{}", pl.col("call").cast(pl.String).str.zfill(10), pl.col("attempt")),
    )
    return whole.select(_COLUMNS[truth.format])


def _stamp(truth: Truth, name: str) -> pl.Expr:
    time = pl.col(name)
    if truth.times == "utc":
        return time.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%d %H:%M:%SZ")
    return time.dt.to_string("%Y-%m-%d %H:%M:%S" + ("%z" if truth.times == "offset" else ""))


def _constant(name: str, value: str) -> pl.Expr:
    return pl.lit(value).alias(name)


def _direction(inbound: str, outbound: str) -> pl.Expr:
    return pl.when("inbound").then(pl.lit(inbound)).otherwise(pl.lit(outbound))


_COLUMNS: dict[str, list[pl.Expr]] = {
    "operator": [
        pl.format("tp{}", "id").alias("Sid"),
        pl.col("caller").alias("From"),
        pl.col("callee").alias("To"),
        _direction("inbound", "outbound-api").alias("Direction"),
        pl.col("word").alias("Status"),
        pl.col("start").alias("StartTime"),
        pl.col("end").alias("EndTime"),
        pl.col("duration").alias("Duration"),
        pl.col("talking").alias("ConversationDuration"),
    ],
    "asterisk": [
        _constant("accountcode", "trunk"),
        pl.col("caller").alias("src"),
        pl.col("callee").alias("dst"),
        _direction("from-trunk", "to-trunk").alias("dcontext"),
        pl.format('"" <{}>', "caller").alias("clid"),
        pl.format("PJSIP/{}-{}", _direction("trunk", "agent"), "id").alias("channel"),
        pl.format("PJSIP/{}-{}", _direction("agent", "trunk"), "id").alias("dstchannel"),
        _constant("lastapp", "Dial"),
        pl.format("PJSIP/{}@{},60", "callee", _direction("agent", "trunk")).alias("lastdata"),
        pl.col("start"),
        pl.col("answer"),
        pl.col("end"),
        pl.col("duration"),
        pl.col("talking").fill_null(0).alias("billsec"),
        pl.col("word").alias("disposition"),
        _constant("amaflags", "DOCUMENTATION"),
        pl.format("trunk-{}", "id").alias("uniqueid"),
        _constant("userfield", ""),
    ],
    "freeswitch": [
        pl.col("caller").alias("caller_id_name"),
        pl.col("caller").alias("caller_id_number"),
        pl.col("callee").alias("destination_number"),
        _direction("public", "default").alias("context"),
        pl.col("start").alias("start_stamp"),
        pl.col("answer").alias("answer_stamp"),
        pl.col("end").alias("end_stamp"),
        pl.col("duration"),
        pl.col("talking").fill_null(0).alias("billsec"),
        pl.col("word").alias("hangup_cause"),
        pl.col("id").alias("uuid"),
        _constant("bleg_uuid", ""),
        _constant("accountcode", "trunk"),
        _constant("read_codec", "PCMA"),
        _constant("write_codec", "PCMA"),
    ],
    "columns": [
        pl.col("start").alias("began"),
        pl.col("answer").alias("answered"),
        pl.col("end").alias("ended"),
        pl.col("word").alias("result"),
        pl.col("code").alias("sip"),
        pl.col("caller"),
        pl.col("callee").alias("called"),
        _direction("inbound", "outbound").alias("direction"),
    ],
}
