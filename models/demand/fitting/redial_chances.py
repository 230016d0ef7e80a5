"""How likely a caller tries again after one kind of failure: what was counted, and what it says.

Three things stand between the count and the chance. A caller may call the same number again for a reason of his own:
answered calls show how often that happens, and it is taken off. A redial may come after the window in which one is
looked for: what the delays leave beyond it is put back. And few failures say little: the chance is a Beta posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Redial

SUCH_AS_REFUSED = (
    Disposition.THROTTLED,
    Disposition.NO_CHANNEL,
    Disposition.NO_PORT,
    Disposition.TIMED_OUT,
    Disposition.CONNECTION_FAILED,
)
"""A caller cannot tell these apart: he takes each for a network that is full."""
LEAST_FAILURES = 50
"""From so many on the history speaks alone; below, a prior counts as well, and the interval is wide."""
_LEAST_WITHIN = 0.5


@dataclass(frozen=True)
class ReasonChances:
    """Chances of another attempt after one kind of failure, by attempt (the last one stays)."""

    reason: Disposition
    failures: int
    """Of which it is known whether another attempt followed."""
    value: tuple[float, ...]
    """Best guess."""
    share: float
    """Best guess for all failures together, those of callers who have tried often enough included."""
    followed: float
    """Share of failures that were followed within the window, chance meetings included."""
    yes: tuple[float, ...]
    no: tuple[float, ...]
    """The Beta posterior of being followed within the window, chance meetings included."""
    background: float
    """Share that is followed by chance alone."""
    within: float
    """Share of redials that come within the window."""

    @property
    def coincident(self) -> float:
        """Of the attempts that followed within the window, the share that are calls of their own."""
        if not self.followed:
            return 0.0
        meant = clean(self.followed, self.background)
        return float(np.clip(1 - meant / self.followed, 0.0, 1.0))

    @property
    def late(self) -> float:
        """Of the failures that were not followed within the window, the share that are followed later."""
        meant = clean(self.followed, self.background)
        beyond = min(1.0, meant / self.within) - meant
        return beyond / (1 - meant) if meant < 1 else 0.0

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        """Return one equally likely alternative of `value`."""
        followed = rng.beta(self.yes, self.no)
        within = rng.uniform(self._least_within, 1.0)
        return tuple(float(clean(share, self.background, within)) for share in followed)

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Turn bounds of the share followed within the window into bounds of the chance.

        The tail beyond the window was never seen: there may be none, or twice as much.
        """
        return clean(low, self.background), clean(high, self.background, self._least_within)

    @property
    def _least_within(self) -> float:
        return max(_LEAST_WITHIN, 2 * self.within - 1)


def clean(share: float, background: float, within: float = 1.0) -> float:
    """Share followed -> chance of a redial: chance meetings taken off, late ones put back."""
    return float(np.clip((share - background) / (1 - background) / within, 0.0, 1.0))


def with_chances(redial: Redial, chances: Mapping[Disposition, Sequence[float]]) -> Redial:
    """Return the same callers with these chances by reason and attempt.

    Failures that a caller cannot tell from a refusal of the throttle get the chances of that.
    """
    named = dict(chances)
    refused = named.get(Disposition.THROTTLED)
    if refused is not None:
        named |= {reason: named.get(reason, refused) for reason in SUCH_AS_REFUSED if reason in redial.after}
    reasons = redial.by_reason.model_copy(update={reason.value: tuple(own) for reason, own in named.items()})
    probability = redial.probability if refused is None else float(np.mean(refused))
    return redial.model_copy(update={"by_reason": reasons, "probability": probability})


def cluster_factor(failures: FloatArray, followed: FloatArray) -> float:
    """How many times less sure a share is than of independent failures, as hours differ; never below 1.

    Both arrays have one entry per hour. Source: Kish, "Survey Sampling" (1965), the design effect of clusters.
    """
    hours, total = len(failures), failures.sum()
    share = followed.sum() / total if total else 0.0
    if hours <= 5 or not 0 < share < 1:
        return 1.0
    variance = ((followed - share * failures) ** 2).sum() * hours / (hours - 1) / total**2
    return max(1.0, float(variance / (share * (1 - share) / total)))
