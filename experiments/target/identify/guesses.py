"""The best description where none explains everything: many settings of every policy, decided by their own code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from pydantic import ValidationError

from trunkproof.experiments.target.identify.composed import Guess, composed_guesses
from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.observed import ANY_TIME, USUAL_WINDOWS_S, Observed
from trunkproof.models.throttles.policy import Explanation, Joined, Limited, Policy
from trunkproof.models.throttles.registry import POLICIES
from trunkproof.models.throttles.windows import Windowed

_ANCHORS = 12
"""Phases of a fixed window that are tried."""
_MOST = 600
"""Attempts that a guess is tried on: the first ones."""


def explained_share(explanation: Explanation, seen: Observed) -> float:
    """Return the share of attempts that the policy's own code decides as they were, in the middle of all bounds."""
    return _share(explanation.settings, explanation.anchor_s, seen.middle_s, seen)


def best_guess(seen: Observed) -> tuple[float, Explanation]:
    """Return the largest share of attempts that any guess explains, and the guess."""
    few = _first_ones(seen)
    found = _best(chain(composed_guesses(few), _guesses(few)), few)
    assert found is not None
    return found


def best_composed(seen: Observed) -> tuple[float, Explanation] | None:
    """Return the same of throttles that are made of others, and of RED; None where nothing suggests one."""
    few = _first_ones(seen)
    return _best(composed_guesses(few), few)


def _first_ones(seen: Observed) -> Observed:
    return Observed(seen.early_s[:_MOST], seen.late_s[:_MOST], seen.admitted[:_MOST], seen.went_on_s[:_MOST])


def _best(guesses: Iterable[Guess], seen: Observed) -> tuple[float, Explanation] | None:
    middle_s = seen.middle_s
    tried = ((_share(settings, anchor_s, middle_s, seen), settings, anchor_s) for settings, anchor_s in guesses)
    best = max(tried, key=lambda one: one[0], default=None)
    return None if best is None else (best[0], Explanation(best[1], {}, ANY_TIME, best[2]))


def _share(settings: Policy, anchor_s: float | None, instants: FloatArray, seen: Observed) -> float:
    throttle = settings.make_throttle(anchor_s or 0.0)
    decided = np.array([isinstance(throttle.try_admit(instant), Admitted) for instant in instants.tolist()])
    return float(np.mean(decided == seen.admitted))


def _guesses(seen: Observed) -> Iterator[Guess]:
    instants = seen.middle_s
    passed = instants[seen.admitted]
    # How many had passed when it first refused: a bucket, or a limit.
    first = int(np.argmin(seen.admitted)) if not seen.admitted.all() else len(instants)
    for policy in POLICIES:
        if issubclass(policy, Joined):
            continue
        if not issubclass(policy, Limited):
            yield policy(), None
            continue
        for window_s in USUAL_WINDOWS_S:
            if window_s > 2 * (instants[-1] - instants[0]) + 1:
                continue
            counts = np.arange(1, len(passed) + 1) - np.searchsorted(passed, passed - window_s, side="right")
            tops = {int(np.quantile(counts, share)) for share in (1.0, 0.9, 0.7, 0.5)} if len(counts) else {1}
            for limit in sorted({max(1, top) for top in (*tops, first)}):
                for settings in _variants(policy, limit, window_s, max(1, first)):
                    if issubclass(policy, Windowed):
                        begun = float(instants[0])
                        yield from ((settings, begun + window_s * part / _ANCHORS) for part in range(_ANCHORS))
                    else:
                        yield settings, None


def _variants(policy: type[Limited], limit: int, window_s: float, first: int) -> list[Policy]:
    own: dict[str, Any] = {"limit": limit, "window_s": window_s}
    more: list[dict[str, Any]] = [{}]
    if "burst" in policy.model_fields:
        more = [{"burst": burst} for burst in sorted({1, 10, 20, 50, first})]
    try:
        return [policy(**own, **values) for values in more]
    except ValidationError:
        # A window that this policy cannot have.
        return []
