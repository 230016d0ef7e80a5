"""The course of a run for the charts of the live page: a point a second, and fewer of a long run."""

from __future__ import annotations

from typing import Any

from trunkproof.experiments.live.snapshot import Snapshot

_MOST = 1800
NAMES = ("at_s", "asked", "sent", "under_way", "answered", "refused", "failed", "srd_p50_ms", "srd_p95_ms")
"""What a point has, in this order. Counts are those since plan zero."""


class History:
    """Points in the order of time. Once there are too many, each second one is left out, again and again."""

    def __init__(self) -> None:
        self._points: list[tuple[float | None, ...]] = []
        self._each, self._came = 1, 0

    def add(self, now: Snapshot) -> None:
        """Add a snapshot."""
        self._came += 1
        if self._came % self._each:
            return
        if len(self._points) >= _MOST:
            self._points = self._points[::2]
            self._each *= 2
        self._points.append(
            (
                now.at_s,
                round(now.asked_per_minute, 2),
                round(now.sent_per_minute, 2),
                now.under_way,
                now.answered,
                sum(now.refused.values()),
                sum(now.failed.values()),
                now.srd_p50_ms,
                now.srd_p95_ms,
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return names and points, ready for `json.dumps`."""
        return {"names": NAMES, "points": self._points}
