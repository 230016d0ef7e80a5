"""What becomes of a stack's programs while it is called: started again, died, silent, answering again.

A `StackEvent` goes over the control channel from the trunk process to the run, and from the run to its observers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

THE_TRUNK = "the trunk"
"""Stands for the whole stack in the place of a program's name."""


class StackEventKind(StrEnum):
    """What happened."""

    STARTED = "started"
    """The program was started again, as an incident of the study wanted."""
    DIED = "died"
    SILENT = "silent"
    """The program lives and does not answer."""
    ANSWERS = "answers"
    """The program answers again."""


@dataclass(frozen=True)
class StackEvent:
    """Something happened to a program of the stack."""

    kind: StackEventKind
    program: str
    at: float
    """On the machine's monotonic clock, which is the event loop's."""
    pid: int | None = None
    """The new process of a program that was started again."""
    detail: str = ""
    """How the program died, where that is known."""

    @property
    def is_the_end(self) -> bool:
        """Tell whether the trunk is gone, and nothing can be called any more."""
        return self.kind is StackEventKind.DIED and self.program == THE_TRUNK

    def __str__(self) -> str:
        words = {
            StackEventKind.STARTED: f"was started again, process {self.pid}",
            StackEventKind.DIED: self.detail or "died",
            StackEventKind.SILENT: "does not answer",
            StackEventKind.ANSWERS: "answers again",
        }
        return f"{self.program} {words[self.kind]}"
