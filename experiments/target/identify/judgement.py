"""What explains all attempts: the families that are left, how sure that is, and how far each value is known.

A family is *disproved* when no settings of its policy explain every attempt. One family left is a proof, given that
nobody else used the throttle. Where none is left, somebody else did, or the throttle is of a kind that we do not know;
then the best description is named with the share that it explains, and never said to be sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from trunkproof.experiments.target.identify.attempts import Attempt, observed
from trunkproof.experiments.target.identify.guesses import best_composed, best_guess, explained_share
from trunkproof.experiments.target.identify.habits import Habits
from trunkproof.models.html import html_table
from trunkproof.models.throttles.observed import USUAL_WINDOWS_S, Observed, Range
from trunkproof.models.throttles.policy import Explanation, Limited, Policy
from trunkproof.models.throttles.registry import POLICIES

CLOCK_S = 0.002
"""How wrong an instant of ours is believed to be, at first."""
CLOCK_STEPS = (1, 5, 20)
"""If nothing fits, instants may be more wrong than that by these factors."""
KNOWN_SHARE = 0.01
"""A value is told if its bounds lie within this share of it."""
_EXPLAINED = 0.8
"""A share that a right description explains even in the middle of the bounds."""
_SAME_SHARE = 0.01
"""Descriptions that explain so little more or less explain as much."""
_BEYOND = 2
"""So many calls beyond a limit may be in its window by the bounds of the instants alone."""
_HELD_SHARE = 0.3
"""Delays are explained if no more than this share of their spread is left."""
_NEVER_S = 1e5
REOPENINGS = 2
"""So often the throttle must have opened again before one family left is a proof: once may be chance."""


@dataclass(frozen=True)
class Family:
    """All settings of one policy that explain every attempt."""

    policy: type[Policy]
    explanations: tuple[Explanation, ...]

    @property
    def best(self) -> Explanation:
        """Return the explanation with the most usual window and the roundest limit. All of them fit."""
        return min(self.explanations, key=_oddity)

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


def _oddity(explanation: Explanation) -> tuple[int, int]:
    settings = explanation.settings
    if not isinstance(settings, Limited):
        return 0, 0
    usual = settings.window_s in USUAL_WINDOWS_S
    roundness = next(place for place, unit in enumerate((100, 50, 20, 10, 5, 2, 1)) if settings.limit % unit == 0)
    return (USUAL_WINDOWS_S.index(settings.window_s) if usual else len(USUAL_WINDOWS_S)), roundness


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
    doubts: tuple[str, ...]
    """Why it is not sure, in words. None: one family is left, and nothing speaks against it."""
    settings: Policy | None
    """The description, with the refusal's looks. None without attempts."""
    anchor_s: float | None
    explained: float
    """The share of attempts that the description explains, decided by its own code in the middle of all bounds.

    Below 1 also for a proven one: near a boundary the middle may lie on the wrong side.
    """
    habits: Habits

    def __repr__(self) -> str:
        what = "nothing" if self.settings is None else self.settings.describe()
        return f"<Identification: {what}, {'sure' if self.is_sure else 'not sure'}, {len(self.attempts)} attempts>"

    def _repr_html_(self) -> str:
        rows = [("throttle", "nothing was told" if self.settings is None else self.settings.describe())]
        rows += [("attempts", f"{len(self.attempts):,}"), ("explained", f"{self.explained:.1%}")]
        rows += [("doubt", doubt) for doubt in self.doubts]
        return html_table(("what", "told"), rows, caption="The throttle is known" if self.is_sure else "Not sure")

    @property
    def is_sure(self) -> bool:
        """Tell whether one family is left, and nothing speaks against it."""
        return bool(self.attempts) and not self.doubts

    def counting(self, counts: Literal["outbound", "both"]) -> Identification:
        """Return the same, of a throttle that counts calls of these directions."""
        settings = None if self.settings is None else self.settings.model_copy(update={"counts": counts})
        return replace(self, settings=settings)

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
    return sum(later.admitted and not one.admitted for one, later in pairwise(ordered))


def identify_attempts(
    attempts: Sequence[Attempt], clock_s: float = CLOCK_S, *, in_order: bool = True, unknown: int = 0
) -> Identification:
    """Tell what explains these attempts. `unknown` others went through the throttle, so nothing is sure with any."""
    ordered = tuple(sorted(attempts, key=lambda attempt: attempt.sent_s))
    habits = Habits.of(ordered)
    if not ordered:
        return Identification((), (), clock_s, ("there are no attempts",), None, None, 0.0, habits)
    families, slack_s = _explaining(ordered, clock_s, in_order=in_order)
    seen = observed(ordered, clock_s, in_order=in_order)
    share, best = _best_of(families, seen)
    doubts = _doubts(
        families, best.settings, share, slack=slack_s / clock_s, opened=reopenings(ordered), unknown=unknown
    )
    told = (*doubts, *_pace_doubt(best.settings, seen))
    settings = _refusing(best.settings, habits)
    return Identification(ordered, families, slack_s, told, settings, best.anchor_s, share, habits)


def _explaining(ordered: Sequence[Attempt], clock_s: float, *, in_order: bool) -> tuple[tuple[Family, ...], float]:
    """Return the families that explain every attempt, and how wrong instants must be for that."""
    for step in CLOCK_STEPS:
        if families := families_of(observed(ordered, clock_s * step, in_order=in_order)):
            return families, clock_s * step
    return (), clock_s * CLOCK_STEPS[-1]


def _best_of(families: tuple[Family, ...], seen: Observed) -> tuple[float, Explanation]:
    """Return the best description and the share that it explains: of the families that are left, or else any guess."""
    if not families:
        return best_guess(seen)
    share, best = max(((explained_share(one.best, seen), one.best) for one in families), key=lambda pair: pair[0])
    if not (odd := unusual(best.settings)) and share >= _EXPLAINED and not _is_our_pace(best.settings, seen):
        return share, best
    # A penalty looks like a fixed window of odd length, and RED like almost anything.
    other = best_composed(seen)
    if other is None:
        return share, best
    # Two limits with values that nobody would set explain much, and say nothing.
    is_better = other[0] >= share - _SAME_SHARE if odd else other[0] > share + _SAME_SHARE
    return other if is_better and not unusual(other[1].settings) else (share, best)


def _is_our_pace(settings: Policy, seen: Observed) -> bool:
    """Tell whether no more calls than its limit ever came in its window.

    Whoever keeps a pace of so many calls makes each one just as the one that many calls before it leaves the window. It
    then lies within the bounds of the window's end, and a sliding window explains whatever became of it.
    """
    window_s = settings.full_window_s
    if window_s is None or seen.admitted.all():
        return False
    at_s = seen.middle_s
    came = np.arange(1, len(at_s) + 1) - np.searchsorted(at_s, at_s - window_s + seen.doubt_s, side="right")
    return int(came.max()) <= settings.size + _BEYOND


def _pace_doubt(settings: Policy, seen: Observed) -> Iterator[str]:
    if _is_our_pace(settings, seen):
        yield f"never clearly more than {settings.size} calls came in its window: our own pace may look like its limit"


def _refusing(settings: Policy, habits: Habits) -> Policy:
    """Return a description whose refusals look as those that were seen."""
    status = habits.kinds[0][0] if habits.kinds else None
    return settings.refusing_with(settings.refusal_status if status is None else status, _retry_after(habits))


def _doubts(
    families: tuple[Family, ...], settings: Policy, share: float, *, slack: float, opened: int, unknown: int
) -> Iterator[str]:
    if not settings.is_searched:
        yield f"{settings.kind} can be found by trying only, and other settings may explain the attempts as well"
        yield from _odd_doubt(settings)
        return
    if not families:
        yield "no policy that we know explains every attempt: others may use the throttle, or it is of another kind"
        return
    if not families[0].policy.is_asked:
        yield "nothing was refused, so a throttle with a higher limit would look the same"
        return
    if len(families) > 1:
        yield f"{len(families)} kinds explain every attempt: {', '.join(f.policy.label for f in families)}"
    if slack > 1:
        # With instants more wrong than believed almost anything fits, so that proves nothing.
        yield f"it fits only if instants are {slack:g} times as wrong as believed"
    if opened < REOPENINGS:
        yield f"the throttle was seen to open {opened} times; {REOPENINGS} are needed"
    if share < _EXPLAINED:
        yield f"it fits within the bounds of the instants, but in their middle only {share:.0%} of the attempts"
    if unknown:
        yield f"{unknown} calls were never answered, and may have counted"
    yield from _odd_doubt(settings)


def _odd_doubt(settings: Policy) -> Iterator[str]:
    if odd := unusual(settings):
        # What operators set is round. An odd value often is a round one less some calls of others, or a penalty.
        yield f"unusual values ({', '.join(odd)}): others may use the throttle, or it is of another kind"


def unusual(settings: Policy) -> list[str]:
    """Return the values that an operator would hardly set, in words."""
    if not isinstance(settings, Limited):
        return [odd for part in settings.parts for odd in unusual(part)]
    counts = {"limit": settings.limit, "burst": getattr(settings, "burst", 1)}
    odd = [f"{name} {count}" for name, count in counts.items() if count > 10 and count % (5 if count < 50 else 10)]
    return odd + ([f"window {settings.window_s:g} s"] if settings.window_s not in USUAL_WINDOWS_S else [])


def _retry_after(habits: Habits) -> int | None:
    return None if habits.retry_after_s is None else round(habits.retry_after_s[1])


def _by_delays(families: tuple[Family, ...], seen: Observed) -> tuple[Family, ...]:
    """Leave out what does not explain how long admitted calls waited, where something else does.

    A shaper's calls ring later and later. A bucket decides alike and holds nothing, so the carrier would have to wait
    by chance exactly as the shaper's slots do.
    """
    answered = seen.admitted & np.isfinite(seen.went_on_s) & (seen.went_on_s < _NEVER_S)
    answered_s = (seen.went_on_s - seen.middle_s)[answered]
    if len(families) < 2 or len(answered_s) < 10:
        return families
    # Not quantiles: once a queue is full nearly all calls wait equally long, and only the first ones show its growth.
    most = _HELD_SHARE * float(answered_s.std())
    kept = []
    for family in families:
        holding = [
            one
            for one in family.explanations
            if one.held_s is not None and float((answered_s - one.held_s[answered]).std()) < most
        ]
        kept += [Family(family.policy, tuple(holding))] if holding else []
    return tuple(kept) or families
