"""Find where a table begins: people and programs put blank lines, titles and a heading before it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trunkproof.models.demand.history.opened import unique_names

_MOST_LEADING = 20
_VALUE = re.compile(r"^[\s+.-]*\d[\d.,\s]*$|\d{4,}|\d:\d\d")
"""Content that no heading has: a number, a long run of digits, a time of day."""


def table_start(rows: Sequence[Sequence[str]]) -> tuple[int, bool, tuple[str, ...]]:
    """Return the number of lines before the table, whether it has a heading, and the names of its columns.

    Title lines are skipped if a heading follows them. Without a heading only empty lines are skipped: a short line
    may then be a damaged row, which must be reported and not skipped.
    """
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    widths = sorted(len(row) for row, count in zip(rows, filled, strict=True) if count)
    typical = widths[len(widths) // 2] if widths else 0
    empty = next((i for i, count in enumerate(filled) if count), 0)
    found = next(
        (i for i, count in enumerate(filled[: empty + _MOST_LEADING]) if count >= 2 and 2 * count >= typical), empty
    )
    has_heading = bool(rows) and _is_heading(rows[found])
    lead = found if has_heading else empty
    width = max((len(row) for row in rows[lead:]), default=0)
    given = list(rows[lead]) if has_heading else []
    return lead, has_heading, unique_names([*given, *(f"column {i + 1}" for i in range(len(given), width))])


def _is_heading(row: Sequence[str]) -> bool:
    return not any(_VALUE.search(cell) for cell in row) and any(cell.strip() for cell in row)
