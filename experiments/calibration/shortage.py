"""What work costs where CPU is short: one waking of a program then serves many packets and messages.

Levels under a CPU quota, below what the costs of plenty ask for; Linux gives quotas to root alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.calibration.levels import LEVEL_S, Level, study_of
from models.costs import PACKETS_PER_S, Costs
from models.study import Stack, Study

_AUDIO_SHORT, _CALLS_SHORT = "audio, CPU short", "calls, CPU short"
_AUDIO_SHARES = (0.4, 0.45, 0.5, 0.6, 0.7, 0.8)
_CALLS_SHARES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
"""Of the CPU that the work asks for by its costs of plenty: until it breaks down, work costs the less the more of it
waits. Some levels are to break down; what counts is the shortest of CPU that did not.
"""
_AUDIO_S = 2 * LEVEL_S
"""Calls begin one after the other, and only with all of them is CPU short: that is to be most of the level."""
_GOOD_MOS = 4.0
_CALLS_AT_ONCE, _RAMP_S, _RATE_PER_MINUTE, _HOLD_S = 96, 6.4, 2400, 0.05
"""Three and four times the most of plenty: a program that is short of CPU has no time to cool down, and on less than
some 7 % of a core a quota's own pauses would be measured (`models.quota`).
"""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    interval: tuple[float, float]


def shortage_studies(stack: Stack, costs: Costs) -> Iterator[tuple[str, float, Study]]:
    """The levels, as `levels.studies_of` has them: the amount is the share of the CPU that is asked for."""
    audio = costs.idle_share + _CALLS_AT_ONCE * PACKETS_PER_S * costs.packet_s
    # One after the other: signalling needs its part too, and is slow at first.
    instants = {"kind": "replay", "instants_s": (np.arange(_CALLS_AT_ONCE) * _RAMP_S / _CALLS_AT_ONCE).tolist()}
    for share in _AUDIO_SHARES:
        yield (
            _AUDIO_SHORT,
            share,
            study_of(stack, _AUDIO_S, 0, quota=share * audio, arrivals=instants, holding=_AUDIO_S - 1),
        )
    packets_s = _HOLD_S * PACKETS_PER_S * costs.packet_s
    load = _RATE_PER_MINUTE / 60 * (costs.invite_s + costs.bye_s + packets_s)
    calls = costs.idle_share + load * costs.cold_factor(load)
    for share in _CALLS_SHARES:
        yield _CALLS_SHORT, share, study_of(stack, LEVEL_S, _RATE_PER_MINUTE, quota=share * calls, holding=_HOLD_S)


def waiting_packet(costs: Costs, short: Sequence[Level], relative_error: float) -> Estimate:
    """Seconds that a packet costs where CPU is as short as it may be with calls that still sound well.

    The level of audio that got along with the least CPU per packet, of those with good voices; `relative_error` is that
    of a level of plenty.
    """
    per_packet_s = [
        (_busy_s(costs, level) - _others_s(costs, level)) / level.counts["packet_s"]
        for level in short
        if level.work == _AUDIO_SHORT and (level.mos_p5 or 0.0) >= _GOOD_MOS
    ]
    return _within(min([costs.packet_s, *per_packet_s]), relative_error)


def waiting_work(costs: Costs, waiting_packet_s: float, short: Sequence[Level], relative_error: float) -> Estimate:
    """What signalling costs that waits, as a share of its cost: that of the level of calls that got along with least.

    A level that broke down, so that its calls lasted until their BYE came through, says nothing about that;
    `relative_error` is that of a level of plenty.
    """
    shares = []
    for level in short:
        if level.work == _CALLS_SHORT and level.counts["idle_share"] < 1.5 * LEVEL_S:
            work_s = _busy_s(costs, level) - waiting_packet_s * level.counts["packet_s"]
            shares.append(work_s / _others_s(costs, level))
    return _within(min(shares, default=1.0), relative_error)


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
