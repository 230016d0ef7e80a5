"""Estimate how likely a caller tries again after one kind of failure.

The share of failures that were followed by another attempt is corrected three times:

- Callers also call the same number again for other reasons. Answered calls show how often; that share is subtracted.
- A redial may come after the window in which redials are searched. The fitted delays show how many; they are added.
- Few failures tell little. So the probability is a Beta posterior.
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
"""Failures that a caller cannot tell apart: each sounds like a network that is full."""
LEAST_FAILURES = 50
"""From this number of failures on, only the history counts. Below, a prior counts as well, and intervals are wide."""
_LEAST_WITHIN = 0.5


@dataclass(frozen=True)
class ReasonChances:
    """Chances of another attempt after one kind of failure, by attempt; the last one holds for all later attempts."""

    reason: Disposition
    failures: int
    """Number of failures of which it is known whether another attempt followed."""
    value: tuple[float, ...]
    """Best estimate, by attempt."""
    share: float
    """Best estimate for all failures together, including those of callers who make no further attempt."""
    followed: float
    """Share of failures that were followed within the window, including coincidences."""
    yes: tuple[float, ...]
    no: tuple[float, ...]
    """With `yes`, the Beta posterior of being followed within the window, including coincidences."""
    background: float
    """Share of failures that are followed by coincidence."""
    within: float
    """Share of redials that come within the window."""

    @property
    def coincident(self) -> float:
        """Return which share of the attempts that followed within the window are calls of their own."""
        if not self.followed:
            return 0.0
        meant = clean(self.followed, self.background)
        return float(np.clip(1 - meant / self.followed, 0.0, 1.0))

    @property
    def late(self) -> float:
        """Return which share of the failures that were not followed within the window are followed later."""
        meant = clean(self.followed, self.background)
        beyond = min(1.0, meant / self.within) - meant
        return beyond / (1 - meant) if meant < 1 else 0.0

    def draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        """Return one equally likely alternative of `value`."""
        followed = rng.beta(self.yes, self.no)
        # The tail beyond the window was extrapolated and never seen, so it is drawn too.
        within = rng.uniform(self._least_within, 1.0)
        return tuple(float(clean(share, self.background, within)) for share in followed)

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Convert bounds of the share followed within the window to bounds of the chance.

        The tail beyond the window was never seen: it may be empty, or twice as large.
        """
        return clean(low, self.background), clean(high, self.background, self._least_within)

    @property
    def _least_within(self) -> float:
        return max(_LEAST_WITHIN, 2 * self.within - 1)


def clean(share: float, background: float, within: float = 1.0) -> float:
    """Convert a share followed to the chance of a redial: subtract coincidences, add late redials."""
    # A failure is followed within the window with the chance background + (1 - background) * chance * within.
    return float(np.clip((share - background) / (1 - background) / within, 0.0, 1.0))


def with_chances(redial: Redial, chances: Mapping[Disposition, Sequence[float]]) -> Redial:
    """Return the same callers with these chances by reason and attempt.

    Failures that a caller cannot tell from a refusal by the throttle get the chances of a refusal.
    """
    named = dict(chances)
    refused = named.get(Disposition.THROTTLED)
    if refused is not None:
        # What the history shows of a reason comes first; only reasons that it does not have take the chances of a
        # refusal.
        named |= {reason: named.get(reason, refused) for reason in SUCH_AS_REFUSED if reason in redial.after}
    reasons = redial.by_reason.model_copy(update={reason.value: tuple(own) for reason, own in named.items()})
    probability = redial.probability if refused is None else float(np.mean(refused))
    return redial.model_copy(update={"by_reason": reasons, "probability": probability})


def cluster_factor(failures: FloatArray, followed: FloatArray) -> float:
    """Return the variance of a share over that of independent failures, because hours differ; never below 1.

    Both arrays have one entry per hour. Source: Kish, "Survey Sampling" (1965), the design effect of clusters.
    """
    hours, total = len(failures), failures.sum()
    share = followed.sum() / total if total else 0.0
    # A variance of so few hours tells nothing, and at 0 or 1 there is none.
    if hours <= 5 or not 0 < share < 1:
        return 1.0
    variance = ((followed - share * failures) ** 2).sum() * hours / (hours - 1) / total**2
    return max(1.0, float(variance / (share * (1 - share) / total)))
