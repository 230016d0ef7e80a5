"""Cores that the trunk's programs have to themselves."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trunkproof.loadgen.system.cores import keeping_off, on_cores, take_cores

HERE = sorted(os.sched_getaffinity(0))
_ASK = "import os; print(sorted(os.sched_getaffinity(0)))"


def test_somebody_is_always_left_a_core() -> None:
    assert take_cores(len(HERE)) == ()
    assert take_cores(1000) == ()


@pytest.mark.skipif(len(HERE) < 2, reason="this machine has one core: there is nothing to share out")
def test_both_sides_keep_to_their_own() -> None:
    (core,) = cores = take_cores(1)
    assert core == HERE[0]
    with keeping_off(cores):
        callers = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
        assert callers.stdout.strip() == str(HERE[1:])
        # Whoever keeps off may still start programs there.
        programs = subprocess.run(
            [*on_cores(cores), sys.executable, "-c", _ASK], capture_output=True, text=True, check=True
        )
        assert programs.stdout.strip() == str([core])
    assert sorted(os.sched_getaffinity(0)) == HERE


def test_with_all_cores_taken_nobody_keeps_off() -> None:
    with keeping_off(HERE):
        assert sorted(os.sched_getaffinity(0)) == HERE
    assert on_cores(()) == ()
