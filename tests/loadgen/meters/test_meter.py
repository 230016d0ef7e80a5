"""A meter on real processes and a real page."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.meters.meter import Meter
from trunkproof.loadgen.meters.report import SAMPLES
from trunkproof.models.errors import GuardError

BURN_ON_DEMAND = """
import sys, time
print('ready', flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until: pass
    print(time.process_time(), flush=True)
"""


def _card(processes: dict[str, int] | None = None, metrics: dict[str, str] | None = None) -> TrunkCard:
    return TrunkCard(
        server_name="x.test",
        host="127.0.0.1",
        port=5061,
        ca_file="ca.pem",
        processes=processes or {},
        metrics=metrics or {},
    )


class Burner:
    """A program that burns as much CPU as it is told to, and says what it has burnt."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out, self.process = process.stdin, process.stdout, process

    @classmethod
    async def start(cls) -> Burner:
        pipe = asyncio.subprocess.PIPE
        burner = cls(
            await asyncio.create_subprocess_exec(sys.executable, "-c", BURN_ON_DEMAND, stdin=pipe, stdout=pipe)
        )
        await burner._out.readline()
        return burner

    async def burn(self, seconds: float) -> float:
        self._in.write(f"{seconds}\n".encode())
        return float(await self._out.readline())

    async def end(self) -> None:
        self._in.close()
        await self.process.wait()


def test_cpu_between_plan_zero_and_the_end_is_the_program_s_own_account() -> None:
    async def run() -> None:
        burner = await Burner.start()
        async with Meter(_card({"it": burner.process.pid}), every_s=60) as meter:
            await burner.burn(0.1)
            before_s = await burner.burn(0.0)
            meter.begin(asyncio.get_running_loop().time())
            while (readings := _cpu(meter)).height < 2:
                await asyncio.sleep(0.01)
            idle_s = await burner.burn(0.0)
            after_s = await burner.burn(0.2)
        report = meter.report()
        ended_s = await burner.burn(0.0)
        await burner.end()
        cpu_s = report.programs["it"].cpu_s
        assert cpu_s is not None
        # The program's own account is of just before or after each of our readings.
        assert after_s - idle_s <= cpu_s <= ended_s - before_s
        (_, begin, end) = _cpu(meter).rows()
        assert (_cpu(meter).rows()[:2], cpu_s) == (readings.rows(), end[1] - begin[1])
        assert report.programs["it"].share_of_core == cpu_s / (end[0] - begin[0])
        assert report.programs["it"].ended_at_s is None
        # The reference workload is reported for the same span.
        assert report.reference_s is not None
        assert meter.report(from_s=-9, to_s=-8).reference_s is None

    asyncio.run(run())


def _cpu(meter: Meter) -> pl.DataFrame:
    return meter.samples.filter(pl.col("name") == "cpu_s").select("at_s", "value")


def test_a_reading_is_taken_at_plan_zero_and_each_interval_after_it() -> None:
    async def run() -> pl.DataFrame:
        loop = asyncio.get_running_loop()
        async with Meter(_card({"it": os.getpid()}), every_s=0.1) as meter:
            await asyncio.sleep(0.13)
            meter.begin(loop.time() + 0.15)
            await asyncio.sleep(0.5)
        return meter.samples

    samples = asyncio.run(run())
    assert samples.schema == SAMPLES
    at_s = samples.filter(pl.col("name") == "cpu_s")["at_s"].to_list()
    assert at_s == sorted(at_s)
    # Never before its turn, never two in one; how late is the machine's business. The last is the end's.
    # An event loop runs what is due within its clock's resolution, so a turn may begin a hair early.
    early_s = time.get_clock_info("monotonic").resolution + 1e-9
    turns = [int((at + early_s) // 0.1) for at in at_s[:-1] if at >= 0]
    assert turns == sorted(set(turns))
    assert turns
    assert at_s[0] < -0.25
    assert {"cpu_s", "memory_bytes", "sockets", "threads", "wakings", "processes"} == set(samples["name"])


def test_a_span_between_two_readings_that_were_asked_for() -> None:
    async def run() -> None:
        burner = await Burner.start()
        async with Meter(_card({"it": burner.process.pid}), every_s=60) as meter:
            marks = [await meter.read()]
            for seconds in (0.05, 0.15):
                await burner.burn(seconds)
                marks.append(await meter.read())
        await burner.end()
        zero = marks[0]
        meter.begin(zero)
        spent = [meter.report(a - zero, b - zero).programs["it"].cpu_s for a, b in itertools.pairwise(marks)]
        assert 0.05 <= spent[0] < 0.15 <= spent[1]  # type: ignore[operator]

    asyncio.run(run())


def test_a_page_s_counters_and_its_gaps(page_server: Any) -> None:
    async def run() -> None:
        page_server.text = "# TYPE calls_total counter\ncalls_total 5\nraw 1\n"
        async with Meter(_card(metrics={"page": page_server.url}), every_s=60) as meter:
            page_server.text = "no page"
            await meter.read()
            page_server.text = "# TYPE calls_total counter\ncalls_total 12\nraw 4\n"
        report = meter.report()
        assert report.programs["page"].increases == {"calls_total": 7.0, "raw": 3.0}
        assert report.programs["page"].cpu_s is None
        (gap,) = report.gaps
        assert gap.source == "page"
        assert "no Prometheus page" in gap.why

    asyncio.run(run())


def test_a_program_that_dies_keeps_its_last_cpu_and_the_report_says_when(page_server: Any) -> None:
    async def run() -> None:
        burner, other = await Burner.start(), await Burner.start()
        page_server.text = "a 1\n"
        card = _card({"it": burner.process.pid, "other": other.process.pid}, {"it": page_server.url})
        loop = asyncio.get_running_loop()
        async with Meter(card, every_s=60) as meter:
            meter.begin(loop.time())
            await asyncio.sleep(0.1)
            await burner.burn(0.1)
            await meter.read()
            page_server.close()
            burner.process.kill()
            await burner.process.wait()
            await asyncio.sleep(0.05)
            await other.burn(0.05)
        await other.end()
        report = meter.report()
        dead, alive = report.programs["it"], report.programs["other"]
        assert dead.cpu_s is not None
        assert dead.cpu_s >= 0.1
        assert dead.ended_at_s is not None
        assert 0.1 <= dead.ended_at_s <= report.to_s - 0.05
        assert alive.ended_at_s is None
        assert [gap.source for gap in report.gaps] == ["it"]

    asyncio.run(run())


def test_a_program_that_is_started_again_goes_on_counting() -> None:
    async def run() -> None:
        first = await Burner.start()
        async with Meter(_card({"it": first.process.pid}), every_s=60) as meter:
            meter.begin(asyncio.get_running_loop().time())
            await asyncio.sleep(0.1)
            await first.burn(0.1)
            await meter.read()
            await first.end()
            second = await Burner.start()
            meter.follow("it", second.process.pid)
            await second.burn(0.1)
        report = meter.report()
        await second.end()
        cpu_s = report.programs["it"].cpu_s
        assert cpu_s is not None
        assert cpu_s >= 0.2
        assert report.programs["it"].ended_at_s is None

    asyncio.run(run())


def test_one_that_is_started_again_and_dies_has_ended() -> None:
    async def run() -> None:
        first, second = await Burner.start(), await Burner.start()
        async with Meter(_card({"it": first.process.pid}), every_s=60) as meter:
            await first.end()
            meter.follow("it", second.process.pid)
            second.process.kill()
            await second.process.wait()
            await asyncio.sleep(0.05)
        assert meter.report().programs["it"].ended_at_s is not None

    asyncio.run(run())


def test_nothing_of_a_meter_is_left() -> None:
    async def run() -> None:
        before = set(os.listdir("/proc/self/fd"))
        async with Meter(_card({"it": os.getpid()}), every_s=0.01):
            await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert set(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_a_block_that_fails_fails_with_its_own_error() -> None:
    async def run() -> None:
        async with Meter(_card({"it": os.getpid()}), every_s=0.01):
            await asyncio.sleep(0.03)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(run())


def test_a_page_elsewhere_is_not_read() -> None:
    with pytest.raises(GuardError):
        Meter(_card(metrics={"page": "http://203.0.113.7:9090/metrics"}))
