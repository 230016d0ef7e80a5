"""How a run of real calls ended: the kind, the instant, and the words for both.

Programs decide by the kind. No other module puts the end of a run in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class EndKind(StrEnum):
    """Why a run ended."""

    COMPLETED = "completed"
    """All calls of the plan were placed."""
    INTERRUPTED = "interrupted"
    """The user ended it."""
    THRESHOLD = "threshold"
    """A threshold of the study was missed, which ends the run. Which one stands in `detail`."""
    TRUNK_DIED = "trunk_died"
    TRUNK_SILENT = "trunk_silent"
    """The trunk runs, but does not answer on its control channel."""
    WORKER_LOST = "worker_lost"
    """A worker process of the load generator died."""
    BUG = "bug"
    """An error of trunkproof itself ended it. Its words are in `detail`."""
    NO_ROOM = "no_room"
    """The journal could not be written: disk full, for example. `detail` says why."""
    KILLED = "killed"
    """The run could not write how it ended: kill -9, power loss, a full disk. Only a journal can say so."""
    UNKNOWN = "unknown"
    """The run was cut short, and its result was saved before kinds existed. Its words are in `detail`."""


@dataclass(frozen=True)
class RunEnd:
    """The end of a run. The default is a completed run."""

    kind: EndKind = EndKind.COMPLETED
    at_s: float | None = None
    """The instant after plan zero. None for a completed run, or where it is not known."""
    who: str = ""
    """The worker that was lost."""
    detail: str = ""
    """How the worker died, what failed, or which threshold was missed."""

    @property
    def cut_short(self) -> bool:
        """Tell whether the run ended before its plan."""
        return self.kind is not EndKind.COMPLETED

    @property
    def interrupted(self) -> str | None:
        """Return in words why the run was cut short, or None for a completed run."""
        return str(self) if self.cut_short else None

    def __str__(self) -> str:
        words = {
            EndKind.COMPLETED: "completed",
            EndKind.INTERRUPTED: f"interrupted {when(self.at_s)}",
            EndKind.THRESHOLD: f"ended by a threshold {when(self.at_s)}: {self.detail}",
            EndKind.TRUNK_DIED: f"the trunk died {when(self.at_s)}",
            EndKind.TRUNK_SILENT: f"the trunk had stopped answering {when(self.at_s)}",
            EndKind.WORKER_LOST: f"{self.who} died {when(self.at_s)}, {self.detail}",
            EndKind.BUG: f"trunkproof itself failed {when(self.at_s)}: {self.detail}",
            EndKind.NO_ROOM: f"the journal could not be written {when(self.at_s)}: {self.detail}",
            EndKind.KILLED: f"the run broke off {when(self.at_s)}: it was killed, or power or disk space ran out",
            EndKind.UNKNOWN: self.detail,
        }
        return words[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {"kind": self.kind.value, "at_s": self.at_s, "who": self.who, "detail": self.detail}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read `ended` of a saved result. An older result has words only, in `interrupted`."""
        if (ended := saved.get("ended")) is not None:
            return cls(EndKind(ended["kind"]), ended["at_s"], ended["who"], ended["detail"])
        words = saved["interrupted"]
        return cls() if words is None else cls(EndKind.UNKNOWN, detail=words)


COMPLETED = RunEnd()
"""A completed run."""


def when(at_s: float | None) -> str:
    """Return an instant after plan zero in words."""
    if at_s is None or at_s < 0:
        return "before the first call"
    return f"{at_s:.1f} s after plan zero"
