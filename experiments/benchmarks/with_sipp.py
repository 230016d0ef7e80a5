"""Place whole calls with audio to SIPp, with the command that users run or with SIPp, and meter the caller.

SIPp answers both, decrypts, and sends everything back under a key of its own. The caller's process is metered from
outside, in a window in which all calls are up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from trunkproof.experiments.benchmarks.audio_window import FRAME_S, SETTLE_S, AudioWindow, Cost, Heard
from trunkproof.experiments.benchmarks.peers.sipp.program import Answerer, errors_of, start_caller
from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import MEASURED
from trunkproof.loadgen.meters.processes import ProcessMeter
from trunkproof.loadgen.system.cores import on_cores
from trunkproof.models.distributions import Constant
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study, Trunk
from trunkproof.models.traffic import ConstantArrivals, Traffic

CALLS_PER_S = 100
"""How fast calls begin: not all at once, because of the CPU of their setup."""
_MARGIN_S = 2.0
"""Calls hold longer than the window by this."""
_START_WITHIN_S = 60.0
_END_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1
_SOCKETS_WITHOUT_CALLS = 12
"""More sockets than any caller opens before its calls. A call takes two."""
FEWEST = 10
"""The least number of calls: by sockets, fewer could not be told from none."""


@dataclass(frozen=True)
class Size:
    """How many calls are placed, and how long they are measured."""

    calls: int
    window_s: float

    @property
    def hold_s(self) -> float:
        """Return how long calls hold so that all of them are up in the window."""
        return self.calls / CALLS_PER_S + SETTLE_S + self.window_s + _MARGIN_S


def sipp_calls(
    sipp: Sequence[str], folder: Path, answerer: Answerer, size: Size, cores: Sequence[int] = ()
) -> AudioWindow:
    """Measure calls placed by SIPp. The system counts that SIPp reads what comes back; its content is not checked.

    Raises:
        BenchmarkError: a call failed.
    """
    process = start_caller(
        sipp,
        folder,
        answerer,
        media=True,
        calls=size.calls,
        calls_per_s=CALLS_PER_S,
        at_once=size.calls,
        hold_s=size.hold_s,
        cores=cores,
    )
    cost, read = _meter(process, size, datagrams_read)
    if process.returncode:
        raise BenchmarkError(f"calls of SIPp failed: {errors_of(folder)}")
    # Both sides read what the other one sends. Packets and CPU are read at slightly different instants.
    wanted = int(2 * size.calls * (cost.wall_s / FRAME_S - 2))
    return AudioWindow(size.calls, Heard(wanted, read, read, read), cost).check("SIPp")


def our_calls(folder: Path, answerer: Answerer, size: Size, cores: Sequence[int] = ()) -> AudioWindow:
    """Measure calls placed by `trunkproof load`, with every packet authenticated and its voice identified.

    Raises:
        BenchmarkError: a call failed, or wrong packets came back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    question = folder / "study.yaml"
    question.write_text(_study(size).model_dump_json(), encoding="utf-8")
    command = f"""
        {sys.executable} -m trunkproof.experiments.cli load {question} --target {answerer.host}:{answerer.port}
        --ca {answerer.ca_file} --server-name {answerer.server_name} --out {folder} --json
    """.split()
    with (folder / "load.json").open("wb") as told, (folder / "load.log").open("wb") as log:
        process = subprocess.Popen((*on_cores(cores), *command), stdin=subprocess.DEVNULL, stdout=told, stderr=log)
        cost, _ = _meter(process, size, int)
    if process.returncode not in {ExitCode.OK, ExitCode.VOID}:
        words = (folder / "load.log").read_text(errors="replace")[-1000:]
        raise BenchmarkError(f"trunkproof load ended with {process.returncode}: {words}")
    generator = json.loads((folder / "load.json").read_text(encoding="utf-8"))["generator"]
    excuse = "; ".join(generator["reasons"]) if process.returncode == ExitCode.VOID else None
    heard, lateness_p99_ms = _heard(folder / MEASURED, size), generator["media_lateness_p99_ms"]
    return AudioWindow(size.calls, heard, cost, lateness_p99_ms, excuse).check("trunkproof load")


def _study(size: Size) -> Study:
    return Study(
        name="calls with audio",
        duration_s=size.calls / CALLS_PER_S,
        trunks=(
            Trunk(
                traffic=Traffic(
                    arrivals=ConstantArrivals(kind="constant", rate_per_minute=60 * CALLS_PER_S),
                    holding=Constant(kind="constant", value_s=size.hold_s),
                    ringing=Constant(kind="constant", value_s=0.0),
                )
            ),
        ),
    )


def _heard(path: Path, size: Size) -> Heard:
    records = pl.read_parquet(path)
    completed = records.filter(pl.col("disposition") == Disposition.COMPLETED.value).height
    if (completed, records.height) != (size.calls, size.calls):
        raise BenchmarkError(
            f"trunkproof load completed {completed} of {records.height} calls; {size.calls} were wanted"
        )
    totals = records.select(pl.col("rtp_sent", "rtp_received", "rtp_authenticated", "rtp_foreign").sum()).row(0)
    sent, received, authenticated, foreign = totals
    # One frame less: it is chance where within the 20 ms a call begins and ends.
    return Heard(size.calls * (int(size.hold_s / FRAME_S) - 1), sent, received, authenticated, foreign, size.calls)


def _meter(process: subprocess.Popen[bytes], size: Size, count: Callable[[], int]) -> tuple[Cost, int]:
    """Return what the process spends while all calls are up, and by how much `count` grew. Wait for its end."""
    meter = ProcessMeter({"caller": process.pid})
    try:
        await_calls(process, meter)
        time.sleep(size.calls / CALLS_PER_S + SETTLE_S)
        counted, before = count(), meter.read()["caller"]
        time.sleep(size.window_s)
        counted, after = count() - counted, meter.read()["caller"]
        process.wait(size.hold_s + _END_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise BenchmarkError("the caller does not end") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return Cost(after.cpu_s - before.cpu_s, after.at_s - before.at_s), counted


def await_calls(process: subprocess.Popen[bytes], meter: ProcessMeter) -> None:
    """Wait until the process has more sockets than it needs without calls."""
    latest = time.monotonic() + _START_WITHIN_S
    while (meter.read()["caller"].sockets or 0) < _SOCKETS_WITHOUT_CALLS:
        if time.monotonic() > latest or process.poll() is not None:
            # No error here: a process that ended shows it by its exit code, one that hangs by not ending in time.
            return
        time.sleep(_LOOK_EVERY_S)


def datagrams_read() -> int:
    """Return how many UDP datagrams all programs of this machine have read so far."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index("InDatagrams")])
