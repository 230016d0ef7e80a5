"""The event loop of real calls: uvloop where it is installed, made as exact as asyncio's own; else asyncio's own.

`run_loop` is what commands call instead of `asyncio.run`. Everything works on either loop; uvloop only costs less.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_YOUNG, _MIDDLE, _OLD = 10_000, 20, 20
"""Thresholds of the garbage collector. Python's own (700, 10, 10) look for garbage once a call, and find none: a
call's objects hold each other in no circle."""


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the best loop there is."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner, rarely_collecting():
        return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes such a loop; `None` where asyncio's own is the best."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None

    class ExactLoop(uvloop.Loop):
        """uvloop counts in whole milliseconds from the start of a turn: that would be seen in every delay measured,
        and timers would come early. This one reads the real clock, and its timers are never early.
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
    """What is in memory now is no garbage, so nobody need look there again; and for new garbage only now and then."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
