"""One declaration of the record table: types, units and texts follow from it, and files keep them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

from trunkproof.models.columns import Columns, columns_of
from trunkproof.models.errors import InputError
from trunkproof.models.records import (
    COLUMNS,
    DEFAULTS,
    SCHEMA,
    Direction,
    Disposition,
    FilledBy,
    Record,
    read_records,
    record_from_json,
    record_to_json,
    to_frame,
    write_records,
)
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import Engine, simulate

STUDY = """\
name: all kinds of calls
duration_s: 60
trunk:
  throttle: {policy: fixed_window, limit: 30, window_s: 20}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: 5}
"""
UNITS = {"_s": "s", "_ms": "ms"}


def test_every_column_has_a_type_and_says_what_it_is() -> None:
    assert list(COLUMNS) == [one.name for one in fields(Record)] == list(SCHEMA)
    assert all(column.what.endswith(".") and column.dtype != pl.Null() for column in COLUMNS.values())


@pytest.mark.parametrize(("name", "dtype"), [
    ("row", pl.Int64()), ("status", pl.Int64()), ("rtp_lost", pl.Int64()), ("sent_s", pl.Float64()),
    ("redialled", pl.Boolean()), ("reason", pl.String()), ("direction", pl.Enum([one.value for one in Direction])),
])  # fmt: skip
def test_a_type_follows_from_the_annotation(name: str, dtype: pl.DataType) -> None:
    assert SCHEMA[name] == dtype


def test_the_unit_in_a_name_is_the_declared_one() -> None:
    in_names = {name: UNITS[end] for name in COLUMNS for end in UNITS if name.endswith(end)}
    assert in_names == {name: column.unit for name, column in COLUMNS.items() if column.unit in UNITS.values()}


@pytest.mark.parametrize("engine", Engine)
def test_the_model_leaves_what_only_real_calls_know_at_its_default(engine: Engine) -> None:
    table = simulate(parse_study(STUDY), engine=engine)
    assert table.schema == pl.Schema(SCHEMA)
    for name, column in COLUMNS.items():
        if column.filled_by is FilledBy.REAL_CALLS:
            assert table[name].to_list() == [DEFAULTS[name]] * table.height, name


def test_arrays_are_columns_of_the_table() -> None:
    arrays = columns_of(to_frame([]))
    kinds = {pl.Int64(): "int64", pl.Float64(): "float64", pl.Boolean(): "bool"}
    for one in fields(Columns):
        assert getattr(arrays, one.name).dtype == kinds.get(SCHEMA[one.name], "uint8"), one.name


def test_a_file_gives_back_the_table(tmp_path: Path) -> None:
    record = Record(
        row=3, call=2, attempt=1, trunk="t", direction=Direction.INBOUND, disposition=Disposition.BUSY, intended_s=0.1
    )
    write_records(to_frame([record]), tmp_path / "records.parquet")
    assert read_records(tmp_path / "records.parquet").equals(to_frame([record]))


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    to_frame([]).drop("status").write_parquet(tmp_path / "records.parquet")
    with pytest.raises(InputError, match="status: column is missing"):
        read_records(tmp_path / "records.parquet")


def test_a_table_of_an_earlier_version_is_read_with_the_defaults_of_newer_columns(tmp_path: Path) -> None:
    path = tmp_path / "older.parquet"
    newer = [name for name, column in COLUMNS.items() if column.is_newer]
    record = Record(
        row=3, call=2, attempt=1, trunk="t", direction=Direction.INBOUND, disposition=Disposition.BUSY, intended_s=0.1
    )
    # There were fewer dispositions, too.
    older = to_frame([record]).drop(newer).with_columns(pl.col("disposition").cast(pl.Enum(["busy", "completed"])))
    older.write_parquet(path)
    assert newer
    assert read_records(path).equals(to_frame([record]))


def test_the_keys_of_an_earlier_version_are_read_under_their_new_name(tmp_path: Path) -> None:
    record = Record(
        row=3, call=2, attempt=1, trunk="t", direction=Direction.OUTBOUND, disposition=Disposition.BUSY, intended_s=0.1
    )
    record.digits_received = "12#"
    older = to_frame([record]).drop("digits_sent").rename({"digits_received": "digits"})
    older.write_parquet(tmp_path / "older.parquet")
    assert read_records(tmp_path / "older.parquet").equals(to_frame([record]))
    saved = record_to_json(record)
    saved["digits"] = saved.pop("digits_received")
    assert to_frame([record_from_json(saved)]).equals(to_frame([record]))
