import asyncio
import os
import signal
import subprocess

import pytest

from trunkproof.loadgen.meters.deaths import watch_deaths


@pytest.fixture(params=["descriptors", "polling"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of seeing an end; a kernel without process descriptors refuses the call."""
    if request.param == "polling":

        def refused(_pid: int, _flags: int = 0) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", refused, raising=False)


async def _sleeper() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("sleep", "60")


@pytest.mark.usefixtures("_way")
def test_each_end_is_told_once_at_its_instant() -> None:
    async def run() -> None:
        told: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()
        first, second, third = [await _sleeper() for _ in range(3)]
        pids = {"first": first.pid, "second": second.pid, "third": third.pid}
        with watch_deaths(pids, lambda name, at: told.append((name, at))):
            for process in (first, second):
                before = loop.time()
                process.send_signal(signal.SIGKILL)
                await process.wait()
                await asyncio.sleep(0.2)
                assert before <= told[-1][1] <= loop.time()
            assert [name for name, _ in told] == ["first", "second"]
        third.kill()
        await third.wait()
        await asyncio.sleep(0.1)
        assert len(told) == 2, "told after the block"

    asyncio.run(run())


@pytest.mark.usefixtures("_way")
def test_a_process_gone_before_is_told_too() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        process = await _sleeper()
        process.kill()
        await process.wait()
        with watch_deaths({"it": process.pid}, lambda name, _: told.append(name)):
            assert told == [], "told before the block has begun"
            await asyncio.sleep(0.1)
        return told

    assert asyncio.run(run()) == ["it"]


@pytest.mark.usefixtures("_way")
def test_a_zombie_has_ended() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        # Not asyncio's: nobody waits for this one.
        with (
            subprocess.Popen(["true"]) as process,
            watch_deaths({"it": process.pid}, lambda name, _: told.append(name)),
        ):
            await asyncio.sleep(0.2)
        return told

    assert asyncio.run(run()) == ["it"]


def test_no_descriptor_is_left() -> None:
    async def run() -> None:
        process = await _sleeper()
        before = set(os.listdir("/proc/self/fd"))
        with watch_deaths({"it": process.pid, "again": process.pid}, lambda *_: None):
            assert len(set(os.listdir("/proc/self/fd")) - before) == 2
        assert set(os.listdir("/proc/self/fd")) == before
        process.kill()
        await process.wait()

    asyncio.run(run())
