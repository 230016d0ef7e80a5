"""Recognise files without a heading by the values in their columns.

These are recognised: Asterisk's `Master.csv` (in the order of cdr_csv, and of cdr_custom's sample), FreeSWITCH's
mod_cdr_csv (its default and its Asterisk-like template), and Kamailio's `acc` table.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from trunkproof.models.demand.history.statuses import CAUSES, DISPOSITIONS, plain
from trunkproof.models.demand.history.times import forms_of

_NEEDED = 0.9
"""Least share of the first rows whose values must look as the form says."""
_METHODS = frozenset({"invite", "bye", "ack", "cancel", "update", "prack", "register", "message", "options", "notify"})
_LOOKED_AT = 500


def layout_by_shape(sample: pl.DataFrame) -> tuple[str, dict[str, str]] | None:
    """Return the format, and role -> column. None if no known format fits."""
    first = sample.head(_LOOKED_AT)
    for recognise in (_kamailio, _asterisk, _freeswitch):
        found = recognise(first)
        if found is not None:
            return found
    return None


def _share(column: pl.Series, matches: Callable[[str], bool]) -> float:
    values = column.drop_nulls().to_list()
    return sum(map(matches, values)) / len(values) if len(values) >= 0.5 * column.len() > 0 else 0.0


def _column_of(sample: pl.DataFrame, words: frozenset[str]) -> int | None:
    shares = [_share(column, lambda value: plain(value) in words) for column in sample.iter_columns()]
    best = max(range(len(shares)), key=shares.__getitem__)
    return best if shares[best] >= _NEEDED else None


def _is_time(column: pl.Series) -> bool:
    forms = forms_of(column.head(50))
    return bool(forms) and not forms[0].text.startswith("epoch")


def _named(sample: pl.DataFrame, positions: dict[str, int]) -> dict[str, str]:
    return {role: sample.columns[at] for role, at in positions.items() if 0 <= at < sample.width}


def _kamailio(sample: pl.DataFrame) -> tuple[str, dict[str, str]] | None:
    method = _column_of(sample, _METHODS)
    if method is None or method + 6 >= sample.width or not _is_time(sample.to_series(method + 6)):
        return None
    positions = {"method": method, "id": method + 3, "code": method + 4, "start": method + 6}
    return "kamailio", _named(sample, positions)


def _asterisk(sample: pl.DataFrame) -> tuple[str, dict[str, str]] | None:
    at = _column_of(sample, DISPOSITIONS)
    if at not in {13, 14} or not _is_time(sample.to_series(at - 5)):
        return None
    positions = {"caller": 1, "callee": 2, "context": 3, "id": 16} | _before(at)
    # Between clid and the times, in both orders: channel, dstchannel, lastapp, lastdata.
    positions |= {"channel": at - 9, "dstchannel": at - 8, "lastdata": at - 6}
    if at == 14:
        positions["owner"] = 0
    if not _has_unique_ids(sample):
        del positions["id"]  # cdr.conf may leave it out, and then the user's own field stands there.
    return "asterisk", _named(sample, positions)


def _before(at: int) -> dict[str, int]:
    """Return role -> column of times and durations. They come before the status, always in this order."""
    return {"start": at - 5, "answered": at - 4, "end": at - 3, "duration_s": at - 2, "holding_s": at - 1, "status": at}


def _has_unique_ids(sample: pl.DataFrame) -> bool:
    if sample.width <= 16:
        return False
    ids = sample.to_series(16).drop_nulls()
    return ids.len() >= 0.5 * sample.height and ids.n_unique() >= 0.5 * ids.len()


def _freeswitch(sample: pl.DataFrame) -> tuple[str, dict[str, str]] | None:
    at = _column_of(sample, CAUSES)
    if at not in {9, 14} or not _is_time(sample.to_series(at - 5)):
        return None
    if at == 14:
        positions = {"caller": 1, "callee": 2, "context": 3, "id": 16, "owner": 0}
    else:
        positions = {"caller": 1, "callee": 2, "context": 3, "id": 10, "leg": 11, "owner": 12}
    return "freeswitch", _named(sample, positions | _before(at))
