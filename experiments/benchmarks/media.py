"""Measure what a call's audio costs: ours against asyncio with pylibsrtp, bare sockets and SIPp, and with many calls.

`python -m trunkproof.experiments.benchmarks.media`. Caller and far side have a core each. Only windows count in which
packets were sent, came back and were authentic. Ours checks more than that; the others do not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from trunkproof.experiments.benchmarks.audio_window import AudioWindow
from trunkproof.experiments.benchmarks.peers.asyncio_calls import asyncio_calls
from trunkproof.experiments.benchmarks.peers.bare_sockets import bare_sockets
from trunkproof.experiments.benchmarks.peers.reflector import reflecting
from trunkproof.experiments.benchmarks.peers.sipp.program import WANTED, answering, find_sipp
from trunkproof.experiments.benchmarks.pumping import pumped_calls
from trunkproof.experiments.benchmarks.result import Missing, Result, figure, higher_is_better
from trunkproof.experiments.benchmarks.running import Spent, apart, in_turns, main, two_sides
from trunkproof.experiments.benchmarks.with_sipp import Size, our_calls, sipp_calls
from trunkproof.loadgen.parties.audio import NoPortError

COMMAND = "python -m trunkproof.experiments.benchmarks.media"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    beside: int = 500
    """Calls of ours and of each other system; they take half a core of asyncio. With fewer calls, waking a virtual
    machine is much of the cost of each. With 600 and more, asyncio or uvloop lost quality on a shared core.
    """
    window_s: float = 4.0
    rounds: int = 3
    growth: tuple[int, ...] = (10, 100, 1000, 2000, 3000, 10_000)
    growth_window_s: float = 8.0
    lateness_at: int = 1000


QUICK = Sizes(beside=20, window_s=1.0, rounds=1, growth=(10, 50), growth_window_s=1.0, lateness_at=50)


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of media.

    Raises:
        BenchmarkError: wrong packets came back to a system, or a call failed.
    """
    wanted = sizes or (QUICK if quick else Sizes())
    return [*_growth(wanted), *_beside_sockets(wanted), *_beside_sipp(wanted)]


def _beside_sockets(sizes: Sizes) -> list[Result]:
    caller, far_side = two_sides()

    def run(work: Callable[..., AudioWindow], *more: object) -> AudioWindow:
        window, _ = apart(work, sizes.beside, sizes.window_s, ports, *more, cores=caller)
        return window.check(work.__name__)

    with reflecting(far_side) as ports:
        contenders = {
            "ours": partial(run, pumped_calls),
            "asyncio": partial(run, asyncio_calls, False),
            "uvloop": partial(run, asyncio_calls, True),
            "bare sockets": partial(run, bare_sockets),
        }
        turns = in_turns(contenders, sizes.rounds)
    why = "baseline: an asyncio endpoint for each call and pylibsrtp's API, same reflector"
    return [
        _versus("media.vs_asyncio", turns, "ours", "asyncio", why),
        _versus("media.vs_uvloop", turns, "ours", "uvloop", f"{why}, on uvloop"),
        _versus("media.vs_bare_sockets", turns, "ours", "bare sockets", _floor(turns)),
    ]


def _floor(turns: Mapping[str, list[AudioWindow]]) -> str:
    """Say what bare sockets are, and how far every program with a socket per call is limited by their cost."""
    costs = {who: [window.us_per_tick for window in _at_quality(windows)] for who, windows in turns.items()}
    floor = costs["bare sockets"]
    reach = [
        f"{median(costs[who]) / median(floor):.1f} times the calls of {who}"
        for who in ("asyncio", "uvloop")
        if costs[who] and floor
    ]
    also = f"; even they carry only {', '.join(reach)}" if reach else ""
    return f"baseline: our system calls and wake-ups alone, without encryption and checks{also}"


def _beside_sipp(sizes: Sizes) -> list[Result]:
    sipp = find_sipp()
    if sipp is None:
        return [Missing("media.vs_sipp", WANTED)]
    caller, far_side = two_sides()
    size = Size(sizes.beside, sizes.window_s)
    with (
        tempfile.TemporaryDirectory() as name,
        answering(sipp, Path(name) / "answerer", media=True, cores=far_side) as answerer,
    ):
        contenders = {
            "ours": lambda: our_calls(Path(name) / "ours", answerer, size, caller),
            "sipp": lambda: sipp_calls(sipp, Path(name) / "sipp", answerer, size, caller),
        }
        turns = in_turns(contenders, sizes.rounds)
    why = "whole calls over TLS by `trunkproof load`; baseline: SIPp 3.8, same answerer (SIPp), which checks nothing"
    return [_versus("media.vs_sipp", turns, "ours", "sipp", why)]


def _versus(name: str, turns: Mapping[str, list[AudioWindow]], ours: str, theirs: str, why: str) -> Result:
    calls = turns[ours][0].calls
    for who in (ours, theirs):
        if not _at_quality(turns[who]):
            return Missing(name, f"{who} did not carry {calls} calls at quality: {turns[who][0].shortfall}")
    good = {who: _at_quality(turns[who]) for who in (ours, theirs)}
    costs = {who: median(window.us_per_tick for window in windows) for who, windows in good.items()}
    return higher_is_better(
        name,
        median(window.calls_per_core for window in good[ours]),
        "calls per core",
        baseline=median(window.calls_per_core for window in good[theirs]),
        command=COMMAND,
        note=f"{calls} calls; {costs[ours]:.1f} against {costs[theirs]:.1f} us a call and 20 ms; {why}",
    )


def _at_quality(windows: Iterable[AudioWindow]) -> list[AudioWindow]:
    return [window for window in windows if window.shortfall is None]


def _growth(sizes: Sizes) -> list[Result]:
    """Measure more and more calls on one core, until it cannot carry them."""
    caller, far_side = two_sides()
    carried: dict[int, tuple[AudioWindow, Spent]] = {}
    stopped: list[Result] = []
    with reflecting(far_side) as ports:
        for calls in sizes.growth:
            try:
                window, spent = apart(pumped_calls, calls, sizes.growth_window_s, ports, cores=caller)
                if window.shortfall is not None:
                    # Try once more: the shortfall may come from other users of this machine.
                    window, spent = apart(pumped_calls, calls, sizes.growth_window_s, ports, cores=caller)
            except (OSError, NoPortError) as error:
                stopped.append(Missing(f"media.at_{calls}_us_per_tick", f"this machine: {error}"))
                break
            if window.check("ours").shortfall is not None:
                share = window.cost.cpu_s / window.cost.wall_s
                why = f"{window.shortfall}, with {100 * share:.0f} % of the core used"
                stopped.append(Missing(f"media.at_{calls}_us_per_tick", why))
                break
            carried[calls] = window, spent
    return [*_rows_of_growth(carried, sizes), *stopped]


def _rows_of_growth(carried: Mapping[int, tuple[AudioWindow, Spent]], sizes: Sizes) -> list[Result]:
    if not carried:
        return [Missing("media.calls_per_core", "not even the fewest calls were carried at quality")]
    most, fewest = max(carried), min(carried)
    largest = carried[most][0]
    share = largest.cost.cpu_s / largest.cost.wall_s
    note = f"seen: {most} two-way calls with {100 * share:.0f} % of a core, all packets authentic, all voices known"
    rows = [figure("media.calls_per_core", largest.calls_per_core, "calls per core", command=COMMAND, note=note)]
    rows += [
        figure(f"media.at_{calls}_us_per_tick", window.us_per_tick, "us of CPU", command=COMMAND, note=_details(window))
        for calls, (window, _) in carried.items()
    ]
    if sizes.lateness_at in carried:
        late = carried[sizes.lateness_at][0].lateness_p99_ms
        note = f"how late packets leave, p99, {sizes.lateness_at} calls on one core"
        rows.append(figure("media.lateness_p99_ms", late or 0.0, "ms", command=COMMAND, note=note))
    if most > fewest:
        each = (carried[most][1].peak_bytes - carried[fewest][1].peak_bytes) / (most - fewest)
        note = f"peak with {most} calls, less that with {fewest}"
        rows.append(figure("media.kib_per_call", each / 1024, "KiB", command=COMMAND, note=note))
    return [*rows]


def _details(window: AudioWindow) -> str:
    heard = window.heard
    return (
        f"{window.calls} calls, a packet each way; {heard.sent:,} sent, {heard.authenticated:,} came back; "
        f"lateness p99 {window.lateness_p99_ms:.2g} ms"
    )


if __name__ == "__main__":
    main(measure, __doc__ or "")
