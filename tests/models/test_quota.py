"""What a quota's pauses are, by hand."""

from __future__ import annotations

import pytest

from trunkproof.models.quota import TICK_S, longest_pause_s, pauses_are_heard


@pytest.mark.parametrize(("cores", "pause_ms"), [(1.0, 0), (2.0, 0), (0.5, 4), (0.25, 12), (0.1, 36), (0.04, 96)])
def test_a_stretch_of_work_is_paid_for_standing_still(cores: float, pause_ms: float) -> None:
    assert longest_pause_s(cores) == pytest.approx(pause_ms / 1000)
    # In both together the quota gives what the stretch took.
    assert min(cores, 1.0) * (longest_pause_s(cores) + TICK_S) == pytest.approx(TICK_S)


@pytest.mark.parametrize(("cores", "heard"), [(0.1, False), (0.07, False), (0.06, True), (0.04, True)])
def test_a_pause_is_heard_that_a_telephone_cannot_bridge(cores: float, *, heard: bool) -> None:
    assert pauses_are_heard(cores) is heard
