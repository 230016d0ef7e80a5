"""The columns of a record table that indicators are made of, as plain arrays: NaN and -1 for what did not happen.

They are made from a frame, or from arrays that exist already. `models.kpis` and `models.costs` compute on them, so the
results are the same to the last bit either way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkproof.models.arrays import BoolArray, CodeArray, FloatArray, IntArray
from trunkproof.models.records import ConnectionKind, Disposition

DISPOSITION_CODE = {kind: code for code, kind in enumerate(Disposition)}
CONNECTION_CODE = {kind: code for code, kind in enumerate(ConnectionKind)}
NO_CONNECTION = 255


@dataclass(frozen=True, eq=False)
class Columns:
    """One entry per attempt; names as in `models.records.Record`."""

    attempt: IntArray
    disposition: CodeArray
    """By `DISPOSITION_CODE`."""
    status: IntArray
    redialled: BoolArray
    connection: CodeArray
    """By `CONNECTION_CODE`, or `NO_CONNECTION`."""
    ports: IntArray
    intended_s: FloatArray
    sent_s: FloatArray
    ringing_s: FloatArray
    answered_s: FloatArray
    bye_s: FloatArray
    ended_s: FloatArray
    rtp_sent: IntArray
    rtp_received: IntArray
    rtp_lost: IntArray
    rtp_late: IntArray
    jitter_ms: FloatArray
    mos: FloatArray

    def __len__(self) -> int:
        return len(self.attempt)

    @property
    def is_first(self) -> BoolArray:
        """Tell whether an attempt is its caller's first. Callers are counted by their first attempts."""
        return np.asarray(self.attempt == 0)

    @property
    def first_response_s(self) -> FloatArray:
        """Return the instant of the first response other than 100. Without ringing it is the 200."""
        return np.where(np.isnan(self.ringing_s), self.answered_s, self.ringing_s)

    @property
    def hung_up_s(self) -> FloatArray:
        """Return the instant of the BYE, or for an attempt without one its end."""
        return np.where(np.isnan(self.bye_s), self.ended_s, self.bye_s)

    def where(self, chosen: BoolArray) -> Columns:
        """Return the columns of the chosen attempts."""
        return Columns(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def columns_of(records: pl.DataFrame) -> Columns:
    """Return the columns of a table with `models.records.SCHEMA`."""
    return Columns(**{field.name: _array(records[field.name]) for field in fields(Columns)})


def _array(column: pl.Series) -> NDArray[Any]:
    if isinstance(column.dtype, pl.Enum):
        return column.to_physical().cast(pl.UInt8).fill_null(NO_CONNECTION).to_numpy()
    if column.dtype == pl.Int64:
        return column.fill_null(-1).to_numpy()
    return column.to_numpy()
