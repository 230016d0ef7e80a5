"""What is wrong in a file of calls: the rows that are chosen for it, and what is done to them.

Times are still numbers here; how they are written is `experiments.histories.formats`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from trunkproof.experiments.histories.calls import ANSWERED
from trunkproof.experiments.histories.truth import Dirt, Truth
from trunkproof.models.arrays import BoolArray, IntArray
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.streams import generator


@dataclass(frozen=True, eq=False)
class Chosen:
    """By kind of wrong row: which ones, as arrays with one entry per row."""

    rows: Mapping[str, BoolArray]

    def counts(self) -> dict[str, int]:
        """Rows of each kind."""
        return {kind: int(mask.sum()) for kind, mask in self.rows.items()}

    def part(self, start: int, count: int) -> Chosen:
        """The same for `count` rows from `start` on."""
        return Chosen({kind: mask[start : start + count] for kind, mask in self.rows.items()})


def choose(truth: Truth, table: pl.DataFrame) -> Chosen:
    """Roll the dice for the rows that go wrong; no row goes wrong twice in its own right.

    Raises:
        InputError: fewer answered calls than rows to spoil.
    """
    dirt = truth.dirt
    answered = np.flatnonzero(table["status"].to_numpy() == ANSWERED)
    if dirt.single_rows > len(answered):
        what = f"asks for {dirt.single_rows} wrong rows; there are only {len(answered)} answered calls"
        raise InputError(truth.name, [Problem(where="dirt", what=what)])
    spoilt = generator(truth.seed, "history dirt").choice(answered, dirt.single_rows, replace=False)
    wanted = {
        "duplicate": dirt.duplicates,
        "negative_duration": dirt.negative_durations,
        "missing_end": dirt.missing_ends,
        "unparsable": dirt.unparsable,
    }
    parts = np.split(spoilt, np.cumsum(list(wanted.values()))[:-1])
    rows = {kind: _mask(part, table.height) for kind, part in zip(wanted, parts, strict=True)}
    return Chosen(rows | {"clock_step": _stepped(dirt, table)})


def _mask(rows: IntArray, height: int) -> BoolArray:
    mask = np.zeros(height, dtype=np.bool_)
    mask[rows] = True
    return mask


def _stepped(dirt: Dirt, table: pl.DataFrame) -> BoolArray:
    if dirt.clock_step is None:
        return np.zeros(table.height, dtype=np.bool_)
    begins = 86_400 * dirt.clock_step.day + 3600 * dirt.clock_step.hour
    at_s = table["at_s"].to_numpy()
    return (at_s >= begins) & (at_s < begins + dirt.clock_step.lasts_s)


def spoil(truth: Truth, times: pl.DataFrame, chosen: Chosen) -> pl.DataFrame:
    """Times as the recorder notes them: `start`, `answer`, `end`, each with its zone."""
    step = truth.dirt.clock_step
    if step is not None:
        stepped = pl.Series(chosen.rows["clock_step"])
        shift = pl.duration(microseconds=round(step.step_s * 1e6))
        times = times.with_columns(pl.when(stepped).then(pl.all() + shift).otherwise(pl.all()))
    negative, missing = (pl.Series(chosen.rows[kind]) for kind in ("negative_duration", "missing_end"))
    before = pl.col("start") - (pl.col("end") - pl.col("start")) - pl.duration(seconds=1)
    return times.with_columns(end=pl.when(negative).then(before).when(~missing).then(pl.col("end")))
