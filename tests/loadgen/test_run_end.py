"""How a run ended: in words, in a file and back, and as an exit code."""

from __future__ import annotations

import json

import pytest

from trunkproof.experiments.common.exit_codes import BY_END, ExitCode, code_of_run
from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.run_end import COMPLETED, EndKind, RunEnd
from trunkproof.loadgen.verdict import Verdict

ENDS = {
    COMPLETED: (None, ExitCode.OK),
    RunEnd(EndKind.INTERRUPTED, 2.04): ("interrupted 2.0 s after plan zero", ExitCode.INTERRUPTED),
    RunEnd(EndKind.INTERRUPTED, -0.3): ("interrupted before the first call", ExitCode.INTERRUPTED),
    RunEnd(EndKind.TRUNK_DIED, 3.0): ("the trunk died 3.0 s after plan zero", ExitCode.NO_TRUNK),
    RunEnd(EndKind.TRUNK_SILENT, 9.0): ("the trunk had stopped answering 9.0 s after plan zero", ExitCode.NO_TRUNK),
    RunEnd(EndKind.WORKER_LOST, 1.5, "worker 2", "killed by SIGKILL"): (
        "worker 2 died 1.5 s after plan zero, killed by SIGKILL",
        ExitCode.VOID,
    ),
    RunEnd(EndKind.BUG, 4.0, detail="KeyError: 7"): (
        "trunkproof itself failed 4.0 s after plan zero: KeyError: 7",
        ExitCode.BUG,
    ),
    RunEnd(EndKind.THRESHOLD, 7.0, detail="refused_share at most 0.01"): (
        "ended by a threshold 7.0 s after plan zero: refused_share at most 0.01",
        ExitCode.ABORTED,
    ),
    RunEnd(EndKind.NO_ROOM, 6.0, detail="No space left on device"): (
        "the journal could not be written 6.0 s after plan zero: No space left on device",
        ExitCode.NO_ROOM,
    ),
    RunEnd(EndKind.KILLED, 5.0): (
        "the run broke off 5.0 s after plan zero: it was killed, or power or disk space ran out",
        ExitCode.INTERRUPTED,
    ),
    RunEnd(EndKind.UNKNOWN, detail="the trunk is gone"): ("the trunk is gone", ExitCode.INTERRUPTED),
}


def test_every_kind_has_words_and_an_exit_code() -> None:
    assert {end.kind for end in ENDS} == set(EndKind) == set(BY_END)


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_an_end_is_told_kept_and_left_with(end: RunEnd) -> None:
    words, code = ENDS[end]
    assert end.interrupted == words
    assert RunEnd.from_json(json.loads(json.dumps({"ended": end.to_json(), "interrupted": words}))) == end
    assert code_of_run(Verdict.VALID, end) is code


def test_a_void_run_that_was_completed_proves_nothing() -> None:
    assert code_of_run(Verdict.VOID, COMPLETED) is ExitCode.VOID
    assert code_of_run(Verdict.VOID, RunEnd(EndKind.TRUNK_DIED, 1.0)) is ExitCode.NO_TRUNK


def test_a_bug_is_told_first_whatever_else_a_run_says() -> None:
    assert code_of_run(Verdict.VOID, COMPLETED, [Bug("a call", "KeyError: 7", "")]) is ExitCode.BUG


def test_older_results_have_words_alone() -> None:
    assert RunEnd.from_json({"interrupted": None}) == COMPLETED
    old = RunEnd.from_json({"interrupted": "interrupted 10.0 s after plan zero"})
    assert old.cut_short
    assert old.interrupted == "interrupted 10.0 s after plan zero"
