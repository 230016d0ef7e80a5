"""Writes a call history of 10 million rows to a temporary folder, reads it, and prints the seconds and the memory.

`python -m experiments.benchmarks.history_read [--rows N] [--format operator|asterisk] [--gzip]`. Reading runs in a
process of its own, so that its peak is not the writer's.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import polars as pl

from models.history.reading import read_history
from models.history.settings import HistorySettings

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
    """Calls in the order of their start, as text."""
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
        pl.format("CA{}0000000000000000000000", "id").alias("Sid"),
        pl.format("+91{}", "caller").alias("From"),
        pl.format("+91{}", "callee").alias("To"),
        pl.lit("outbound-dial").alias("Direction"),
        pl.col("word").alias("Status"),
        _clock(pl.col("start")).alias("StartTime"),
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


def write(path: Path, rows: int, form: str) -> None:
    """Write a history in that form; Asterisk's has no heading."""
    with path.open("wb") as file:
        for number, block in enumerate(blocks(rows, form)):
            block.write_csv(file, include_header=number == 0 and form != "asterisk", quote_style="non_numeric")


def zipped(path: Path) -> Path:
    """The same file, compressed."""
    result = path.with_name(path.name + ".gz")
    with path.open("rb") as plain, gzip.open(result, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed, 2**20)
    return result


def _measure(path: Path, results: SimpleQueue[tuple[float, float, float, str]]) -> None:
    before, worked = time.perf_counter(), time.process_time()
    history = read_history(HistorySettings(path=path))
    seconds, worked = time.perf_counter() - before, time.process_time() - worked
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    kinds = ", ".join(f"{oddity.kind} {oddity.count}" for oddity in history.oddities)
    results.put((seconds, worked, peak_gb, f"{history!r} ({kinds})"))


def main() -> None:
    """Write, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--format", choices=sorted(_WORDS), default="operator")
    parser.add_argument("--gzip", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.csv"
        write(path, asked.rows, asked.format)
        path = zipped(path) if asked.gzip else path
        context = multiprocessing.get_context("spawn")
        results: SimpleQueue[tuple[float, float, float, str]] = context.SimpleQueue()
        reader = context.Process(target=_measure, args=(path, results))
        reader.start()
        reader.join()
        if reader.exitcode:
            raise SystemExit(f"the reading process ended with {reader.exitcode}")
        seconds, worked, peak_gb, what = results.get()
        size_gb = path.stat().st_size / 2**30
    print(what)
    print(f"{asked.rows:,} rows, {size_gb:.2f} GiB: {seconds:.1f} s ({worked:.1f} s of CPU), {peak_gb:.2f} GiB at most")


if __name__ == "__main__":
    main()
