"""Check whose calls a history has: rows that match `where`, and several accounts, trunks or customers.

A throttle belongs to one trunk. The traffic of several customers together does not show what one of them needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from trunkproof.models.demand.history.formats import Part, no_column
from trunkproof.models.demand.history.masking import shown
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import Opened
from trunkproof.models.demand.history.records import bare
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.errors import InputError, Problem

_PREFIX = "owner "
_FEW = 0.005
"""Owners other than the largest are typing errors if they have at most this share of the rows together."""
_OWN = 0.9
"""If the account is the telephone's own number in this share of rows, it identifies telephones, not customers."""
_LISTED = 8


def owner_columns(part: Part) -> Iterator[pl.Expr]:
    """Yield the columns of owners by their bare heading; null where the owner is the telephone itself."""
    given = part.layout.columns
    ends = [pl.col(given[role]).cast(pl.String).str.strip_chars() for role in ("caller", "callee") if role in given]
    for name in part.layout.owners:
        text = pl.col(name).cast(pl.String).str.strip_chars()
        own = pl.any_horizontal([text == end for end in ends]) if ends else pl.lit(value=False)
        if "channel" in given:
            own |= pl.col(given["channel"]).cast(pl.String).str.contains(pl.format("/{}-", text), literal=True)
        sample = part.opened.sample.filter(text.str.len_bytes() > 0)
        is_own = sample.height and (sample.select(own.fill_null(value=False).mean()).item() or 0.0) >= _OWN
        if not is_own:
            kept = pl.when(text.str.len_bytes() > 0).then(text)
            yield kept.cast(pl.Categorical).alias(_PREFIX + bare(name))


def wanted_rows(where: Mapping[str, Sequence[str]], opened: Opened) -> pl.Expr:
    """Tell whether a row has the values that `where` asks for.

    Raises:
        InputError: the file has no such column.
    """
    by_lower = {name.lower(): name for name in reversed(opened.columns)}
    exact = {name: name if name in opened.columns else by_lower.get(name.lower()) for name in where}
    missing = [name for name, found in exact.items() if not found]
    problems = [Problem(where=f"history.where.{name}", what=no_column(name, opened)) for name in missing]
    if problems:
        raise InputError(opened.name, problems)
    return pl.all_horizontal(
        pl.col(str(exact[name])).cast(pl.String).str.strip_chars().is_in(list(values)) for name, values in where.items()
    )


def nothing_wanted(where: Mapping[str, Sequence[str]], parts: Iterable[Part], source: str) -> InputError:
    """Return the error for a history without rows that match `where`; it names the values that exist."""
    problems = []
    for name in where:
        seen = pl.concat([
            part.opened.sample.select(pl.col(column).cast(pl.String).str.strip_chars().alias("value"))
            for part in parts
            for column in part.opened.columns
            if column.lower() == name.lower()
        ])  # fmt: skip
        what = f"no row matches; the first rows have {_counts(seen['value'])}"
        problems.append(Problem(where=f"history.where.{name}", what=what))
    return InputError(source, problems)


def one_owner(frame: pl.DataFrame, parts: Sequence[Part], settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    """Drop the columns of owners after checking that all calls are of one owner.

    Raises:
        InputError: there are several, and the request does not ask to review them as one.
    """
    headings = {bare(name): name for part in parts for name in part.layout.owners}
    columns = [name for name in frame.columns if name.startswith(_PREFIX)]
    problems = []
    for column in columns:
        heading = headings[column.removeprefix(_PREFIX)]
        counts = _by_size(frame[column])
        others = int(counts["rows"][1:].sum())
        if counts.height < 2 or others < 2 or others <= _FEW * frame.height:
            continue
        if any(heading.lower() == name.lower() for name in settings.where or {}):
            continue
        told = f"`{heading}`: {_counts(frame[column])}"
        if settings.mixed == "as_one":
            ledger.note("mixed_owners", counts.height, what=told)
            continue
        example = str(counts[column][0])
        example = example if shown(example) == example else "<one of them>"
        what = f"the history has several accounts, trunks or customers by {told}. Review one of them with "
        what += f"`where: {{{heading}: {example}}}`; if all are of one trunk, write `mixed: as_one`"
        problems.append(Problem(where="history.where", what=what))
    if problems:
        raise InputError(parts[0].opened.name if len(parts) == 1 else f"history of {len(parts)} files", problems)
    return frame.drop(columns)


def _by_size(values: pl.Series) -> pl.DataFrame:
    counts = values.drop_nulls().value_counts(name="rows").with_columns(pl.first().cast(pl.String))
    return counts.sort("rows", counts.columns[0], descending=[True, False])


def _counts(values: pl.Series) -> str:
    counts = _by_size(values)
    listed = [f"{shown(str(value))} ({rows:,} rows)" for value, rows in counts.head(_LISTED).iter_rows()]
    more = f" and {counts.height - _LISTED} more" if counts.height > _LISTED else ""
    return (", ".join(listed) or "no values") + more
