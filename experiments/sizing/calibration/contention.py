"""What work costs where programs contend for CPU.

A contended program may need less CPU for the same work: packets and messages wait for it, and one waking serves many of
them. Other programs need as much as uncontended, or more. So it is measured with ladders of levels: the same work under
ever smaller CPU quotas, from more than it needs down to where calls break down. Uncontended levels of the same work lie
between them, because the machine's speed changes. Only root may set quotas on Linux.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtri

from trunkproof.experiments.sizing.calibration.levels import LEVEL_S, Level, study_of
from trunkproof.models.costs import Costs
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.study import StackName, Study

_AUDIO_CONTENDED, _CALLS_CONTENDED = "audio, contended CPU", "calls, contended CPU"
_AUDIO_UNCONTENDED, _CALLS_UNCONTENDED = "the same audio, uncontended CPU", "the same calls, uncontended CPU"
"""The machine's speed was measured to change by a quarter within minutes. Without a reference workload, contended
levels are therefore compared with uncontended levels of the same minutes.
"""
_SHARES = (1.2, 1.05, 0.95, 0.85, 0.75, 0.65, 0.55, 0.45)
"""Quotas, as shares of the CPU needed uncontended. rtpengine makes do with two thirds of it, Asterisk needs all."""
_RUNGS_PER_UNCONTENDED = 3
_FAILURES = 2
"""A ladder ends after this many rungs that did not hold: a single one may be a bad minute of the machine."""
_AUDIO_S = 2 * LEVEL_S
"""Calls begin one after the other, and CPU is contended only with all of them: that must be most of the level."""
_GOOD_MOS = 4.0
_GOOD_RESPONSE_S = 1.0
"""At p95. Both bounds are those of the studies in `experiments/studies/knee`."""
_CALLS_AT_ONCE, _RAMP_S, _RATE_PER_MINUTE, _HOLD_S = 96, 6.4, 3600, 0.05
"""Enough calls at once that half of the CPU for their audio is still more than about 6 % of a core.

A smaller quota stops the programs for so long at a time that calls hear it (`models.quota`).
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
    """One kind of work under ever smaller quotas."""

    uncontended: _Todo
    """Work, amount and study, as `levels.studies_of` yields them."""
    rungs: tuple[_Todo, ...]
    """The same under quotas; the amount is the quota's share of the CPU needed."""

    @property
    def most(self) -> int:
        """Return the number of levels if every rung holds."""
        return len(self.rungs) + 2 + (len(self.rungs) - 1) // _RUNGS_PER_UNCONTENDED

    async def descend(self, measure: Measure) -> list[Level]:
        """Measure from the uncontended level down to where the work breaks down, and uncontended again at the end."""
        done, failures = [await measure(*self.uncontended)], 0
        for number, rung in enumerate(self.rungs):
            if number and number % _RUNGS_PER_UNCONTENDED == 0:
                # Between the rungs, so that a change of the machine's speed is seen in the same minutes.
                done.append(await measure(*self.uncontended))
            done.append(await measure(*rung))
            # The rung below is tried all the same. It may hold where this one had a bad minute.
            failures += not holds(done[-1])
            if failures == _FAILURES:
                break
        return [*done, await measure(*self.uncontended)]


def contended_ladders(stack: StackName, costs: Costs) -> tuple[Ladder, Ladder]:
    """Return the ladders of audio and of calls."""
    audio = _audio_asked(costs)
    # Calls begin one after the other: their signalling needs CPU too, and is slow at first.
    instants = {"kind": "replay", "instants_s": (np.arange(_CALLS_AT_ONCE) * _RAMP_S / _CALLS_AT_ONCE).tolist()}
    make_audio = partial(study_of, stack, _AUDIO_S, 0, arrivals=instants, holding=_AUDIO_S - 1)
    # Even these short calls have some audio, which takes CPU too.
    packets_s = _HOLD_S * PACKETS_PER_CALL_S * costs.packet_s
    calls = _asked(costs, _RATE_PER_MINUTE / 60 * (costs.invite_s + costs.bye_s + packets_s))
    make_calls = partial(study_of, stack, LEVEL_S, _RATE_PER_MINUTE, holding=_HOLD_S)
    return (
        Ladder(
            (_AUDIO_UNCONTENDED, _CALLS_AT_ONCE, make_audio()),
            tuple((_AUDIO_CONTENDED, share, make_audio(quota=share * audio)) for share in _SHARES),
        ),
        Ladder(
            (_CALLS_UNCONTENDED, _RATE_PER_MINUTE, make_calls()),
            tuple((_CALLS_CONTENDED, share, make_calls(quota=share * calls)) for share in _SHARES),
        ),
    )


def is_contended(level: Level) -> bool:
    """Tell whether the level is a rung of a ladder, that is under a quota."""
    return level.work in (_AUDIO_CONTENDED, _CALLS_CONTENDED)


def holds(level: Level) -> bool:
    """Tell whether quality held: voice quality for audio, response times otherwise."""
    return (level.mos_p5 or 0.0) >= _GOOD_MOS if level.work == _AUDIO_CONTENDED else _responds(level)


def _audio_asked(costs: Costs) -> float:
    return _asked(costs, _CALLS_AT_ONCE * PACKETS_PER_CALL_S * costs.packet_s)


def _asked(costs: Costs, load: float) -> float:
    """Return the cores that work needs uncontended; `load` is what it would take on a busy stack."""
    return costs.idle_share + load * costs.idle_factor(load)


def contended_packet(
    costs: Costs, levels: Sequence[Level], relative_error: float, *, asked_by: Costs, is_corrected: bool
) -> Estimate | None:
    """Return the CPU seconds that must be available per packet so that calls still sound well under contention.

    This is the quota, not the CPU that was spent: programs that are stopped again and again break up before they have
    spent all of it.

    Args:
        costs: the uncontended costs.
        levels: the levels of the ladders.
        relative_error: that of an uncontended level.
        asked_by: the costs that `contended_ladders` was given.
        is_corrected: whether `levels` are already corrected for the machine's slowdown, by the reference workload.
            Otherwise the slowdown is taken from uncontended levels of the same minutes.

    Returns:
        The estimate; None where quality held at no level.
    """
    shortest = _shortest(levels, _AUDIO_CONTENDED)
    if shortest is None:
        return None
    # With the costs that the ladder was made of: its quotas are shares of what these said.
    cores = shortest.amount * _audio_asked(asked_by) - costs.idle_share
    packets_per_s = _CALLS_AT_ONCE * PACKETS_PER_CALL_S
    slowdown = 1.0 if is_corrected else _slowdown(costs, levels, _AUDIO_UNCONTENDED)
    return _within(cores / costs.idle_factor_spending(cores) / packets_per_s / slowdown, relative_error)


def contended_work(
    costs: Costs, contended_packet_s: float, levels: Sequence[Level], relative_error: float, *, is_corrected: bool
) -> Estimate | None:
    """Return what contended signalling costs, as a share of its uncontended cost, where responses still come in time.

    Args:
        costs: the uncontended costs.
        contended_packet_s: the value of `contended_packet`.
        levels: the levels of the ladders.
        relative_error: that of an uncontended level.
        is_corrected: as in `contended_packet`.

    Returns:
        The estimate; None where quality held at no level.
    """
    shortest = _shortest(levels, _CALLS_CONTENDED)
    if shortest is None:
        return None
    slowdown = 1.0 if is_corrected else _slowdown(costs, levels, _CALLS_UNCONTENDED)
    work_s = _busy_s(costs, shortest) / slowdown - contended_packet_s * shortest.counts["packet_s"]
    return _within(work_s / _others_s(costs, shortest), relative_error)


def _responds(level: Level) -> bool:
    return bool(level.response_s) and float(np.quantile(level.response_s, 0.95)) <= _GOOD_RESPONSE_S


def _shortest(levels: Sequence[Level], work: str) -> Level | None:
    held = [level for level in levels if level.work == work and holds(level)]
    # The smallest quota under which quality still held.
    return min(held, key=lambda level: level.amount) if held else None


def _slowdown(costs: Costs, levels: Sequence[Level], uncontended: str) -> float:
    """Return the mean ratio of the CPU that these uncontended levels took to what they take by the costs."""
    return statistics.fmean(
        _busy_s(costs, level) / (_others_s(costs, level) + costs.packet_s * level.counts["packet_s"])
        for level in levels
        if level.work == uncontended
    )


def _within(value: float, relative_error: float) -> Estimate:
    reach = float(ndtri(0.975)) * relative_error * value
    return Estimate(value, (value - reach, value + reach))


def _busy_s(costs: Costs, level: Level) -> float:
    """Return the CPU seconds of the level's work, without idling and without the idle penalty."""
    seconds = level.counts["idle_share"]
    # Idling goes on beside the work, and is no part of it.
    spent_s = level.cpu_s - costs.idle_share * seconds
    return spent_s / costs.idle_factor_spending(spent_s / seconds)


def _others_s(costs: Costs, level: Level) -> float:
    """Return the CPU seconds of all work but packets, by the costs of a busy stack."""
    apart = ("packet_s", "idle_share")
    return sum(float(getattr(costs, name)) * count for name, count in level.counts.items() if name not in apart)
