"""Where a table begins, whatever stands before it."""

from __future__ import annotations

import pytest

from trunkproof.models.demand.history.headings import table_start
from trunkproof.models.demand.history.opened import FILE_STEP, place_of, unique_names

HEADING = ["Sid", "From", "StartTime", "Status"]
ROW = ["s1", "+912012345678", "2026-05-04 10:00:00", "busy"]


@pytest.mark.parametrize(
    ("before", "lead"),
    [([], 0), ([[""]], 1), ([["Calls of May"], []], 2), ([["sep=;"]], 1), ([["Calls", "", "", ""]], 1)],
)
def test_titles_and_empty_lines_before_a_heading_are_passed_over(before: list[list[str]], lead: int) -> None:
    assert table_start([*before, HEADING, ROW, ROW]) == (lead, True, tuple(HEADING))


def test_without_a_heading_a_line_cut_short_is_a_row() -> None:
    assert table_start([["s0"], ROW, ROW]) == (0, False, ("column 1", "column 2", "column 3", "column 4"))
    assert table_start([["", ""], ROW, ROW])[:2] == (1, False)
    assert table_start([]) == (0, False, ())


def test_names_are_never_empty_twice_or_the_lines_own() -> None:
    assert unique_names(["a", "a", " ", "row", '"b"']) == ("a", "a_", "column 3", "row_", "b")


def test_a_rows_number_says_file_and_line() -> None:
    assert place_of(17) == (0, 17)
    assert place_of(3 * FILE_STEP + 17) == (3, 17)
