"""Whatever this machine lacks, a command ends in a message and its exit code, and what was measured is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import JOURNAL, PAGE, TRUNK
from trunkproof.experiments.common.saved_run import read_run
from trunkproof.experiments.validation.validate import read_evidence
from trunkproof.experiments.verification.kills import Victim, kill_once
from trunkproof.loadgen.card import read_card
from trunkproof.loadgen.journal.keeper import RUN
from trunkproof.loadgen.journal.reading import read_journal
from trunkproof.loadgen.run_end import EndKind

COMMAND = f"{sys.executable} -m trunkproof.experiments.cli"
STUDY = """\
name: "a fault – ₹"
duration_s: 60
pop: {address: 127.0.0.93, carrier: {setup: 0.05}}
trunk: {customer_address: 127.0.0.94, throttle: {policy: none}}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 600}
  holding: {kind: exponential, mean_s: 1}
  ringing: 0.2
"""
MAY_MOUNT = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode == 0
needs_mounts = pytest.mark.skipif(not MAY_MOUNT, reason="this user may not make mounts of its own")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def run_apart(script: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts of its own."""
    return subprocess.run(
        ("unshare", "--mount", "sh", "-c", script, "sh", *map(str, words)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=300,
    )


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "code", "said"),
    [
        ("-o size=64k tmpfs $2; head -c 64k /dev/zero > $2/filler", ExitCode.NO_ROOM, "No space left on device"),
        ("-o nr_inodes=2 tmpfs $2; touch $2/filler", ExitCode.NO_ROOM, "No space left on device"),
        ("-o ro tmpfs $2", ExitCode.WRONG_INPUT, "Read-only file system"),
    ],
)
def test_a_folder_without_room_is_a_message(study: Path, tmp_path: Path, mount: str, code: ExitCode, said: str) -> None:
    (tmp_path / "fs").mkdir()
    script = f'mount -t tmpfs {mount} 2>/dev/null; {COMMAND} plan "$1" --out "$2/out"'
    done = run_apart(script, study, tmp_path / "fs")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert str(tmp_path / "fs" / "out") in done.stderr
    assert "Traceback" not in done.stderr


def test_too_little_memory_is_a_message(study: Path) -> None:
    done = subprocess.run(
        ("sh", "-c", f'ulimit -v 1000000; {COMMAND} simulate "$1"', "sh", str(study)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.NO_ROOM, done.stderr
    assert "this process may use 977 MiB of memory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_and_a_terminal_of_few_letters_change_no_exit_code(study: Path) -> None:
    script = f'({COMMAND} plan --json "$1"; echo "code $?" >&2) | true'
    done = subprocess.run(
        ("sh", "-c", script, "sh", str(study)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "POSIX"},
    )
    assert done.stderr == "code 0\n"


@pytest.mark.slow
@needs_mounts
def test_machine_code_goes_to_a_private_folder_where_there_is_no_home(tmp_path: Path) -> None:
    # The checkout cannot be written to, and neither can a home that does not exist.
    code = "import logging; logging.basicConfig(); import trunkproof.simulator.kernel.loop"
    root = Path(__file__).parents[2]
    script = f'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; exec {sys.executable} -B -c "{code}"'
    done = run_apart(script, root, HOME="/proc/none", XDG_CACHE_HOME="/proc/none", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("machine code is kept in") == 1
    private = tmp_path / f"trunkproof-{os.getuid()}"
    assert private.stat().st_mode & 0o777 == 0o700
    # A folder that somebody else may write to is never used: what is in it is run.
    private.chmod(0o777)
    done = run_apart(script, root, HOME="/proc/none", XDG_CACHE_HOME="/proc/none", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("machine code cannot be kept") == 1


@needs_mounts
def test_a_disk_that_fills_up_ends_the_run_and_its_page_is_made_from_the_journal(study: Path, tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    script = f"""
    mount -t tmpfs -o size=8m tmpfs "$2"
    {COMMAND} validate "$1" --out "$2/out" &
    while ! grep -qs '"ended"' "$2"/out/{JOURNAL}/*; do sleep 0.2; kill -0 $! || exit 99; done
    sleep 2
    head -c 9m /dev/zero > "$2/filler" 2>/dev/null
    wait $!; echo "code $?"
    pgrep -f "$2/out/trunk" && echo "left behind"
    {COMMAND} report "$2/out" --page "$3" || echo "no page"
    """
    done = run_apart(script, study, tmp_path / "fs", tmp_path / PAGE)
    assert f"code {ExitCode.NO_ROOM:d}" in done.stdout, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "left behind" not in done.stdout
    # The disk is still full, so the page was written elsewhere.
    assert "no page" not in done.stdout
    assert (tmp_path / PAGE).stat().st_size > 10_000
    assert "cut short" in done.stdout


@pytest.mark.slow
# One of them here; `make kills` kills each process at many instants.
@pytest.mark.parametrize("victim", [Victim.RUN])
def test_whoever_is_killed_the_journal_lacks_less_than_a_second_and_nothing_is_left(
    victim: Victim, tmp_path: Path
) -> None:
    found = kill_once(tmp_path, victim, random.Random(victim).uniform(1.0, 3.0))
    assert found.is_well, found
    ends = {Victim.RUN: EndKind.KILLED, Victim.WORKER: EndKind.WORKER_LOST, Victim.TRUNK: EndKind.TRUNK_DIED}
    run = read_run(tmp_path / "out")
    assert run.end.kind is ends[victim]
    assert bool(run.missing) == (victim is Victim.RUN)
    assert "cut short" in found.said
    # Of a killed run only what had ended is compared.
    if victim is Victim.RUN:
        assert run.under_way
        assert read_evidence(tmp_path / "out").measured.height == run.records.height - len(run.under_way)


def test_after_a_hang_up_a_ctrl_c_leaves_at_once_with_the_journal_whole(study: Path, tmp_path: Path) -> None:
    # So that the first signal alone would not be over soon: calls are long.
    study.write_text(STUDY.replace("mean_s: 1", "mean_s: 60"), encoding="utf-8")
    out = tmp_path / 'a b;"\n é'
    words = (*COMMAND.split(), "validate", str(study), "--out", str(out))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal = out / JOURNAL / RUN
    while not (journal.exists() and len(read_journal(journal).records) > 10):
        assert process.poll() is None
        time.sleep(0.1)
    card = read_card(out / TRUNK / "trunk.json")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    while "press Ctrl-C again" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED, said
    assert "left at once" in said
    assert "Traceback" not in said
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert not Path(card.ca_file).exists() or TRUNK in card.ca_file
    assert read_journal(journal).torn_bytes == 0
    done = subprocess.run((*COMMAND.split(), "report", str(out)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / PAGE).exists()


@pytest.mark.requires("kamailio")
@pytest.mark.requires("rtpengine", package="rtpengine-daemon")
def test_the_name_of_a_folder_is_no_matter_to_the_programs_of_the_trunk(tmp_path: Path) -> None:
    study, out = tmp_path / "study.yaml", tmp_path / "a b;\"'\n#!é"
    text = STUDY.replace("duration_s: 60", "duration_s: 3").replace("mean_s: 1", "mean_s: 0.3")
    study.write_text(text, encoding="utf-8")
    words = (*COMMAND.split(), "validate", str(study), "--stack", "kamailio", "--out", str(out))
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert "did not start" not in done.stderr, done.stderr
    found = read_evidence(out)
    assert found.measured.filter(found.measured["disposition"] == "completed").height > 10
    assert (out / TRUNK / "kamailio.log").exists()


@pytest.mark.slow
def test_ctrl_c_is_heard_while_a_served_trunk_compiles_for_the_first_time(study: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        (*COMMAND.split(), "serve", str(study), "--port", "0", "--out", str(tmp_path / "out")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
    )
    compiling: list[psutil.Process] = []
    while not compiling:
        assert process.poll() is None
        time.sleep(0.1)
        compiling = psutil.Process(process.pid).children()
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode in {ExitCode.OK, ExitCode.INTERRUPTED}, said
    assert "Traceback" not in said
    # It did not wait for the compiler, which was not done, and has ended it.
    assert not list((tmp_path / "cache").rglob("loop.run-*.nbi"))
    assert psutil.wait_procs(compiling, timeout=5)[1] == []
