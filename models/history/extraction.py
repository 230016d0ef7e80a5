"""Scans a file of calls once, as a stream, into one compact table: instants, durations, statuses, masked numbers.

Every row of the file is a row of it, whatever is wrong with it; cleaning is `models.history.cleaning`.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from models.errors import InputError, Problem
from models.history import times
from models.history.formats import Layout
from models.history.masking import Mask
from models.history.oddities import Ledger
from models.history.opening import Opened, unreadable
from models.history.settings import HistorySettings
from models.history.statuses import by_code, by_word, vocabulary

DIRECTION = pl.Enum(["outbound", "inbound", "other"])
METHOD = pl.Enum(["INVITE", "BYE", "other"])
TIMES = ("start", "answered", "end")
_WAYS = {
    "inbound": """inbound incoming in terminating termination mt ingress trunking-terminating inbound-dial
        inbound-api""",
    "outbound": """outbound outgoing out originating origination mo egress trunking-originating outbound-dial
        outbound-api outbound_dial outbound_api""",
}
_FROM_OUTSIDE = r"(?i)^(public|.*(incoming|inbound)|from-(trunk|pstn|did|digital|zaptel|outside|carrier|sip-external))"
"""Dialplan contexts in which calls from a carrier begin, as Asterisk, FreePBX and FreeSWITCH name them."""


def extract(opened: Opened, layout: Layout, settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    """The compact table: `row`, `start` and, as far as the file has them, `answered`, `end`, `duration_s`,
    `holding_s`, `status`, `code`, `direction`, `caller`, `callee`, `id`, `leg`, `method`.

    Raises:
        InputError: no start can be read, or the file is damaged further on.
    """
    forms = time_forms(opened, layout, ledger)
    mask = Mask()
    columns = [
        *_times(opened, layout, forms, settings.timezone),
        *_durations(opened, layout),
        *_statuses(opened, layout, settings),
    ]
    columns += [
        mask.number(layout.columns[role]).alias(role) for role in ("caller", "callee") if role in layout.columns
    ]
    columns += [mask.identity(layout.columns[role]).alias(role) for role in ("id", "leg") if role in layout.columns]
    columns += [*_direction(layout), *_method(layout)]
    frame = collected(opened, opened.scan.select(pl.col("row"), *columns))
    if frame["start"].null_count() == frame.height:
        raise _no_times(opened, layout.columns["start"], "start")
    return frame


def collected(opened: Opened, query: pl.LazyFrame) -> pl.DataFrame:
    """Run a scan with the streaming engine.

    Raises:
        MarksError: the file cannot be read beyond its first rows.
    """
    try:
        return query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError):
        raise unreadable(opened.path) from None


def time_forms(opened: Opened, layout: Layout, ledger: Ledger) -> dict[str, tuple[times.TimeForm, ...]]:
    """The forms of each column of times.

    Raises:
        InputError: no value of the start's first rows is a time in any form, nor of another column that has values.
    """
    forms: dict[str, tuple[times.TimeForm, ...]] = {}
    problems: list[Problem] = []
    for role in TIMES:
        if role not in layout.columns:
            continue
        name = layout.columns[role]
        values = opened.sample[name]
        forms[role] = () if values.dtype.is_temporal() else times.forms_of(values)
        if not forms[role] and not values.dtype.is_temporal() and (role == "start" or _has_text(values)):
            problems += _no_times(opened, name, role).problems
    if problems:
        raise InputError(opened.path.name, problems)
    return _settled(opened, layout, forms, ledger)


def _has_text(values: pl.Series) -> bool:
    text = values.drop_nulls().cast(pl.String).str.strip_chars().str.strip_chars("0-: .")
    return bool((text.str.len_bytes() > 0).any())


def _no_times(opened: Opened, name: str, role: str) -> InputError:
    seen = opened.sample[name].drop_nulls().cast(pl.String).head(100).to_list()
    like = f"has values like {times.masked(seen)}" if seen else "is empty"
    what = f"column `{name}` {like}: no times; understood are ISO 8601, day/month/year with time, and Unix epochs"
    return InputError(opened.path.name, [Problem(where=f"history.columns.{role}", what=what)])


def _settled(
    opened: Opened, layout: Layout, forms: dict[str, tuple[times.TimeForm, ...]], ledger: Ledger
) -> dict[str, tuple[times.TimeForm, ...]]:
    """Where the first rows do not tell day from month, let the whole file tell."""
    chosen = next((form for form in forms.get("start", ()) if form.order), None)
    if chosen is None:
        return forms
    text = pl.col(layout.columns["start"]).cast(pl.String).str.strip_chars()
    either = (chosen, times.exchanged(chosen))
    read = [form.read(text).is_not_null().sum().alias(form.order) for form in either]
    counts = collected(opened, opened.scan.select(read)).row(0)
    if counts[0] == counts[1]:
        ledger.note("day_before_month", counts[0])
    best = max(either, key=lambda form: (counts[either.index(form)], form.order == "dm"))
    return {role: tuple(_in_order(kind, best.order)) for role, kind in forms.items()}


def _in_order(forms: Iterable[times.TimeForm], order: str) -> Iterable[times.TimeForm]:
    return (times.exchanged(form) if form.order not in {"", order} else form for form in forms)


def _times(
    opened: Opened, layout: Layout, forms: dict[str, tuple[times.TimeForm, ...]], timezone: str
) -> Iterable[pl.Expr]:
    for role in TIMES:
        if role in layout.columns:
            name = layout.columns[role]
            dtype = opened.sample.schema[name]
            if forms[role] or dtype.is_temporal():
                yield times.reader(name, dtype, forms[role], timezone).alias(role)
            else:
                yield pl.lit(None, dtype=pl.Datetime("us")).alias(role)


def _durations(opened: Opened, layout: Layout) -> Iterable[pl.Expr]:
    for role in ("duration_s", "holding_s"):
        if role in layout.columns:
            name = layout.columns[role]
            clock = opened.sample[name].cast(pl.String).str.contains(":", literal=True).any()
            yield (_clock(name) if clock else _number(name)).alias(role)


def _number(column: str) -> pl.Expr:
    number = pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _clock(column: str) -> pl.Expr:
    """Seconds that are written as hours, minutes and seconds, or as a number after all."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    parts = text.str.extract_groups(r"^(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$")
    hours, minutes, rest = (parts.struct[i].cast(pl.Float64, strict=False) for i in range(3))
    return pl.coalesce(_number(column), 3600 * hours.fill_null(0) + 60 * minutes + rest)


def _statuses(opened: Opened, layout: Layout, settings: HistorySettings) -> Iterable[pl.Expr]:
    found = []
    if "code" in layout.columns:
        code = pl.col(layout.columns["code"]).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
        code = pl.when(code.is_between(100, 699)).then(code).cast(pl.Int16, strict=False)
        yield code.alias("code")
        found.append(by_code(code, settings.refusal_codes))
    if "status" in layout.columns:
        name = layout.columns["status"]
        found.append(by_word(name, vocabulary(settings, opened.sample[name])))
    if found:
        yield pl.coalesce(found).alias("status")


def _direction(layout: Layout) -> Iterable[pl.Expr]:
    if "direction" in layout.columns:
        text = pl.col(layout.columns["direction"]).cast(pl.String).str.strip_chars().str.to_lowercase()
        mapping = {word: way for way, words in _WAYS.items() for word in words.split()}
        known = text.replace_strict(list(mapping), list(mapping.values()), default="other", return_dtype=DIRECTION)
        yield pl.when(text.str.len_bytes() > 0).then(known).alias("direction")
    elif "context" in layout.columns:
        inbound = pl.col(layout.columns["context"]).cast(pl.String).str.contains(_FROM_OUTSIDE).fill_null(value=False)
        one, other = (pl.lit(way, dtype=DIRECTION) for way in ("inbound", "outbound"))
        yield pl.when(inbound).then(one).otherwise(other).alias("direction")


def _method(layout: Layout) -> Iterable[pl.Expr]:
    if "method" in layout.columns:
        text = pl.col(layout.columns["method"]).cast(pl.String).str.strip_chars().str.to_uppercase()
        kept = ["INVITE", "BYE"]
        yield text.replace_strict(kept, kept, default="other", return_dtype=METHOD).alias("method")
