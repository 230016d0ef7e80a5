"""Measure what a set of programs spends: CPU, memory, sockets and threads, each program with all its descendants.

It reads when asked and keeps no history. `meter` decides when to read.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_GONE = (psutil.NoSuchProcess, ProcessLookupError)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one program has spent so far and holds now, all its processes together."""

    at_s: float
    """When the CPU clocks were read, on time.monotonic, which is the event loop's clock."""
    cpu_s: float
    """CPU time since the program's start.

    For living processes it is exact to the nanosecond and includes their ended threads (the process's own CPU clock).
    For ended children that were waited for, it comes in steps of 10 ms. It never falls, and outlives the program.
    """
    memory_bytes: int
    """Proportional set size: a page that n processes share counts 1/n in each. Where the system does not show that, it
    is the resident size, which counts such a page in each process.
    """
    sockets: int | None
    """Different sockets, since forked workers share theirs. None where the descriptors may not be read."""
    threads: int
    wakings: int
    """How often its threads have gone to sleep by themselves so far (voluntary context switches). After each of them
    something woke the thread for more work. Ended threads are not included."""
    processes: int
    """How many processes live. 0: the program is gone."""


class ProcessMeter:
    """Read programs, each given by its first process. Any thread may call it.

    A descendant that was seen once counts until its own end, even if its parent ends first. CPU time of a child is lost
    in two cases only: nobody waits for the child, or its parent ended first. In the second case only the time after its
    last reading is lost.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._programs = {name: _Program(pid) for name, pid in processes.items()}
        self._lock = threading.Lock()

    def follow(self, name: str, pid: int) -> None:
        """Note that a program was started, or started again, as a process. Its CPU is added to what it spent before."""
        with self._lock:
            # The same object goes on, because it has what was spent before.
            self._programs.setdefault(name, _Program(pid)).restarted(pid)

    def read(self) -> dict[str, Usage]:
        """Return the programs' usage now. A program that is gone keeps its last CPU time, and holds nothing."""
        with self._lock:
            for program in self._programs.values():
                # Finding new processes takes longer than reading clocks, so it is done before the instant is noted.
                program.look()
            # Read all CPU clocks first, so that every program's CPU is of the same instant.
            at_s = time.monotonic()
            for program in self._programs.values():
                program.read_cpu()
            return {name: program.usage(at_s) for name, program in self._programs.items()}


class _Program:
    def __init__(self, pid: int) -> None:
        self._known: dict[int, psutil.Process] = {}
        self._adopt([pid])
        self._before_s = self._cpu_s = 0.0

    def restarted(self, pid: int) -> None:
        """Begin again with another process: the earlier ones have ended."""
        self._before_s = self._cpu_s
        self._known.clear()
        self._adopt([pid])

    def look(self) -> None:
        """Forget the processes that are gone, and find the new ones."""
        # psutil compares the start times too: another process with the same number does not count as this one.
        self._known = {pid: process for pid, process in self._known.items() if process.is_running()}
        todo = list(self._known.values())
        while todo:
            todo += self._adopt(_children(todo.pop()))

    def read_cpu(self) -> None:
        # Read the time of ended children first. A child that ends between the two sums is then missed until the next
        # reading. In the other order it would be counted twice.
        reaped_s = sum(_reaped_s(process) for process in self._known.values())
        own_s = sum(_cpu_s(process) for process in self._known.values())
        # A child that was not waited for takes its time with it. The sum must not fall for that.
        self._cpu_s = max(self._cpu_s, self._before_s + reaped_s + own_s)

    def usage(self, at_s: float) -> Usage:
        alive = list(self._known.values())
        held = [_held(process) for process in alive]
        return Usage(
            at_s=at_s,
            cpu_s=self._cpu_s,
            memory_bytes=sum(memory for memory, _ in held),
            sockets=_sockets(alive),
            threads=sum(threads for _, threads in held),
            wakings=sum(_wakings(process.pid) for process in alive),
            processes=len(alive),
        )

    def _adopt(self, pids: Iterable[int]) -> list[psutil.Process]:
        new = []
        for pid in pids:
            if pid not in self._known:
                try:
                    new.append(psutil.Process(pid))
                except _GONE:
                    continue
        self._known |= {process.pid: process for process in new}
        return new


def _children(process: psutil.Process) -> list[int]:
    """Return the pids of a process's children.

    They come from the lists of its threads where the kernel keeps them, because psutil looks at every process of the
    machine.
    """
    try:
        lists = [task / "children" for task in Path(f"/proc/{process.pid}/task").iterdir()]
        return [int(pid) for each in lists for pid in each.read_text().split()]
    except OSError:
        try:
            return [child.pid for child in process.children()]
        except _GONE:
            return []


def _reaped_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except _GONE:
        return 0.0
    return float(times.children_user + times.children_system)


def _cpu_s(process: psutil.Process) -> float:
    try:
        clock = _cpu_clock(process.pid)
        if clock is not None:
            return time.clock_gettime_ns(clock) / 1e9
        times = process.cpu_times()
    except (*_GONE, OSError):  # OSError: the process has just ended, and its clock with it
        return 0.0
    return float(times.user + times.system)


_LIBC = ctypes.CDLL(None)


def _cpu_clock(pid: int) -> int | None:
    """Return the process's CPU clock (POSIX clock_getcpuclockid), or None. It counts all threads it ever had."""
    if not hasattr(_LIBC, "clock_getcpuclockid"):
        return None
    clock = ctypes.c_int()
    failed = _LIBC.clock_getcpuclockid(ctypes.c_int(pid), ctypes.byref(clock))
    return None if failed else clock.value


def _held(process: psutil.Process) -> tuple[int, int]:
    """Return a process's memory in bytes, and its number of threads."""
    try:
        try:
            # Kamailio's processes share most of their memory. Resident sizes would count it once for each.
            memory = process.memory_full_info().pss
        except (psutil.AccessDenied, AttributeError):
            memory = process.memory_info().rss
        return int(memory), process.num_threads()
    except _GONE:
        return 0, 0


def _wakings(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except OSError:  # the thread or the process has ended meanwhile
            continue
        total += int(text.partition("\nvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return total


def _sockets(processes: Iterable[psutil.Process]) -> int | None:
    found: set[str] = set()
    for process in processes:
        try:
            found |= _socket_names(process.pid)
        except PermissionError:
            return None
    return len(found)


def _socket_names(pid: int) -> set[str]:
    """Return the names of one process's sockets, in the kernel's form socket:[inode]."""
    folder = f"/proc/{pid}/fd"
    names = set()
    try:
        for descriptor in os.listdir(folder):
            try:
                names.add(os.readlink(f"{folder}/{descriptor}"))
            except FileNotFoundError:  # closed after it was listed
                continue
    except (FileNotFoundError, ProcessLookupError):
        pass
    return {name for name in names if name.startswith("socket:")}
