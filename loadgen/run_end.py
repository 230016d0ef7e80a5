"""How a run of real calls ended: a kind to decide by, its instant, and the one place that puts it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class EndKind(StrEnum):
    """Why a run ended."""

    COMPLETED = "completed"
    """The plan was placed to its end."""
    INTERRUPTED = "interrupted"
    """The user ended it."""
    TRUNK_DIED = "trunk_died"
    TRUNK_SILENT = "trunk_silent"
    """The trunk lives, and does not answer on its control channel."""
    WORKER_LOST = "worker_lost"
    """A worker process of the load generator died."""
    UNKNOWN = "unknown"
    """Cut short, in a result that was written before kinds were kept; its own words are the detail."""


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. The default is a run that was completed."""

    kind: EndKind = EndKind.COMPLETED
    at_s: float | None = None
    """After plan zero; `None` for a run that was completed, or where the instant is not known."""
    who: str = ""
    """The worker that was lost."""
    detail: str = ""
    """How the worker died."""

    @property
    def cut_short(self) -> bool:
        """Whether the run ended before its plan did."""
        return self.kind is not EndKind.COMPLETED

    @property
    def interrupted(self) -> str | None:
        """Why the run ended before its plan did, in words; `None` where it did not."""
        return str(self) if self.cut_short else None

    def __str__(self) -> str:
        words = {
            EndKind.COMPLETED: "completed",
            EndKind.INTERRUPTED: f"interrupted {when(self.at_s)}",
            EndKind.TRUNK_DIED: f"the trunk died {when(self.at_s)}",
            EndKind.TRUNK_SILENT: f"the trunk had stopped answering {when(self.at_s)}",
            EndKind.WORKER_LOST: f"{self.who} died {when(self.at_s)}, {self.detail}",
            EndKind.UNKNOWN: self.detail,
        }
        return words[self.kind]

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return {"kind": self.kind.value, "at_s": self.at_s, "who": self.who, "detail": self.detail}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read the `ended` of a saved result; of an older one, which has words alone, its `interrupted`."""
        if (ended := saved.get("ended")) is not None:
            return cls(EndKind(ended["kind"]), ended["at_s"], ended["who"], ended["detail"])
        words = saved["interrupted"]
        return cls() if words is None else cls(EndKind.UNKNOWN, detail=words)


COMPLETED = RunEnd()
"""A run that was completed."""


def when(at_s: float | None) -> str:
    """Put an instant after plan zero in words."""
    if at_s is None or at_s < 0:
        return "before the first call"
    return f"{at_s:.1f} s after plan zero"
