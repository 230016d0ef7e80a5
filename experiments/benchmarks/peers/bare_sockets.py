"""The least that calls with a socket each can cost: the system calls and wake-ups of our pump, and nothing else.

It is compiled like the pump. Packets that come back are counted and not looked at. There is no encryption, no RTCP and
no check. Every program with a socket per call pays at least this much, in any language.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkproof.experiments.benchmarks.audio_window import FRAME_S, AudioWindow, Heard, cost_of
from trunkproof.experiments.benchmarks.peers.reflector import ADDRESS
from trunkproof.loadgen.media.compiled.loop import INSTANT_NS, instants_together
from trunkproof.loadgen.media.compiled.memory import (
    CONTROL_BYTES,
    CONTROL_LENGTH,
    HEADER_WORDS,
    HEARD_TOGETHER,
    INSTANTS,
    new_work,
)
from trunkproof.loadgen.media.sockets import SO_TIMESTAMPNS
from trunkproof.models.arrays import IntArray

_OURS = "127.0.0.2"
_PACKET_BYTES = 182
"""Size of an SRTP packet: header, 20 ms of G.711, tag."""
_DONTWAIT, _MONOTONIC, _ABSOLUTE = 0x40, 1, 1
_SECOND = 1_000_000_000
_STOP, _SENT, _RECEIVED = range(3)


def bare_sockets(calls: int, window_s: float, ports: Sequence[int]) -> AudioWindow:
    """Measure calls with the reflector over `window_s`, once all of them are up."""
    return asyncio.run(_calls(calls, window_s, ports))


async def _calls(calls: int, window_s: float, ports: Sequence[int]) -> AudioWindow:
    serve, counts, before = _compiled_loop(), np.zeros(3, np.int64), np.zeros(3, np.int64)

    def begin() -> None:
        before[:] = counts

    with _connected(calls, ports) as descriptors, _served(serve, counts, descriptors):
        cost = await cost_of(window_s, begin)
        _, sent, received = (int(count) for count in counts - before)
    wanted = int(calls * cost.wall_s / FRAME_S) - calls
    return AudioWindow(calls, Heard(wanted, sent, received, received, under_way=calls), cost)


@contextlib.contextmanager
def _connected(calls: int, ports: Sequence[int]) -> Iterator[NDArray[np.int32]]:
    """Yield the descriptors of the calls' sockets."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(calls)]
        for number, each in enumerate(made):
            each.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            each.bind((_OURS, 0))
            each.connect((ADDRESS, ports[number % len(ports)]))
        yield np.array([each.fileno() for each in made], np.int32)


@contextlib.contextmanager
def _served(serve: Callable[..., None], counts: IntArray, descriptors: NDArray[np.int32]) -> Iterator[None]:
    """Move packets in a thread while the block runs."""
    phases = sorted(random.randrange(INSTANTS) for _ in descriptors)
    first_of = np.searchsorted(phases, np.arange(INSTANTS + 1)).astype(np.int64)
    arguments = (counts, descriptors, first_of, instants_together(len(descriptors)), new_work()[0])
    thread = threading.Thread(target=serve, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        counts[_STOP] = 1
        thread.join()


def _compiled_loop() -> Any:
    """Compile the loop that moves packets until `_STOP` is set.

    Its arguments are counts, descriptors, the first call of each instant, instants together, and work.
    """
    # Import late: only the measured process needs it.
    import numba  # noqa: PLC0415

    library = ctypes.CDLL(None)
    send, receive, now, sleep = library.send, library.recvmmsg, library.clock_gettime, library.clock_nanosleep
    send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    receive.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
    now.argtypes = [ctypes.c_int, ctypes.c_void_p]
    sleep.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    @numba.njit(nogil=True)
    def serve(counts: Any, descriptors: Any, first_of: Any, together: int, work: Any) -> None:
        frames = np.zeros(len(descriptors), np.int64)
        instant = 0
        while counts[_STOP] == 0:
            now(_MONOTONIC, work.times_at)
            until = (work.times[0] * _SECOND + work.times[1]) // INSTANT_NS + 1
            instant = max(instant, until - INSTANTS)
            for each in range(instant, until):
                for call in range(first_of[each % INSTANTS], first_of[each % INSTANTS + 1]):
                    send(descriptors[call], work.data_at, _PACKET_BYTES, _DONTWAIT)
                    counts[_SENT] += 1
                    frames[call] += 1
            for each in range(instant, until):
                for call in range(first_of[each % INSTANTS], first_of[each % INSTANTS + 1]):
                    if (frames[call] + call) % HEARD_TOGETHER == 0:
                        got = receive(descriptors[call], work.messages_at, HEARD_TOGETHER, _DONTWAIT, 0)
                        for place in range(got):
                            work.messages[place * HEADER_WORDS + CONTROL_LENGTH] = CONTROL_BYTES
                        counts[_RECEIVED] += max(0, got)
            instant = until
            # As our pump does: go on to the next instant at which a call sends, then round up to an instant of waking.
            while first_of[until % INSTANTS] == first_of[until % INSTANTS + 1]:
                until += 1
            wake_ns = -(-until // together) * together * INSTANT_NS
            work.times[0], work.times[1] = wake_ns // _SECOND, wake_ns % _SECOND
            sleep(_MONOTONIC, _ABSOLUTE, work.times_at, 0)

    return serve
