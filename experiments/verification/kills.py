"""Kill a run, its worker or its trunk at random instants, and check what is left: `make kills`.

Each time, every attempt that was due a second before the kill has to be in the journal, `trunkproof report` has to
write its page, and neither processes nor ports, control groups or temporary files may be left.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from trunkproof.experiments.common.result_folder import CARD, JOURNAL, PAGE, TRUNK
from trunkproof.experiments.common.saved_run import read_run
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.journal.keeper import RUN
from trunkproof.loadgen.journal.reading import read_journal
from trunkproof.models.plan import draw_plan

STUDY = """\
name: killed
duration_s: 20
pop: {address: 127.0.0.91, carrier: {setup: 0.05}}
trunk: {customer_address: 127.0.0.92, throttle: {policy: none}}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 600}
  holding: {kind: exponential, mean_s: 1}
  ringing: 0.2
  inbound_share: 0.2
  tls: {policy: pool, pool_size: 4}
"""
MISSING_AT_MOST_S = 1.0
_BEGINS_WITHIN_S, _GONE_WITHIN_S = 120.0, 60.0
_COMMAND = (sys.executable, "-m", "trunkproof.experiments.cli")


class Victim(StrEnum):
    """Which process is killed."""

    RUN = "run"
    WORKER = "worker"
    TRUNK = "trunk"


@dataclass(frozen=True)
class Aftermath:
    """What was found after a kill. Everything is well where all lists are empty and `page` is True."""

    victim: Victim
    at_s: float
    """When it was killed, after plan zero."""
    missing: tuple[int, ...]
    """Plan rows of first attempts that were due long enough before it, and are in no journal."""
    left: tuple[str, ...]
    """Processes, ports, control groups and temporary files that were left behind."""
    page: bool
    """Whether `trunkproof report` wrote the page."""
    said: str
    """What the report said."""

    @property
    def is_well(self) -> bool:
        """Tell whether nothing is missing and nothing was left."""
        return not self.missing and not self.left and self.page


def kill_once(folder: Path, victim: Victim, after_s: float) -> Aftermath:
    """Run a study in `folder`, and kill one of its processes `after_s` seconds after plan zero.

    Raises:
        RuntimeError: the run did not begin.
    """
    study_file, out, temporary = folder / "study.yaml", folder / "out", folder / "tmp"
    temporary.mkdir(parents=True)
    study_file.write_text(STUDY, encoding="utf-8")
    process = subprocess.Popen(
        (*_COMMAND, "validate", str(study_file), "--workers", "2", "--out", str(out)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    zero = _plan_zero(out, process)
    time.sleep(max(0.0, zero + after_s - time.monotonic()))
    card = read_card(out / TRUNK / CARD)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    victims = {Victim.RUN: process.pid, Victim.TRUNK: card.pid or 0}
    os.kill(victims.get(victim) or _worker_of(family), signal.SIGKILL)
    at_s = time.monotonic() - zero
    process.wait(timeout=_GONE_WITHIN_S)
    _, alive = psutil.wait_procs(family, timeout=_GONE_WITHIN_S)
    # The page of a run that could write its results is removed, to see that the report makes it again.
    (out / PAGE).unlink(missing_ok=True)
    report = subprocess.run((*_COMMAND, "report", str(out)), capture_output=True, text=True, check=False)
    run = read_run(out)
    begun = set(run.records["row"])
    due = (row for row in draw_plan(run.study).first_attempts() if (row.place_s or 0.0) < at_s - MISSING_AT_MOST_S)
    return Aftermath(
        victim=victim,
        at_s=at_s,
        missing=tuple(row.row for row in due if row.row not in begun),
        left=tuple(_left(alive, card, family, temporary)),
        page=report.returncode == 0 and (out / PAGE).exists(),
        said=report.stdout + report.stderr,
    )


def _plan_zero(out: Path, process: subprocess.Popen[bytes]) -> float:
    until = time.monotonic() + _BEGINS_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        journal = out / JOURNAL / RUN
        if journal.exists() and (zero := read_journal(journal).zero) is not None:
            return zero
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the run did not begin; it has ended with {process.poll()}")


def _worker_of(family: list[psutil.Process]) -> int:
    return next(each.pid for each in family if "trunkproof.loadgen.workers" in each.cmdline())


def _left(alive: list[psutil.Process], card: TrunkCard, family: list[psutil.Process], temporary: Path) -> Iterator[str]:
    yield from (f"process {each.pid}" for each in alive)
    with socket.socket() as probe:
        if probe.connect_ex((card.host, card.port)) == 0:
            yield f"port {card.port}"
    pids = {each.pid for each in family}
    groups = (path for path in Path("/sys/fs/cgroup").glob("**/trunkproof-*"))
    yield from (f"control group {path}" for path in groups if int(path.name.split("-")[1]) in pids)
    yield from (f"file {path}" for path in temporary.glob("trunkproof-*"))


def main(kills: int = 20, seed: int = 1) -> int:
    """Kill each process in turn. Return 0 where all was well each time."""
    dice, worst = random.Random(seed), 0
    for number in range(kills):
        victim = list(Victim)[number % len(Victim)]
        folder = Path(tempfile.mkdtemp(prefix="kills-"))
        found = kill_once(folder, victim, dice.uniform(0.5, 12.0))
        verdict = "well" if found.is_well else f"missing {found.missing}, left {found.left}, page {found.page}"
        sys.stdout.write(f"{number + 1:2}. {victim} killed {found.at_s:.2f} s after plan zero: {verdict}\n")
        sys.stdout.flush()
        worst += not found.is_well
        shutil.rmtree(folder)
    return min(worst, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
