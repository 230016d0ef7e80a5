"""Reading histories, in a size that only shows that all rows are read."""

from __future__ import annotations

from trunkproof.experiments.benchmarks.history_read import Sizes, measure
from trunkproof.experiments.benchmarks.result import Row


def test_all_rows_of_both_forms_are_read() -> None:
    """`measure` raises where one is lost."""
    results = measure(True, Sizes(2000, ("operator", "asterisk"), (1,)))
    assert all(isinstance(result, Row) for result in results)
    assert [result.name for result in results] == [
        f"history_read.{form}.{what}"
        for form in ("operator", "asterisk")
        for what in ("rows_per_s", "wall_s", "peak_gib")
    ]
