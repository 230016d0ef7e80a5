"""Use the installed wheel as its three users do, in an empty folder. Run by `.ci/test-pythons` with each Python."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

LINES = (
    "--version",
    "studies list",
    "new study study.yaml --rate 60 --duration 5 --hold 1",
    "plan study.yaml --json",
    "simulate study.yaml --replications 2",
    "schema study",
    # Real calls, where they can be placed.
    *(("validate study.yaml --out out/validated", "report out/validated") if sys.platform == "linux" else ()),
)
FROM_PYTHON = "import trunkproof as tp; print(tp.simulate(tp.read_study('study.yaml')).height)"


def main() -> None:
    """Run every line, and leave with 1 at the first that does not work."""
    command = Path(sys.executable).with_name("trunkproof")
    for words in (*([str(command), *line.split()] for line in LINES), [sys.executable, "-c", FROM_PYTHON]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        # VOID (4) is about this machine, which may be busy.
        if done.returncode not in {0, 4} or "Warning" in done.stderr:
            sys.exit(f"{' '.join(words)} left with {done.returncode}:\n{done.stdout[-500:]}\n{done.stderr[-2000:]}")
    print(f"Python {platform.python_version()}: trunkproof {version('trunkproof')} works, {len(LINES) + 1} lines")


if __name__ == "__main__":
    main()
