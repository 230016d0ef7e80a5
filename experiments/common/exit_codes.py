"""Define all exit codes of the `trunkproof` command."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import GuardError, InputError, StackError, TrunkproofError


class ExitCode(IntEnum):
    """The exit status of a command."""

    OK = 0
    """Done. For `validate`: prediction and reality agree. For `review`: approve."""
    BUG = 1
    """An error in trunkproof itself. The traceback is for its developers.

    Where it was met during a run of real calls, the records of all calls are written, and the traceback is in
    `bugs.txt` beside them.
    """
    WRONG_INPUT = 2
    """A study, file or option cannot be used. All mistakes were listed."""
    DISAGREE = 3
    """For `validate`: prediction and reality differ, by one of the criteria.

    For `experiments.verification`: simulator and exact theory differ.
    """
    VOID = 4
    """The load generator could not keep up: the run proves nothing about the trunk."""
    GUARD = 5
    """The target may not be called."""
    NO_TRUNK = 6
    """The trunk could not be started or reached, or it died or stopped answering during the run."""
    APPROVE_LOWER = 10
    """`review`: not the requested throttle, but a lower one above the present throttle."""
    REFUSE = 11
    """`review`: no throttle above the present one."""
    CANNOT_TELL = 12
    """`review`: the history is not enough, or the intervals are wider than the question."""
    NOT_NEEDED = 13
    """`review`: the present throttle keeps every target at the horizon."""
    INTERRUPTED = 130
    """Ctrl-C. All calls were ended, and the records written."""


BY_END = {
    EndKind.COMPLETED: ExitCode.OK,
    EndKind.INTERRUPTED: ExitCode.INTERRUPTED,
    EndKind.TRUNK_DIED: ExitCode.NO_TRUNK,
    EndKind.TRUNK_SILENT: ExitCode.NO_TRUNK,
    EndKind.WORKER_LOST: ExitCode.VOID,
    EndKind.BUG: ExitCode.BUG,
    EndKind.UNKNOWN: ExitCode.INTERRUPTED,
}
"""How a run of real calls ended -> the exit code of its command."""


def code_of_run(verdict: Verdict, end: RunEnd, bugs: Sequence[Bug] = ()) -> ExitCode:
    """Return the exit code of a run of real calls: by bugs of ours, by how it ended, by the generator's verdict."""
    # First: whatever else the run says, somebody has to look at the traceback.
    if bugs:
        return ExitCode.BUG
    code = BY_END[end.kind]
    return ExitCode.VOID if code is ExitCode.OK and verdict is Verdict.VOID else code


def exit_code_of(error: TrunkproofError) -> ExitCode:
    """Return the exit code for one of our errors."""
    by_kind = {InputError: ExitCode.WRONG_INPUT, GuardError: ExitCode.GUARD, StackError: ExitCode.NO_TRUNK}
    return next((code for kind, code in by_kind.items() if isinstance(error, kind)), ExitCode.BUG)
