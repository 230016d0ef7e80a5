"""The event loop of real calls: uvloop where it is installed, with exact time. Otherwise asyncio's own loop.

Commands call `run_loop` instead of `asyncio.run`. Everything works on either loop, but uvloop costs less CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from trunkproof.loadgen.system.linux import require_linux
from trunkproof.models.errors import StackError

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_YOUNG, _MIDDLE, _OLD = 10_000, 20, 20
"""Thresholds of the garbage collector. With Python's own (700, 10, 10) it would look for garbage about once a call and
find none, because a call's objects form no reference cycles."""


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the best event loop of this machine, and return its result.

    Where a loop runs already, as in a notebook, it runs in a thread of its own, and the caller waits.

    Raises:
        StackError: this is not Linux.
    """
    try:
        require_linux()
    except StackError:
        main.close()  # Python would warn of a coroutine that was never awaited.
        raise
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(main)
    with ThreadPoolExecutor(1, thread_name_prefix="calls") as thread:
        return thread.submit(_run, main).result()


def _run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=loop_factory()) as runner, rarely_collecting():
        return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of the best event loop, or None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None

    class ExactLoop(uvloop.Loop):
        """A uvloop that reads the real clock, and whose timers are never early.

        uvloop's own time is that of the start of a turn, in whole milliseconds. Every measured delay would show that,
        and timers would fire early.
        """

        def time(self) -> float:
            return time.monotonic()

        def call_later(
            self,
            delay: float,
            callback: Callable[[Unpack[Arguments]], object],
            *args: *Arguments,
            context: Context | None = None,
        ) -> asyncio.TimerHandle:
            # uvloop counts the delay from the start of the turn, which is a little ago: add that.
            behind_s = time.monotonic() - super().time()
            return super().call_later(_whole_ms(delay + behind_s), callback, *args, context=context)

        def call_at(
            self,
            when: float,
            callback: Callable[[Unpack[Arguments]], object],
            *args: *Arguments,
            context: Context | None = None,
        ) -> asyncio.TimerHandle:
            return super().call_later(_whole_ms(when - super().time()), callback, *args, context=context)

    return ExactLoop


def _whole_ms(delay_s: float) -> float:
    return math.ceil(1000 * max(0.0, delay_s)) / 1000 if math.isfinite(delay_s) else delay_s


@contextlib.contextmanager
def rarely_collecting() -> Iterator[None]:
    """Make the garbage collector look seldom while the block runs, and never at what is in memory now."""
    before = gc.get_threshold()
    gc.collect()
    # What is in memory now, such as all modules, stays to the end. Frozen, it is not looked through again and again.
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
