"""Check before a run that a process may open as many files as the plan's calls need.

Both the generator and the trunk need two UDP sockets for the audio of each call, and a connection for each call if the
study says so. Each process raises its soft limit to the hard limit by itself. Only root can raise the hard limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.prediction.forecast import forecast
from trunkproof.loadgen.system.descriptors import open_file_limits
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.occupancy import Occupancy
from trunkproof.models.plan import Plan
from trunkproof.models.traffic import TlsPolicy
from trunkproof.simulator.run import Engine, simulate

_AUDIO = 2
"""The audio sockets of a call: RTP and RTCP."""
_BESIDES = 100
"""Files that are open without any call: libraries, logs, listeners, pipes."""


@dataclass(frozen=True)
class Shortage:
    """There may be too few open files for all calls."""

    words: str
    certain: bool
    """Whether the model predicts it too. The model knows what the trunk refuses."""


def find_shortage(plan: Plan, *, processes: int = 1, allowed: int | None = None) -> Shortage | None:
    """Return the shortage of open files, or None where there are enough for all calls of the plan.

    The forecast assumes that no call is refused. If it finds too few files, the model counts again: a trunk that
    refuses many calls needs fewer at once.

    Args:
        plan: the calls to place.
        processes: how many processes share the calls.
        allowed: how many files each may have open. None: the hard limit.
    """
    allowed = open_file_limits()[1] if allowed is None else allowed
    held = forecast(plan).peak_held
    if _needed(plan, held, processes) <= allowed:
        return None
    at_once = _predicted_peak(plan)
    needed = _needed(plan, at_once, processes)
    words = (
        f"{at_once:,} attempts at once are predicted ({held:,} if the trunk refused none), which need {needed:,} open "
        f"files; this machine allows a process {allowed:,}"
    )
    return Shortage(words, certain=needed > allowed)


def check_open_files(plan: Plan, *, processes: int = 1, allowed: int | None = None) -> tuple[str, ...]:
    """Return warnings about open files to show before the run. `find_shortage` explains the arguments.

    Raises:
        InputError: the run cannot work.
    """
    shortage = find_shortage(plan, processes=processes, allowed=allowed)
    if shortage is None:
        return ()
    if shortage.certain:
        what = f"{shortage.words}: raise its hard limit (ulimit -Hn, as root), or offer fewer calls"
        raise InputError(plan.study.name, [Problem(where="open files", what=what)])
    return (f"open files may run out: {shortage.words}",)


def _needed(plan: Plan, calls: int, processes: int) -> int:
    """Return how many open files one of the processes needs."""
    uses = [trunk.traffic.tls for trunk in plan.study.trunks]
    connections = sum(tls.pool_size if tls.policy is TlsPolicy.POOL else 1 for tls in uses)
    each = _AUDIO + any(tls.policy is TlsPolicy.PER_CALL for tls in uses)
    return _BESIDES + connections + each * math.ceil(calls / processes)


def _predicted_peak(plan: Plan) -> int:
    """Return the most attempts at once that have sockets. Refused ones and redials count too."""
    records = simulate(plan.study, plan, engine=Engine.KERNEL).drop_nulls(["sent_s", "ended_s"])
    occupancy = Occupancy()
    occupancy.add(
        records["sent_s"].to_numpy(), records["ended_s"].to_numpy(), np.ones(records.height), complete_until_s=np.inf
    )
    return int(occupancy.peak)
