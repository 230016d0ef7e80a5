"""What explains all attempts: the families that are left, how sure that is, and how far each value is known.

A family is *disproved* when no settings of its policy explain every attempt. One family left is a proof, given that
nobody else used the throttle. Where none is left, somebody else did, or the throttle is of a kind that we do not know;
then the best description is named with the share that it explains, and never said to be sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.target.identify.attempts import Attempt, observed
from trunkproof.experiments.target.identify.guesses import best_guess, explained_share
from trunkproof.experiments.target.identify.habits import Habits
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.observed import Explanation, Observed, Range
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import POLICIES

CLOCK_S = 0.002
"""How wrong an instant of ours is believed to be, at first."""
CLOCK_STEPS = (1, 5, 20)
"""If nothing fits, instants may be more wrong than that by these factors."""
KNOWN_SHARE = 0.01
"""A value is told if its bounds lie within this share of it."""
_REOPENINGS = 2
"""So often the throttle must have opened again before one family left is a proof: once may be chance."""


@dataclass(frozen=True)
class Family:
    """All settings of one policy that explain every attempt."""

    policy: type[Policy]
    explanations: tuple[Explanation, ...]

    @property
    def best(self) -> Explanation:
        """Return the explanation with the smallest limit, the first of its list."""
        return self.explanations[0]

    @property
    def bounds(self) -> dict[str, Range]:
        """Return for each value the range over all explanations."""
        whole: dict[str, Range] = {}
        for explanation in self.explanations:
            for name, bounds in explanation.bounds.items():
                whole[name] = bounds if name not in whole else whole[name].widened(bounds)
        return whole

    @property
    def untold(self) -> tuple[str, ...]:
        """Return the values that are not known: a count not exactly, a time not within `KNOWN_SHARE`."""
        return tuple(name for name, bounds in self.bounds.items() if not _is_told(name, bounds))


def _is_told(name: str, bounds: Range) -> bool:
    match name:
        case "anchor_s":
            return True
        case "limit":
            return bounds.low == bounds.high
        case "interval_s":
            # Calls per minute are whole numbers: the pace is known if only one is left.
            low, high = 60 / bounds.high, 60 / bounds.low
            return bounds.within(KNOWN_SHARE) and np.floor(high) - np.ceil(low) <= 0
        case _:
            return bounds.within(KNOWN_SHARE)


@dataclass(frozen=True)
class Identification:
    """What was told of a throttle."""

    attempts: tuple[Attempt, ...]
    """In the order of sending."""
    families: tuple[Family, ...]
    """Those that explain every attempt; by policy in the order of the registry."""
    clock_s: float
    """How wrong instants may be, for that."""
    is_sure: bool
    """One family is left, and the throttle opened often enough to show it."""
    settings: Policy | None
    """The description, with the refusal's looks. None without attempts."""
    anchor_s: float | None
    explained: float
    """The share of attempts that the description explains, decided by its own code in the middle of all bounds.

    Below 1 also for a proven one: near a boundary the middle may lie on the wrong side.
    """
    habits: Habits

    @property
    def is_complete(self) -> bool:
        """Tell whether the family is sure and each of its values told."""
        return self.is_sure and not self.families[0].untold


def families_of(seen: Observed) -> tuple[Family, ...]:
    """Return the families that explain every attempt."""
    found = ((policy, tuple(policy.explain(seen))) for policy in POLICIES)
    return _by_delays(tuple(Family(policy, explanations) for policy, explanations in found if explanations), seen)


def reopenings(attempts: Sequence[Attempt]) -> int:
    """Return how often an admitted attempt followed a refused one."""
    ordered = sorted(attempts, key=lambda attempt: attempt.sent_s)
    return sum(later.admitted and not one.admitted for one, later in zip(ordered, ordered[1:], strict=False))


def identify(attempts: Sequence[Attempt], clock_s: float = CLOCK_S, *, in_order: bool = True) -> Identification:
    """Tell what explains these attempts."""
    ordered = tuple(sorted(attempts, key=lambda attempt: attempt.sent_s))
    habits = Habits.of(ordered)
    families: tuple[Family, ...] = ()
    slack_s = clock_s
    if ordered:
        for step in CLOCK_STEPS:
            slack_s = clock_s * step
            families = families_of(observed(ordered, slack_s, in_order=in_order))
            if families:
                break
    if not ordered:
        return Identification((), (), clock_s, False, None, None, 0.0, habits)
    seen = observed(ordered, clock_s, in_order=in_order)
    if families:
        ranked = [(explained_share(family.best, seen), family.best) for family in families]
        share, best = max(ranked, key=lambda pair: pair[0])
    else:
        share, best = best_guess(seen)
    is_sure = len(families) == 1 and families[0].policy.is_asked and reopenings(ordered) >= _REOPENINGS
    refusal = {"retry_after_s": _retry_after(habits)}
    if habits.kinds and habits.kinds[0][0] is not None:
        refusal["refusal_status"] = habits.kinds[0][0]
    settings = best.settings.model_copy(update=refusal)
    return Identification(ordered, families, slack_s, is_sure, settings, best.anchor_s, share, habits)


def _retry_after(habits: Habits) -> int | None:
    return None if habits.retry_after_s is None else round(habits.retry_after_s[1])


def _by_delays(families: tuple[Family, ...], seen: Observed) -> tuple[Family, ...]:
    """Leave out what does not explain how long admitted calls waited, where something else does.

    A shaper's calls ring later and later. A bucket decides alike and holds nothing, so the carrier would have to wait
    by chance exactly as the shaper's slots do.
    """
    answered_s = (seen.went_on_s - seen.middle_s)[seen.admitted & np.isfinite(seen.went_on_s)]
    if len(families) < 2 or len(answered_s) < 10:
        return families
    spreads = []
    for family in families:
        held_s = _delays(family.best, seen)[seen.admitted & np.isfinite(seen.went_on_s)]
        rest = answered_s - held_s
        spreads.append(float(np.quantile(rest, 0.9) - np.quantile(rest, 0.1)) if held_s.max() > 0 else np.inf)
    unheld = float(np.quantile(answered_s, 0.9) - np.quantile(answered_s, 0.1))
    holding = [family for family, spread in zip(families, spreads, strict=True) if spread < 0.3 * unheld]
    return tuple(holding) or families


def _delays(explanation: Explanation, seen: Observed) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    throttle = explanation.settings.make_throttle(explanation.anchor_s or 0.0)
    decisions = [throttle.try_admit(float(instant)) for instant in seen.middle_s]
    return np.array([decision.delay_s if isinstance(decision, Admitted) else 0.0 for decision in decisions])
