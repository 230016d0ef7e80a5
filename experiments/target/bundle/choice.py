"""Which of a run's captured calls go into a bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CallChoice:
    """A choice of calls. What is asked for is added up. Without any wish, all captured calls are chosen."""

    failed: bool = False
    """The calls that failed: neither completed, nor busy, unanswered or abandoned."""
    calls: tuple[int, ...] = ()
    """Numbers of calls, as in the column `call` of the records. All attempts of a call are chosen."""
    slowest: int = 0
    """So many of the calls that waited longest for the first sign of the far end."""

    @property
    def is_everything(self) -> bool:
        """Tell whether nothing was asked for, and so all captured calls are meant."""
        return not (self.failed or self.calls or self.slowest)
