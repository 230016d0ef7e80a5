"""What this machine can carry: open files, UDP ports and buffers, its clock, and how many calls with audio.

The speed is measured with the load generator's own audio: some calls between two addresses of loopback, for a second.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkproof.experiments.prediction.forecast import forecast
from trunkproof.experiments.prediction.open_files import find_shortage
from trunkproof.experiments.target.check.findings import CheckName, Checks
from trunkproof.experiments.target.remedies import PathFault
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_80, Crypto
from trunkproof.loadgen.sip.sdp import Codec
from trunkproof.loadgen.system.descriptors import raise_open_file_limit
from trunkproof.loadgen.system.ports import customer_ports
from trunkproof.models.plan import Plan, PlanRow

_ADDRESSES = ("127.0.0.1", "127.0.0.2")
_FEW, _MANY = 10, 60
"""Calls of the two measurements. What does not grow with them is the cost of waking up."""
_WARM_UP_S, _WINDOW_S = 0.3, 1.0
_BUSY = 0.6
"""The share of a core that audio may use: signalling and the rest of the machine need some, and a full core is late."""
_SMALLEST_BUFFER = 65_536
"""Bytes. The default of Linux is 212,992, of which a packet of audio takes about 800."""
_BUFFER = Path("/proc/sys/net/core/rmem_default")
_SOCKETS = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_CLOCK_UNKNOWN, _CLOCK_WRONG = -1, 5
"""What `adjtimex` returns: an error, and TIME_ERROR (the clock is not synchronised)."""


async def judge_machine(plan: Plan, checks: Checks, *, workers: int = 1) -> None:
    """Add the checks of this machine."""
    asked = forecast(plan)
    shortage = find_shortage(plan, processes=workers)
    if shortage is not None:
        note = checks.broken if shortage.certain else checks.remark
        note(CheckName.FILES, shortage.words, PathFault.TOO_FEW_FILES)
    else:
        checks.holds(CheckName.FILES, f"{raise_open_file_limit():,} per process, enough for {asked.peak_held:,} calls")
    _ports(asked.peak_held, checks)
    _buffers(checks)
    _clock(checks)
    speed = await measure_speed(plan)
    carried = workers * speed.calls
    words = f"this machine carries about {carried:,} calls with audio; you ask {asked.peak_concurrency:,}"
    words += f" ({speed.us_per_second:.0f} µs a second and call)"
    if carried >= asked.peak_concurrency:
        checks.holds(CheckName.SPEED, words)
    else:
        checks.broken(CheckName.SPEED, words, PathFault.TOO_SLOW)


def _ports(needed: int, checks: Checks) -> None:
    low, high = customer_ports()
    taken = {port // 2 for port in _taken() if low <= port < high}
    free = (high - low) // 2 - len(taken)
    words = f"{free:,} free pairs from {low} to {high}, {needed:,} needed"
    if free >= needed:
        checks.holds(CheckName.PORTS, words)
    else:
        checks.broken(CheckName.PORTS, words, PathFault.TOO_FEW_PORTS)


def _taken() -> list[int]:
    """Return the UDP ports on which somebody listens."""
    lines = [line for path in _SOCKETS if path.exists() for line in path.read_text().splitlines()[1:]]
    return [int(line.split()[1].rpartition(":")[2], 16) for line in lines]


def _buffers(checks: Checks) -> None:
    try:
        size = int(_BUFFER.read_text())
    except (OSError, ValueError):
        checks.not_tried("this system does not tell", CheckName.BUFFERS)
        return
    if size >= _SMALLEST_BUFFER:
        checks.holds(CheckName.BUFFERS, f"{size:,} bytes for each socket")
    else:
        checks.remark(CheckName.BUFFERS, f"{size:,} bytes for each socket", PathFault.SMALL_BUFFERS)


def _clock(checks: Checks) -> None:
    state = clock_state()
    if state == _CLOCK_UNKNOWN:
        checks.not_tried("this system does not tell whether its clock is synchronised", CheckName.CLOCK)
    elif state == _CLOCK_WRONG:
        checks.remark(CheckName.CLOCK, "not synchronised", PathFault.CLOCK_WRONG)
    else:
        checks.holds(CheckName.CLOCK, "synchronised")


def clock_state() -> int:
    """Return what the kernel says of its clock (`adjtimex(2)`), or -1 where it does not tell."""
    # The first field of `struct timex` says what to change: nothing. The structure has 208 bytes on 64-bit systems.
    request = ctypes.create_string_buffer(512)
    try:
        return int(ctypes.CDLL(None).adjtimex(request))
    except (AttributeError, OSError):
        return _CLOCK_UNKNOWN


@dataclass(frozen=True, slots=True)
class Speed:
    """What audio costs on this machine."""

    us_per_second: float
    """CPU of one call's two-way audio in one second, in microseconds."""
    idle_share: float
    """The share of a core that the pump takes without any call."""

    @property
    def calls(self) -> int:
        """Return how many calls one process carries."""
        cores = min(1.0, float(os.cpu_count() or 1))
        return max(0, math.floor((_BUSY * cores - self.idle_share) * 1e6 / self.us_per_second))


async def measure_speed(plan: Plan) -> Speed:
    """Measure what the audio of one call costs, by the difference between few and many calls."""
    row = next(iter(plan.rows.values()))
    few, many = await _cpu_share(plan, row, _FEW), await _cpu_share(plan, row, _MANY)
    # Each call has two sides here. In a run the other side is the trunk's.
    each = max((many - few) / (2 * (_MANY - _FEW)), 1e-6)
    return Speed(us_per_second=1e6 * each, idle_share=max(0.0, few - 2 * _FEW * each))


async def _cpu_share(plan: Plan, row: PlanRow, calls: int) -> float:
    """Return the share of a core that so many calls take, both sides of each."""
    sides = [AudioFactory(address, plan.study, at_trunk=False, check_media=lambda to: to) for address in _ADDRESSES]
    try:
        pairs = [(sides[0].open(row), sides[1].open(row)) for _ in range(calls)]
        for near, far in pairs:
            near.follow(_agreement(near, far))
            far.follow(_agreement(far, near))
        await asyncio.sleep(_WARM_UP_S)
        began_s, cpu_s = time.monotonic(), time.process_time()
        await asyncio.sleep(_WINDOW_S)
        share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        _check([_ended(audio) for pair in pairs for audio in pair])
    finally:
        for side in sides:
            side.close()
    return share


def _agreement(ours: Audio, theirs: Audio) -> MediaAgreement:
    local, remote = (Crypto(1, AES_CM_128_HMAC_SHA1_80, side.key or b"") for side in (ours, theirs))
    return MediaAgreement(
        remote_address=theirs.address,
        remote_port=theirs.port,
        remote_rtcp_port=theirs.port + 1,
        codec=Codec.PCMA,
        heard_codecs=(Codec.PCMA,),
        local_crypto=local,
        remote_crypto=remote,
    )


def _ended(audio: Audio) -> MediaReport:
    audio.close()
    return audio.report


def _check(reports: Sequence[MediaReport]) -> None:
    """Check that audio did flow: a figure of nothing would look like a fast machine."""
    if any(report.authenticated == 0 for report in reports):
        raise RuntimeError("the audio of the measurement did not flow")
