"""Measure what signalling costs the caller: our calls and SIPp's calls in turns, to the same answering SIPp.

`python -m trunkproof.experiments.benchmarks.signalling`. Caller and answerer have a core each. SIPp is written in C++.
At a trunk's rates the difference does not matter; this says how large it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from trunkproof.experiments.benchmarks.peers.sipp.program import WANTED, Answerer, answering, find_sipp, run_caller
from trunkproof.experiments.benchmarks.placing import Placing, hold_calls, place_calls
from trunkproof.experiments.benchmarks.result import Missing, Result, Row, figure, higher_is_better, lower_is_better
from trunkproof.experiments.benchmarks.running import BenchmarkError, apart, in_turns, main, spread, two_sides
from trunkproof.loadgen.card import FOREIGN, TrunkCard

COMMAND = "python -m trunkproof.experiments.benchmarks.signalling"
NAMES = ("signalling.us_per_call", "signalling.connections_vs_sipp")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    calls: int = 4000
    """Calls over one connection of our caller. SIPp places several times as many, so that its start weighs less."""
    connections: int = 800
    at_once: int = 50
    growth: tuple[int, ...] = (10, 100, 1000, 3000, 10_000)
    """Calls up at the same time."""
    rounds: int = 3


QUICK = Sizes(calls=300, connections=60, at_once=20, growth=(10, 100), rounds=1)
_GROWTH_SHARE = 16
"""Where calls are held, at least one in this many of `calls` is placed: small numbers in several waves."""
_SIPP_SHARE = 5
"""SIPp places this many times our calls: it needs a fraction of our time for each."""


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of signalling.

    Raises:
        BenchmarkError: a call failed, on either side.
    """
    sipp, wanted = find_sipp(), sizes or (QUICK if quick else Sizes())
    if sipp is None:
        return [Missing(name, WANTED) for name in NAMES]
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(sipp, Path(folder), wanted)
        return [*bench.one_connection(), *bench.connection_per_call(), *bench.growth()]


@dataclass(frozen=True)
class _Bench:
    sipp: Sequence[str]
    folder: Path
    sizes: Sizes

    def one_connection(self) -> list[Row]:
        """Measure the CPU of a whole call over a standing connection."""
        sizes, calls = self.sizes, self.sizes.calls
        with self._answering() as answerer:
            ours = partial(self._ours, answerer, calls, per_call=False, silent=True)
            heard = partial(self._ours, answerer, calls, per_call=False, silent=False)
            sipp = partial(self._sipp, answerer, _SIPP_SHARE * calls, per_call=False)
            turns = in_turns({"ours": ours, "with audio": heard, "sipp": sipp}, sizes.rounds)
        costs = {name: [_us(each) for each in placings] for name, placings in turns.items()}
        note = "CPU of the caller's process, a whole call without audio; baseline: SIPp 3.8, same scenario and answerer"
        return [
            lower_is_better(
                "signalling.us_per_call",
                median(costs["ours"]),
                "us of CPU",
                baseline=median(costs["sipp"]),
                command=COMMAND,
                note=f"{note}; ours {spread(costs['ours'])}",
            ),
            figure(
                "signalling.with_audio_us_per_call",
                median(costs["with audio"]),
                "us of CPU",
                command=COMMAND,
                note="the same with UDP ports, keys and SRTP sessions set up and taken down, as in every real call",
            ),
        ]

    def connection_per_call(self) -> list[Row]:
        """Measure rate and CPU where each call makes a full TLS handshake."""
        sizes, calls = self.sizes, self.sizes.connections
        with self._answering() as answerer:
            ours = partial(self._ours, answerer, calls, per_call=True, silent=True)
            sipp = partial(self._sipp, answerer, calls, per_call=True)
            turns = in_turns({"ours": ours, "sipp": sipp}, sizes.rounds)
        rates = {name: [each.calls / each.wall_s for each in placings] for name, placings in turns.items()}
        costs = {name: [_us(each) for each in placings] for name, placings in turns.items()}
        at_once = f"{sizes.at_once} calls at once"
        return [
            higher_is_better(
                "signalling.connections_vs_sipp",
                median(rates["ours"]),
                "calls/s",
                baseline=median(rates["sipp"]),
                command=COMMAND,
                note=f"a full handshake for each call, {at_once}, a core for each side; baseline: SIPp 3.8",
            ),
            lower_is_better(
                "signalling.connection_us_per_call",
                median(costs["ours"]),
                "us of CPU",
                baseline=median(costs["sipp"]),
                command=COMMAND,
                note="CPU of the caller's process, the handshake included; baseline: SIPp 3.8",
            ),
        ]

    def growth(self) -> list[Result]:
        """Measure cost and memory of a call with more and more calls up at once."""
        rows: list[Result] = []
        peaks: dict[int, int] = {}
        for calls in self.sizes.growth:
            name = f"signalling.at_{calls}_us_per_call"
            waves = -(-self.sizes.calls // _GROWTH_SHARE // calls)
            try:
                with self._answering() as answerer:
                    where = card_of(answerer)
                    placing, spent = apart(hold_calls, where, calls, waves, self.sizes.at_once, cores=two_sides()[0])
            except BenchmarkError as error:
                rows.append(Missing(name, f"{calls} calls could not be up at once: {error}"))
                break
            peaks[calls] = spent.peak_bytes
            note = (
                f"{placing.up} calls up at once, {_times(waves)}; they begin one after the other, "
                f"{min(calls, self.sizes.at_once)} unanswered at a time, after half a second or more of rest"
            )
            rows.append(figure(name, _us(placing), "us of CPU", command=COMMAND, note=note))
        if len(peaks) < 2:
            return rows
        few, many = min(peaks), max(peaks)
        each = (peaks[many] - peaks[few]) / (many - few)
        note = f"peak with {many} calls up at once, less that with {few}; their rows of the plan included"
        return [*rows, figure("signalling.kib_per_call", each / 1024, "KiB", command=COMMAND, note=note)]

    def _answering(self) -> AbstractContextManager[Answerer]:
        return answering(self.sipp, self.folder / "answerer", media=False, cores=two_sides()[1])

    def _ours(self, answerer: Answerer, calls: int, *, per_call: bool, silent: bool) -> Placing:
        how = (card_of(answerer), calls, self.sizes.at_once, per_call, silent)
        return apart(place_calls, *how, cores=two_sides()[0])[0]

    def _sipp(self, answerer: Answerer, calls: int, *, per_call: bool) -> Placing:
        """Run SIPp, and subtract what one call alone takes: SIPp's own start and end."""
        run = partial(
            run_caller,
            self.sipp,
            self.folder / "caller",
            answerer,
            at_once=self.sizes.at_once,
            per_call=per_call,
            cores=two_sides()[0],
        )
        one, all_of_them = run(calls=1), run(calls=calls + 1)
        return Placing(calls, all_of_them.cpu_s - one.cpu_s, all_of_them.wall_s - one.wall_s)


def card_of(answerer: Answerer) -> TrunkCard:
    """Return the card by which our load generator calls the answerer."""
    return TrunkCard(
        stack=FOREIGN,
        server_name=answerer.server_name,
        host=answerer.host,
        port=answerer.port,
        ca_file=str(answerer.ca_file),
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _us(placing: Placing) -> float:
    return 1e6 * placing.cpu_s / placing.calls


if __name__ == "__main__":
    main(measure, __doc__ or "")
