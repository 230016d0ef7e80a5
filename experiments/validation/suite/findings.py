"""List what a saved comparison says about why its figures differ, in sentences that a reader can check.

These are measured facts. The reader decides which of them is the cause, or the notes beside a suite's results do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from trunkproof.experiments.common.formatting import COST_WORDS
from trunkproof.experiments.validation.criteria import pair_words
from trunkproof.models.errors import InputError, Problem

NOTES = "notes.yaml"
"""The file in a suite's folder with notes on why a cell misses."""
_NUMBER = re.compile(r"[-+]?\d[\d.,]*")


def findings(saved: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all facts of one comparison.json that may explain a difference."""
    found = [saved["interrupted"]] if saved["interrupted"] else []
    found += [f"trouble: {trouble}" for trouble in saved["troubles"]]
    found += [f"load generator {reason}" for reason in saved["generator"]["reasons"]]
    found += _grouped_disagreements(saved["disagreements"])
    found += _delays(saved["kpis"])
    found += _spent(saved["cpu"])
    found += _woken(saved["meters"])
    found += saved["warnings"]
    return tuple(found)


def _grouped_disagreements(disagreements: list[dict[str, Any]]) -> Iterator[str]:
    """Yield one line per kind of disagreement, with an example. Those that differ only in figures are one kind."""

    def kind(one: dict[str, Any]) -> tuple[str, str, str]:
        return _ending(one["predicted"]), _ending(one["measured"]), _NUMBER.sub("#", one["reason"])

    # `groupby` joins neighbours only, so it needs them sorted.
    groups = [list(group) for _, group in groupby(sorted(disagreements, key=kind), key=kind)]
    for group in sorted(groups, key=len, reverse=True):
        predicted, measured, _ = kind(group[0])
        example = "" if len(group) == 1 else "for example "
        yield f"{len(group)} predicted {predicted}, measured {measured}: {example}{group[0]['reason']}"


def _ending(disposition: str | None) -> str:
    return disposition.replace("_", " ") if disposition else "no such attempt"


def _delays(kpis: Mapping[str, Any]) -> Iterator[str]:
    pairs = (kpis["srd_p50_ms"], kpis["srd_p95_ms"])
    if any(pair["difference"] is not None and abs(pair["difference"]) >= 1 for pair in pairs):
        median, p95 = (pair_words(pair["predicted"], pair["measured"], "ms") for pair in pairs)
        yield f"SRD, predicted / measured: median {median}, 95 % {p95}"


def _spent(cpu: Mapping[str, Any] | None) -> Iterator[str]:
    if cpu is None:
        yield "the CPU of the stack's programs could not be metered"
        return
    programs = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in _largest_first(cpu["programs"]))
    costs = ", ".join(f"{COST_WORDS[name]} {seconds:.2f} s" for name, seconds in _largest_first(cpu["breakdown"]))
    yield f"CPU measured {cpu['measured_s']:.2f} s in {cpu['seconds']:.0f} s ({programs})"
    yield f"CPU predicted {cpu['predicted_s']:.2f} s ({costs or 'nothing'})"
    # Older files call the slowdown `pace`.
    if (slowdown := cpu.get("slowdown", cpu.get("pace", 1.0))) != 1:
        yield f"work took {slowdown:.2f} times as long as in the calibration; the prediction is for that"


def _woken(meters: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield how often programs were woken, and the CPU for each time.

    If one run has as many wakeups as another and more CPU for each, the machine differs and not the work.
    """
    programs = meters["programs"] if meters is not None else {}
    told = [
        f"{name} {one['wakings']:,.0f} times, {1e6 * one['cpu_s'] / one['wakings']:.0f} us each"
        for name, one in programs.items()
        if one["wakings"] and one["cpu_s"] is not None
    ]
    if told:
        yield f"woken: {'; '.join(told)}"


def _largest_first(seconds: Mapping[Any, float]) -> list[tuple[Any, float]]:
    # Less would be written as 0.00 s.
    worth_saying = [(name, value) for name, value in seconds.items() if value >= 0.005]
    return sorted(worth_saying, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class Note:
    """What further measurements found out about one run."""

    started: str
    """When that run began, as in its provenance. The note is not about a later run of the same cell."""
    text: str


def read_notes(folder: Path) -> dict[tuple[str, str], Note]:
    """Return the notes on a suite, by stack and profile. Empty where its folder has none.

    Raises:
        InputError: the file is no table of notes.
    """
    path = folder / NOTES
    if not path.exists():
        return {}
    try:
        # BaseLoader leaves the start time a text. Other loaders would turn it into a date, which equals no text.
        written = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {}
        return {
            (stack, profile): Note(said["started"], " ".join(said["note"].split()))
            for stack, profiles in written.items()
            for profile, said in profiles.items()
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        problem = Problem(where="notes", what="write stack, then profile, then `started` (of the run) and `note`")
        raise InputError(str(path), [problem]) from error
