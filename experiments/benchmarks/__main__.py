"""`python -m trunkproof.experiments.benchmarks [NAME...] [--quick] [--out FILE]`: run benchmarks, print the page, keep
the result.

Each runs in a process of its own. The result is kept where all of them ran in full, or where `--out` says.
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

NAMES = ("simulator", "media", "signalling", "pacer", "history_read")
"""In the order in which they run. `soak` is left out: it takes ten minutes by itself."""


def run_one(name: str, *, quick: bool) -> list[Result]:
    """The rows of one benchmark; one that breaks is told as missing, and costs the others nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"trunkproof.experiments.benchmarks.{name}", "--json", str(path)]
        done = subprocess.run(command + ["--quick"] * quick, check=False, stdout=sys.stderr)
        if done.returncode:
            return [Missing(name, f"ended with exit code {done.returncode}; its words are above")]
        return to_results(json.loads(path.read_text(encoding="utf-8")))


def run(names: Sequence[str], *, quick: bool) -> Report:
    """All of them, one after the other."""
    before, results = load_average(), list[Result]()
    for name in names:
        print(f"{name}...", file=sys.stderr, flush=True)
        results += run_one(name, quick=quick)
    return Report.of(results, load_average=(before, load_average()), quick=quick)


def main() -> int:
    """Run, print, keep; 1 where one of them broke."""
    parser = argparse.ArgumentParser(prog="python -m trunkproof.experiments.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute; figures are not to be quoted")
    parser.add_argument("--out", type=Path, help="where to keep the result (JSON; Markdown beside it)")
    asked = parser.parse_args()
    report = run(asked.names or NAMES, quick=asked.quick)
    print(report.to_markdown())
    path = asked.out or (None if asked.names or asked.quick else LATEST)
    if path is not None:
        report.write(path)
        print(f"Kept: {path} and {path.with_suffix('.md').name}", file=sys.stderr)
    return int(any(missing.name in NAMES for missing in report.missing))


if __name__ == "__main__":
    sys.exit(main())
