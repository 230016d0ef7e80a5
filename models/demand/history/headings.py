"""Where a table begins in what people and programs put before it: blank lines, titles, the heading itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trunkproof.models.demand.history.opened import unique_names

_MOST_LEADING = 20
_VALUE = re.compile(r"^[\s+.-]*\d[\d.,\s]*$|\d{4,}|\d:\d\d")
"""What a heading does not have: a number, a long run of digits, a time of day."""


def table_start(rows: Sequence[Sequence[str]]) -> tuple[int, bool, tuple[str, ...]]:
    """Find the table in the first rows: lines before it, whether it has a heading, the names of its columns.

    Lines of a title are passed over where a heading follows; without a heading only empty ones are, because a line
    that is cut short is a bad row, and is told as such.
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
