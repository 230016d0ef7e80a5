"""Define all exit codes of the `trunkproof` command."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import IntEnum

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import GuardError, InputError, StackError, StorageError, TrunkproofError


class ExitCode(IntEnum):
    """The exit status of a command."""

    OK = 0
    """Done. For `load`: every target and threshold was kept. For `validate`: prediction and reality agree.

    For `review`: approve.
    """
    BUG = 1
    """An error in trunkproof itself. The traceback is for its developers.

    Where it was met during a run of real calls, the records of all calls are written, and the traceback is in
    `bugs.txt` beside them.
    """
    WRONG_INPUT = 2
    """A study, file or option cannot be used. All mistakes were listed."""
    DISAGREE = 3
    """For `validate`: prediction and reality agree on fewer calls than required.

    For `experiments.verification`: simulator and exact theory differ.
    """
    VOID = 4
    """The load generator could not keep up: the run proves nothing about the trunk."""
    GUARD = 5
    """The target may not be called."""
    NO_TRUNK = 6
    """The trunk could not be started or reached, or it died or stopped answering during the run."""
    NO_ROOM = 7
    """This machine has no room: disk full or read-only, no inodes, no file descriptors, no memory.

    What was measured until then is in the journal: `trunkproof report DIR` reads it.
    """
    APPROVE_LOWER = 10
    """`review`: not the requested throttle, but a lower one above the present throttle."""
    REFUSE = 11
    """`review`: no throttle above the present one."""
    CANNOT_TELL = 12
    """`review`: the history is not enough, or the intervals are wider than the question."""
    NOT_NEEDED = 13
    """`review`: the present throttle keeps every target at the horizon."""
    MISSED = 20
    """`load`: a quality target or a threshold of the study was missed."""
    ABORTED = 21
    """`load`: a threshold of the study was missed and ended the run."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or SIGHUP. All calls were ended, and the records written."""


BY_END = {
    EndKind.COMPLETED: ExitCode.OK,
    EndKind.INTERRUPTED: ExitCode.INTERRUPTED,
    EndKind.THRESHOLD: ExitCode.ABORTED,
    EndKind.TRUNK_DIED: ExitCode.NO_TRUNK,
    EndKind.TRUNK_SILENT: ExitCode.NO_TRUNK,
    EndKind.WORKER_LOST: ExitCode.VOID,
    EndKind.BUG: ExitCode.BUG,
    EndKind.NO_ROOM: ExitCode.NO_ROOM,
    EndKind.KILLED: ExitCode.INTERRUPTED,
    EndKind.UNKNOWN: ExitCode.INTERRUPTED,
}
"""How a run of real calls ended -> the exit code of its command."""


def code_of_run(verdict: Verdict, end: RunEnd, bugs: Sequence[Bug] = ()) -> ExitCode:
    """Return the exit code of a run of real calls: by bugs of ours, by how it ended, by the generator's verdict."""
    # First: whatever else the run says, somebody has to look at the traceback.
    if bugs:
        return ExitCode.BUG
    code = BY_END[end.kind]
    # A threshold that a VOID run missed says nothing about the trunk either.
    doubtful = code in {ExitCode.OK, ExitCode.ABORTED}
    return ExitCode.VOID if doubtful and verdict is Verdict.VOID else code


_SHORTAGES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
)


def shortage_of(error: BaseException) -> StorageError | None:
    """Return the message for an error that is a shortage of this machine, or None for any other error."""
    if isinstance(error, BaseExceptionGroup):
        found = [shortage_of(each) for each in error.exceptions]
        # One of them that is something else is a bug, and has to be seen.
        return found[0] if all(found) else None
    if isinstance(error, MemoryError):
        return StorageError("this machine has too little memory for it (MemoryError)")
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        where = f"{error.filename}: " if error.filename else ""
        return StorageError(f"{where}{error.strerror}; make room and run the command again")
    return None


def exit_code_of(error: TrunkproofError) -> ExitCode:
    """Return the exit code for one of our errors."""
    by_kind = {
        InputError: ExitCode.WRONG_INPUT,
        GuardError: ExitCode.GUARD,
        StackError: ExitCode.NO_TRUNK,
        StorageError: ExitCode.NO_ROOM,
    }
    return next((code for kind, code in by_kind.items() if isinstance(error, kind)), ExitCode.BUG)
