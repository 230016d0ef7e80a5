"""The first table of a review's page: today, recommended, asked for, and nothing done for a year, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.report.review_words import (
    between,
    chosen_limit,
    confidence_words,
    in_unit,
    next_words,
    or_more,
    resource_words,
)
from trunkproof.experiments.review.result import Review, Situation
from trunkproof.models.demand.fitting.result import Ranged

Row = dict[str, Any]
AT_HORIZON = ("recommended", "asked for", "recommended, as asked for")
"""Columns at the demand that the decision is about, that of the horizon."""
_PROTECTS: dict[bool | None, tuple[str, str]] = {
    True: ("yes", "yes"),
    False: ("no", "no"),
    None: ("cannot tell", "open"),
}


def top_table(review: Review) -> Row | None:
    """Return heads, rows and notes of the table; None where nothing was simulated."""
    columns = merged(review.situations)
    if not columns:
        return None
    quality = review.request.quality
    refused, lost = quality.refused_share_max, quality.customers_lost_share_max
    most = formatted(review.request.protects.neighbours_blocked_max, "share")
    rows = [
        _row("fresh calls wanted", "a minute in the busy period",
             [_cell(in_unit(one.offered_per_minute.value, "1"), between(one.offered_per_minute, "1"))
              for one in columns]),
        _row("attempts refused", _asked(refused),
             [_share(one, one.refused_share, _state(review, one, "refused_share", one.refused_share, refused))
              for one in columns]),
        _row("customers lost", "; ".join(filter(None, [_asked(lost), "a day: in its busy period"])),
             [_lost(one, _state(review, one, "customers_lost_share", one.lost_share, lost)) for one in columns]),
        _row("calls at once", "at the peak; channels in use", [_calls(one) for one in columns]),
        _row("cores in use", "",
             [_cell(or_more(f"{one.cores.value:.2f}", one.beyond), between(one.cores, "cores")) for one in columns]),
        _row("still protects the others", f"in full use at most {most} of calls may find no line",
             [_cell(_PROTECTS[one.protects][0], state=_PROTECTS[one.protects][1]) for one in columns]),
    ]  # fmt: skip
    heads = [{"name": one.name, "limit": f"{one.per_minute:,}"} for one in columns]
    return {"heads": heads, "rows": rows, "beyond": any(one.beyond for one in columns), "notes": top_notes(review)}


def merged(situations: Sequence[Situation]) -> list[Situation]:
    """Return the columns; recommended and asked for become one column where they are the same throttle."""
    columns: list[Situation] = []
    for one in situations:
        before = columns[-1] if columns else None
        if before and (before.name, one.name) == ("recommended", "asked for") and before.per_minute == one.per_minute:
            columns[-1] = replace(before, name="recommended, as asked for")
        else:
            columns.append(one)
    return columns


def top_notes(review: Review) -> list[tuple[str, str]]:
    """Return what belongs to the answer and has no column: how sure it is, and what binds."""
    limit, now = chosen_limit(review), resource_words(review.binding_now).lower()
    notes = [
        (
            "Sure",
            f"{confidence_words(review.confidence)} that all targets hold together at {limit:,} "
            f"({100 * review.request.confidence:g} % is asked)",
        )
    ]
    if review.limits:
        then = next_words(review)
        after = "no known limit" if then is None else f"{resource_words(review.binding_next).lower()} ({then})"
        notes.append(("Binds", f"now {now}; after the raise {after}"))
    return notes


def _row(title: str, note: str, cells: list[Row]) -> Row:
    return {"title": title, "note": note, "cells": cells}


def _cell(value: str, *more: str, state: str = "") -> Row:
    return {"value": value, "more": more, "state": state}


def _asked(bound: float | None) -> str:
    return "" if bound is None else f"asked: at most {formatted(bound, 'share')}"


def _share(one: Situation, share: Ranged, state: str) -> Row:
    return _cell(or_more(in_unit(share.value, "share"), one.beyond), between(share, "share"), state=state)


def _state(review: Review, one: Situation, kpi: str, share: Ranged, bound: float | None) -> str:
    """Return whether a share keeps its bound: "yes", "no", "open", or "" without a bound.

    At the horizon the decision's own verdict counts. Elsewhere the whole range must lie on one side of the bound.
    """
    if bound is None:
        return ""
    # A range on both sides of the bound proves neither.
    holds = True if share.high <= bound else False if share.low > bound else None
    if one.name in AT_HORIZON and review.strictest is not None:
        targets = review.strictest.at(one.per_minute).targets
        # The table must not contradict the decision below it.
        holds = next((target.holds for target in targets if target.kpi == kpi), holds)
    return "open" if holds is None else "yes" if holds else "no"


def _lost(one: Situation, state: str) -> Row:
    cell, day = _share(one, one.lost_share, state), one.lost_per_day
    return cell | {"more": (*cell["more"], f"{or_more(per_day(day), one.beyond)} a day")}


def per_day(lost: Ranged) -> str:
    """Write customers lost in a day: whole numbers where there are many, one decimal otherwise."""
    if lost.high < 0.1:
        return "fewer than 0.1"
    # By the upper end, so that all three figures have the same digits.
    digits = 0 if lost.high >= 10 else 1
    return f"{lost.value:,.{digits}f} ({lost.low:,.{digits}f} to {lost.high:,.{digits}f})"


def _calls(one: Situation) -> Row:
    peak = or_more(in_unit(one.peak_concurrency.value, "1"), one.beyond)
    return _cell(
        peak,
        between(one.peak_concurrency, "1"),
        channels_words(one),
        # The mean over many runs reaches the last channel only nearly.
        state="no" if one.channels is not None and one.peak_channels.value >= 0.995 * one.channels else "",
    )


def channels_words(one: Situation) -> str:
    """Write the channels in use, and how many there are."""
    held = or_more(in_unit(one.peak_channels.value, "1"), one.beyond)
    return f"{held} channels, no limit known" if one.channels is None else f"{held} of {one.channels:,} channels"
