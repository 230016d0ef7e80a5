"""Write a request file that is ready to edit, from what was recognised in a history. Each line says what it is for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from trunkproof.models.demand.history.inspection import Inspection, Outcome
from trunkproof.models.demand.history.table import CallStatus

_LISTED = 10


def request_text(found: Inspection, paths: Sequence[Path], folder: Path) -> str:
    """Return YAML that `trunkproof review` reads. Paths in it are relative to `folder`, where the file will be."""
    return "\n".join([*_head(found), *_history(found, [_relative(path, folder) for path in paths]), *_rest()]) + "\n"


def _head(found: Inspection) -> Iterator[str]:
    history = found.history
    yield f"# A request to raise a throttle. History: {history.source}, {history.attempts:,} attempts,"
    yield f"# {history.first:%Y-%m-%d %H:%M} to {history.last:%Y-%m-%d %H:%M}. Decide: trunkproof review THIS --out DIR"
    yield "now_per_minute: 200         # the throttle in force while the history was taken"
    yield "requested_per_minute: 400   # EDIT: what the customer asks for"
    yield ""


def _history(found: Inspection, paths: list[str]) -> Iterator[str]:
    history = found.history
    yield "history:"
    written = paths[0] if len(paths) == 1 else paths
    yield f"  path: {json.dumps(written)}"
    yield f"  format: {history.format if history.format != 'columns' else 'auto'}"
    columns = ", ".join(f"{role}: {json.dumps(name)}" for role, name in found.files[0].columns.items())
    yield f"  # Recognised columns: {{{columns}}}"
    zone = (
        "the times have their own zone; this one is for hours and weekdays" if found.has_zone else "zone of the times"
    )
    yield f"  timezone: {history.timezone}   # {zone}"
    yield from _owners(found)
    yield "  # Statuses and words with which the trunk's throttle refuses. Other failures stay failures."
    yield f"  # Seen: {_seen(found.codes) or 'no SIP statuses'}"
    yield "  refusal_codes: [503]"
    yield f"  # Seen: {_seen(found.words) or 'no words'}"
    yield f"  refusal_words: {json.dumps(_refusals(found.words))}"
    yield f"  # since: {history.first:%Y-%m-%d}"
    yield f"  # until: {history.last:%Y-%m-%d}"
    yield "  # closed: [2026-01-26]   # untypical days, such as holidays: shown, but not fitted"
    if history.oddities:
        yield "  # Odd in this history:"
        for oddity in history.oddities:
            yield f"  #   {oddity.count:,} x {oddity.kind}: {_line(oddity.what)}; {_line(oddity.handled)}"
    yield ""


def _owners(found: Inspection) -> Iterator[str]:
    for column, values in found.owners.items():
        if len(values) < 2:
            continue
        listed = ", ".join(f"{value} ({rows:,})" for value, rows in list(values.items())[:_LISTED])
        yield f"  # Several accounts, trunks or customers by {column}: {_line(listed)}"
        yield "  # EDIT: choose one with `where`, or say with `mixed` that all belong to one trunk."
        yield f"  # where: {{{json.dumps(column)}: {json.dumps(next(iter(values)))}}}"
        yield "  # mixed: as_one"


def _rest() -> Iterator[str]:
    yield "# growth: 1.0                # busy-hour demand at the horizon, divided by that at the end of the history"
    yield "# confidence: 0.95"
    yield "# pop: {carrier: {channels: 500}}   # channels that the carrier has for this trunk"


def _seen(outcomes: Sequence[Outcome]) -> str:
    listed = [f"{outcome.written} ({outcome.rows:,}, {outcome.taken_for or 'unknown'})" for outcome in outcomes]
    return _line(", ".join(listed[:_LISTED]))


def _refusals(words: Sequence[Outcome]) -> list[str]:
    refused = [word.written for word in words if word.taken_for == CallStatus.REFUSED]
    return refused or ["CONGESTION", "failed", "throttled"]


def _line(text: str) -> str:
    """Put text from the file on one line: a line break would end the comment."""
    return " ".join(text.split())


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
