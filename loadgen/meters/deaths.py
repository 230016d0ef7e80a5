"""Tell when a process ends, also one that is not our child: once, at the instant, and without polling where possible.

This module starts and stops nothing. It cannot know how a process ended that is not our child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

import psutil

OnDeath = Callable[[str, float], None]
"""A function that takes a program's name and the instant on the event loop's clock."""
_POLL_EVERY_S = 0.05


@contextlib.contextmanager
def watch_deaths(processes: Mapping[str, int], on_death: OnDeath) -> Iterator[None]:
    """Tell `on_death` when each process ends, while the block runs, on the running event loop.

    A process that is gone already is reported at once, but not before the block has begun. A zombie counts as ended.
    Where the kernel has no process descriptors (before Linux 5.3), each process is looked at 20 times a second.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        for name, pid in processes.items():
            stack.enter_context(_watch(loop, pid, _once(loop, name, on_death)))
        yield


def _once(loop: asyncio.AbstractEventLoop, name: str, on_death: OnDeath) -> Callable[[], None]:
    return lambda: on_death(name, loop.time())


def _watch(
    loop: asyncio.AbstractEventLoop, pid: int, tell: Callable[[], None]
) -> contextlib.AbstractContextManager[None]:
    try:
        # A descriptor stands for the process itself. A number may be given to another process after its end.
        return _described(loop, os.pidfd_open(pid), tell)
    except ProcessLookupError:
        return _told(loop, tell)
    except (AttributeError, OSError):
        return _polled(loop, pid, tell)


@contextlib.contextmanager
def _told(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> Iterator[None]:
    # Not at once: the caller's block has not begun, and may not be ready for it.
    handle = loop.call_soon(tell)
    try:
        yield
    finally:
        handle.cancel()


@contextlib.contextmanager
def _described(loop: asyncio.AbstractEventLoop, descriptor: int, tell: Callable[[], None]) -> Iterator[None]:
    def ended() -> None:
        loop.remove_reader(descriptor)  # else it would stay readable for ever, and tell again and again
        tell()

    loop.add_reader(descriptor, ended)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def _polled(loop: asyncio.AbstractEventLoop, pid: int, tell: Callable[[], None]) -> Iterator[None]:
    async def look() -> None:
        while _lives(pid):
            await asyncio.sleep(_POLL_EVERY_S)
        tell()

    task = loop.create_task(look())
    try:
        yield
    finally:
        task.cancel()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
