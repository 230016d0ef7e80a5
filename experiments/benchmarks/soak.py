"""Send audio for long: packets must stay punctual, none may be lost, and memory must stay flat.

It takes too long for `make bench`.
`python -m trunkproof.experiments.benchmarks.soak [--calls 1000] [--seconds 600]`. Caller and reflector have a core
each.
"""

from __future__ import annotations

import argparse

from trunkproof.experiments.benchmarks.peers.reflector import reflecting
from trunkproof.experiments.benchmarks.pumping import soaked_calls
from trunkproof.experiments.benchmarks.result import Report, Result, figure
from trunkproof.experiments.benchmarks.running import apart, load_average, two_sides


def measure(calls: int, seconds: float) -> list[Result]:
    """Measure all rows of a soak."""
    caller, far_side = two_sides()
    with reflecting(far_side) as ports:
        (window, memory), _ = apart(soaked_calls, calls, seconds, ports, cores=caller)
    heard, command = (
        window.heard,
        f"python -m trunkproof.experiments.benchmarks.soak --calls {calls} --seconds {seconds:g}",
    )
    share = 100 * window.cost.cpu_s / window.cost.wall_s
    what = f"{calls} two-way calls for {seconds:g} s with {share:.0f} % of a core"
    first, last = memory[1] / 2**20, memory[-1] / 2**20
    return [
        figure("soak.lateness_p99_ms", window.lateness_p99_ms or 0.0, "ms", command=command, note=what),
        figure(
            "soak.not_sent",
            max(0, heard.wanted - heard.sent),
            "packets",
            command=command,
            note=f"of {heard.wanted:,} due; one more or less at a call's end is chance",
        ),
        figure(
            "soak.not_back",
            heard.sent - heard.authenticated,
            "packets",
            command=command,
            note=f"of {heard.sent:,} sent; {heard.received - heard.authenticated} came back and were not authentic, "
            f"{heard.odd} were another voice",
        ),
        figure(
            "soak.memory_growth_mib", last - first, "MiB", command=command, note=f"from {first:.1f} to {last:.1f} MiB"
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600.0)
    asked = parser.parse_args()
    before = load_average()
    results = measure(asked.calls, asked.seconds)
    print(Report.of(results, load_average=(before, load_average()), quick=False).to_markdown())


if __name__ == "__main__":
    main()
