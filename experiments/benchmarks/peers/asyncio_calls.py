"""Audio as most people would write it in Python: an asyncio datagram endpoint per call, and the API of pylibsrtp.

It encrypts, sends every 20 ms, and authenticates what comes back. It does less than ours: it checks no identity, order
or jitter, and has no RTCP.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from typing import cast

import numpy as np
from pylibsrtp import Error, Policy, Session

from trunkproof.experiments.benchmarks.audio_window import FRAME_S, AudioWindow, Heard, cost_of
from trunkproof.experiments.benchmarks.peers.reflector import ADDRESS

_HEADER = struct.Struct("!BBHII")
_PAYLOAD = bytes([0xD5]) * 160


class _Endpoint(asyncio.DatagramProtocol):
    """One call."""

    def __init__(self, loop: asyncio.AbstractEventLoop, late: list[float], begin: float) -> None:
        key = os.urandom(30)
        self._tx, self._rx = _session(key, Policy.SSRC_ANY_OUTBOUND), _session(key, Policy.SSRC_ANY_INBOUND)
        self._loop, self._late, self._due = loop, late, begin
        self._transport: asyncio.DatagramTransport | None = None
        self.sent = self.received = self.authenticated = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._loop.call_at(self._due, self._send)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received += 1
        try:
            self._rx.unprotect(data)
        except Error:
            return
        self.authenticated += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _send(self) -> None:
        if self._transport is None:
            return
        self._late.append(1000 * (self._loop.time() - self._due))
        header = _HEADER.pack(0x80, 8, self.sent & 0xFFFF, self.sent * 160 & 0xFFFFFFFF, 1)
        self._transport.sendto(self._tx.protect(header + _PAYLOAD))
        self.sent += 1
        self._due += FRAME_S
        self._loop.call_at(self._due, self._send)


def _session(key: bytes, kind: int) -> Session:
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80))


def asyncio_calls(calls: int, window_s: float, ports: Sequence[int], uvloop: bool) -> AudioWindow:
    """Measure calls with the reflector over `window_s`, once all of them are up."""
    factory = None
    if uvloop:
        import uvloop as library  # noqa: PLC0415

        factory = library.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_calls(calls, window_s, ports))


async def _calls(calls: int, window_s: float, ports: Sequence[int]) -> AudioWindow:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    endpoints: list[_Endpoint] = []
    for number in range(calls):
        endpoint = _Endpoint(loop, late, loop.time() + FRAME_S * (1 + number / calls))
        await loop.create_datagram_endpoint(
            lambda made=endpoint: made,  # type: ignore[misc]
            remote_addr=(ADDRESS, ports[number % len(ports)]),
        )
        endpoints.append(endpoint)

    counted = _Counted(endpoints, late)
    cost = await cost_of(window_s, counted.begin)
    heard, lateness_p99_ms = counted.since(int(calls * cost.wall_s / FRAME_S) - calls), _p99(late)
    for endpoint in endpoints:
        endpoint.close()
    await asyncio.sleep(0)
    return AudioWindow(calls, heard, cost, lateness_p99_ms)


class _Counted:
    """Counts what endpoints send and receive from an instant on."""

    def __init__(self, endpoints: Sequence[_Endpoint], late: list[float]) -> None:
        self._endpoints, self._late = endpoints, late
        self._before = (0, 0, 0)

    def begin(self) -> None:
        self._before = self._total()
        self._late.clear()

    def since(self, wanted: int) -> Heard:
        sent, received, authenticated = (now - before for now, before in zip(self._total(), self._before, strict=True))
        return Heard(wanted, sent, received, authenticated, under_way=len(self._endpoints))

    def _total(self) -> tuple[int, int, int]:
        return (
            sum(each.sent for each in self._endpoints),
            sum(each.received for each in self._endpoints),
            sum(each.authenticated for each in self._endpoints),
        )


def _p99(late: Sequence[float]) -> float:
    return float(np.quantile(late, 0.99)) if late else 0.0
