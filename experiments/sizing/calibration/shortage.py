"""What work costs where CPU is short: less where one waking of a program then serves many packets and messages, and for
other programs all that it costs in plenty, or more.

Ladders of levels under a CPU quota, from more than the costs of plenty ask for down to where calls break down, with
some of plenty among them; Linux gives quotas to root alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from trunkproof.experiments.sizing.calibration.levels import LEVEL_S, Level, study_of
from trunkproof.models.costs import Costs
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.study import StackName, Study

_AUDIO_SHORT, _CALLS_SHORT = "audio, CPU short", "calls, CPU short"
_AUDIO_PLENTY, _CALLS_PLENTY = "the same audio, CPU in plenty", "the same calls, CPU in plenty"
"""A machine's pace was seen to change by a quarter within minutes: where no gauge tells it, what is short is compared
with plenty of the same minutes.
"""
_SHARES = (1.2, 1.05, 0.95, 0.85, 0.75, 0.65, 0.55, 0.45)
"""Of the CPU that the work asks for by its costs of plenty. rtpengine does with two thirds, Asterisk needs all."""
_RUNGS_PER_PLENTY = 3
_FAILURES = 2
"""So many rungs that did not hold end a ladder: one may have been a bad minute of the machine."""
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
Measure = Callable[[str, float, Study], Awaitable[Level]]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Ladder:
    """One kind of work on less and less CPU."""

    plenty: _Todo
    """As `levels.studies_of` has them."""
    rungs: tuple[_Todo, ...]
    """The same; the amount is the share of the CPU that is asked for."""

    @property
    def most(self) -> int:
        """The levels that it takes if every rung holds."""
        return len(self.rungs) + 2 + (len(self.rungs) - 1) // _RUNGS_PER_PLENTY

    async def descend(self, measure: Measure) -> list[Level]:
        """The levels from plenty down to where the work breaks down, and plenty again."""
        done, failures = [await measure(*self.plenty)], 0
        for number, rung in enumerate(self.rungs):
            if number and number % _RUNGS_PER_PLENTY == 0:
                done.append(await measure(*self.plenty))
            done.append(await measure(*rung))
            failures += not holds(done[-1])
            if failures == _FAILURES:
                break
        return [*done, await measure(*self.plenty)]


def shortage_ladders(stack: StackName, costs: Costs) -> tuple[Ladder, Ladder]:
    """Of audio and of calls."""
    audio = _audio_asked(costs)
    # One after the other: signalling needs its part too, and is slow at first.
    instants = {"kind": "replay", "instants_s": (np.arange(_CALLS_AT_ONCE) * _RAMP_S / _CALLS_AT_ONCE).tolist()}
    make_audio = partial(study_of, stack, _AUDIO_S, 0, arrivals=instants, holding=_AUDIO_S - 1)
    packets_s = _HOLD_S * PACKETS_PER_CALL_S * costs.packet_s
    calls = _asked(costs, _RATE_PER_MINUTE / 60 * (costs.invite_s + costs.bye_s + packets_s))
    make_calls = partial(study_of, stack, LEVEL_S, _RATE_PER_MINUTE, holding=_HOLD_S)
    return (
        Ladder(
            (_AUDIO_PLENTY, _CALLS_AT_ONCE, make_audio()),
            tuple((_AUDIO_SHORT, share, make_audio(quota=share * audio)) for share in _SHARES),
        ),
        Ladder(
            (_CALLS_PLENTY, _RATE_PER_MINUTE, make_calls()),
            tuple((_CALLS_SHORT, share, make_calls(quota=share * calls)) for share in _SHARES),
        ),
    )


def is_short(level: Level) -> bool:
    """Whether it is a rung of a ladder."""
    return level.work in (_AUDIO_SHORT, _CALLS_SHORT)


def holds(level: Level) -> bool:
    """Whether its calls were as good as they are to be: voices of audio, and otherwise responses."""
    return (level.mos_p5 or 0.0) >= _GOOD_MOS if level.work == _AUDIO_SHORT else _responds(level)


def _audio_asked(costs: Costs) -> float:
    return _asked(costs, _CALLS_AT_ONCE * PACKETS_PER_CALL_S * costs.packet_s)


def _asked(costs: Costs, load: float) -> float:
    """Cores, where there are plenty; `load` is what the work would take on a busy stack."""
    return costs.idle_share + load * costs.cold_factor(load)


def waiting_packet(
    costs: Costs, levels: Sequence[Level], relative_error: float, *, asked_by: Costs, is_paced: bool
) -> Estimate | None:
    """CPU seconds that there have to be for a packet, so that calls still sound well where it is short.

    Not what was spent: programs that are stopped again and again were seen to break up before all of it was.

    Args:
        costs: of plenty.
        levels: of the ladders.
        relative_error: of a level of plenty.
        asked_by: the costs that `shortage_ladders` was given.
        is_paced: whether a gauge has told the pace of each level, and `levels` are as they would have been at that of
            `costs`; otherwise plenty in the same minutes tells.

    Returns:
        None where no level held.
    """
    shortest = _shortest(levels, _AUDIO_SHORT)
    if shortest is None:
        return None
    cores = shortest.amount * _audio_asked(asked_by) - costs.idle_share
    packets_per_s = _CALLS_AT_ONCE * PACKETS_PER_CALL_S
    pace = 1.0 if is_paced else _pace(costs, levels, _AUDIO_PLENTY)
    return _within(cores / costs.cold_factor_spending(cores) / packets_per_s / pace, relative_error)


def waiting_work(
    costs: Costs, waiting_packet_s: float, levels: Sequence[Level], relative_error: float, *, is_paced: bool
) -> Estimate | None:
    """What signalling costs that waits, as a share of its cost, where responses still come in time.

    Arguments as of `waiting_packet`, whose value is one of them; None where no level held.
    """
    shortest = _shortest(levels, _CALLS_SHORT)
    if shortest is None:
        return None
    pace = 1.0 if is_paced else _pace(costs, levels, _CALLS_PLENTY)
    work_s = _busy_s(costs, shortest) / pace - waiting_packet_s * shortest.counts["packet_s"]
    return _within(work_s / _others_s(costs, shortest), relative_error)


def _responds(level: Level) -> bool:
    return bool(level.response_s) and float(np.quantile(level.response_s, 0.95)) <= _GOOD_RESPONSE_S


def _shortest(levels: Sequence[Level], work: str) -> Level | None:
    held = [level for level in levels if level.work == work and holds(level)]
    return min(held, key=lambda level: level.amount) if held else None


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
