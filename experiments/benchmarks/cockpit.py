"""Measure what the cockpit costs the process that places calls: its screen, and the page and metrics that it feeds.

`python -m trunkproof.experiments.benchmarks.cockpit`. The same calls are placed with and without it, in turns. That
difference is small beside what two turns differ by, so the CPU of the cockpit's own work is counted too: of every call
of its observer, and of one screen a second.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from trunkproof.experiments.benchmarks.result import Result, figure, lower_is_better
from trunkproof.experiments.benchmarks.running import BenchmarkError, apart, in_turns, main, spread
from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.cockpit import Cockpit, Where
from trunkproof.experiments.live.snapshot import Snapshot
from trunkproof.experiments.live.terminal import screen
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

COMMAND = "python -m trunkproof.experiments.benchmarks.cockpit"
_DRAWN = 30


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    per_minute: int = 600
    duration_s: float = 20.0
    hold_s: float = 10.0
    turns: int = 3


QUICK = Sizes(duration_s=3.0, hold_s=0.5, turns=1)


@dataclass(frozen=True)
class Turn:
    """What one run cost its process."""

    cpu_s: float
    cockpit_s: float
    """Of it, in the cockpit: observer calls, and a screen a second."""
    lateness_p99_ms: float


class _Timed(Observer):
    """Passes everything on, and counts the CPU that it took. It overrides every method by name."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.cpu_s = 0.0

    def __getattribute__(self, name: str) -> Any:
        if name in {"_observer", "cpu_s", "__dict__", "__class__"}:
            return super().__getattribute__(name)
        tell = getattr(self._observer, name)

        def timed(*told: object) -> None:
            begun = time.thread_time()
            tell(*told)
            self.cpu_s += time.thread_time() - begun

        return timed


def turn(sizes: Sizes, has_cockpit: bool) -> Turn:
    """Place the calls once in this process.

    Raises:
        BenchmarkError: calls failed.
    """
    return asyncio.run(_turn(sizes, has_cockpit=has_cockpit))


async def _turn(sizes: Sizes, *, has_cockpit: bool) -> Turn:
    asked = _study(sizes)
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=40)
    where = Where(page=Address(), metrics=Address()) if has_cockpit else Where(quiet=True)
    cockpit = Cockpit(asked, console, where)
    timed = _Timed(cockpit.state)
    options = replace(DEFAULTS, observers=(timed,)) if has_cockpit else DEFAULTS
    with tempfile.TemporaryDirectory() as folder:
        async with running_trunk(asked, Path(folder)) as card, cockpit.open():
            plan = draw_plan(asked)
            begun = time.process_time()
            driven = await drive(plan, card, options)
            cpu_s = time.process_time() - begun
    completed = (driven.records["disposition"] == Disposition.COMPLETED.value).sum()
    if completed < driven.records.height:
        raise BenchmarkError(f"{driven.records.height - completed} of {driven.records.height} calls were not completed")
    lasted_s = sizes.duration_s + sizes.hold_s
    cockpit_s = timed.cpu_s + lasted_s * _screen_cpu_s(cockpit.state.snapshot) if has_cockpit else 0.0
    return Turn(cpu_s, cockpit_s, driven.generator.lateness_p99_ms)


def _screen_cpu_s(now: Snapshot) -> float:
    """Return the CPU of drawing one screen."""
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=40)
    begun = time.thread_time()
    for _ in range(_DRAWN):
        console.print(screen(now))
    return (time.thread_time() - begun) / _DRAWN


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of the cockpit."""
    wanted = sizes or (QUICK if quick else Sizes())
    found = in_turns(
        {"with": lambda: apart(turn, wanted, True)[0], "without": lambda: apart(turn, wanted, False)[0]}, wanted.turns
    )
    cpu = {name: [each.cpu_s for each in turns] for name, turns in found.items()}
    shares = [100 * each.cockpit_s / each.cpu_s for each in found["with"]]
    late = {name: statistics.median(each.lateness_p99_ms for each in turns) for name, turns in found.items()}
    what = f"{wanted.per_minute} calls a minute of {wanted.hold_s:g} s for {wanted.duration_s:g} s, with two-way audio"
    return [
        figure(
            "cockpit.share_of_cpu",
            statistics.median(shares),
            "%",
            command=COMMAND,
            note=f"of the generator's CPU: counting, news for the page, a screen a second; {spread(shares)}; {what}",
        ),
        lower_is_better(
            "cockpit.cpu_s",
            statistics.median(cpu["with"]),
            "s",
            baseline=statistics.median(cpu["without"]),
            command=COMMAND,
            note=f"the generator's CPU without a cockpit; {spread(cpu['with'])} against {spread(cpu['without'])}",
        ),
        lower_is_better(
            "cockpit.lateness_p99_ms",
            late["with"],
            "ms",
            baseline=late["without"],
            command=COMMAND,
            note="the lateness of calls without a cockpit",
        ),
    ]


def _study(sizes: Sizes) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": sizes.per_minute},
        "holding": sizes.hold_s,
        "ringing": 0.2,
    }
    return Study.model_validate(
        {
            "name": "cockpit",
            "duration_s": sizes.duration_s,
            "trunks": [{"throttle": {"policy": "none"}, "traffic": traffic}],
        }
    )


if __name__ == "__main__":
    main(measure, __doc__ or "")
