"""Report the progress of long work: the share that is done, and a few words."""

from __future__ import annotations

from collections.abc import Callable

from trunkproof.loadgen.observer import Observer, RunProgress

Progress = Callable[[float, str], None]
"""Called again and again with the share done (0 to 1, negative before plan zero) and a few words."""


def silent(share: float, words: str) -> None:
    """Report nothing: the `Progress` of a caller who wants none."""


def part_of(progress: Progress, begin: float, end: float, name: str = "") -> Progress:
    """Return the `Progress` of a part of some work. The part covers the shares from `begin` to `end` of the whole.

    Before plan zero a run reports a negative share. The part then counts as not begun.
    """
    prefix = f"{name}: " if name else ""
    return lambda share, words: progress(begin + (end - begin) * max(0.0, share), f"{prefix}{words}")


class TellsProgress(Observer):
    """Reports the progress of a run of real calls."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def progressed(self, progress: RunProgress) -> None:
        """Report the share of the run that is over, and how many attempts were placed."""
        self._progress(progress.share, f"{progress.begun} attempts placed")
