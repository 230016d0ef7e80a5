"""Score the results of examinations, by kind and over all.

Only clear truths count: a throttle whose share is within two standard errors of its target is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trunkproof.experiments.verification.review.answer import APPROVALS, CANNOT_TELL, NOT_NEEDED, REFUSE
from trunkproof.experiments.verification.review.examine import Result
from trunkproof.experiments.verification.review.truth import SURE

ALL = "all"
NEXT_TO_ZERO = 1e-4
"""A true share below this counts as zero: an interval that begins below this too contains it."""
AMPLE = 1.25
"""An approval is larger than needed if it is above this many times the smallest throttle that keeps all targets."""
_SCALES = ("holds", "holds_at_half", "holds_at_double")


@dataclass
class Tally:
    """A count of hits among cases."""

    hits: int = 0
    of: int = 0

    def add(self, is_hit: bool) -> None:
        """Count one more case."""
        self.hits += is_hit
        self.of += 1

    @property
    def share(self) -> float | None:
        """Return the share of hits; None without cases."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share by Wilson's score; (0, 1) without cases."""
        if not self.of:
            return 0.0, 1.0
        z, share = 1.96, self.hits / self.of
        middle = share + z * z / (2 * self.of)
        reach = z * np.sqrt(share * (1 - share) / self.of + z * z / (4 * self.of**2))
        whole = 1 + z * z / self.of
        return max(0.0, float((middle - reach) / whole)), min(1.0, float((middle + reach) / whole))

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {"hits": self.hits, "of": self.of, "share": self.share}


@dataclass
class Scores:
    """The scores of one kind, or of all."""

    kind: str
    histories: int = 0
    errors: int = 0
    """Reviews that raised an exception."""
    decisions: Counter[str] = field(default_factory=Counter)
    too_bold: Tally = field(default_factory=Tally)
    """Of all decisions: those that approve a throttle, or call it enough, at which a target does not hold."""
    too_bold_in_busiest: Tally = field(default_factory=Tally)
    """The same in the hours that really are the busiest, whatever periods the review judged."""
    claims_true: Tally = field(default_factory=Tally)
    """Of the claims that all targets hold at one throttle under one interpretation: those that are true."""
    refused_covered: Tally = field(default_factory=Tally)
    lost_covered: Tally = field(default_factory=Tally)
    refused_seen_covered: Tally = field(default_factory=Tally)
    """Intervals of attempts refused that contain the truth, where it is not close to zero."""
    lost_seen_covered: Tally = field(default_factory=Tally)
    needless_cannot_tell: Tally = field(default_factory=Tally)
    """Of the stationary histories with the same true answer at half and at double the targets: those not decided."""
    needless_refusal: Tally = field(default_factory=Tally)
    """Of the histories where a raise is clearly needed and clearly suffices: those refused."""
    larger_than_needed: Tally = field(default_factory=Tally)
    """Of the approvals for which some throttle really keeps all targets: those of a throttle above `AMPLE` times it."""
    truth_contradicted: Tally = field(default_factory=Tally)
    """Of the histories whose true interpretation the request names: those where the review rules it out."""
    too_bold_seeds: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            name: value.to_json() if isinstance(value, Tally) else dict(value) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }


def score(results: Iterable[Result]) -> dict[str, Scores]:
    """Return scores by kind, in the order in which kinds come, and at the end those of all."""
    by_kind: dict[str, Scores] = {}
    overall = Scores(ALL)
    for result in results:
        of_kind = by_kind.setdefault(result["kind"], Scores(result["kind"]))
        for scores in (of_kind, overall):
            _add(scores, result)
    return {**by_kind, ALL: overall}


def _add(scores: Scores, result: Result) -> None:
    scores.histories += 1
    if result["answer"] is None:
        scores.errors += 1
        return
    answer = result["answer"]
    scores.decisions[answer["decision"]] += 1
    truth = {(cell["interpretation"], cell["limit"]): cell for cell in result["truth"]}
    _add_claims(scores, answer["claims"], truth)
    spoken_for = result["spoken_for"]
    is_bold = spoken_for is not None and _holds(result, spoken_for, "holds") is False
    scores.too_bold_in_busiest.add(
        spoken_for is not None and _holds(result, spoken_for, "holds", "truth_of_busiest") is False
    )
    if result["enforced_interpretation"] is not None and answer["claims"]:
        scores.truth_contradicted.add(
            result["enforced_interpretation"] not in {claim["interpretation"] for claim in answer["claims"]}
        )
    scores.too_bold.add(is_bold)
    if is_bold:
        scores.too_bold_seeds.append(f"{result['kind']} {result['seed']}")
    clear = _clear_answer(result)
    if clear is not None and result["is_stationary"]:
        scores.needless_cannot_tell.add(answer["decision"] == CANNOT_TELL)
    if clear == "raise":
        scores.needless_refusal.add(answer["decision"] == REFUSE)
    enough = [limit for limit in _limits(result) if _holds(result, limit, "holds")]
    if answer["decision"] in APPROVALS and enough:
        scores.larger_than_needed.add(answer["recommended"] > AMPLE * min(enough))


def _add_claims(scores: Scores, claims: Sequence[Result], truth: Mapping[tuple[int, int], Result]) -> None:
    tallies = {
        "refused": (scores.refused_covered, scores.refused_seen_covered),
        "lost": (scores.lost_covered, scores.lost_seen_covered),
    }
    for claim in claims:
        cell = truth[claim["interpretation"], claim["limit"]]
        if claim["holds"] and cell["holds"] is not None:
            scores.claims_true.add(cell["holds"])
        for name, (every, seen) in tallies.items():
            if claim[name] is not None:
                is_covered = covers(claim[name], *cell[name])
                every.add(is_covered)
                if cell[name][0] > NEXT_TO_ZERO:
                    seen.add(is_covered)


def covers(interval: Sequence[float], value: float, error: float) -> bool:
    """Tell whether an interval (value, low, high) contains the truth, within the error of the truth itself."""
    _, low, high = interval
    if value <= NEXT_TO_ZERO and low <= NEXT_TO_ZERO:
        return True
    return low - SURE * error <= value <= high + SURE * error


def _limits(result: Result) -> list[int]:
    return sorted({cell["limit"] for cell in result["truth"]})


def _holds(result: Result, limit: int, scale: str, where: str = "truth") -> bool | None:
    """Tell whether all targets hold at a throttle under every interpretation that counts; None: too close to say."""
    counts = _interpretations(result)
    answers = [cell[scale] for cell in result[where] if cell["limit"] == limit and cell["interpretation"] in counts]
    return False if False in answers else None if None in answers else True


def _interpretations(result: Result) -> set[int]:
    """Return the interpretations that count: those that the review accepts, and the true one in any case."""
    claimed = {claim["interpretation"] for claim in result["answer"]["claims"]}
    return (claimed or {cell["interpretation"] for cell in result["truth"]}) | {result["enforced_interpretation"]} - {
        None
    }


def _right_answer(result: Result, scale: str) -> str | None:
    """Return the right answer, `not_needed`, `raise` or `refuse`; None where it is too close to say."""
    at_now = _holds(result, result["now"], scale)
    if at_now is not False:
        return NOT_NEEDED if at_now else None
    raised = [_holds(result, limit, scale) for limit in _limits(result) if result["now"] < limit <= result["requested"]]
    return "raise" if True in raised else None if None in raised else REFUSE


def _clear_answer(result: Result) -> str | None:
    """Return the right answer if it is the same at half and at double the targets; else None."""
    answers = {_right_answer(result, scale) for scale in _SCALES}
    return answers.pop() if len(answers) == 1 else None


COLUMNS: dict[str, tuple[str, Callable[[Scores], Tally]]] = {
    "too_bold": ("too bold", lambda scores: scores.too_bold),
    "too_bold_in_busiest": ("too bold in the busiest hours", lambda scores: scores.too_bold_in_busiest),
    "claims_true": ("claims true", lambda scores: scores.claims_true),
    "refused_covered": ("refused covered", lambda scores: scores.refused_covered),
    "refused_seen_covered": ("… where > 10⁻⁴", lambda scores: scores.refused_seen_covered),
    "lost_covered": ("lost covered", lambda scores: scores.lost_covered),
    "lost_seen_covered": ("… where > 10⁻⁴", lambda scores: scores.lost_seen_covered),
    "needless_cannot_tell": ("needless `cannot_tell`", lambda scores: scores.needless_cannot_tell),
    "needless_refusal": ("needless `refuse`", lambda scores: scores.needless_refusal),
    "larger_than_needed": ("larger than needed", lambda scores: scores.larger_than_needed),
    "truth_contradicted": ("true interpretation ruled out", lambda scores: scores.truth_contradicted),
}
"""Heading and tally of each field, in the order of the table."""
