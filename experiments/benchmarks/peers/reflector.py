"""A process that sends every datagram back to its sender: the far side of all media benchmarks.

It decrypts nothing. A stream with the same key in both directions receives itself, and it is authentic. So the far side
costs little, and only the measured core can become the limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

ADDRESS = "127.0.71.1"
_PAIRS = 16
"""Several pairs, so that no socket's buffer must hold all that comes while this process waits for its core."""
_BATCH, _DATAGRAM = 64, 2048
_SO_RCVBUFFORCE = 33
"""Sets a buffer beyond the system's limit, for root; the socket module does not name this option."""
_BUFFER = 4 << 20
_ROUNDS = 200
"""Rounds between two looks at whether to end."""
_NAP_US = 500
_WORDS = 8
"""64-bit words of a `struct mmsghdr`: name, its length, vector, its length, control, its length, flags, received."""
_DONTWAIT = 0x40


@contextlib.contextmanager
def reflecting(cores: Sequence[int] = ()) -> Iterator[list[int]]:
    """Reflect datagrams while the block runs. Yields even ports at `ADDRESS`; the odd one above each is open too."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_reflect, args=(theirs, tuple(cores)), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def _reflect(control: Connection, cores: tuple[int, ...]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
    pairs = [_pair() for _ in range(_PAIRS)]
    descriptors = np.array([each.fileno() for pair in pairs for each in pair], np.int32)
    serve, memory = _compiled_loop(), _Memory()
    serve(descriptors, memory.headers, memory.vectors, 0)
    control.send([rtp.getsockname()[1] for rtp, _ in pairs])
    while not control.poll():
        serve(descriptors, memory.headers, memory.vectors, _ROUNDS)


def _pair() -> tuple[socket.socket, socket.socket]:
    while True:
        rtp = _bound(0)
        port = rtp.getsockname()[1]
        with contextlib.suppress(OSError):
            if port % 2 == 0:
                return rtp, _bound(port + 1)
        rtp.close()


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    try:
        made.bind((ADDRESS, port))
    except OSError:
        made.close()
        raise
    return made


class _Memory:
    """Memory for recvmmsg and sendmmsg: headers, the vectors they point to, addresses and data."""

    def __init__(self) -> None:
        self._data = np.zeros((_BATCH, _DATAGRAM), np.uint8)
        self._names = np.zeros((_BATCH, 16), np.uint8)
        self.vectors: NDArray[np.uint64] = np.zeros((_BATCH, 2), np.uint64)
        self.headers: NDArray[np.uint64] = np.zeros((_BATCH, _WORDS), np.uint64)
        for index in range(_BATCH):
            self.vectors[index] = (self._data[index].ctypes.data, _DATAGRAM)
            header = (self._names[index].ctypes.data, 16, self.vectors[index].ctypes.data, 1, 0, 0, 0, 0)
            self.headers[index] = header


def _compiled_loop() -> Any:
    """Compile the loop that looks at every socket `rounds` times and sends back what is there."""
    # Import late: only this process needs it.
    import numba  # noqa: PLC0415

    library = ctypes.CDLL(None)
    receive, send, sleep = library.recvmmsg, library.sendmmsg, library.usleep
    receive.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
    send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    sleep.argtypes = [ctypes.c_uint]

    @numba.njit(nogil=True)
    def serve(descriptors: Any, headers: Any, vectors: Any, rounds: int) -> None:
        for _ in range(rounds):
            idle = True
            for descriptor in descriptors:
                count = receive(descriptor, headers.ctypes.data, _BATCH, _DONTWAIT, 0)
                if count <= 0:
                    continue
                idle = False
                for index in range(count):
                    vectors[index, 1] = headers[index, 7] & np.uint64(0xFFFFFFFF)
                send(descriptor, headers.ctypes.data, count, _DONTWAIT)
                for index in range(count):
                    vectors[index, 1] = _DATAGRAM
                    headers[index, 1] = 16
            if idle:
                sleep(_NAP_US)

    return serve
