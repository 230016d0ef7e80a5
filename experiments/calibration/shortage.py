"""What work costs where CPU is short: one waking of a program then serves many packets and messages.

Levels under a CPU quota, below what the costs of plenty ask for, with some of plenty among them; Linux gives quotas to
root alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from scipy import stats

from experiments.calibration.levels import LEVEL_S, Level, study_of
from models.costs import PACKETS_PER_S, Costs
from models.study import Stack, Study

_AUDIO_SHORT, _CALLS_SHORT = "audio, CPU short", "calls, CPU short"
_AUDIO_PLENTY, _CALLS_PLENTY = "the same audio, CPU in plenty", "the same calls, CPU in plenty"
"""A machine's pace was seen to change by a quarter within minutes: what is short is compared with plenty of the same
minutes, and not with the levels before.
"""
_AUDIO_SHARES = (0.45, 0.5, 0.55, 0.6, 0.65, 0.75)
_CALLS_SHARES = (0.5, 0.6, 0.65, 0.7, 0.8, 0.9)
"""Of the CPU that the work asks for by its costs of plenty: until it breaks down, work costs the less the more of it
waits. Some levels are to break down; what counts is the shortest of CPU that did not.
"""
_AUDIO_S = 2 * LEVEL_S
"""Calls begin one after the other, and only with all of them is CPU short: that is to be most of the level."""
_GOOD_MOS = 4.0
_GOOD_RESPONSE_S = 1.0
"""At p95; voices and responses as the studies of `experiments/studies/knee` want them."""
_CALLS_AT_ONCE, _RAMP_S, _RATE_PER_MINUTE, _HOLD_S = 96, 6.4, 3600, 0.05
"""So many that even half of what audio asks for is more than some 6 % of a core: on less a quota's own pauses would be
heard (`models.quota`).
"""
_Todo = tuple[str, float, Study]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    interval: tuple[float, float]


def shortage_studies(stack: Stack, costs: Costs) -> Iterator[_Todo]:
    """The levels, as `levels.studies_of` has them: the amount is the share of the CPU that is asked for."""
    audio = _asked(costs, _CALLS_AT_ONCE * PACKETS_PER_S * costs.packet_s)
    # One after the other: signalling needs its part too, and is slow at first.
    instants = {"kind": "replay", "instants_s": (np.arange(_CALLS_AT_ONCE) * _RAMP_S / _CALLS_AT_ONCE).tolist()}
    make_audio = partial(study_of, stack, _AUDIO_S, 0, arrivals=instants, holding=_AUDIO_S - 1)
    plenty = (_AUDIO_PLENTY, _CALLS_AT_ONCE, make_audio())
    yield from _amid(plenty, [(_AUDIO_SHORT, share, make_audio(quota=share * audio)) for share in _AUDIO_SHARES])
    packets_s = _HOLD_S * PACKETS_PER_S * costs.packet_s
    calls = _asked(costs, _RATE_PER_MINUTE / 60 * (costs.invite_s + costs.bye_s + packets_s))
    make_calls = partial(study_of, stack, LEVEL_S, _RATE_PER_MINUTE, holding=_HOLD_S)
    plenty = (_CALLS_PLENTY, _RATE_PER_MINUTE, make_calls())
    yield from _amid(plenty, [(_CALLS_SHORT, share, make_calls(quota=share * calls)) for share in _CALLS_SHARES])


def _asked(costs: Costs, load: float) -> float:
    """Cores, where there are plenty; `load` is what the work would take on a busy stack."""
    return costs.idle_share + load * costs.cold_factor(load)


def _amid(plenty: _Todo, short: Sequence[_Todo]) -> Iterator[_Todo]:
    half = len(short) // 2
    return chain([plenty], short[:half], [plenty], short[half:], [plenty])


def waiting_packet(costs: Costs, levels: Sequence[Level], relative_error: float) -> Estimate:
    """Seconds that a packet costs where CPU is as short as it may be with calls that still sound well.

    `relative_error` is that of a level of plenty.
    """
    held = [level for level in levels if level.work == _AUDIO_SHORT and (level.mos_p5 or 0.0) >= _GOOD_MOS]
    if not held:
        return _within(costs.packet_s, relative_error)
    shortest, pace = _shortest(held), _pace(costs, levels, _AUDIO_PLENTY)
    packet_s = (_busy_s(costs, shortest) / pace - _others_s(costs, shortest)) / shortest.counts["packet_s"]
    return _within(min(costs.packet_s, packet_s), relative_error)


def waiting_work(costs: Costs, waiting_packet_s: float, levels: Sequence[Level], relative_error: float) -> Estimate:
    """What signalling costs that waits, as a share of its cost, where responses still come in time.

    `relative_error` is that of a level of plenty.
    """
    held = [level for level in levels if level.work == _CALLS_SHORT and _responds(level)]
    if not held:
        return _within(1.0, relative_error)
    shortest, pace = _shortest(held), _pace(costs, levels, _CALLS_PLENTY)
    work_s = _busy_s(costs, shortest) / pace - waiting_packet_s * shortest.counts["packet_s"]
    return _within(work_s / _others_s(costs, shortest), relative_error)


def _responds(level: Level) -> bool:
    return bool(level.response_s) and float(np.quantile(level.response_s, 0.95)) <= _GOOD_RESPONSE_S


def _shortest(levels: Sequence[Level]) -> Level:
    return min(levels, key=lambda level: level.amount)


def _pace(costs: Costs, levels: Sequence[Level], plenty: str) -> float:
    """What those levels of plenty took, over what they take by their costs."""
    return statistics.fmean(
        _busy_s(costs, level) / (_others_s(costs, level) + costs.packet_s * level.counts["packet_s"])
        for level in levels
        if level.work == plenty
    )


def _within(value: float, relative_error: float) -> Estimate:
    reach = float(stats.norm.ppf(0.975)) * relative_error * value
    return Estimate(value, (value - reach, value + reach))


def _busy_s(costs: Costs, level: Level) -> float:
    """What the level's work took, less what it took more for being cold."""
    seconds = level.counts["idle_share"]
    spent_s = level.cpu_s - costs.idle_share * seconds
    return spent_s / costs.cold_factor_spending(spent_s / seconds)


def _others_s(costs: Costs, level: Level) -> float:
    """What all work but the packets costs, on a stack that is busy."""
    apart = ("packet_s", "idle_share")
    return sum(float(getattr(costs, name)) * count for name, count in level.counts.items() if name not in apart)
