"""Columns of a record table: codes for words, NaN and -1 for what did not happen, and any part of the rows."""

from __future__ import annotations

import numpy as np

from trunkproof.models.columns import CONNECTION_CODE, DISPOSITION_CODE, NO_CONNECTION, columns_of
from trunkproof.models.records import ConnectionKind, Direction, Disposition, Record, to_frame


def record(row: int, **known: object) -> Record:
    values: dict[str, object] = {
        "call": row, "attempt": 0, "trunk": "t", "direction": Direction.OUTBOUND, "intended_s": float(row),
        "disposition": Disposition.COMPLETED,
    }  # fmt: skip
    return Record(row=row, **(values | known))  # type: ignore[arg-type]


def test_what_did_not_happen_has_no_number() -> None:
    known = {"sent_s": 2.5, "status": 503, "connection": ConnectionKind.FULL, "disposition": Disposition.THROTTLED}
    columns = columns_of(to_frame([record(0), record(1, **known, redialled=True)]))
    np.testing.assert_array_equal(columns.sent_s, [np.nan, 2.5])
    assert columns.status.tolist() == [-1, 503]
    assert columns.connection.tolist() == [NO_CONNECTION, CONNECTION_CODE[ConnectionKind.FULL]]
    wanted = [DISPOSITION_CODE[kind] for kind in (Disposition.COMPLETED, Disposition.THROTTLED)]
    assert columns.disposition.tolist() == wanted
    assert columns.redialled.tolist() == [False, True]


def test_some_rows_are_chosen_from_all_columns() -> None:
    columns = columns_of(to_frame([record(row) for row in range(5)]))
    some = columns.where(np.array([True, False, True, False, True]))
    assert len(some) == 3
    assert some.intended_s.tolist() == [0.0, 2.0, 4.0]


def test_a_table_without_rows_has_columns_without_entries() -> None:
    assert len(columns_of(to_frame([]))) == 0
