"""Real processes that burn a known CPU time, read by their own account of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import pytest

from trunkproof.loadgen.meters.processes import ProcessMeter

BURN = """
import os, sys, threading, time
def burn(seconds, clock=time.thread_time):
    until = clock() + seconds
    while clock() < until: pass
def say(*words):
    print(*words, flush=True)
"""
EXACT = hasattr(os, "pidfd_open")
"""Whether this is a Linux of today, where a process's CPU clock and its memory's shares can be read."""
pytestmark = pytest.mark.skipif(not EXACT, reason="exact readings need Linux")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def program(code: str) -> Iterator[Any]:
    """A child that runs `code`, in a session of its own; all of it ends with the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + code],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _say(child: subprocess.Popen[str]) -> None:
    """Let a program go on that reads a line."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def test_cpu_is_the_process_own_account_of_it_with_threads_that_have_ended() -> None:
    code = """
threads = [threading.Thread(target=burn, args=(0.05,)) for _ in range(4)]
for thread in threads: thread.start(); thread.join()
say(time.process_time()); sys.stdin.readline(); say(time.process_time()); sys.stdin.readline()
"""
    with program(code) as child:
        meter = ProcessMeter({"it": child.pid})
        before_s = float(child.stdout.readline())
        cpu_s = meter.read()["it"].cpu_s
        _say(child)
        after_s = float(child.stdout.readline())
    assert 0.2 <= before_s <= cpu_s <= after_s


def test_an_idle_program_costs_little_and_is_seen_to() -> None:
    with program("say('ready'); sys.stdin.readline()") as child:
        child.stdout.readline()
        meter = ProcessMeter({"it": child.pid})
        # Finer than the clock's tick, in which other accounts are kept.
        assert meter.read()["it"].cpu_s == pytest.approx(meter.read()["it"].cpu_s, abs=TICK_S / 10)


def test_children_count_while_they_live_and_after_they_were_waited_for() -> None:
    code = """
pids = []
for seconds in (0.08, 0.12):
    if not (pid := os.fork()):
        burn(seconds); say('burnt'); time.sleep(60)
    pids.append(pid)
sys.stdin.readline()
for pid in pids:
    os.kill(pid, 9); os.waitpid(pid, 0)
burn(0.1, time.process_time)
say(time.process_time(), *os.times()[2:4]); sys.stdin.readline(); say(time.process_time())
"""
    with program(code) as child:
        meter = ProcessMeter({"it": child.pid})
        assert {child.stdout.readline(), child.stdout.readline()} == {"burnt\n"}
        alive = meter.read()["it"]
        _say(child)
        own_s, *reaped_s = map(float, child.stdout.readline().split())
        reaped = meter.read()["it"]
        _say(child)
        after_s = float(child.stdout.readline())
    assert (alive.processes, reaped.processes) == (3, 1)
    assert alive.cpu_s >= 0.08 + 0.12
    assert own_s + sum(reaped_s) <= reaped.cpu_s <= after_s + sum(reaped_s)


def test_a_descendant_seen_once_outlives_its_parent_and_goes_on_counting() -> None:
    code = """
if not os.fork():
    if not os.fork():
        say(os.getpid()); sys.stdin.readline(); burn(0.1); say('burnt'); time.sleep(60)
    os.wait()
else:
    os.wait()
"""
    with program(code) as child:
        orphan = psutil.Process(int(child.stdout.readline()))
        parent = orphan.parent()
        assert parent is not None
        meter = ProcessMeter({"it": child.pid})
        assert meter.read()["it"].processes == 3
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        parent.kill()
        before_s = meter.read()["it"].cpu_s
        _say(child)
        child.stdout.readline()
        assert meter.read()["it"].processes >= 1
        assert meter.read()["it"].cpu_s > before_s


def test_sockets_that_workers_share_count_once() -> None:
    code = """
import socket
kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
for _ in range(2):
    if not os.fork():
        own = socket.socket(); say('ready'); time.sleep(60)
say('ready'); sys.stdin.readline()
"""
    with program(code) as child:
        for _ in range(3):
            child.stdout.readline()
        usage = ProcessMeter({"it": child.pid}).read()["it"]
    assert usage.sockets == 5 + 2
    assert usage.processes == usage.threads == 3


def test_memory_that_workers_share_counts_once() -> None:
    code = """
block = bytearray(os.urandom(1)) * (32 << 20)
for _ in range(3):
    if not os.fork():
        say('ready'); time.sleep(60)
say('ready'); sys.stdin.readline()
"""
    with program(code) as child:
        for _ in range(4):
            child.stdout.readline()
        usage = ProcessMeter({"it": child.pid}).read()["it"]
    # Four resident sizes would be more than 128 MB.
    assert 32 << 20 <= usage.memory_bytes < 64 << 20


def test_programs_are_read_at_one_instant_and_apart() -> None:
    with ExitStack() as stack:
        busy = stack.enter_context(program("burn(0.3); say('burnt'); sys.stdin.readline()"))
        idle = stack.enter_context(program("say('ready'); sys.stdin.readline()"))
        meter = ProcessMeter({"busy": busy.pid, "idle": idle.pid})
        busy.stdout.readline()
        idle.stdout.readline()
        usages = meter.read()
    assert usages["busy"].at_s == usages["idle"].at_s
    assert usages["busy"].cpu_s >= 0.3 > usages["idle"].cpu_s


def test_a_program_that_is_gone_keeps_its_last_cpu_and_holds_nothing() -> None:
    with program("burn(0.1); say('burnt'); sys.stdin.readline()") as child:
        child.stdout.readline()
        meter = ProcessMeter({"it": child.pid})
        last = meter.read()["it"]
        child.kill()
        child.wait()
        gone = meter.read()["it"]
    assert gone.cpu_s == last.cpu_s >= 0.1
    assert (gone.processes, gone.threads, gone.sockets, gone.memory_bytes) == (0, 0, 0, 0)


def test_a_program_that_never_was_is_gone() -> None:
    with program("pass") as child:
        child.wait()
        usage = ProcessMeter({"it": child.pid}).read()["it"]
    assert (usage.processes, usage.cpu_s) == (0, 0.0)


def test_wakings_are_the_sleeps_of_all_threads() -> None:
    code = """
def nap():
    for _ in range(30): time.sleep(0.002)
say("ready"); sys.stdin.readline()
threads = [threading.Thread(target=nap) for _ in range(2)]
for thread in threads: thread.start()
nap()
say("napped"); sys.stdin.readline()
"""
    with program(code) as child:
        child.stdout.readline()
        meter = ProcessMeter({"it": child.pid})
        before = meter.read()["it"].wakings
        _say(child)
        child.stdout.readline()
        # The other threads may have ended by now, and theirs are not in it.
        assert meter.read()["it"].wakings - before >= 30
