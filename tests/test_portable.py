"""Planning, predicting, reviewing and reading results work where there is no Linux: on macOS and on Windows.

The commands run in a process that is like one there: without the modules, functions and signals that only POSIX has,
and with a system name of its own. Its child processes are like that too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.experiments.load.test_compare import study
from tests.experiments.review.conftest import smaller

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import open_results
from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.load.result import LoadResult, write_load
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.simulator.run import simulate

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
STUDY = "name: x\nduration_s: 20\ntraffic: {arrivals: {kind: poisson, rate_per_minute: 120}, holding: 1}\n"
ELSEWHERE = """\
import asyncio, multiprocessing.pool, os, signal, socket, subprocess, sys, tempfile
try:
    import psutil  # It has code of its own for every system, and is chosen when it is installed.
except ImportError:
    pass

MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop"}


class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ImportError(f"this system has no module {name}")


for name in MODULES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Nowhere())
for name in "getuid geteuid getpgid killpg setsid sched_getaffinity sched_setaffinity pidfd_open".split():
    delattr(os, name)
del os.O_CLOEXEC, os.O_DIRECTORY, signal.SIGHUP, signal.SIGKILL, signal.pthread_sigmask
"""
COMMANDS = """\
import contextlib, io, json, sys
# Libraries choose by the system's name when they are imported.
import numba, polars, scipy.optimize, scipy.stats
from trunkproof.experiments.cli.entry import main

if __name__ == "__main__":  # Workers of the review import this file too.
    sys.platform = "elsewhere"
    results = {}
    for line in sys.argv[1:]:
        sys.argv, out, err, code = ["trunkproof", *line.split()], io.StringIO(), io.StringIO(), None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as left:
                code = left.code
        results[line] = [code or 0, out.getvalue(), err.getvalue()]
    print(json.dumps(results))
"""
REQUEST = """\
name: small customer
history: small.csv
now_per_minute: 8
requested_per_minute: 12
candidates: [12]
interpretations: [{policy: fixed_window}]
enforced: {policy: fixed_window, limit: 8}
pop: {carrier: {channels: 200}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what users there would have: a study, two results of load tests, a history and its request."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "sitecustomize.py").write_text(ELSEWHERE)
    (folder / "study.yaml").write_text(STUDY)
    (folder / "request.yaml").write_text(REQUEST)
    generate(smaller("small"), folder / "small.csv")
    for name in ("a", "b"):
        result = LoadResult(
            study(), simulate(study()), judge(Measurements()), Provenance.collect(study(), "a test"), "foreign"
        )
        with open_results(folder / name) as results:
            write_load(result, results)
    return folder


WORKING = (
    "studies list",
    "plan study.yaml --json",
    "simulate study.yaml --replications 2 --out out/simulated",
    "report a",
    "compare a b --out out/compared",
    "history inspect small.csv",
    "identify a",
    "answer --help",
    "check --help",
    "validate --help",
)
CALLING = (
    "load study.yaml --target 127.0.0.1:5061 --ca study.yaml",
    "serve study.yaml",
    "validate study.yaml --out out/validated",
)
REVIEW = "review request.yaml --workers 1 --engine kernel --out out/review --json"
Said = dict[str, tuple[int, str, str]]
"""Exit code, standard output and standard error of each command line."""


@pytest.fixture(scope="module")
def said(folder: Path) -> Said:
    """What all commands said, run one after the other in one process: imports would take most of the time."""
    (folder / "commands.py").write_text(COMMANDS)
    paths = os.pathsep.join((str(folder), str(ROOT / ".package")))
    done = subprocess.run(
        [sys.executable, "commands.py", *WORKING, *CALLING, REVIEW],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return {line: (code, out, err) for line, (code, out, err) in json.loads(done.stdout).items()}


@pytest.mark.parametrize("line", WORKING)
def test_what_needs_no_calls_works_on_every_system(line: str, said: Said) -> None:
    code, _, err = said[line]
    # `identify` of a trunk that was throttled is not always sure.
    assert code in {ExitCode.OK, ExitCode.DISAGREE}
    assert err == ""


def test_a_review_works_on_every_system(said: Said, folder: Path) -> None:
    """Whatever it decides: its workers are processes, and its page is written."""
    _, out, err = said[REVIEW]
    assert json.loads(out)["decision"], err
    assert (folder / "out" / "review" / "report.html").exists()


@pytest.mark.parametrize("line", CALLING)
def test_where_no_calls_can_be_placed_it_is_said_with_what_works(line: str, said: Said) -> None:
    code, _, err = said[line]
    assert code == ExitCode.NO_TRUNK
    assert "on Linux only, and this system is elsewhere" in err
