"""The reference pages of records, indicators, dispositions and exit codes, from their definitions."""

from __future__ import annotations

from enum import StrEnum

from trunkproof.experiments.common.exit_codes import BY_END, ExitCode
from trunkproof.experiments.manual.markdown import member_sentences, table
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.records import (
    ADMITTED,
    COLUMNS,
    NOT_DELIVERED,
    REFUSED_BY_TRUNK,
    ConnectionKind,
    Direction,
    Disposition,
    EndedBy,
    FarEnd,
)

_VALUES: dict[str, type[StrEnum]] = {
    "direction": Direction,
    "far_end": FarEnd,
    "connection": ConnectionKind,
    "ended_by": EndedBy,
}


def records_page() -> str:
    """Return the page of the record table: each column with its type, unit, and who fills it."""
    rows = (
        (f"`{name}`", column.what, _type(str(column.dtype)), column.unit, column.filled_by.value)
        for name, column in COLUMNS.items()
    )
    pieces = [
        "# Columns of the records\n",
        RECORDS,
        table(("column", "what it says", "type", "unit", "filled by"), rows),
    ]
    for name, kind in _VALUES.items():
        pieces.append(f"## Values of `{name}`\n")
        said = member_sentences(kind)
        pieces.append(table(("value", "meaning"), ((f"`{each}`", said[each.name]) for each in kind)))
    return "\n".join(pieces)


RECORDS = """\
One row is one attempt. Predicted and measured records have the same columns, so they are compared row by row.
`predicted.parquet`, `measured.parquet` and `records.parquet` hold them, and `trunkproof.simulate` returns them.
The values of `disposition` have [a page of their own](dispositions.md).
"""


def _type(dtype: str) -> str:
    return "one of a list" if dtype.startswith("Enum") else dtype


def kpis_page() -> str:
    """Return the page of the indicators."""
    rows = (
        (f"`{name}`", one.title, one.definition, one.unit, one.better.value, type(one.reduction).__name__.lower())
        for name, one in DEFINITIONS.items()
    )
    head = ("name", "title", "definition", "unit", "better", "computed as")
    return "\n".join(("# Indicators (KPIs)\n", KPIS, table(head, rows)))


KPIS = """\
Predictions and real calls are reduced to these numbers by the same code. `name` is the word for `thresholds` of a
study, for `load.json` and `comparison.json`, and for Python (`tp.compute_kpis(records)["asr"]`).
Shares are between 0 and 1. A share of nothing is `null`. Units: `1` is a count.
"""


def dispositions_page() -> str:
    """Return the page of the dispositions."""
    said = member_sentences(Disposition)
    rows = (
        (
            f"`{each}`",
            said[each.name],
            *("yes" if each in group else "" for group in (ADMITTED, REFUSED_BY_TRUNK, NOT_DELIVERED)),
        )
        for each in Disposition
    )
    head = ("disposition", "meaning", "admitted", "refused by the trunk", "not delivered")
    return "\n".join(("# Dispositions\n", DISPOSITIONS, table(head, rows)))


DISPOSITIONS = """\
Every attempt ends in exactly one of these. How a status or cause of a foreign trunk becomes one of them is said in
[How refusals are read](study.md#how-refusals-are-read), and how audio is judged in [How a call is judged](calls.md).

*Admitted*: the trunk let the call pass. *Refused by the trunk* counts in `refused_share`. A call whose every attempt
was *not delivered* is a customer lost.
"""


def exit_codes_page() -> str:
    """Return the page of the exit codes, and of the ways in which a run of real calls ends."""
    said = member_sentences(ExitCode)
    codes = table(("code", "name", "meaning"), ((code.value, f"`{code.name}`", said[code.name]) for code in ExitCode))
    ends = table(
        ("run ended", "exit code"),
        ((f"`{end.value}`", f"{code.value} (`{code.name}`)") for end, code in BY_END.items()),
    )
    return "\n".join(("# Exit codes\n", codes, ENDS, ends))


ENDS = """\
## How a run of real calls ended

`comparison.json` and `load.json` say it in `ended`: `kind` (below), `at_s` after plan zero, `who` and `detail`. The
same in words for people is in `interrupted`, which is `null` for a completed run. A bug of ours decides first, then
this table, then VOID of the generator, then a missed target (20) or threshold that aborts (21).
"""
