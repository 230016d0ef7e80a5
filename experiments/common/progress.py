"""How long-running work tells how far it is: one call with the share done and a few words."""

from __future__ import annotations

from collections.abc import Callable

from trunkproof.loadgen.observer import Observer, RunProgress

Progress = Callable[[float, str], None]
"""Called now and then with the share done (0 to 1, below 0 before the first call) and a few words."""


def silent(share: float, words: str) -> None:
    """Tell nobody: the `Progress` of a caller who does not want any."""


def part_of(progress: Progress, begin: float, end: float, name: str = "") -> Progress:
    """Return the `Progress` of a part of some work, which is the shares from `begin` to `end` of the whole.

    Before a run's plan zero its own share is below 0; the part has then not begun.
    """
    prefix = f"{name}: " if name else ""
    return lambda share, words: progress(begin + (end - begin) * max(0.0, share), f"{prefix}{words}")


class TellsProgress(Observer):
    """Tells a `Progress` how far a run of real calls is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def progressed(self, progress: RunProgress) -> None:
        """Tell the share of the run that is over, and how many attempts were placed."""
        self._progress(progress.share, f"{progress.begun} attempts placed")
