"""Silence and pauses, by hand."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.media.silence import Silence


def _heard(arrivals: list[float], *, pauses: frozenset[float] = frozenset(), announced: bool = False) -> Silence:
    silence = Silence()
    silence.listen(0.0)
    for arrival in arrivals:
        silence.heard(arrival, pause=arrival in pauses, announced=announced)
    return silence


def test_the_longest_time_without_a_packet_is_the_silence() -> None:
    assert _heard([1.0, 1.5, 4.0]).by(5.0) == (2.5, 0.0)


def test_nothing_at_all_is_one_silence() -> None:
    assert _heard([]).by(9.0) == (9.0, 0.0)


def test_a_pause_is_none_and_neither_is_the_end_of_a_peer_that_pauses() -> None:
    assert _heard([1.0, 4.0], pauses=frozenset({4.0})).by(9.0) == (1.0, 8.0)


def test_rfc3389_an_announced_pause_at_the_end() -> None:
    assert _heard([1.0], announced=True).by(9.0) == (1.0, 8.0)
    # As short as any jitter.
    assert _heard([1.0], announced=True).by(1.1) == (1.0, 0.0)


def test_rfc3264_8_4_silence_does_not_count_on_hold() -> None:
    silence = _heard([1.0])
    silence.stop(1.5)
    silence.heard(7.0, pause=False, announced=False)
    silence.listen(20.0)
    silence.listen(21.0)
    assert silence.by(22.0) == pytest.approx((2.0, 0.0))
