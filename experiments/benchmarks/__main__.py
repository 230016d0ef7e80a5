"""`python -m trunkproof.experiments.benchmarks [NAME...] [--quick] [--out FILE]`: run benchmarks and print the page.

Each benchmark runs in a process of its own. The result is saved after a full run of all of them, or to `--out`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trunkproof.experiments.benchmarks.result import LATEST, Missing, Report, Result
from trunkproof.experiments.benchmarks.running import load_average, to_results

NAMES = ("simulator", "media", "signalling", "pacer", "cockpit", "history_read")
"""Benchmarks in the order in which they run. `soak` is not among them: it takes ten minutes."""


def run_one(name: str, *, quick: bool) -> list[Result]:
    """Run one benchmark and return its rows. One that fails is reported as missing and does not stop the others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"trunkproof.experiments.benchmarks.{name}", "--json", str(path)]
        done = subprocess.run(command + ["--quick"] * quick, check=False, stdout=sys.stderr)
        if done.returncode:
            return [Missing(name, f"ended with exit code {done.returncode}; its output is above")]
        return to_results(json.loads(path.read_text(encoding="utf-8")))


def run(names: Sequence[str], *, quick: bool) -> Report:
    """Run benchmarks one after the other."""
    before, results = load_average(), list[Result]()
    for name in names:
        print(f"{name}...", file=sys.stderr, flush=True)
        results += run_one(name, quick=quick)
    return Report.of(results, load_average=(before, load_average()), quick=quick)


def main() -> int:
    """Run, print and save. Return 1 where one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m trunkproof.experiments.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute; do not quote their figures")
    parser.add_argument("--out", type=Path, help="where to save the result (JSON, and Markdown beside it)")
    asked = parser.parse_args()
    report = run(asked.names or NAMES, quick=asked.quick)
    print(report.to_markdown())
    path = asked.out or (None if asked.names or asked.quick else LATEST)
    if path is not None:
        report.write(path)
        print(f"Saved: {path} and {path.with_suffix('.md').name}", file=sys.stderr)
    return int(any(missing.name in NAMES for missing in report.missing))


if __name__ == "__main__":
    sys.exit(main())
