"""Every process that we start: in a session of its own, watched until it is told to stop, and never left behind.

`Programs` are those that make up a trunk, started in order. A program that dies is reported with the instant of its
death. It is not started again. Each stack says which programs it needs. One process is started elsewhere:
`meters.reference` reads its own from a thread, so that the event loop's lag cannot colour what it measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO

from trunkproof.models.errors import StackError

logger = logging.getLogger(__name__)

_READY_WITHIN_S = 30.0
_GONE_WITHIN_S = 5.0
_LAST_WORDS = 800
"""Characters of a log that an error message quotes."""


@dataclass(frozen=True)
class Program:
    """One program: how to start it, and how to see that it works."""

    name: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], Awaitable[bool]]
    """Called again and again until it returns True."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that are added to our own environment."""


@dataclass(frozen=True)
class Death:
    """A program that ended although nobody told it to. `at` is an instant of the event loop's clock."""

    program: str
    at: float
    how: str


class Programs:
    """The programs of one trunk, on the running event loop."""

    def __init__(
        self,
        on_death: Callable[[Death], None] | None = None,
        *,
        prefix: tuple[str, ...] = (),
        ready_within_s: float = _READY_WITHIN_S,
        gone_within_s: float = _GONE_WITHIN_S,
    ) -> None:
        """Start every command with `prefix`, such as that of a CPU quota.

        A program has `ready_within_s` to get ready, and `gone_within_s` to end itself.
        """
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._started: dict[str, Program] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._on_death = on_death
        self._prefix = prefix
        self._ready_within_s, self._gone_within_s = ready_within_s, gone_within_s

    @property
    def pids(self) -> dict[str, int]:
        """Return the first process of each program."""
        return {name: process.pid for name, process in self._running.items()}

    async def start(self, program: Program) -> None:
        """Start a program and wait until it is ready.

        Raises:
            StackError: it cannot be started, ended at once, or was not ready in time. The message quotes its log.
        """
        # Appended, because a program that is started again must not wipe out why it ended.
        with program.log.open("ab") as log:
            try:
                process = await start_process(
                    # The quota and the cores come first, so that all words behind them run under them.
                    (*self._prefix, *dies_with_us(), *program.command),
                    stdout=log,
                    stderr=log,
                    environment=program.environment,
                )
            except OSError as error:
                raise StackError(f"{program.name} cannot be started: {error}") from error
        logger.debug("%s started as process %d", program.name, process.pid)
        # Before the wait: if it fails, `stop` has to find the process.
        self._running[program.name], self._started[program.name] = process, program
        await self._until_ready(program, process)
        # Only now: an end before it was ready is a failed start, and is raised as an error.
        watch = asyncio.create_task(self._watch(program.name, process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _until_ready(self, program: Program, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ready_within_s
        # "Ready" from a program that has ended is no answer of its own: another program listens on that port.
        while not await program.is_ready() or process.returncode is not None:
            if process.returncode is not None or loop.time() > until:
                words = program.log.read_text(errors="replace").strip()[-_LAST_WORDS:]
                # Its children too: they would keep its ports.
                await self.stop(program.name)
                raise StackError(f"{program.name} did not start: {words or f'its log {program.log} is empty'}")
            await asyncio.sleep(0.02)

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        # It was told to end, or another process of the same name runs by now.
        if self._running.get(name) is not process:
            return
        del self._running[name]
        at = asyncio.get_running_loop().time()
        logger.info("%s: %s", name, how_ended(code))
        # Its children may live on and even serve calls, and nobody else would end them.
        _signal_all(process, signal.SIGKILL)
        if self._on_death is not None:
            self._on_death(Death(name, at, how_ended(code)))

    async def silent(self) -> set[str]:
        """Return the programs that live but do not answer when asked whether they are ready."""
        asked = list(self._running)
        answers = [await self._started[name].is_ready() for name in asked]
        return {name for name, answer in zip(asked, answers, strict=True) if not answer and name in self._running}

    async def stop(self, name: str) -> None:
        """End a program and all its children. Do nothing for one that is gone."""
        # Taken out first: for `_watch` this is the sign that the end is wanted.
        process = self._running.pop(name, None)
        if process is None:
            return
        _signal_all(process, signal.SIGTERM)
        await gone_within(process, self._gone_within_s)
        # Its children may have outlived it.
        _signal_all(process, signal.SIGKILL)

    async def close(self) -> None:
        """End all programs, the last one first."""
        # A later program may need an earlier one to end well.
        for name in reversed(list(self._running)):
            await self.stop(name)
        if self._watches:
            await asyncio.wait(self._watches)


async def start_process(
    command: Sequence[str],
    *,
    stdin: int = DEVNULL,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> asyncio.subprocess.Process:
    """Start a process in a session of its own; `environment` is added to ours.

    A terminal's Ctrl-C goes to every process of its session. It is for the run, which ends its calls first and its
    processes after them.

    Raises:
        OSError: there is no such program, or it may not be run.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **environment},
        start_new_session=True,
    )


async def gone_within(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Wait for a process that was asked to end; kill it where it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def how_ended(code: int) -> str:
    """Say the return code of a process in words. A negative code is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal, which has no name
        return f"killed by signal {-code}"


def _signal_all(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Each program leads a session of its own, so it and its children are one process group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def dies_with_us() -> tuple[str, ...]:
    """Return words to put before a command, so that the kernel ends it when our process dies.

    If we are killed with SIGKILL, we cannot end it ourselves.
    """
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
