"""Find the windows of a throttle on a run's clock, after restarts of the edge too."""

from __future__ import annotations

from collections.abc import Mapping

from trunkproof.models.study import EdgeRestart, Study


def anchor_at(study: Study, anchors: Mapping[str, float], trunk: str, at_s: float) -> float | None:
    """Return an instant, in seconds after plan zero, at which a window began in the sequence that holds at `at_s`.

    None where the throttle has no windows, or the trunk did not tell its anchors.
    """
    if trunk not in anchors or study.trunk_named(trunk).throttle.fixed_window_s is None:
        return None
    returns = [
        incident.at_s + incident.down_s
        for incident in study.pop.incidents
        if isinstance(incident, EdgeRestart) and incident.forgets_throttle
    ]
    # A restart that forgets the throttle begins a new sequence of windows at its own instant.
    return max((back for back in returns if back <= at_s), default=anchors[trunk])
