"""Estimate from outside when the throttle windows of a running Kamailio began.

pipelimit counts between the ticks of a timer. Kamailio's process "timer" starts it immediately. The script's own fixed
windows begin with the first worker. Both processes are forked together, and the kernel knows when, to 10 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from trunkproof.models.errors import StackError
from trunkproof.models.study import Study
from trunkproof.models.throttles.windows import Windowed

UNCERTAINTY_S = 0.007
"""Half a grain of the kernel's clock (5 ms), and the time from a fork to the first tick (measured: at most 2 ms)."""
_HALF_A_GRAIN_S = 0.0055
"""Half a grain of the kernel's clock, and half a millisecond from the fork to the first tick."""


def windows_began(study: Study, pids: Mapping[str, int]) -> dict[str, float]:
    """Return trunk name -> when its throttle's first window began, on the clock of `time.monotonic`.

    It is exact to `UNCERTAINTY_S`. Trunks whose throttle has no windows are left out. Later windows follow without
    drift. Only if the machine starves Kamailio's timer for more than a tick of 62.5 ms, pipelimit's may be late by one
    tick.

    Raises:
        StackError: Kamailio has ended.
    """
    try:
        children = sorted(child.pid for child in psutil.Process(pids["kamailio"]).children())
        # The second child is "timer"; the last is forked some 2 ms later.
        timer, last = _started(children[1]), _started(children[-1])
    except (LookupError, ValueError, OSError, psutil.Error) as error:
        raise StackError("kamailio has ended, so it is not known when its windows began") from error
    # If a grain of the clock ended between the two forks, its end is the better estimate.
    began = last if last > timer + _HALF_A_GRAIN_S else timer + _HALF_A_GRAIN_S
    return {trunk.name: began for trunk in study.trunks if isinstance(trunk.throttle, Windowed)}


def _started(pid: int) -> float:
    """Return when a process was forked, on the monotonic clock, rounded down to 10 ms (proc(5), field 22)."""
    # The name of the program, in brackets, may hold spaces and brackets itself. Cut behind the last one. Field 3 is
    # then the first, and field 22 has the index 19.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    # The kernel counts from the boot, sleep of the machine included. `time.monotonic` leaves that out.
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age_s
