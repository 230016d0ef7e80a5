"""Read each file of calls once, as a stream, into a compact table: instants, durations, statuses, masked numbers.

The table has every row of the file, also the bad ones. `models.demand.history.cleaning` removes those later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from trunkproof.models.demand.history import times
from trunkproof.models.demand.history.formats import Part
from trunkproof.models.demand.history.masking import Mask
from trunkproof.models.demand.history.numbers import seconds
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import Opened
from trunkproof.models.demand.history.owners import owner_columns, wanted_rows
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.statuses import by_code, by_word, vocabulary
from trunkproof.models.demand.history.telephones import is_internal
from trunkproof.models.errors import InputError, Problem

DIRECTION = pl.Enum(["outbound", "inbound", "other"])
METHOD = pl.Enum(["INVITE", "BYE", "other"])
TIMES = ("start", "answered", "end")
DURATIONS = ("duration_s", "holding_s")
_MAY_BE_UNREAD = (*TIMES[1:], *DURATIONS)
Forms = dict[str, tuple[times.TimeForm, ...]]
_WAYS = {
    "inbound": """inbound incoming in terminating termination mt ingress trunking-terminating inbound-dial
        inbound-api""",
    "outbound": """outbound outgoing out originating origination mo egress trunking-originating outbound-dial
        outbound-api outbound_dial outbound_api""",
}
_FROM_OUTSIDE = r"(?i)^(public|.*(incoming|inbound)|from-(trunk|pstn|did|digital|zaptel|outside|carrier|sip-external))"
"""Names of the dialplan contexts in which calls from a carrier begin (Asterisk, FreePBX, FreeSWITCH)."""


def extract(
    part: Part, forms: Forms, settings: HistorySettings, mask: Mask, ledger: Ledger
) -> tuple[pl.DataFrame, int]:
    """Return the compact table of one file, and the number of rows in the file.

    The columns are `row`, `start` and, as far as the file has them, `answered`, `end`, `duration_s`, `holding_s`,
    `status`, `code`, `direction`, `caller`, `callee`, `id`, `leg`, `method`, `internal`, `unread`, and the owners.

    Raises:
        InputError: no start can be read, or the file is damaged beyond its first rows.
    """
    opened, given = part.opened, part.layout.columns
    columns = [
        *_times(part, forms, settings.timezone),
        *(seconds(given[role], opened.sample[given[role]]).alias(role) for role in DURATIONS if role in given),
        *_statuses(part, settings),
        *(mask.number(given[role]).alias(role) for role in ("caller", "callee") if role in given),
        *(mask.identity(given[role]).alias(role) for role in ("id", "leg") if role in given),
        *_direction(part),
        *_method(part),
        *owner_columns(part),
        *(_is_filled(given[role]).alias(f"has_{role}") for role in (*_MAY_BE_UNREAD, "id") if role in given),
    ]
    if {"channel", "dstchannel", "caller", "callee"} <= given.keys():
        columns.append(is_internal(given).alias("internal"))
    if part.layout.recorder is not None:
        host = pl.col(part.layout.recorder).cast(pl.String).str.strip_chars()
        columns.append(host.cast(pl.Categorical).alias("recorder"))
    if settings.where is not None:
        columns.append(wanted_rows(settings.where, opened).alias("wanted"))
    frame = opened.collect(_without_impossible(opened.scan.select("row", *columns), given))
    if frame["start"].null_count() == frame.height:
        raise _no_times(opened, given["start"], "start")
    frame = _read_again(frame, part)
    return _noted(frame, ledger), frame.height


def _is_filled(column: str) -> pl.Expr:
    return (pl.col(column).cast(pl.String).str.len_bytes() > 0).fill_null(value=False)


def _without_impossible(query: pl.LazyFrame, given: dict[str, str]) -> pl.LazyFrame:
    """Set impossible times to null, and add two kinds of columns that say what was not read.

    `placeholder`: the row has an impossible time, which recorders write where there is no time.
    `doubt_…`: the cell has text, but no value was read from it. In a usual file no row has that.
    """
    roles = [role for role in TIMES if role in given]
    impossible = [pl.col(role).is_not_null() & times.usual(pl.col(role)).is_null() for role in roles]
    doubts = {
        f"doubt_{role}": pl.col(f"has_{role}") & pl.col(role).is_null()
        for role in (*_MAY_BE_UNREAD, "id")
        if role in given
    }
    return query.with_columns(
        placeholder=pl.any_horizontal(impossible),
        **doubts,
        **{role: times.usual(pl.col(role)) for role in roles},
    ).select(pl.exclude([f"has_{role}" for role in (*_MAY_BE_UNREAD, "id")]))


def _read_again(frame: pl.DataFrame, part: Part) -> pl.DataFrame:
    """Look again at the cells that were not read: are they empty words, numbers in groups, or unreadable?

    This costs a second scan of the file. It happens only if the first scan left doubts, so a file of plain numbers
    and times is read once.
    """
    given = part.layout.columns
    doubtful = [role for role in _MAY_BE_UNREAD if role in given and frame[f"doubt_{role}"].any()]
    unread = pl.Series([False]).new_from_index(0, frame.height)
    if doubtful:
        sample = part.opened.sample
        again = [times.has_text(given[role]).fill_null(value=False).alias(f"has_{role}") for role in doubtful]
        durations = [role for role in doubtful if role in DURATIONS]
        again += [seconds(given[role], sample[given[role]], any_form=True).alias(role) for role in durations]
        second = part.opened.collect(part.opened.scan.select("row", *again))
        frame = frame.with_columns(second[role] for role in durations)
        for role in doubtful:
            # A time that stands for none was read in the first scan, and is no doubt but a placeholder.
            unread |= frame[f"doubt_{role}"] & second[f"has_{role}"] & frame[role].is_null()
    return frame.drop([f"doubt_{role}" for role in _MAY_BE_UNREAD], strict=False).with_columns(unread=unread)


def _noted(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Return the rows that the request asks for. Note in the ledger what could not be read in them."""
    if "wanted" in frame.columns:
        wanted = frame["wanted"].fill_null(value=False)
        ledger.note_rows("outside_where", frame, ~wanted)
        frame = frame.filter(wanted).drop("wanted")
    ledger.note_rows("no_instant", frame, pl.col("placeholder"))
    ledger.note_rows("unread", frame, pl.col("unread") & pl.col("start").is_not_null())
    frame = frame.drop("placeholder")
    if "doubt_id" in frame.columns:
        ledger.note_rows("no_identity", frame, pl.col("doubt_id") & pl.col("start").is_not_null())
        frame = frame.drop("doubt_id")
    return frame


def all_time_forms(parts: Sequence[Part], ledger: Ledger) -> list[Forms]:
    """Return, for each file, the forms of each of its columns of times.

    Raises:
        InputError: the first rows of the start have no time in any known form, or another column of times has values
            but no time.
    """
    found = [_time_forms(part) for part in parts]
    return _settled(parts, found, ledger)


def _time_forms(part: Part) -> Forms:
    opened = part.opened
    forms: Forms = {}
    problems: list[Problem] = []
    for role in TIMES:
        if role not in part.layout.columns:
            continue
        name = part.layout.columns[role]
        values = opened.sample[name]
        forms[role] = () if values.dtype.is_temporal() else times.forms_of(values)
        if not forms[role] and not values.dtype.is_temporal() and (role == "start" or _has_readable(opened, name)):
            problems += _no_times(opened, name, role).problems
    if problems:
        raise InputError(opened.name, problems)
    return forms


def _has_readable(opened: Opened, name: str) -> bool:
    """Return whether the column has values that are no time in any form, not even a placeholder for no time."""
    text = opened.sample.filter(times.has_text(name))[name]
    return bool(text.len()) and not times.is_placeholder(text)


def _no_times(opened: Opened, name: str, role: str) -> InputError:
    seen = opened.sample[name].drop_nulls().cast(pl.String).head(100).to_list()
    like = f"has values like {times.masked(seen)}" if seen else "is empty"
    what = f"column `{name}` {like}: no times; understood are ISO 8601, day/month/year with time, and Unix epochs"
    return InputError(opened.name, [Problem(where=f"history.columns.{role}", what=what)])


def _settled(parts: Sequence[Part], found: list[Forms], ledger: Ledger) -> list[Forms]:
    """Choose one order of day and month for all files, by all their rows, if the first rows leave both possible."""
    totals = {"dm": 0, "md": 0}
    for part, forms in zip(parts, found, strict=True):
        chosen = next((form for form in forms.get("start", ()) if form.order), None)
        if chosen is not None:
            text = pl.col(part.layout.columns["start"]).cast(pl.String).str.strip_chars()
            either = (chosen, times.exchanged(chosen))
            read = [times.usual(form.read(text)).is_not_null().sum().alias(form.order) for form in either]
            for order, count in part.opened.collect(part.opened.scan.select(read)).row(0, named=True).items():
                totals[order] += count
    if not any(totals.values()):
        return found
    if totals["dm"] == totals["md"]:
        ledger.note("day_before_month", totals["dm"])
    order = "md" if totals["md"] > totals["dm"] else "dm"
    return [{role: tuple(_in_order(kind, order)) for role, kind in forms.items()} for forms in found]


def _in_order(forms: Iterable[times.TimeForm], order: str) -> Iterable[times.TimeForm]:
    return (times.exchanged(form) if form.order not in {"", order} else form for form in forms)


def _times(part: Part, forms: Forms, timezone: str) -> Iterator[pl.Expr]:
    for role in TIMES:
        if role in part.layout.columns:
            name = part.layout.columns[role]
            dtype = part.opened.sample.schema[name]
            # Where the first rows have no answer, the first answer of the file is written as its starts are.
            yield times.reader(name, dtype, forms[role] or forms["start"], timezone).alias(role)


def _statuses(part: Part, settings: HistorySettings) -> Iterable[pl.Expr]:
    found = []
    given = part.layout.columns
    if "code" in given:
        code = pl.col(given["code"]).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
        code = pl.when(code.is_between(100, 699)).then(code).cast(pl.Int16, strict=False)
        yield code.alias("code")
        found.append(by_code(code, settings.refusal_codes))
    if "status" in given:
        name = given["status"]
        found.append(by_word(name, vocabulary(settings, part.opened.sample[name])))
    if found:
        yield pl.coalesce(found).alias("status")


def _direction(part: Part) -> Iterable[pl.Expr]:
    given = part.layout.columns
    if "direction" in given:
        text = pl.col(given["direction"]).cast(pl.String).str.strip_chars().str.to_lowercase()
        mapping = {word: way for way, words in _WAYS.items() for word in words.split()}
        known = text.replace_strict(list(mapping), list(mapping.values()), default="other", return_dtype=DIRECTION)
        yield pl.when(text.str.len_bytes() > 0).then(known).alias("direction")
    elif "context" in given:
        inbound = pl.col(given["context"]).cast(pl.String).str.contains(_FROM_OUTSIDE).fill_null(value=False)
        one, other = (pl.lit(way, dtype=DIRECTION) for way in ("inbound", "outbound"))
        yield pl.when(inbound).then(one).otherwise(other).alias("direction")


def _method(part: Part) -> Iterable[pl.Expr]:
    if "method" in part.layout.columns:
        text = pl.col(part.layout.columns["method"]).cast(pl.String).str.strip_chars().str.to_uppercase()
        kept = ["INVITE", "BYE"]
        yield text.replace_strict(kept, kept, default="other", return_dtype=METHOD).alias("method")
