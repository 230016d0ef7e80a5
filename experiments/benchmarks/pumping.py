"""Our audio as a benchmark drives it: calls of the load generator's own audio, without any signalling.

Each call is a `loadgen.parties.audio.Audio`, with ports, SRTP, RTCP and all checks. Its far side is the reflector, so
it must hear its own voice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psutil

from trunkproof.experiments.benchmarks.audio_window import FRAME_S, SETTLE_S, AudioWindow, Heard, cost_of
from trunkproof.experiments.benchmarks.peers.reflector import ADDRESS
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_80, Crypto
from trunkproof.loadgen.sip.sdp import Codec
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.distributions import Constant
from trunkproof.models.plan import PlanRow, draw_plan
from trunkproof.models.speech import Voiceprint
from trunkproof.models.study import Study, Trunk
from trunkproof.models.traffic import ConstantArrivals, Traffic

_CALLS_PER_S = 500
"""How fast calls begin: not all at once, because of the CPU of their setup."""
_LOOKS = 20
_PER_DESK = 5000
"""Calls per address; it has ports for a few more."""


def pumped_calls(
    calls: int, window_s: float, ports: Sequence[int], voiceprint: Voiceprint = Voiceprint.BYTES
) -> AudioWindow:
    """Measure calls with the reflector over `window_s`, once all of them are up."""
    return run_loop(_calls(calls, window_s, ports, voiceprint))


def soaked_calls(calls: int, seconds: float, ports: Sequence[int]) -> tuple[AudioWindow, list[int]]:
    """Measure the same for long. Also return the process's memory in bytes at `_LOOKS` instants, once all are up."""
    memory: list[int] = []

    def look() -> None:
        memory.append(psutil.Process().memory_info().rss)

    async def run() -> AudioWindow:
        loop = asyncio.get_running_loop()
        begins = calls / _CALLS_PER_S + SETTLE_S
        for number in range(_LOOKS):
            loop.call_later(begins + number * seconds / _LOOKS, look)
        return await _calls(calls, seconds, ports, Voiceprint.BYTES)

    return run_loop(run()), memory


async def _calls(calls: int, window_s: float, ports: Sequence[int], voiceprint: Voiceprint) -> AudioWindow:
    study = _question(calls, voiceprint)
    rows = list(draw_plan(study).rows.values())
    factories = [_factory(study, number) for number in range(-(-calls // _PER_DESK))]
    try:
        begun = await _begin(factories, rows, ports)
        cost = await cost_of(window_s)
        heard = _end(begun)
        lateness_p99_ms = max(factory.lateness_p99_ms for factory in factories)
    finally:
        for factory in factories:
            factory.close()
    return AudioWindow(calls, heard, cost, lateness_p99_ms)


def _factory(study: Study, number: int) -> AudioFactory:
    return AudioFactory(f"127.0.0.{2 + number}", study, at_trunk=False, check_media=lambda address: address)


async def _begin(
    factories: Sequence[AudioFactory], rows: Sequence[PlanRow], ports: Sequence[int]
) -> list[tuple[Audio, float]]:
    began_s, begun = time.monotonic(), []
    for number, row in enumerate(rows):
        await asyncio.sleep(max(0.0, began_s + number / _CALLS_PER_S - time.monotonic()))
        audio = factories[number // _PER_DESK].open(row)
        # The same key in both directions: so reflected packets are authentic.
        key = Crypto(1, AES_CM_128_HMAC_SHA1_80, audio.key or b"")
        port, codec = ports[number % len(ports)], Codec.PCMA
        audio.follow(MediaAgreement(ADDRESS, port, port + 1, codec, (codec,), True, True, 101, 101, key, key))
        begun.append((audio, time.monotonic()))
    return begun


def _end(begun: Sequence[tuple[Audio, float]]) -> Heard:
    wanted, reports = 0, []
    for audio, began_s in begun:
        # One frame less: it is chance where within the 20 ms a call begins and ends.
        wanted += max(0, int((time.monotonic() - began_s) / FRAME_S) - 1)
        audio.stop()
        reports.append(audio.report)
    return _sum(wanted, reports)


def _sum(wanted: int, reports: Sequence[MediaReport]) -> Heard:
    authenticated = sum(report.authenticated for report in reports)
    return Heard(
        wanted=wanted,
        sent=sum(report.sent for report in reports),
        received=sum(report.received for report in reports),
        authenticated=authenticated,
        odd=sum(report.judged - report.echoed for report in reports),
        under_way=len(reports),
    )


def _question(calls: int, voiceprint: Voiceprint) -> Study:
    nothing = Constant(kind="constant", value_s=0.0)
    arrivals = ConstantArrivals(kind="constant", rate_per_minute=60 * calls)
    return Study(
        name="audio",
        duration_s=1.0,
        trunks=(Trunk(traffic=Traffic(arrivals=arrivals, holding=nothing, ringing=nothing, voiceprint=voiceprint)),),
    )
