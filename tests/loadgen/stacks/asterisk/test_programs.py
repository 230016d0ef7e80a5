"""Asterisk starts, takes calls, is told from which window it counts, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from tests.loadgen.stacks.asterisk.conftest import POP, study

from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.stacks.asterisk.programs import asterisk_programs, windows_began
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Programs
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.study import Study


def endpoints(question: Study, folder: Path) -> StackEndpoints:
    pop = question.pop
    authority = Authority(folder / "certificates")
    ports = [free_port(str(address)) for address in (pop.address, pop.inner_address, pop.carrier.address)]
    certificate = authority.issue(pop.host, str(pop.address), str(pop.inner_address))
    return StackEndpoints(folder, *ports, certificate, authority.ca_file)


@pytest.mark.usefixtures("asterisk")
def test_two_start_side_by_side_and_end_without_a_trace(tmp_path: Path) -> None:
    async def run() -> list[int]:
        programs = Programs()
        try:
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
                where = endpoints(study(), tmp_path / name)
                (program,), metrics = asterisk_programs(study(), where)
                named = type(program)(name, program.command, program.log, program.is_ready)
                await programs.start(named)
                page = await asyncio.to_thread(urllib.request.urlopen, metrics["asterisk"])
                with page:
                    assert b"asterisk_calls_count" in page.read()
                _, writer = await asyncio.open_connection(POP["address"], where.edge_port)
                writer.close()
                await writer.wait_closed()
            return list(programs.pids.values())
        finally:
            await programs.close()

    pids = asyncio.run(run())
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not list(tmp_path.glob("*/asterisk/asterisk.ctl"))


def test_it_writes_nothing_outside_its_folder(tmp_path: Path, asterisk: Installation) -> None:
    (program,), _ = asterisk_programs(study(), endpoints(study(), tmp_path))
    assert program.command[: len(asterisk.command)] == asterisk.command
    assert program.log.is_relative_to(tmp_path)
    assert {path.suffix for path in (tmp_path / "asterisk").iterdir()} == {".conf"}


def test_windows_are_those_of_the_wall_clock() -> None:
    question = study(trunk={"throttle": {"policy": "fixed_window", "window_s": 60, "retry_after_s": None}})
    before = time.monotonic() - time.time() % 60
    began = windows_began(question, {})["trunk"]
    # Both read two clocks one after the other; a window may have ended between the two.
    assert min(abs(began - before), abs(began - before - 60)) < 1
    assert windows_began(study(), {}) == {}
