"""Whether this machine lets one process have as many files open as a plan's calls need; told before the run, not in it.

Both the generator and the trunk have two UDP sockets for the audio of each call, and a connection for it where the
study says so. Each process raises its soft limit to the hard one by itself; the hard one is root's to raise.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.prediction.forecast import forecast
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.occupancy import Occupancy
from trunkproof.models.plan import Plan
from trunkproof.models.traffic import TlsPolicy
from trunkproof.simulator.run import Engine, simulate

_AUDIO = 2
"""Sockets of a call: RTP and RTCP."""
_BESIDES = 100
"""Files that are open without any call: libraries, logs, listeners, pipes."""


@dataclass(frozen=True)
class Shortage:
    """There is not room for every call."""

    words: str
    certain: bool
    """The model says so too, of what the trunk does not refuse."""


def find_shortage(plan: Plan, *, processes: int = 1, allowed: int | None = None) -> Shortage | None:
    """`None` where there is room for all calls of the plan, whatever the trunk makes of them.

    A trunk that refuses many calls may leave room where the forecast, which refuses none, leaves none: so the model is
    asked then, which has every attempt, refused or not.

    Args:
        plan: what is to be placed.
        processes: that share the calls.
        allowed: files that each may have open; by default the hard limit.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if allowed is None else allowed
    if allowed == resource.RLIM_INFINITY:
        return None
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
    """What is to be said before the run, if anything; arguments as of `find_shortage`.

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
    """By one of the processes."""
    uses = [trunk.traffic.tls for trunk in plan.study.trunks]
    connections = sum(tls.pool_size if tls.policy is TlsPolicy.POOL else 1 for tls in uses)
    each = _AUDIO + any(tls.policy is TlsPolicy.PER_CALL for tls in uses)
    return _BESIDES + connections + each * math.ceil(calls / processes)


def _predicted_peak(plan: Plan) -> int:
    """Attempts at once that have sockets, refused ones and redials too."""
    records = simulate(plan.study, plan, engine=Engine.KERNEL).drop_nulls(["sent_s", "ended_s"])
    occupancy = Occupancy()
    occupancy.add(
        records["sent_s"].to_numpy(), records["ended_s"].to_numpy(), np.ones(records.height), complete_until_s=np.inf
    )
    return int(occupancy.peak)
