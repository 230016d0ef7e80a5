"""Every exit code of the `trunkproof` command, in one place."""

from __future__ import annotations

from enum import IntEnum

from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import GuardError, InputError, StackError, TrunkproofError


class ExitCode(IntEnum):
    """What the command's exit status says."""

    OK = 0
    """Done; for `validate`: prediction and reality agree; for `review`: approve."""
    BUG = 1
    """An error of trunkproof itself; the traceback is for its developers."""
    WRONG_INPUT = 2
    """A study, file or option cannot be used; all that is wrong was listed."""
    DISAGREE = 3
    """`validate` ran, and prediction and reality agree on fewer calls than asked; for
    `experiments.verification`: simulator and exact theory differ."""
    VOID = 4
    """The load generator could not keep up: the run proves nothing about the trunk."""
    GUARD = 5
    """The target may not be called."""
    NO_TRUNK = 6
    """The trunk to be called could not be started or reached, or died or stopped answering during the run."""
    APPROVE_LOWER = 10
    """`review`: not the requested throttle, but one above the present."""
    REFUSE = 11
    """`review`: no throttle above the present one."""
    CANNOT_TELL = 12
    """`review`: the history is not enough, or the intervals are wider than the question."""
    NOT_NEEDED = 13
    """`review`: the present throttle keeps every target at the horizon."""
    INTERRUPTED = 130
    """Ctrl-C; calls were ended and records written."""


BY_END = {
    EndKind.COMPLETED: ExitCode.OK,
    EndKind.INTERRUPTED: ExitCode.INTERRUPTED,
    EndKind.TRUNK_DIED: ExitCode.NO_TRUNK,
    EndKind.TRUNK_SILENT: ExitCode.NO_TRUNK,
    EndKind.WORKER_LOST: ExitCode.VOID,
    EndKind.UNKNOWN: ExitCode.INTERRUPTED,
}
"""How a run of real calls ended -> the code that its command leaves with."""


def code_of_run(verdict: Verdict, end: RunEnd) -> ExitCode:
    """Return how a run of real calls leaves, whatever it found: by its end, and then by what it is worth."""
    code = BY_END[end.kind]
    return ExitCode.VOID if code is ExitCode.OK and verdict is Verdict.VOID else code


def exit_code_of(error: TrunkproofError) -> ExitCode:
    """The code that an error of ours leaves with."""
    by_kind = {InputError: ExitCode.WRONG_INPUT, GuardError: ExitCode.GUARD, StackError: ExitCode.NO_TRUNK}
    return next((code for kind, code in by_kind.items() if isinstance(error, kind)), ExitCode.BUG)
