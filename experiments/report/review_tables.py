"""The tables of a review's page: interpretations, targets, limits, needs, rollout, oddities, the fit.

Tables are returned as rows of words. Every figure in them comes from the review.
"""

from __future__ import annotations

import math
from typing import Any

from trunkproof.experiments.report.curve_figures import marks_of
from trunkproof.experiments.report.review_words import (
    DECISION_WORDS,
    asked,
    between,
    brief,
    capacity_words,
    chosen_limit,
    confidence_words,
    holds_words,
    in_unit,
    ranged,
    resource_words,
    shown,
    title_of,
    told,
    unit_of,
)
from trunkproof.experiments.review.result import Judged, Point, Review
from trunkproof.models.demand.fitting.result import WEEKDAYS, Ranged
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.records import Disposition

Row = dict[str, Any]
_LEADING = ("customers_lost_share", "refused_share")


def interpretation_rows(review: Review) -> list[Row]:
    """Return one row per interpretation: its own answer, and its figures at the throttle that the answer is about."""
    wanted = chosen_limit(review)
    return [
        {
            "name": interpretation.interpretation.describe_kind(),
            "decision": DECISION_WORDS[interpretation.decision],
            "recommended": _limit_words(interpretation.recommended_per_minute),
            "smallest": _limit_words(interpretation.smallest_per_minute),
            "figures": [_ranged_kpi(interpretation.at(wanted), name) for name in _LEADING],
            "confidence": confidence_words(interpretation.at(wanted).confidence),
        }
        for interpretation in review.interpretations
    ]


def _limit_words(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"


def _ranged_kpi(point: Point, name: str) -> str:
    value = told(point, name)
    return "n/a" if value is None else ranged(value, unit_of(name))


def target_tables(review: Review) -> list[Row]:
    """Return a table for each throttle that the page describes in full: every target under every interpretation."""
    tables: list[Row] = []
    for limit, name in marks_of(review).items():
        points = [interpretation.at(limit) for interpretation in review.interpretations]
        kinds = {target.kpi: target for point in points for target in point.targets}
        rows = [
            {"title": title_of(kpi), "asked": asked(target), "cells": [_target_cell(point, kpi) for point in points]}
            for kpi, target in kinds.items()
        ]
        if rows:
            tables.append({"limit": f"{limit:,}", "name": name, "rows": rows})
    return tables


def _target_cell(point: Point, kpi: str) -> Row:
    target: Judged | None = next((one for one in point.targets if one.kpi == kpi), None)
    # A target may be judged under one interpretation only.
    if target is None:
        return {"value": "not judged", "range": "", "verdict": "", "holds": None}
    return {
        "value": shown(target.value.value, kpi),
        "range": between(target.value, unit_of(kpi)),
        "verdict": f"{holds_words(target.holds)}, {confidence_words(target.confidence)}",
        "holds": target.holds,
    }


def indicator_rows(review: Review) -> Row | None:
    """Return every indicator at the throttles described in full, under the interpretation that decides."""
    interpretation = review.strictest
    if interpretation is None:
        return None
    stations = marks_of(review)
    points = [interpretation.at(limit) for limit in stations]
    # A dictionary keeps the order in which the indicators first appear. A set would not.
    names = list(dict.fromkeys(name for point in points for name in point.kpis))
    rows = [
        {
            "title": title_of(name),
            "definition": DEFINITIONS[name].definition if name in DEFINITIONS else "",
            "cells": [
                {"mean": _ranged_kpi(point, name), "hours": _hours(point.busy_hours.get(name), name)}
                for point in points
            ],
        }
        for name in names
    ]
    heads = [f"{limit:,} ({name})" for limit, name in stations.items()]
    return {"interpretation": interpretation.interpretation.describe_kind(), "heads": heads, "rows": rows}


def _hours(band: Ranged | None, name: str) -> str:
    return "" if band is None else between(band, unit_of(name))


def limit_rows(review: Review) -> list[Row]:
    """Return a row for each resource: what it allows, in the order in which they bind."""
    return [
        {
            "name": resource_words(limit.resource),
            "capacity": limit.capacity,
            "binds": capacity_words(limit),
            "used": [
                "" if limit.capacity_per_minute is None else f"{100 * share:,.0f} %"
                for share in (limit.used_now, limit.used_requested, limit.used_wanted)
            ],
            "how": limit.how,
        }
        for limit in review.limits
    ]


def need_rows(review: Review) -> list[list[str]]:
    """Return a row for each wish: the throttle, channels, ports, cores and bandwidth that it needs."""
    return [
        [
            f"{need.per_minute:,}",
            f"{need.throttle_per_minute:,}",
            f"{need.channels:,}",
            f"{need.ports:,}",
            in_unit(need.cores, "cores").removesuffix(" cores"),
            f"{need.bandwidth_mbit_per_s:,.1f} Mbit/s",
        ]
        for need in review.needed
    ]


def neighbour_rows(review: Review) -> list[list[str]]:
    """Return a row for each other trunk: its share of attempts refused, now and at the requested throttle."""
    return [[name, ranged(now, "share"), ranged(then, "share")] for name, (now, then) in review.neighbours.items()]


def swing_rows(review: Review) -> list[list[str]]:
    """Return the tornado in full, one row per input."""
    return [
        [
            swing.what,
            swing.low.replace("_", " "),
            f"{swing.headroom_low:.2f}",
            swing.high.replace("_", " "),
            f"{swing.headroom_high:.2f}",
            "yes" if swing.changes_decision else "no",
        ]
        for swing in review.tornado
    ]


def rollout_rows(review: Review) -> list[Row]:
    """Return the steps of the raise."""
    return [
        {
            "per_minute": f"{step.per_minute:,}",
            "days": f"{step.days}",
            "bands": [f"{title_of(name)}: {between(band, unit_of(name))}" for name, band in step.bands.items()],
            "halt": step.halt,
        }
        for step in review.rollout
    ]


def oddity_rows(review: Review) -> list[list[str]]:
    """Return what was odd in the history. Nothing was dropped without being counted here."""
    return [
        [odd.kind.replace("_", " "), f"{odd.count:,}", odd.what, odd.handled, ", ".join(odd.places)]
        for odd in review.history.oddities
    ]


def fitted_facts(review: Review) -> list[tuple[str, str]]:
    """Return the fitted traffic, each figure with its range."""
    fit = review.fit
    arrivals, holding = fit.arrivals, fit.holding
    facts = [
        ("judged periods", f"{review.busy_hour}: {ranged(review.busy_hour_per_minute, '1')} fresh calls a minute"),
        ("busiest hour of the week", _busiest(review)),
        ("spread of whole days (CV)", _plain(arrivals.day_cv)),
        (f"spread of {arrivals.period_s / 60:.3g} min periods (CV)", _plain(arrivals.period_cv)),
        ("holding time", f"mean {ranged(holding.mean_s, 's')}; {brief(holding.distribution.describe())}"),
        ("other distributions tried", _alternatives(review)),
        ("ringing", "not in the history" if fit.ringing is None else brief(fit.ringing.distribution.describe())),
        ("outcomes of admitted calls", _outcomes(review)),
        ("another attempt after a refusal", ranged(fit.redial.probability, "share") + _known(fit.redial.observed)),
        *(
            (f"another attempt after {reason.value.replace('_', ' ')}", ranged(chance, "share"))
            for reason, chance in fit.redial.by_reason.items()
            if reason is not Disposition.THROTTLED and fit.redial.observed
        ),
        ("refused in the history", _censored(review)),
    ]
    if fit.odd:
        facts.append(("odd days", " ".join(day.words for day in fit.odd)))
    if fit.short_share is not None:
        facts.append((f"answered, shorter than {fit.short_s:g} s", ranged(fit.short_share, "share")))
    facts.append(("inbound", in_unit(fit.inbound_share, "share")))
    # A fact without words was not in the history.
    return [(name, words) for name, words in facts if words]


def _busiest(review: Review) -> str:
    arrivals = review.fit.arrivals
    if not arrivals.rate_draws.size or math.isnan(float(arrivals.rate_per_minute.max())):
        return "n/a"
    weekday, hour = arrivals.busiest
    return f"{WEEKDAYS[weekday]} {hour}:00: {ranged(arrivals.busiest_per_minute, '1')} fresh calls a minute, on average"


def _plain(range_: Ranged) -> str:
    return f"{range_.value:.3f} ({range_.low:.3f} to {range_.high:.3f})"


def _alternatives(review: Review) -> str:
    tried = review.fit.holding.alternatives
    if not tried:
        return ""
    # Only differences of AIC mean anything.
    best = min(one.aic for one in tried)
    others = [one for one in tried if one.distribution.kind != review.fit.holding.distribution.kind]
    return "; ".join(f"{brief(one.distribution.describe())} (AIC {one.aic - best:+,.0f})" for one in others)


def _outcomes(review: Review) -> str:
    outcomes = review.fit.outcomes
    shares = {
        "answered": outcomes.answered,
        "busy": outcomes.busy,
        "no answer": outcomes.no_answer,
        "abandoned": outcomes.abandoned,
    } | {f"status {part.status}": part.share for part in outcomes.rejected}
    return ", ".join(f"{name} {in_unit(share, 'share')}" for name, share in shares.items() if share > 0)


def _known(observed: bool) -> str:
    return ", seen in the history" if observed else ", assumed: the history does not show it"


def _censored(review: Review) -> str:
    censoring = review.fit.censoring
    return (
        f"{in_unit(censoring.refused_share, 'share')} of attempts, in {censoring.hours_above_limit:,} hours; behind "
        f"them are {censoring.recovered_calls:,.0f} calls that were never answered"
    )


def what_to_bring(review: Review) -> list[str]:
    """Return what the customer should bring so that a review can say more: what this one lacked."""
    fit, found = review.fit, []
    if review.measure_next:
        found.append(review.measure_next)
    if review.history.calls is None:
        found.append(
            "Call records instead of counts: then durations, outcomes and redials are fitted instead of assumed."
        )
    elif not fit.redial.observed:
        found.append("Numbers of both sides in the records: they show redials. (Numbers are masked as they are read.)")
    if fit.held_out is None:
        found.append("More days: enough to keep some out of the fit and to forecast them from the others.")
    return found
