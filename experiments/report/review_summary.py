"""A review in ten lines of text, for a mail."""

from __future__ import annotations

from collections.abc import Iterator

from trunkproof.experiments.report.review_top import merged, per_day, top_notes
from trunkproof.experiments.report.review_words import DECISION_WORDS, or_more, ranged
from trunkproof.experiments.review.result import Review, Situation

SUMMARY = "summary.txt"
_PROTECTS = {
    True: "still protects the others",
    False: "no longer protects the others",
    None: "cannot tell whether it protects the others",
}


def summary(review: Review) -> str:
    """Return the review in at most ten lines, each a sentence or two, ready to be sent."""
    return "\n".join(_lines(review)) + "\n"


def _lines(review: Review) -> Iterator[str]:
    request = review.request
    yield (
        f"{DECISION_WORDS[review.decision].upper()}: {request.name} (trunk {request.trunk}), from "
        f"{request.now_per_minute:,} to {request.requested_per_minute:,} calls per minute."
    )
    yield review.headline
    for column in merged(review.situations):
        yield _column(column)
    if review.interpretations:
        yield " ".join(f"{name}: {words}." for name, words in top_notes(review))
        yield f"Judged periods: {review.busy_hour}, {request.horizon_days} days after the history's end."
    else:
        # The whole has at most ten lines.
        yield from review.fit.refusals[:3]
    if review.backcast:
        yield _backcast(review)
    yield f"History: {review.history.source}, {review.history.attempts:,} attempts in {review.history.days} days."


def _column(one: Situation) -> str:
    name = f"{one.name[0].upper()}{one.name[1:]}"
    channels = "" if one.channels is None else f" of {one.channels:,}"
    held = or_more(ranged(one.peak_channels, "1"), one.beyond)
    return (
        f"{name}, {one.per_minute:,}: {or_more(ranged(one.refused_share, 'share'), one.beyond)} of attempts refused, "
        f"{or_more(ranged(one.lost_share, 'share'), one.beyond)} of customers lost, "
        f"{or_more(per_day(one.lost_per_day), one.beyond)} a day; {held}{channels} channels, "
        f"{one.cores.value:.2f} cores; {_PROTECTS[one.protects]}."
    )


def _backcast(review: Review) -> str:
    kept = [one.interpretation.describe_kind() for one in review.backcast if one.reproduces]
    lost = [one.interpretation.describe_kind() for one in review.backcast if not one.reproduces]
    said = (
        f"These interpretations reproduce the history: {'; '.join(kept)}."
        if kept
        else "No interpretation reproduces the history."
    )
    # If all are contradicted, the sentence before says so already.
    return f"{said} Contradicted: {'; '.join(lost)}." if kept and lost else said
