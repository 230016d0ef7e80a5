"""What work costs where CPU is short: one waking of a program then serves many packets and messages.

Levels under a CPU quota, below what the costs of plenty ask for; Linux gives quotas to root alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.calibration.levels import AUDIO, LEVEL_S, Level, study_of
from models.costs import PACKETS_PER_S, Costs
from models.study import Stack, Study

_AUDIO_SHORT, _CALLS_SHORT = "audio, CPU short", "calls, CPU short"
_AUDIO_SHARES, _CALLS_SHARES = (0.45, 0.6, 0.75), (0.85, 0.95, 1.05)
"""Of the CPU that the work asks for by its costs of plenty; less, and signalling would collapse."""
_CALLS_AT_ONCE, _RATE_PER_MINUTE = 24, 1200
"""Twice the highest rate of plenty: a program that is short of CPU is one that has no time to cool down."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    interval: tuple[float, float]


def shortage_studies(stack: Stack, costs: Costs) -> Iterator[tuple[str, float, Study]]:
    """The levels, as `levels.studies_of` has them: the amount is the share of the CPU that is asked for."""
    audio = costs.idle_share + _CALLS_AT_ONCE * PACKETS_PER_S * costs.packet_s
    # One after the other: signalling needs its part too, and is slow at first.
    instants = {"kind": "replay", "instants_s": [0.1 * number for number in range(_CALLS_AT_ONCE)]}
    for share in _AUDIO_SHARES:
        yield (
            _AUDIO_SHORT,
            share,
            study_of(stack, LEVEL_S, 0, quota=share * audio, arrivals=instants, holding=LEVEL_S - 1),
        )
    calls = costs.idle_share + _RATE_PER_MINUTE / 60 * (costs.invite_s + costs.bye_s)
    for share in _CALLS_SHARES:
        yield _CALLS_SHORT, share, study_of(stack, LEVEL_S, _RATE_PER_MINUTE, quota=share * calls, holding=0.05)


def waiting_packet(costs: Costs, plenty: Sequence[Level], short: Sequence[Level]) -> Estimate:
    """Seconds that a packet costs without any waking.

    The intercept of the cost per packet over the wakings per packet, at levels of audio with and without shortage.
    """
    audio = [level for level in (*plenty, *short) if level.work in {AUDIO, _AUDIO_SHORT}]
    packets = np.array([level.counts["packet_s"] for level in audio])
    per_packet_s = np.array([level.cpu_s - _spent(costs, level, without="packet_s") for level in audio]) / packets
    line = stats.linregress(np.array([level.wakings for level in audio]) / packets, per_packet_s)
    reach = float(stats.t.ppf(0.975, len(audio) - 2) * line.intercept_stderr)
    value = float(line.intercept)
    return Estimate(max(0.0, value), (value - reach, value + reach))


def waiting_work(costs: Costs, waiting_packet_s: float, short: Sequence[Level]) -> Estimate:
    """What signalling costs that waits, as a share of its cost of plenty: the mean over the levels of calls."""
    shares = []
    for level in short:
        if level.work == _CALLS_SHORT:
            asked = _spent(costs, level, without="idle_share") - costs.packet_s * level.counts["packet_s"]
            others = costs.idle_share * level.counts["idle_share"] + waiting_packet_s * level.counts["packet_s"]
            shares.append((level.cpu_s - others) / asked)
    mean = float(np.mean(shares))
    reach = float(stats.t.ppf(0.975, len(shares) - 1) * np.std(shares, ddof=1) / np.sqrt(len(shares)))
    return Estimate(min(1.0, mean), (mean - reach, mean + reach))


def _spent(costs: Costs, level: Level, *, without: str) -> float:
    return sum(float(getattr(costs, name)) * count for name, count in level.counts.items() if name != without)
