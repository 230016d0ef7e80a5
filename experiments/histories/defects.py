"""Defects of a file of calls: choose the rows that are wrong, and spoil their times.

Times are still instants here; `experiments.histories.formats` writes them as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from trunkproof.experiments.histories.calls import ANSWERED
from trunkproof.experiments.histories.truth import Defects, Truth
from trunkproof.models.arrays import BoolArray, IntArray
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.streams import generator


@dataclass(frozen=True, eq=False)
class Chosen:
    """The wrong rows of each kind, as arrays with one entry per row."""

    rows: Mapping[str, BoolArray]

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each kind."""
        return {kind: int(mask.sum()) for kind, mask in self.rows.items()}

    def part(self, start: int, count: int) -> Chosen:
        """Return the same for `count` rows from `start` on."""
        return Chosen({kind: mask[start : start + count] for kind, mask in self.rows.items()})


def choose(truth: Truth, table: pl.DataFrame) -> Chosen:
    """Draw the rows that are wrong. No row gets two defects, but a clock step may come on top of one.

    Raises:
        InputError: there are fewer answered calls than rows to spoil.
    """
    defects = truth.defects
    answered = np.flatnonzero(table["status"].to_numpy() == ANSWERED)
    if defects.single_rows > len(answered):
        what = f"asks for {defects.single_rows} wrong rows; there are only {len(answered)} answered calls"
        raise InputError(truth.name, [Problem(where="defects", what=what)])
    # The stream keeps its old name: with another one every shipped history would change.
    spoilt = generator(truth.seed, "history dirt").choice(answered, defects.single_rows, replace=False)
    wanted = {
        "duplicate": defects.duplicates,
        "negative_duration": defects.negative_durations,
        "missing_end": defects.missing_ends,
        "unparsable": defects.unparsable,
    }
    parts = np.split(spoilt, np.cumsum(list(wanted.values()))[:-1])
    rows = {kind: _mask(part, table.height) for kind, part in zip(wanted, parts, strict=True)}
    return Chosen(rows | {"clock_step": _stepped(defects, table)})


def _mask(rows: IntArray, height: int) -> BoolArray:
    mask = np.zeros(height, dtype=np.bool_)
    mask[rows] = True
    return mask


def _stepped(defects: Defects, table: pl.DataFrame) -> BoolArray:
    if defects.clock_step is None:
        return np.zeros(table.height, dtype=np.bool_)
    begins = 86_400 * defects.clock_step.day + 3600 * defects.clock_step.hour
    at_s = table["at_s"].to_numpy()
    return (at_s >= begins) & (at_s < begins + defects.clock_step.lasts_s)


def spoil(truth: Truth, times: pl.DataFrame, chosen: Chosen) -> pl.DataFrame:
    """Return the times as the recorder notes them: `start`, `answer`, `end`, each with its zone."""
    step = truth.defects.clock_step
    if step is not None:
        stepped = pl.Series(chosen.rows["clock_step"])
        shift = pl.duration(microseconds=round(step.step_s * 1e6))
        times = times.with_columns(pl.when(stepped).then(pl.all() + shift).otherwise(pl.all()))
    negative, missing = (pl.Series(chosen.rows[kind]) for kind in ("negative_duration", "missing_end"))
    before = pl.col("start") - (pl.col("end") - pl.col("start")) - pl.duration(seconds=1)
    return times.with_columns(end=pl.when(negative).then(before).when(~missing).then(pl.col("end")))
