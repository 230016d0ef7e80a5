"""Real programs, started, watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from trunkproof.loadgen.system import programs as module
from trunkproof.loadgen.system.programs import Death, Program, Programs
from trunkproof.models.errors import StackError

READY = "open('ready', 'w').close(); "
"""The programs run in the folder of their test."""
SLEEP = READY + "time.sleep(60)"
WITH_CHILD = """
import subprocess
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
open('child', 'w').write(str(child.pid))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _program(code: str, name: str = "it", ready: str = "ready", **environment: str) -> Program:
    async def is_ready() -> bool:
        return Path(ready).exists()

    command = (sys.executable, "-c", f"import os, signal, sys, time\n{code}")
    return Program(name, command, Path(f"{name}.log"), is_ready, environment)


def _run(test: Callable[[Programs, list[Death]], Awaitable[None]], **options: float) -> None:
    """Run a test with programs that are closed after it, whatever it finds."""

    async def run() -> None:
        deaths: list[Death] = []
        programs = Programs(deaths.append, **options)  # type: ignore[arg-type]
        try:
            await test(programs, deaths)
        finally:
            await programs.close()
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(run())


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_a_program_is_started_with_its_environment_and_waited_for() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        code = "time.sleep(0.2); print(os.environ['WORD'], 'PATH' in os.environ, flush=True); " + SLEEP
        await programs.start(_program(code, WORD="hello"))
        assert Path("it.log").read_text() == "hello True\n"
        assert _lives(programs.pids["it"])
        assert deaths == []

    _run(test)


def test_a_program_that_lives_and_does_not_answer_is_named() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        await programs.start(_program(SLEEP))
        assert await programs.silent() == set()
        Path("ready").unlink()
        assert await programs.silent() == {"it"}
        await programs.stop("it")
        assert await programs.silent() == set()
        assert deaths == []

    _run(test)


def test_the_pid_is_the_program_s_own() -> None:
    async def test(programs: Programs, _deaths: list[Death]) -> None:
        await programs.start(_program("print(os.getpid(), flush=True); " + SLEEP))
        assert programs.pids == {"it": int(Path("it.log").read_text())}

    _run(test)


def test_a_program_that_ends_before_it_is_ready_is_told_with_its_last_words() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        code = "print('x' * 5000, 'bad line 7 in configuration', file=sys.stderr); sys.exit(1)"
        with pytest.raises(StackError, match=r"it did not start: x{700,800} bad line 7 in configuration$"):
            await programs.start(_program(code))
        assert programs.pids == {}
        assert deaths == []

    _run(test)


def test_one_that_says_nothing() -> None:
    async def test(programs: Programs, _deaths: list[Death]) -> None:
        with pytest.raises(StackError, match=r"its log .* is empty"):
            await programs.start(_program("sys.exit(1)"))

    _run(test)


def test_one_that_never_gets_ready_is_ended() -> None:
    async def test(programs: Programs, _deaths: list[Death]) -> None:
        code = "open('pid', 'w').write(str(os.getpid())); print('waiting for the database', flush=True); time.sleep(60)"
        with pytest.raises(StackError, match="waiting for the database"):
            await programs.start(_program(code))
        assert not _lives(int(Path("pid").read_text()))

    _run(test, ready_within_s=1.0)


def test_another_program_that_answers_in_its_place_is_not_it() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        async def answers() -> bool:
            # As a port does that somebody else has taken, so that ours ends while it is asked.
            await _until(lambda: Path("it.log").read_text() != "")
            await asyncio.sleep(0.3)
            return True

        program = _program("print('address in use', flush=True); sys.exit(1)")
        with pytest.raises(StackError, match="address in use"):
            await programs.start(Program("it", program.command, program.log, answers))
        assert deaths == []

    _run(test)


@pytest.mark.parametrize("with_setpriv", [True, False])
def test_one_that_does_not_exist(with_setpriv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_setpriv:
        monkeypatch.setattr(module, "dies_with_us", tuple)

    async def test(programs: Programs, _deaths: list[Death]) -> None:
        async def never() -> bool:
            return False

        program = Program("it", ("no-such-program",), Path("it.log"), never)
        with pytest.raises(StackError, match=r"(?s)it (cannot be|did not) start.*no-such-program"):
            await programs.start(program)
        assert programs.pids == {}

    _run(test)


@pytest.mark.parametrize("failure", [OSError("broken"), asyncio.CancelledError()])
def test_one_whose_readiness_cannot_be_asked_is_not_left_behind(failure: BaseException) -> None:
    async def test(programs: Programs, _deaths: list[Death]) -> None:
        async def broken() -> bool:
            if Path("ready").exists():
                raise failure
            return False

        program = _program("print(os.getpid(), flush=True); " + SLEEP)
        with pytest.raises(type(failure)):
            await programs.start(Program("it", program.command, program.log, broken))
        await programs.close()
        assert not _lives(int(Path("it.log").read_text()))

    _run(test)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("sys.exit(0)", "ended with exit code 0"),
    ],
)
def test_a_death_is_told_with_its_instant_and_how(code: str, how: str) -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        loop = asyncio.get_running_loop()
        await programs.start(_program(SLEEP, "other"))
        before = loop.time()
        Path("ready").unlink()
        await programs.start(_program(READY + f"time.sleep(0.2); {code}"))
        await _until(lambda: bool(deaths))
        (death,) = deaths
        assert (death.program, death.how) == ("it", how)
        assert before + 0.2 <= death.at <= loop.time()
        assert list(programs.pids) == ["other"]

    _run(test)


def test_a_signal_without_a_name_is_told_too() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        await programs.start(_program(SLEEP))
        os.kill(programs.pids["it"], signal.SIGRTMIN + 1)
        await _until(lambda: bool(deaths))
        assert str(signal.SIGRTMIN + 1) in deaths[0].how

    _run(test)


def test_what_is_stopped_is_no_death_and_its_children_go_with_it() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        await programs.start(_program(WITH_CHILD + SLEEP))
        pids = [programs.pids["it"], int(Path("child").read_text())]
        await programs.stop("it")
        await _until(lambda: not any(map(_lives, pids)))
        await programs.stop("it")
        assert (programs.pids, deaths) == ({}, [])

    _run(test)


def test_the_children_of_one_that_died_go_too() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        await programs.start(_program(WITH_CHILD + SLEEP))
        child = int(Path("child").read_text())
        os.kill(programs.pids["it"], signal.SIGKILL)
        try:
            await _until(lambda: bool(deaths))
            await programs.close()
            await _until(lambda: not _lives(child))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    _run(test)


def test_one_that_ignores_being_told_to_end_is_killed() -> None:
    async def test(programs: Programs, deaths: list[Death]) -> None:
        await programs.start(_program("signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WITH_CHILD + SLEEP))
        pids = [programs.pids["it"], int(Path("child").read_text())]
        await programs.stop("it")
        await _until(lambda: not any(map(_lives, pids)))
        assert deaths == []

    _run(test, gone_within_s=0.3)


def test_the_last_started_is_ended_first() -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic(), flush=True), sys.exit()))\n"

    async def test(programs: Programs, _deaths: list[Death]) -> None:
        for name in ("first", "second"):
            await programs.start(_program(f"{code}open({name!r}, 'w').close(); time.sleep(60)", name, ready=name))
        await programs.close()
        assert float(Path("second.log").read_text()) < float(Path("first.log").read_text())

    _run(test)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed (apt-get install util-linux)")
def test_programs_end_when_their_starter_is_killed_outright(folder: Path) -> None:
    root = Path(__file__).parents[3]
    starter = """
import asyncio
from pathlib import Path
from trunkproof.loadgen.system.programs import Program, Programs

async def main():
    async def ready(): return True
    programs = Programs()
    await programs.start(Program("it", ("sleep", "60"), Path("it.log"), ready))
    # What ends it with us is asked for by setpriv, just before it becomes the program.
    while Path(f"/proc/{programs.pids['it']}/comm").read_text() != "sleep\\n":
        await asyncio.sleep(0.01)
    print(programs.pids["it"], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", starter],
        env={**os.environ, "PYTHONPATH": str(root / ".package")},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _lives(pid)
        parent.kill()
    until = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(pid)
