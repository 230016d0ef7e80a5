"""Measure how long a call history of 10 million rows takes to read, in one file and in several, and its memory.

`python -m trunkproof.experiments.benchmarks.history_read`. The files are written first, in a temporary folder. They are
read in a process of their own, so that the peak of memory is not the writer's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from trunkproof.experiments.benchmarks.result import Result, figure
from trunkproof.experiments.benchmarks.running import BenchmarkError, apart, main
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings

COMMAND = "python -m trunkproof.experiments.benchmarks.history_read"
_BLOCK = 500_000
_SPAN_S = 90 * 86_400
_FIRST_S = 1_704_047_400
"""2024-01-01 00:00 in Asia/Kolkata."""
_WORDS = {
    "operator": ["completed", "busy", "no-answer", "canceled", "failed"],
    "asterisk": ["ANSWERED", "BUSY", "NO ANSWER", "NO ANSWER", "CONGESTION"],
}
_SHARES = [0.6, 0.1, 0.2, 0.06, 0.04]


def blocks(rows: int, form: str) -> Iterator[pl.DataFrame]:
    """Yield calls in the order of their start, as text."""
    rng = np.random.default_rng(1)
    for first in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - first)
        start = _FIRST_S + np.sort(rng.random(count)) * _SPAN_S * count / rows + _SPAN_S * first / rows
        which = rng.choice(5, count, p=_SHARES)
        talk = np.where(which == 0, rng.exponential(180, count).astype(np.int64), 0)
        ring = rng.integers(1, 40, count)
        table = pl.DataFrame(
            {
                "id": np.arange(first, first + count),
                "caller": rng.integers(2 * 10**9, 2 * 10**9 + 1000, count),
                "callee": rng.integers(7 * 10**9, 10**10, count),
                "start": start.astype(np.int64),
                "ring": ring,
                "talk": talk,
                "word": np.array(_WORDS[form])[which],
            }
        )
        yield table.select(_COLUMNS[form])


def _clock(seconds: pl.Expr) -> pl.Expr:
    wall = pl.from_epoch(seconds, time_unit="s") + pl.duration(minutes=330)
    return wall.dt.to_string("%Y-%m-%d %H:%M:%S")


_END = pl.col("start") + pl.col("ring") + pl.col("talk")
_COLUMNS: dict[str, list[pl.Expr]] = {
    "operator": [
        pl.format("CA{}0000000000000000000000", "id").alias("CallSid"),
        _clock(pl.col("start")).alias("DateCreated"),
        pl.format("+91{}", "caller").alias("From"),
        pl.format("+91{}", "callee").alias("To"),
        pl.lit("PN0000000000000001").alias("PhoneNumberSid"),
        pl.lit("outbound-dial").alias("Direction"),
        pl.col("word").alias("Status"),
        pl.when(pl.col("talk") > 0).then(_clock(pl.col("start") + pl.col("ring"))).alias("StartTime"),
        _clock(_END).alias("EndTime"),
        (pl.col("ring") + pl.col("talk")).alias("Duration"),
        pl.col("talk").alias("ConversationDuration"),
    ],
    "asterisk": [
        pl.lit("trunk").alias("accountcode"),
        pl.format("+91{}", "caller").alias("src"),
        pl.format("+91{}", "callee").alias("dst"),
        pl.lit("to-trunk").alias("dcontext"),
        pl.format('"" <+91{}>', "caller").alias("clid"),
        pl.format("PJSIP/agent-{}", "id").alias("channel"),
        pl.format("PJSIP/trunk-{}", "id").alias("dstchannel"),
        pl.lit("Dial").alias("lastapp"),
        pl.format("PJSIP/+91{}@trunk,60", "callee").alias("lastdata"),
        _clock(pl.col("start")).alias("start"),
        pl.when(pl.col("talk") > 0).then(_clock(pl.col("start") + pl.col("ring"))).alias("answer"),
        _clock(_END).alias("end"),
        (pl.col("ring") + pl.col("talk")).alias("duration"),
        pl.col("talk").alias("billsec"),
        pl.col("word").alias("disposition"),
        pl.lit("DOCUMENTATION").alias("amaflags"),
        pl.format("1704047400.{}", "id").alias("uniqueid"),
        pl.lit("").alias("userfield"),
    ],
}


def write(folder: Path, rows: int, form: str, files: int) -> None:
    """Write a history in that form, split over the files by time. Files of Asterisk have no heading."""
    parts: list[BinaryIO] = []
    with ExitStack() as stack:
        for number, block in enumerate(blocks(rows, form)):
            at = number * _BLOCK * files // max(rows, _BLOCK)
            is_first = at >= len(parts)
            if is_first:
                parts.append(stack.enter_context((folder / f"calls-{at + 1}.csv").open("wb")))
            block.write_csv(parts[at], include_header=is_first and form != "asterisk", quote_style="non_numeric")


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    rows: int = 10_000_000
    forms: tuple[str, ...] = ("operator",)
    files: tuple[int, ...] = (1, 4)


QUICK = Sizes(20_000, ("operator", "asterisk"), (1,))


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of reading.

    Raises:
        BenchmarkError: rows were lost while reading.
    """
    wanted = sizes or (QUICK if quick else Sizes())
    return [row for form in wanted.forms for files in wanted.files for row in _rows(wanted.rows, form, files)]


def _rows(rows: int, form: str, files: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write(path, rows, form, files)
        size_gib = sum(file.stat().st_size for file in path.iterdir()) / 2**30
        found, spent = apart(_read, path)
    if found != rows:
        raise BenchmarkError(f"{found} of {rows} rows were read")
    note = f"{rows:,} rows of the {form}'s form, {size_gib:.2f} GiB in {files} file{'s' if files > 1 else ''}"
    name = f"history_read.{form}" + (f".files_{files}" if files > 1 else "")
    return [
        figure(f"{name}.rows_per_s", rows / spent.cpu_s, "rows/s", command=COMMAND, note=f"of CPU; {note}"),
        figure(f"{name}.wall_s", spent.wall_s, "s", command=COMMAND, note=note),
        figure(f"{name}.peak_gib", spent.peak_bytes / 2**30, "GiB", command=COMMAND, note=note),
    ]


def _read(path: Path) -> int:
    return read_history(HistorySettings(path=path)).rows_read


if __name__ == "__main__":
    main(measure, __doc__ or "")
